"""The linear maps A that images are compared through, each with its transpose (SPEC 3, 4).

An image has n spatial axes, the last ones. A x has N entries, complex numbers or vectors, given by their components.
"""

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


@dataclass(frozen=True)
class LinearMap(ABC):
    """What a distance needs of A: itself, its transpose, the sum over its entries, and which of them keep a sign."""

    shape: tuple[int, ...]  # of an image, n lengths
    blind_to_constants: ClassVar[bool] = False  # whether one under both images cancels in |A x| - |A y|

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))

    @property
    def count(self) -> int:
        """N."""
        return math.prod(self.shape)

    @abstractmethod
    def __call__(self, x: Array) -> list[Array]:
        """A x, as the components of its entries."""

    @abstractmethod
    def transpose(self, components: list[Array]) -> Array:
        """A^T of such components, an image."""

    def total(self, values: Array) -> Array:
        """Sum over the N entries of each image."""
        return jnp.sum(values, self.axes)

    def signed(self, lengths: Array, first: Array) -> Array:
        """The lengths of the entries, but where an entry is real and keeps its sign, its first and only component."""
        return lengths


class Identity(LinearMap):
    """x itself. By Parseval's theorem it serves for the unitary DFT where X - Y is compared with p = 2 (SPEC 3.4)."""

    def __call__(self, x: Array) -> list[Array]:
        return [x]

    def transpose(self, components: list[Array]) -> Array:
        return components[0]


