"""The linear maps A that images are compared through, each with its transpose (SPEC 3, 4).

An image has n spatial axes, the last ones. A x has N entries, complex numbers or vectors, given by their components.
"""

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor


@dataclass
class LinearMap(ABC):
    """What a distance needs of A: itself, its transpose, the sum over its entries, and which of them keep a sign."""

    shape: tuple[int, ...]  # of an image, n lengths
    blind_to_constants: ClassVar[bool] = False  # whether one under both images cancels in |A x| - |A y|

    def __post_init__(self) -> None:
        # Not when they are asked for: a product of symbolic lengths can't leave the Function that torch.compile traces.
        self.axes = tuple(range(-len(self.shape), 0))
        self.count = math.prod(self.shape)  # N

    @abstractmethod
    def __call__(self, x: Tensor) -> list[Tensor]:
        """A x, as the components of its entries."""

    @abstractmethod
    def transpose(self, components: list[Tensor]) -> Tensor:
        """A^T of such components, an image."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the N entries of each image."""
        return values.sum(self.axes)

    def signed(self, lengths: Tensor, first: Tensor) -> Tensor:
        """The lengths of the entries, but where an entry is real and keeps its sign, its first and only component."""
        return lengths


class Identity(LinearMap):
    """x itself. By Parseval's theorem it serves for the unitary DFT where X - Y is compared with p = 2 (SPEC 3.4)."""

    def __call__(self, x: Tensor) -> list[Tensor]:
        return [x]

    def transpose(self, components: list[Tensor]) -> Tensor:
        return components[0]


