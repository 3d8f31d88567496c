"""The linear maps A that images are compared through, each with its transpose (SPEC 3, 4).

An image has n spatial axes, the last ones. A x has N entries, complex numbers or vectors, given by their components.
"""

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass
class LinearMap(ABC):
    """What the distance needs of A: itself, its transpose, the sum over its entries, and where these keep their sign."""

    shape: tuple[int, ...]  # of an image, n lengths

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
    """X, the unitary DFT of a real image: the half of it that is not the mirror image of the rest (SPEC 3.1)."""

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
        start = -len(self.shape)
        dc = first[(..., *(slice(1) for _ in self.shape))].flatten(start)
        return lengths.flatten(start).slice_scatter(dc, -1, 0, 1).unflatten(-1, lengths.shape[start:])

    def whole(self, half: Tensor) -> Tensor:
        """All N entries of a spectrum that is even, given its half: that at -f is that at f."""
        mirror = half[..., 1 : (self.shape[-1] + 1) // 2].flip(self.axes)
        mirror = mirror.roll((1,) * (len(self.shape) - 1), self.axes[:-1]) if len(self.shape) > 1 else mirror
        return torch.cat([half, mirror], -1)


@dataclass
class Windows(LinearMap):
    """The unitary DFTs of windows that overlap by a quarter, of an image reflected at its borders (SPEC 3.7).

    Along every axis a window is tapered over what it shares with its neighbours, where the squares of both tapers add
    up to a constant: so each pixel counts alike. Windows have two axes where an image has one, (*counts, *sizes).
    """

    size: int  # of a window along every axis

    def __post_init__(self) -> None:
        super().__post_init__()
        self.overlap = self.size // 4
        self.hop = self.size - self.overlap
        self.windows = tuple(-(-(length + self.overlap) // self.hop) for length in self.shape)  # along each axis
        self.fourier = Fourier((self.size,) * len(self.shape))
        self.count = math.prod(self.windows) * self.fourier.count

    def __call__(self, x: Tensor) -> list[Tensor]:
        for axis in self.axes:
            x = self._reflected(x, axis)
        for _ in self.axes:  # each time the first spatial axis: the windows' own go to the end
            x = x.unfold(self.axes[0], self.size, self.hop)
        return self.fourier(x.contiguous() * self._taper(x))

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
        """A window's weights, as large as it, in the dtype and on the device of x."""
        i = torch.arange(self.size, dtype=x.dtype, device=x.device) + 0.5
        rise = (torch.minimum(i, self.size - i) / self.overlap).clamp(max=1)
        taper = torch.sin(math.pi / 2 * rise) * math.sqrt(self.size / self.hop)
        return functools.reduce(torch.mul, (_along(taper, axis) for axis in self.axes))

    def _reflected(self, x: Tensor, axis: int) -> Tensor:
        """x as far as its windows go: beyond both ends of an axis its reflection, which doesn't repeat the end."""
        length, before, after = x.shape[axis], self.overlap, self._after(axis)
        first, last = x.narrow(axis, 1, before), x.narrow(axis, length - 1 - after, after)
        return torch.cat([first.flip(axis), x, last.flip(axis)], axis)

    def _folded(self, x: Tensor, axis: int) -> Tensor:
        """The transpose of _reflected: what lies beyond an end is added to the pixels that it is the image of."""
        length, before, after = self.shape[axis], self.overlap, self._after(axis)
        first, x, last = x.split([before, length, after], axis)
        others = (0, 0) * (-1 - axis)
        first = pad(first.flip(axis), (*others, 1, length - 1 - before))
        last = pad(last.flip(axis), (*others, length - 1 - after, 1))
        return x + first + last

    def _joined(self, x: Tensor, axis: int) -> Tensor:
        """The transpose of unfold: the windows along an axis, and their pixels along the next, added where they meet."""
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
    along the axis of the component and (1+z) along the others. Sums of neighbours, scaled once at the end: so equal
    pixels have no gradient at all, and equal images the same one however a compiler arranges the sums. Of two axes, the
    components are those along the diagonals, turned by 45 degrees: vectors of the same length, from fewer sums.
    """

    size: int

    @property
    def gain(self) -> float:
        """The sums' response to a slope of one intensity per pixel (SPEC 5.2)."""
        return 2.0 ** (len(self.shape) * (self.size - 1) - 1)

    @property
    def _scale(self) -> float:
        """Of the sums; diagonals are longer by a factor of sqrt(2)."""
        return (2**0.5 if len(self.shape) == 2 else 1) / self.gain

    def __call__(self, x: Tensor) -> list[Tensor]:
        corners = self._smooth(x, "reflect") * self._scale
        if len(self.shape) == 2:
            a, b, c, d = _corners(corners)
            return [d - a, c - b]
        return [self._across(corners, own) for own in self.axes]

    def transpose(self, components: list[Tensor]) -> Tensor:
        """A^T = B^-1 A' B.

        A is D^-1 E^T C E: C correlates the image's even extension E x, which is periodic, with the kernel; E^T adds
        what lies on one pixel, and E^T E = D, 1 on the border and 2 elsewhere along every axis. With B = 2 D^-1,
        A^T = E^T C^T E D^-1 is B^-1 A' B, where A' has the reflected kernel, C^T, in place of C. On the border across its
        own axis a component is 0, as it must be here.
        """
        border = self._border(components[0])
        if len(self.shape) == 2:
            (a, _, _, d), (_, b, c, _) = (_corners(border * component) for component in components)
            corners = (a - d) + (b - c)
        else:
            first, *others = (self._across_transpose(c * border, own) for c, own in zip(components, self.axes, strict=True))
            corners = sum(others, first)
        return self._smooth(corners, "symmetric") * (self._scale / border)

    def _smooth(self, x: Tensor, mirror: Literal["reflect", "symmetric"]) -> Tensor:
        """(1+z)^(k-2) along every axis, from pixels to corners ("reflect") or back ("symmetric")."""
        for axis in self.axes:
            x = _mirrored(x, axis, self.size // 2, mirror)
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
        for axis in self.axes:
            before, after = _neighbours(x, axis)
            x = before - after if axis == own else before + after
        return x

    def _border(self, x: Tensor) -> Tensor:
        """B: 2 on the border, 4 where two meet, 8 where three do, and 1 elsewhere."""
        weight = torch.ones((), dtype=x.dtype, device=x.device)
        for axis, length in zip(self.axes, self.shape, strict=True):
            i = torch.arange(length, device=x.device)
            ends = torch.where((i == 0) | (i == length - 1), 2, 1).to(x.dtype)
            weight = weight * _along(ends, axis)
        return weight


def _mirrored(x: Tensor, axis: int, width: int, mirror: Literal["reflect", "symmetric"]) -> Tensor:
    """x with its mirror image beyond both ends of an axis, with or without ("reflect") the pixel at the end."""
    skipped = 1 if mirror == "reflect" else 0
    first = x.narrow(axis, skipped, width)
    last = x.narrow(axis, x.shape[axis] - width - skipped, width)
    return torch.cat([first.flip(axis), x, last.flip(axis)], axis)


def _corners(x: Tensor) -> tuple[Tensor, ...]:
    """Of each four neighbours in two axes the upper left, upper right, lower left and lower right."""
    return tuple(corner for row in _neighbours(x, -2) for corner in _neighbours(row, -1))


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Of each two neighbours along an axis the first, and the second."""
    length = x.shape[axis]
    return x.narrow(axis, 0, length - 1), x.narrow(axis, 1, length - 1)


def _along(values: Tensor, axis: int) -> Tensor:
    """Values in a row, laid along an axis that is counted from the end."""
    return values[(..., *(None for _ in range(1, -axis)))]
