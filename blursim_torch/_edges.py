"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

A k x k Sobel pair is the binomial smoothing B = (1+z)^(k-2) along both axes, followed by

    gx = (right - left) smoothed by (1+z) downwards,    gy = (lower - upper) smoothed by (1+z) sideways

of the four smoothed corners of each pixel. Turned by 45 degrees the pair is the two diagonals

    u = lower right - upper left,    v = upper right - lower left,    gx = u + v,    gy = u - v

so that |grad|^2 = gx^2 + gy^2 = 2 (u^2 + v^2): the edges need B and two subtractions. Magnitudes and
distances below are those of (u, v); times sqrt(2) they are those of the Sobel vectors.
"""

import math

import torch
from torch import Tensor

from blursim_torch._distance import above, norm, over, root, square, times, with_gradient
from blursim_torch._opaque import opaque


def gain(size: int) -> int:
    """Response of the Sobel kernel to a slope of one intensity per pixel: 128 for size 5."""
    return 1 << (2 * size - 3)


@opaque(lambda x, width, mode: x.new_empty((*x.shape[:-2], x.shape[-2] + 2 * width, x.shape[-1] + 2 * width)))
def _pad(x: Tensor, width: int, mode: str) -> Tensor:
    """A border around each image, of its mirror image ("reflect") or its edge pixels ("replicate")."""
    padded = torch.nn.functional.pad(x.reshape(-1, *x.shape[-2:]), (width,) * 4, mode)
    return padded.reshape(*x.shape[:-2], *padded.shape[-2:])


def _binomial(x: Tensor, degree: int) -> Tensor:
    """(1+z)^degree along both axes, where it fits."""
    for axis in (x.ndim - 1, x.ndim - 2):
        for _ in range(degree):
            x = x.narrow(axis, 0, x.shape[axis] - 1) + x.narrow(axis, 1, x.shape[axis] - 1)
    return x


def _sobel(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(u, v) of each pixel."""
    corners = _binomial(_pad(x, size // 2, "reflect"), size - 2)
    u = corners[..., 1:, 1:] - corners[..., :-1, :-1]
    v = corners[..., :-1, 1:] - corners[..., 1:, :-1]
    return u, v


def _length(u: Tensor, v: Tensor) -> Tensor:
    """sqrt(u^2 + v^2) of each pixel."""
    return root(torch.addcmul(u.square(), v, v))


def _sobel_transposed(u: Tensor, v: Tensor, size: int) -> Tensor:
    """Transpose of _sobel, for u and v that mirror like those of an image.

    Seen through its reflection an image goes on for ever, and there B is its own transpose. What
    is left to do at the border: an edge pixel is its own mirror image and stands once where every
    other pixel stands twice; hence twice its (u, v) before, half its value after. In between are
    corners, mirrored beyond the edge pixels; summed once they are pixels, mirrored at them.
    """
    u, v = _border_times(2, u), _border_times(2, v)
    corners = (u[..., :-1, :-1] - u[..., 1:, 1:]).add_(v[..., 1:, :-1]).sub_(v[..., :-1, 1:])
    pixels = _binomial(_pad(corners, 1, "replicate"), 1)
    return _border_times(1 / 2, _binomial(_pad(pixels, size // 2 - 1, "reflect"), size - 3))


def _border_times(factor: float, x: Tensor) -> Tensor:
    """x with its border multiplied by factor, its corners by factor^2; in its memory, as `times`."""
    x = x.clone() if torch.is_grad_enabled() else x
    for axis in (x.ndim - 2, x.ndim - 1):
        for side in (0, x.shape[axis] - 1):
            x.select(axis, side).mul_(factor)
    return x


def magnitude(x: Tensor, size: int) -> Tensor:
    """Length of (u, v) of each pixel, shape (*batch, H, W)."""
    return _length(*_sobel(x, size))


def _rounding(x: Tensor, size: int) -> Tensor:
    """Bound of the rounding error of a length, from the root mean square of the image (SPEC 7.1)."""
    root_mean_square = norm(x.square()) / math.sqrt(x.shape[-2] * x.shape[-1])
    return (16 / math.sqrt(2) * torch.finfo(x.dtype).eps * gain(size) * root_mean_square)[..., None, None]


def _distance_and_direction_to(x: Tensor, target: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The direction is transposed Sobel of (|grad x| - |grad y|) grad x / |grad x|."""
    u, v = _sobel(x, size)
    length = _length(u, v)
    difference = length - target
    distance, ratio = norm(difference.square()), over(difference, above(length, _rounding(x, size)))
    return distance, _sobel_transposed(times(u, ratio), times(v, ratio), size)


@with_gradient(_distance_and_direction_to, symmetric=False)
def magnitude_distance_to(x: Tensor, target: Tensor, size: int) -> Tensor:
    """magnitude_distance(x, y), given magnitude(y)."""
    return norm(square(magnitude(x, size) - target))


@with_gradient(lambda x, y, size: _distance_and_direction_to(x, magnitude(y, size), size))
def magnitude_distance(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|| |grad x| - |grad y| ||_2 / sqrt(2) of each image, |grad| the length of its Sobel vector."""
    return norm(square(magnitude(x, size) - magnitude(y, size)))


def _vector_distance_and_direction(x: Tensor, y: Tensor, size: int) -> tuple[Tensor, Tensor]:
    u, v = _sobel(x - y, size)
    return norm(torch.addcmul(u.square(), v, v)), _sobel_transposed(u, v, size)


@with_gradient(_vector_distance_and_direction)
def vector_distance(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|| grad x - grad y ||_2 / sqrt(2) of each image: Sobel is linear, so that of x - y."""
    u, v = _sobel(x - y, size)
    return norm(torch.addcmul(u.square(), v, v))


def magnitude_map(x: Tensor, y: Tensor, size: int) -> Tensor:
    """(|grad x| - |grad y|) / sqrt(2), shape (*batch, H, W)."""
    return magnitude(x, size) - magnitude(y, size)


def vector_map(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|grad (x - y)| / sqrt(2), shape (*batch, H, W)."""
    return magnitude(x - y, size)
