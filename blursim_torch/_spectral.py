"""The general term: how far apart the spectra of two images are (SPEC 3)."""

import math

import torch
from torch import Tensor

from blursim_torch._distance import SPATIAL, above, inverse, norm, root, with_gradient
from blursim_torch._fft import irfft2, rfft2


def _length(spectrum: Tensor) -> Tensor:
    """|X|, but at DC, where X is real, X itself with its sign (SPEC 3.3)."""
    real, imag = spectrum.unbind(-1)
    length = root(torch.addcmul(real.square(), imag, imag))
    length[..., 0, 0] = real[..., 0, 0]
    return length


def _full_squares(half: Tensor, width: int) -> Tensor:
    """Squares over the half spectrum that add up to those over the whole one."""
    column = torch.arange(half.shape[-1], device=half.device)
    # Of a real image's spectrum rfft2 leaves out the mirror image of every column but these.
    alone = (column == 0) | (2 * column == width)
    return half.square().mul_(torch.where(alone, 1, 2))


def magnitude(x: Tensor) -> Tensor:
    """The half spectrum of magnitudes that magnitude_distance compares, shape (*batch, H, W // 2 + 1)."""
    return _length(rfft2(x))


def _rounding(length: Tensor, width: int) -> Tensor:
    """Bound of an FFT's rounding error, from the energy in a bin's row, its column and the image (SPEC 7.1)."""
    rows = _full_squares(length, width).sum(-1, keepdim=True)
    columns = length.square().sum(-2, keepdim=True)
    image = rows.mean(-2, keepdim=True) / width
    return 8 * torch.finfo(length.dtype).eps * torch.maximum(16 * image, torch.maximum(rows, columns)).sqrt()


def _distance_and_gradient_to(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient is irfft2((|X| - |Y|) X / |X|) / || |X| - |Y| ||: rfft2 backwards, halves and all."""
    X = rfft2(x)
    length = _length(X)
    difference = length - target
    distance = norm(_full_squares(difference, x.shape[-1]))
    unscaled = difference * inverse(distance)
    ratio = unscaled / above(length, _rounding(length, x.shape[-1]))
    real, imag = (ratio * part for part in X.unbind(-1))
    real[..., 0, 0] = unscaled[..., 0, 0]
    return distance, irfft2(real, imag, x.shape[-2:])


@with_gradient(_distance_and_gradient_to, symmetric=False)
def magnitude_distance_to(x: Tensor, target: Tensor) -> Tensor:
    """magnitude_distance(x, y), given magnitude(y)."""
    return norm(_full_squares(magnitude(x) - target, x.shape[-1]))


@with_gradient(lambda x, y: _distance_and_gradient_to(x, magnitude(y)))
def magnitude_distance(x: Tensor, y: Tensor) -> Tensor:
    """|| |X| - |Y| ||_2 of each image over its (H, W) bins, DC with its sign."""
    return norm(_full_squares(magnitude(x) - magnitude(y), x.shape[-1]))


def _complex_distance_and_gradient(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    difference = x - y
    distance = norm(difference.square()) * _root_area(x)
    return distance, difference * (_root_area(x) ** 2 * inverse(distance))


@with_gradient(_complex_distance_and_gradient)
def complex_distance(x: Tensor, y: Tensor) -> Tensor:
    """||X - Y||_2 of each image: by Parseval sqrt(H W) ||x - y||_2, without an FFT."""
    return norm((x - y).square()) * _root_area(x)


def _root_area(x: Tensor) -> float:
    return math.sqrt(x.shape[-2] * x.shape[-1])


def magnitude_map(x: Tensor, y: Tensor) -> Tensor:
    """|X| - |Y| with DC in the centre, shape (*batch, H, W)."""
    X, Y = (torch.view_as_real(torch.fft.fft2(image)) for image in (x, y))
    return torch.fft.fftshift(_length(X) - _length(Y), SPATIAL)


def complex_map(x: Tensor, y: Tensor) -> Tensor:
    """|X - Y| with DC in the centre, shape (*batch, H, W)."""
    return torch.fft.fftshift(torch.fft.fft2(x - y).abs(), SPATIAL)