class Fourier(LinearMap):
    """X, the unitary DFT of a real image: one half, of which the other is the mirror image (SPEC 3.1)."""

    blind_to_constants = True

    def __call__(self, x: Tensor) -> list[Tensor]:
        X = torch.fft.rfftn(x, dim=self.axes, norm="ortho")
        return list(torch.view_as_real(X).unbind(-1))

    def transpose(self, components: list[Tensor]) -> Tensor:
        # The inverse adds the mirror image, as total does.
        return torch.fft.irfftn(torch.complex(*components), self.shape, self.axes, norm="ortho")

    def total(self, values: Tensor) -> Tensor:
        columns = values.sum(self.axes[:-1]) if len(self.shape) > 1 else values
        q = torch.arange(columns.shape[-1], device=values.device)
        own_mirror_image = (q == 0) | (2 * q == self.shape[-1])
        return torch.where(own_mirror_image, columns, 2 * columns).sum(-1)

    def signed(self, lengths: Tensor, first: Tensor) -> Tensor:
        """DC (SPEC 3.3)."""
        n, zero = len(self.shape), torch.zeros((), dtype=torch.long, device=lengths.device)
        front = tuple(range(n))
        lengths, first = (values.movedim(self.axes, front) for values in (lengths, first))
        return lengths.index_put((zero,) * n, first[(0,) * n]).movedim(front, self.axes)

    def whole(self, half: Tensor) -> Tensor:
        """All N entries of an even spectrum, given one half: the entry at -f is the one at f."""
        mirror = half[..., 1 : (self.shape[-1] + 1) // 2].flip(self.axes)
        mirror = mirror.roll((1,) * (len(self.shape) - 1), self.axes[:-1]) if len(self.shape) > 1 else mirror
        return torch.cat([half, mirror], -1)


@dataclass
class Windows(LinearMap):
    """The unitary DFTs of windows that overlap by a quarter, of an image reflected at its borders (SPEC 3.7).

    Along every axis a window is tapered where it overlaps its neighbours. The squares of the tapers add up to a
    constant, so that each pixel counts alike. Windows have two axes for each axis of an image: (*counts, *sizes).
    """

    size: int  # of a window along every axis

    def __post_init__(self) -> None:
        super().__post_init__()
        self.overlap = self.size // 4
        self.hop = self.size - self.overlap
        self.windows = tuple((length + self.size - 1) // self.hop for length in self.shape)  # along each axis
        self.fourier = Fourier((self.size,) * len(self.shape))
        self.count = math.prod(self.windows) * self.fourier.count

    def __call__(self, x: Tensor) -> list[Tensor]:
        for axis in self.axes:
            x = _mirrored(x, axis, self.overlap, self._after(axis), "reflect")
        for _ in self.axes:  # each time the first spatial axis: the windows' own go to the end
            x = x.unfold(self.axes[0], self.size, self.hop)
        n = len(self.shape)
        # A product lies in memory as its first factor does, or as a compiler likes: so window after window.
        taper = self._taper(x).expand(x.shape[-2 * n :]).contiguous()
        components = self.fourier((taper * x).flatten(0, -1 - n))
        return [c.unflatten(0, x.shape[:-n]) for c in components]

    def transpose(self, components: list[Tensor]) -> Tensor:
        x = self.fourier.transpose(components) * self._taper(components[0])
        for axis in self.axes:  # the first pair of axes, of counts and sizes, side by side
            x = self._joined(x.movedim(axis, 2 * axis + 1), 2 * axis)
        for axis in self.axes:
            x = self._folded(x, axis)
        return x

    def total(self, values: Tensor) -> Tensor:
        return self.fourier.total(values).sum(self.axes)

    def signed(self, lengths: Tensor, first: Tensor) -> Tensor:
        """DC of every window (SPEC 3.3)."""
        return self.fourier.signed(lengths, first)

    def _taper(self, x: Tensor) -> Tensor:
        """The weights of a window's pixels, in the dtype and on the device of x."""
        i = torch.arange(self.overlap, dtype=x.dtype, device=x.device)
        rise = torch.sin((i + 0.5) * (math.pi / 2 / self.overlap))
        level = rise.new_ones(self.size - 2 * self.overlap)
        # Joined, they are a table: Inductor would compute the sines anew at every pixel of every window.
        taper = torch.cat([rise, level, rise.flip(0)]) * math.sqrt(self.size / self.hop)
        return functools.reduce(torch.mul, (_along(taper, axis) for axis in self.axes))

    def _folded(self, x: Tensor, axis: int) -> Tensor:
        """The transpose of _mirrored: what is beyond an end is added to the pixels that it reflects."""
        length, before, after = self.shape[axis], self.overlap, self._after(axis)
        first, x, last = x.split([before, length, after], axis)
        for beyond, start in (first, 1), (last, length - 1 - after):
            width = beyond.shape[axis]
            left, images, right = x.split([start, width, length - start - width], axis)
            x = torch.cat([left, images + beyond.flip(axis), right], axis)
        return x

    def _joined(self, x: Tensor, axis: int) -> Tensor:
        """The transpose of unfold: windows along an axis, their pixels along the next, added where they overlap."""
        rising, level, falling = x.split([self.overlap, self.hop - self.overlap, self.overlap], axis + 1)
        first, before = rising.split([1, x.shape[axis] - 1], axis)
        after, last = falling.split([x.shape[axis] - 1, 1], axis)
        shared = torch.cat([first, after + before], axis)
        return torch.cat([torch.cat([shared, level], axis + 1).flatten(axis, axis + 1), last.squeeze(axis)], axis + 1)

    def _after(self, axis: int) -> int:
        """How far the last window goes beyond the end of an axis."""
        return self.windows[axis] * self.hop - self.shape[axis]


@dataclass
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

    def __call__(self, x: Tensor) -> list[Tensor]:
        corners = self._smooth(x, "reflect") * (1 / self.gain)
        return [self._across(corners, own) for own in self.axes]

    def transpose(self, components: list[Tensor]) -> Tensor:
        """A^T = B^-1 A' B.

        A is D^-1 E^T C E: C correlates the image's even extension E x, which is periodic, with the kernel; E^T adds
        what lies on one pixel, and E^T E = D, 1 on the border and 2 elsewhere along every axis. With B = 2 D^-1,
        A^T = E^T C^T E D^-1 is B^-1 A' B, where A' has the reflected kernel, C^T, in place of C. A component is odd
        along its own axis: on the border across it, B is 0.
        """
        first, *others = (self._across_transpose(c, own) for c, own in zip(components, self.axes, strict=True))
        corners = sum(others, first)
        return self._smooth(corners, "symmetric") * (1 / (self.gain * self._border(components[0])))

    def _smooth(self, x: Tensor, mirror: Literal["reflect", "symmetric"]) -> Tensor:
        """(1+z)^(k-2) along every axis, from pixels to corners ("reflect") or back ("symmetric")."""
        for axis in self.axes:
            x = _mirrored(x, axis, self.size // 2, self.size // 2, mirror)
            for _ in range(self.size - 2):
                before, after = _neighbours(x, axis)
                x = before + after
        return x

    def _across(self, x: Tensor, own: int) -> Tensor:
        for axis in self.axes:
            before, after = _neighbours(x, axis)
            x = after - before if axis == own else before + after
        return x

    def _across_transpose(self, x: Tensor, own: int) -> Tensor:
        x = x * self._border(x, own)
        for axis in self.axes:
            before, after = _neighbours(x, axis)
            x = before - after if axis == own else before + after
        return x

    def _border(self, x: Tensor, own: int | None = None) -> Tensor:
        """2 on the border, 4 where two meet, 0 on that across the axis `own`, and 1 elsewhere."""
        weight = torch.ones((), dtype=x.dtype, device=x.device)
        for axis, length in zip(self.axes, self.shape, strict=True):
            i = torch.arange(length, device=x.device)
            ends = torch.where((i == 0) | (i == length - 1), 0 if axis == own else 2, 1).to(x.dtype)
            weight = weight * _along(ends, axis)
        return weight


def _mirrored(x: Tensor, axis: int, before: int, after: int, mirror: Literal["reflect", "symmetric"]) -> Tensor:
    """x with its mirror image beyond both ends of an axis, with or without ("reflect") the pixel at the end."""
    skipped = 1 if mirror == "reflect" else 0
    first = x.narrow(axis, skipped, before)
    last = x.narrow(axis, x.shape[axis] - after - skipped, after)
    return torch.cat([first.flip(axis), x, last.flip(axis)], axis)


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The first and the second of each two neighbours along an axis."""
    length = x.shape[axis]
    return x.narrow(axis, 0, length - 1), x.narrow(axis, 1, length - 1)


def _along(values: Tensor, axis: int) -> Tensor:
    """A row of values, laid along an axis that is counted from the end."""
    return values[(..., *(None for _ in range(1, -axis)))]
