"""The general term: how far apart the spectra of two images are (SPEC 3)."""

import math

import torch
from torch import Tensor

from blursim_torch._distance import SPATIAL, above, norm, over, root, square, with_gradient
from blursim_torch._opaque import opaque


def _length(spectrum: Tensor) -> Tensor:
    """|X|, but at DC, where X is real, X itself with its sign (SPEC 3.3)."""
    real, imag = spectrum.unbind(-1)
    length = root(torch.addcmul(real.square(), imag, imag))
    length[..., 0, 0] = real[..., 0, 0]
    return length


def _half(x: Tensor) -> tuple[int, ...]:
    return *x.shape[:-1], x.shape[-1] // 2 + 1


@opaque(lambda x: x.new_empty(_half(x)))
def magnitude(x: Tensor) -> Tensor:
    """The half spectrum of magnitudes that magnitude_distance compares, shape (*batch, H, W // 2 + 1)."""
    return _length(torch.view_as_real(torch.fft.rfft2(x)))


@opaque(lambda x: (x.new_empty((*_half(x), 2)), x.new_empty(_half(x))))
def _spectrum_and_magnitude(x: Tensor) -> tuple[Tensor, Tensor]:
    """The half spectrum, real and imaginary parts along a last axis, and its magnitudes."""
    spectrum = torch.view_as_real(torch.fft.rfft2(x)).contiguous()
    return spectrum, _length(spectrum)


@opaque(lambda spectrum, ratio, dc, width: ratio.new_empty((*ratio.shape[:-1], width)))
def _rfft2_transposed(spectrum: Tensor, ratio: Tensor, dc: Tensor, width: int) -> Tensor:
    """The images of the half spectrum ratio * spectrum with dc at DC: irfft2 without the factor 1 / (H W)."""
    scaled = torch.view_as_complex(spectrum) * ratio
    scaled[..., 0, 0] = dc
    return torch.fft.irfft2(scaled, (ratio.shape[-2], width), norm="forward").contiguous()


def _energy(columns: Tensor, width: int) -> Tensor:
    """Sum of squares over a whole spectrum, from those over the columns of its half."""
    column = torch.arange(columns.shape[-1], device=columns.device)
    # Of a real image's spectrum rfft2 leaves out the mirror image of every column but these.
    alone = (column == 0) | (2 * column == width)
    return (columns * torch.where(alone, 1, 2)).sum(-1)


def _norm(squares: Tensor, width: int) -> Tensor:
    """Euclidean norm of a whole spectrum, from the squares of its half."""
    return root(_energy(squares.sum(-2), width))


def _rounding(length: Tensor, width: int) -> Tensor:
    """Bound of an FFT's rounding error, from the energy in a bin's row, its column and the image (SPEC 7.1)."""
    squares = length.square()
    rows, columns = 2 * squares.sum(-1, keepdim=True), squares.sum(-2, keepdim=True)
    image = _energy(columns, width)[..., None] / (length.shape[-2] * width)
    eps = torch.finfo(length.dtype).eps
    return torch.maximum(8 * eps * torch.maximum(rows, 16 * image).sqrt(), 8 * eps * columns.sqrt())


def _distance_and_direction_to(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The direction is irfft2((|X| - |Y|) X / |X|): rfft2 backwards, halves and all."""
    spectrum, length = _spectrum_and_magnitude(x)
    difference = length - target
    distance, dc = _norm(difference.square(), x.shape[-1]), difference[..., 0, 0].clone()
    ratio = over(difference, above(length, _rounding(length, x.shape[-1])))
    return distance, _rfft2_transposed(spectrum, ratio, dc, x.shape[-1])


@with_gradient(_distance_and_direction_to, symmetric=False)
def magnitude_distance_to(x: Tensor, target: Tensor) -> Tensor:
    """magnitude_distance(x, y), given magnitude(y)."""
    return _norm(square(magnitude(x) - target), x.shape[-1])


@with_gradient(lambda x, y: _distance_and_direction_to(x, magnitude(y)))
def magnitude_distance(x: Tensor, y: Tensor) -> Tensor:
    """|| |X| - |Y| ||_2 of each image over its (H, W) bins, DC with its sign."""
    return _norm(square(magnitude(x) - magnitude(y)), x.shape[-1])


def _complex_distance_and_direction(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    difference = x - y
    return norm(difference.square()) * _root_area(x), difference * _root_area(x) ** 2


@with_gradient(_complex_distance_and_direction)
def complex_distance(x: Tensor, y: Tensor) -> Tensor:
    """||X - Y||_2 of each image: by Parseval sqrt(H W) ||x - y||_2, without an FFT."""
    return norm(square(x - y)) * _root_area(x)


def _root_area(x: Tensor) -> float:
    return math.sqrt(x.shape[-2] * x.shape[-1])


def magnitude_map(x: Tensor, y: Tensor) -> Tensor:
    """|X| - |Y| with DC in the centre, shape (*batch, H, W)."""
    X, Y = (torch.view_as_real(torch.fft.fft2(image)) for image in (x, y))
    return torch.fft.fftshift(_length(X) - _length(Y), SPATIAL)


def complex_map(x: Tensor, y: Tensor) -> Tensor:
    """|X - Y| with DC in the centre, shape (*batch, H, W)."""
    return torch.fft.fftshift(torch.fft.fft2(x - y).abs(), SPATIAL)
