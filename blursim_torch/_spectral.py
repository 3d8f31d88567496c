"""The general term: how far apart the spectra of two images are (SPEC 3).

G = M_p(|X| - |Y|) / sqrt(N), or M_p(|X - Y|) / sqrt(N), over all N frequencies. The last `axes` axes are spatial.
A real image's spectrum is kept as its half, of which rfftn leaves the mirror image out.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from blursim_torch._fft import multiplicity, rfftn
from blursim_torch._norm import Bound, eps, length, norm, of_difference, sum_of_squares, total


def general(x: Tensor, y: Tensor, magnitude_of_y: Tensor | None, axes: int, spectrum: str, p: int) -> Tensor:
    """G of each image; magnitude_of_y, if it is known, is used in the place of y."""
    pixels = math.prod(x.shape[-axes:])
    if spectrum == "complex" and p == 2:
        # By Parseval's theorem, without an FFT (SPEC 3.4).
        return length([x - y], axes=axes) / pixels**0.5
    difference, negligible = spectral_difference(x, y, magnitude_of_y, axes, spectrum)
    counts = multiplicity(difference[0], x.shape[-1])
    return norm(difference, p, axes, negligible, counts) / pixels ** (1 / p + 1 / 2)


def spectral_difference(
    x: Tensor, y: Tensor, magnitude_of_y: Tensor | None, axes: int, spectrum: str
) -> tuple[Sequence[Tensor], Bound]:
    """d_s by its components, and the bound of its rounding error."""
    shape = x.shape[-axes:]
    if spectrum == "complex":
        difference = rfftn(x - y, axes)
        return difference, Bound(partial(_rounding, shape=shape), difference)
    X, of_x = magnitude(x, axes)
    if magnitude_of_y is None:
        Y, of_y = magnitude(y, axes)
    else:
        Y, of_y = magnitude_of_y, Bound(partial(_rounding, shape=shape), (magnitude_of_y,))
    return [X - Y], of_difference(of_x, of_y)


def magnitude(x: Tensor, axes: int) -> tuple[Tensor, Bound]:
    """|X|, but at DC, where X is real, X with its sign (SPEC 3.3); and the bound of its rounding error."""
    X = rfftn(x, axes)
    bound = Bound(partial(_rounding, shape=x.shape[-axes:]), X)
    return length(X, bound, signed=(..., *(0 for _ in range(axes)))), bound


def spectrum_map(x: Tensor, y: Tensor, axes: int, spectrum: str) -> Tensor:
    """d_s, or its length where it is complex, over the whole spectrum with DC in the centre (SPEC 11)."""
    difference, negligible = spectral_difference(x, y, None, axes, spectrum)
    half = difference[0] if spectrum == "magnitude" else length(difference, negligible)
    spatial = tuple(range(half.ndim - axes, half.ndim))
    # The column at -q is that at q mirrored in all other axes; q = 0 and, of an even width, q = W / 2 are not repeated.
    mirror = half[..., 1 : (x.shape[-1] + 1) // 2].flip(spatial)
    mirror = mirror.roll((1,) * (axes - 1), spatial[:-1]) if axes > 1 else mirror
    return torch.fft.fftshift(torch.cat([half, mirror], -1), spatial)


def _rounding(*spectrum: Tensor, shape: Sequence[int]) -> Tensor:
    """Bound of an FFT's rounding error, from the energy in a bin's lines and in the image (SPEC 7.1).

    8 eps max(4 ||x||, ||l||): flat, striped and random images of 5 to 1024 pixels a side, primes among them, came to
    7.2 eps max(4 ||x||, ||l||) in float32, JAX's FFT and PyTorch's.
    """
    squares, axes = sum_of_squares(spectrum), len(shape)
    image = total(squares, axes, multiplicity(squares, shape[-1])).reshape(*squares.shape[:-axes], *(1 for _ in shape))
    largest = 8 * eps(squares) * 4 / math.prod(shape) ** 0.5 * image.sqrt()
    for axis in range(-axes, 0):
        # Along the last axis half of a line stands for all of it.
        line = squares.sum(axis, keepdim=True).sqrt()
        largest = torch.maximum(largest, 8 * eps(squares) * (2 if axis == -1 else 1) ** 0.5 * line)
    return largest