class Fourier(LinearMap):
    """X, the unitary DFT of a real image: one half, of which the other is the mirror image (SPEC 3.1)."""

    blind_to_constants = True

    def __call__(self, x: Array) -> list[Array]:
        X = jnp.fft.rfftn(x, axes=self.axes, norm="ortho")
        return [X.real, X.imag]

    def transpose(self, components: list[Array]) -> Array:
        # The inverse adds the mirror image, as total does.
        return jnp.fft.irfftn(lax.complex(*components), self.shape, self.axes, norm="ortho")

    def total(self, values: Array) -> Array:
        columns = jnp.sum(values, self.axes[:-1])
        q = _index(columns, -1)
        own_mirror_image = (q == 0) | (2 * q == self.shape[-1])
        return jnp.sum(jnp.where(own_mirror_image, 1, 2).astype(values.dtype) * columns, -1)

    def signed(self, lengths: Array, first: Array) -> Array:
        """DC (SPEC 3.3)."""
        index, *others = (_index(lengths, axis) for axis in self.axes)
        return select(sum(others, index) == 0, first, lengths)

    def whole(self, half: Array) -> Array:
        """All N entries of an even spectrum, given one half: the entry at -f is the one at f."""
        mirror = jnp.flip(half[..., 1 : (self.shape[-1] + 1) // 2], self.axes)
        mirror = jnp.roll(mirror, (1,) * (len(self.shape) - 1), self.axes[:-1])
        return jnp.concatenate([half, mirror], -1)


@dataclass(frozen=True)
class Windows(LinearMap):
    """The unitary DFTs of overlapping windows of an image, which is reflected beyond its border (SPEC 3.7).

    Along every axis a window is tapered where it overlaps its neighbours. The squares of the tapers add up to a
    constant, so that each pixel counts alike.
    """

    size: int  # of a window along every axis

    @property
    def overlap(self) -> int:
        return self.size // 4

    @property
    def hop(self) -> int:
        return self.size - self.overlap

    @property
    def count(self) -> int:
        return math.prod(self._pixels(length).size for length in self.shape)

    def __call__(self, x: Array) -> list[Array]:
        first = self.axes[0]
        for length in self.shape:  # each in turn the first of the last n axes
            x = jnp.take(x, self._pixels(length), first, mode="clip")
            x = self._tapered(jnp.moveaxis(x, first, -1))
        return self._fourier(x)

    def transpose(self, components: list[Array]) -> Array:
        x = self._fourier.transpose(components)
        first = self.axes[0]
        for length in reversed(self.shape):
            x = lax.collapse(jnp.moveaxis(self._tapered(x), first - 1, -2), -2)
            # A sum of gathers, one per row, not a scatter: XLA fuses all axes into one loop.
            once, *again = (self._taken(x, row) for row in self._places(length))
            x = jnp.moveaxis(sum(again, once), -1, first)
        return x

    def total(self, values: Array) -> Array:
        return jnp.sum(self._fourier.total(values), self.axes)

    def signed(self, lengths: Array, first: Array) -> Array:
        return self._fourier.signed(lengths, first)

    @property
    def _fourier(self) -> Fourier:
        return Fourier((self.size,) * len(self.shape))

    def _tapered(self, x: Array) -> Array:
        """x times the taper along its last axis, which is a window's."""
        i = np.arange(self.size)
        rise = np.minimum(1, (np.minimum(i, i[::-1]) + 0.5) / self.overlap)
        taper = np.sin(np.pi / 2 * rise) * np.sqrt(self.size / self.hop)
        return x * np.array(taper, x.dtype, ndmin=x.ndim)

    def _taken(self, x: Array, places: np.ndarray) -> Array:
        """The entries of x at these places along its last axis, 0 past its end (checkify would refuse to fill)."""
        last = x.shape[-1] - 1
        inside = np.array(places <= last, ndmin=x.ndim)
        return jnp.where(inside, jnp.take(x, np.minimum(places, last), -1, mode="clip"), 0)

    def _pixels(self, length: int) -> np.ndarray:
        """The pixel at each place of each window along an axis, with reflection at both ends: (windows, size)."""
        starts = np.arange(-self.overlap, length, self.hop)
        pixels = starts[:, None] + np.arange(self.size)
        return length - 1 - np.abs(length - 1 - np.abs(pixels))

    def _places(self, length: int) -> np.ndarray:
        """The places of each pixel in the flattened `_pixels`: (times, length), padded with an index past the end."""
        pixels = self._pixels(length).ravel()
        places = np.argsort(pixels, kind="stable")
        pixels = pixels[places]
        times = np.arange(pixels.size) - np.searchsorted(pixels, pixels)
        rows = np.full((times.max() + 1, length), pixels.size)
        rows[times, pixels] = places
        return rows


@dataclass(frozen=True)
class Sobel(LinearMap):
    """grad x by the Sobel kernel of size k, in intensity per pixel: n components (SPEC 4.1, 4.2).

    The kernel is (1+z)^(k-2) along every axis, which gives sums around the corners between the pixels, then (z-1)
    along the axis of the component and (1+z) along the others. These are sums of neighbours, scaled once at the
    end, so that equal pixels have no gradient at all, and equal images the same one however a compiler arranges them.
    """

    blind_to_constants = True
    size: int

    @property
    def gain(self) -> float:
        """The sums' response to a slope of one intensity per pixel (SPEC 5.2)."""
        return 2.0 ** (len(self.shape) * (self.size - 1) - 1)

    def __call__(self, x: Array) -> list[Array]:
        corners = self._smooth(x, "reflect") / self.gain
        return [self._across(corners, own) for own in self.axes]

    def transpose(self, components: list[Array]) -> Array:
        """A^T = B^-1 A' B.

        A is D^-1 E^T C E: C correlates the image's even extension E x, which is periodic, with the kernel; E^T adds
        what lies on one pixel, and E^T E = D, 1 on the border and 2 elsewhere along every axis. With B = 2 D^-1,
        A^T = E^T C^T E D^-1 is B^-1 A' B, where A' has the reflected kernel, C^T, in place of C. A component is odd
        along its own axis: on the border across it, B is 0.
        """
        first, *others = (self._across_transpose(c, own) for c, own in zip(components, self.axes, strict=True))
        corners = sum(others, first)
        return self._smooth(corners, "symmetric") / (self.gain * self._border(components[0]))

    def _smooth(self, x: Array, mirror: Literal["reflect", "symmetric"]) -> Array:
        """(1+z)^(k-2) along every axis, from pixels to corners ("reflect") or back ("symmetric")."""
        for axis in self.axes:
            x = _mirrored(x, axis, self.size // 2, mirror)
            for _ in range(self.size - 2):
                before, after = _neighbours(x, axis)
                x = before + after
        return x

    def _across(self, x: Array, own: int) -> Array:
        for axis in self.axes:
            before, after = _neighbours(x, axis)
            x = after - before if axis == own else before + after
        return x

    def _across_transpose(self, x: Array, own: int) -> Array:
        x = x * self._border(x, own)
        corners = jnp.zeros((), x.dtype)
        # All 2^n pixels around a corner at once, not axis by axis: XLA makes one loop of it.
        for upper in itertools.product((0, 1), repeat=len(self.shape)):
            pixel = x[(..., *(slice(u, length - 1 + u) for u, length in zip(upper, self.shape, strict=True)))]
            corners = corners - pixel if upper[own] else corners + pixel
        return corners

    def _border(self, x: Array, own: int | None = None) -> Array:
        """2 on the border, 4 where two meet, 0 on that across the axis `own`, and 1 elsewhere."""
        weight = jnp.ones((1,) * x.ndim, x.dtype)
        for axis, length in zip(self.axes, self.shape, strict=True):
            i = _index(x, axis)
            ends = jnp.where((i == 0) | (i == length - 1), 0 if axis == own else 2, 1).astype(x.dtype)
            weight = weight * ends
        return weight


def _mirrored(x: Array, axis: int, width: int, mirror: Literal["reflect", "symmetric"]) -> Array:
    """x with its mirror image beyond both ends of an axis, with or without ("reflect") the pixel at the end."""
    if axis < -1:  # by index: XLA makes one loop of it and the sums
        return jnp.take(x, np.pad(np.arange(x.shape[axis]), width, mirror), axis, mode="clip")
    skipped = 1 if mirror == "reflect" else 0
    first = x[..., skipped : skipped + width]
    last = x[..., x.shape[-1] - width - skipped : x.shape[-1] - skipped]
    return jnp.concatenate([jnp.flip(first, -1), x, jnp.flip(last, -1)], -1)


def _neighbours(x: Array, axis: int) -> tuple[Array, Array]:
    """The first and the second of each two neighbours along an axis."""
    length = x.shape[axis]
    return lax.slice_in_dim(x, 0, length - 1, axis=axis), lax.slice_in_dim(x, 1, length, axis=axis)


def _index(x: Array, axis: int) -> Array:
    """0, 1, 2, ... along an axis, counted from the end, of length 1 along the others."""
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    return lax.broadcasted_iota(jnp.int32, shape, x.ndim + axis)


def select(mask: Array, x: Array, y: Array) -> Array:
    """x where the mask is true, else y. It broadcasts, also where an explicit mesh cuts x and not the mask."""
    return jnp.where(jnp.zeros_like(x, bool) | mask, x, y)
