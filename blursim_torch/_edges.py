"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

A k x k Sobel pair is the binomial smoothing B = (1+z)^(k-2) along both axes, followed by

    gx = (right - left) smoothed by (1+z) downwards,    gy = (lower - upper) smoothed by (1+z) sideways

of the four smoothed corners of each pixel. Turned by 45 degrees the pair is the two diagonals

    u = lower right - upper left,    v = upper right - lower left,    gx = u + v,    gy = u - v

so that |grad|^2 = gx^2 + gy^2 = 2 (u^2 + v^2): the edges need B and two subtractions.
"""

import math

import torch
from torch import Tensor

from blursim_torch._distance import inverse, norm, root, with_gradient


def gain(size: int) -> int:
    """Response of the Sobel kernel to a slope of one intensity per pixel: 128 for size 5."""
    return 2 ** (2 * size - 3)


def _reflect(x: Tensor, axis: int, radius: int, edge: int) -> Tensor:
    """x mirrored outwards by radius pixels; edge=1 mirrors at the edge pixel, edge=0 beyond it."""
    n = x.shape[axis]
    before = x.narrow(axis, edge, radius)
    after = x.narrow(axis, n - edge - radius, radius)
    return torch.cat([before.flip(axis), x, after.flip(axis)], axis)


def _smooth(x: Tensor, axis: int, size: int) -> Tensor:
    """(1+z)^(size-2) along axis, where it fits."""
    last = size - 2
    n = x.shape[axis] - last
    tap = lambda i: x.narrow(axis, i, n)
    # Pairs of equal weight first: mirrored pixels then give mirrored sums, to the bit (SPEC 7.1).
    return sum(math.comb(last, i) * (tap(i) + tap(last - i)) for i in range(size // 2))


def _corners(x: Tensor, size: int) -> Tensor:
    """B x at the corners of the pixels, shape (*batch, H + 1, W + 1); x reflected at its edge pixels."""
    for axis in (x.ndim - 2, x.ndim - 1):
        x = _smooth(_reflect(x, axis, size // 2, edge=1), axis, size)
    return x


def _diagonals(corners: Tensor) -> tuple[Tensor, Tensor]:
    """(u, v) of each pixel."""
    u = corners[..., 1:, 1:] - corners[..., :-1, :-1]
    v = corners[..., :-1, 1:] - corners[..., 1:, :-1]
    return u, v


def _magnitude(u: Tensor, v: Tensor) -> Tensor:
    """|grad| of each pixel."""
    return root(2 * (u**2 + v**2))


def _adjoint(u: Tensor, v: Tensor, size: int) -> Tensor:
    """Transpose of x -> (u, v) = _diagonals(_corners(x)), for u and v of an image reflected like x.

    Seen through its reflection an image goes on for ever, and there B is its own transpose. What
    is left to do at the border: an edge pixel is its own mirror image and stands once where every
    other pixel stands twice; hence twice its (u, v) before, half its value after.
    """
    weight = _border_weight(u)
    u, v = u * weight, v * weight
    x = u[..., :-1, :-1] - u[..., 1:, 1:] + v[..., 1:, :-1] - v[..., :-1, 1:]
    for axis in (x.ndim - 2, x.ndim - 1):
        x = _smooth(_reflect(x, axis, size // 2, edge=0), axis, size)
    return x / weight


def _border_weight(x: Tensor) -> Tensor:
    """2 on the border, 4 in its corners, 1 elsewhere; broadcasts to x."""
    weight = torch.ones((), dtype=x.dtype, device=x.device)
    for n, shape in ((x.shape[-2], (-1, 1)), (x.shape[-1], (-1,))):
        index = torch.arange(n, device=x.device).reshape(shape)
        weight = weight * torch.where((index == 0) | (index == n - 1), 2, 1)
    return weight


def _magnitude_gradient(x: Tensor, y: Tensor, size: int) -> Tensor:
    """Transposed Sobel of (|grad x| - |grad y|) grad x / |grad x|, over the norm of the difference."""
    u, v = _diagonals(_corners(x, size))
    magnitude = _magnitude(u, v)
    difference = magnitude - _magnitude(*_diagonals(_corners(y, size)))
    nonzero = magnitude > 0
    ratio = torch.where(nonzero, 2 * difference / torch.where(nonzero, magnitude, 1), 0)
    return _adjoint(ratio * u, ratio * v, size) * inverse(norm(difference**2))


@with_gradient(_magnitude_gradient)
def magnitude_distance(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|| |grad x| - |grad y| ||_2 of each image, |grad| the length of its Sobel vector."""
    return norm(magnitude_map(x, y, size) ** 2)


def _vector_gradient(x: Tensor, y: Tensor, size: int) -> Tensor:
    u, v = _diagonals(_corners(x - y, size))
    return _adjoint(2 * u, 2 * v, size) * inverse(norm(_magnitude(u, v) ** 2))


@with_gradient(_vector_gradient)
def vector_distance(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|| grad x - grad y ||_2 of each image: Sobel is linear, so that of x - y."""
    return norm(vector_map(x, y, size) ** 2)


def magnitude_map(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|grad x| - |grad y|, shape (*batch, H, W)."""
    return _magnitude(*_diagonals(_corners(x, size))) - _magnitude(*_diagonals(_corners(y, size)))


def vector_map(x: Tensor, y: Tensor, size: int) -> Tensor:
    """|grad (x - y)|, shape (*batch, H, W)."""
    return _magnitude(*_diagonals(_corners(x - y, size)))
