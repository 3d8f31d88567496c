"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

A k x k Sobel pair is the binomial smoothing B = (1+z)^(k-2) along both axes, followed by

    gx = (right - left) smoothed by (1+z) downwards,    gy = (lower - upper) smoothed by (1+z) sideways

of the four smoothed corners of each pixel. Turned by 45 degrees the pair is the two diagonals

    u = lower right - upper left,    v = upper right - lower left,    gx = u + v,    gy = u - v

so that |grad|^2 = gx^2 + gy^2 = 2 (u^2 + v^2): the edges need B and two subtractions.
"""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from blursim_jax._distance import SPATIAL, above, indices, inverse, norm, root, with_gradient


def gain(size: int) -> int:
    """Response of the Sobel kernel to a slope of one intensity per pixel: 128 for size 5."""
    return 1 << (2 * size - 3)


def _smooth(x: Array, size: int, mode: Literal["reflect", "symmetric"]) -> Array:
    """B x, x mirrored at its edge pixels (mode "reflect") or beyond them ("symmetric")."""
    radius, edge, (height, width) = size // 2, int(mode == "reflect"), x.shape[-2:]
    left = jnp.flip(x[..., edge : edge + radius], -1)
    right = jnp.flip(x[..., width - edge - radius : width - edge], -1)
    x = jnp.concatenate([left, x, right], -1)
    # Rows by index: XLA fuses that with the stencil, where it would copy concatenated rows once for every tap.
    x = jnp.take(x, np.pad(np.arange(height), radius, mode=mode), -2, mode="clip")
    return _binomial(_binomial(x, x.ndim - 2, size - 2), x.ndim - 1, size - 2)


def _binomial(x: Array, axis: int, degree: int) -> Array:
    """(1+z)^degree along axis, where it fits."""
    n = x.shape[axis] - degree
    tap = [lax.slice_in_dim(x, i, i + n, axis=axis) for i in range(degree + 1)]
    # Pairs of equal weight first: mirrored pixels then give mirrored sums, to the bit (SPEC 7.1).
    total = tap[0] + tap[degree]
    for i in range(1, (degree + 1) // 2):
        total = total + math.comb(degree, i) * (tap[i] + tap[degree - i])
    return total


def _diagonals(corners: Array) -> tuple[Array, Array]:
    """(u, v) of each pixel, from B x at its corners."""
    u = corners[..., 1:, 1:] - corners[..., :-1, :-1]
    v = corners[..., :-1, 1:] - corners[..., 1:, :-1]
    return u, v


def _length(u: Array, v: Array) -> Array:
    """sqrt(u^2 + v^2) of each pixel, |grad| / sqrt(2)."""
    return root(u**2 + v**2)


def _border_weight(x: Array) -> Array:
    """2 on the border, 4 in its corners, 1 elsewhere; broadcasts to x."""
    weight = jnp.ones((1,) * x.ndim, x.dtype)
    for axis in SPATIAL:
        index = indices(x, axis)
        weight = weight * jnp.where((index == 0) | (index == x.shape[axis] - 1), 2, 1).astype(x.dtype)
    return weight


def _adjoint(u: Array, v: Array, size: int) -> Array:
    """Transpose of x -> (u, v) = _diagonals(_smooth(x)), for u and v of an image reflected like x.

    Seen through its reflection an image goes on for ever, and there B is its own transpose. What
    is left to do at the border: an edge pixel is its own mirror image and stands once where every
    other pixel stands twice; hence twice its (u, v) before, half its value after.
    """
    weight = _border_weight(u)
    u, v = u * weight, v * weight
    x = u[..., :-1, :-1] - u[..., 1:, 1:] + v[..., 1:, :-1] - v[..., :-1, 1:]
    return _smooth(x, size, "symmetric") / weight


def magnitude(x: Array, size: int) -> Array:
    """|grad x| / sqrt(2) of each pixel, shape (*batch, H, W)."""
    return _length(*_diagonals(_smooth(x, size, "reflect")))


def _rounding(x: Array, size: int) -> Array:
    """Bound of the rounding error of a length, from the root mean square of the image (SPEC 7.1)."""
    root_mean_square = norm(x**2) / math.sqrt(x.shape[-2] * x.shape[-1])
    return (16 / math.sqrt(2) * float(jnp.finfo(x.dtype).eps) * gain(size) * root_mean_square)[..., None, None]


def _distance_and_gradient_to(x: Array, target: Array, size: int) -> tuple[Array, Array]:
    """The gradient is transposed Sobel of (|grad x| - |grad y|) grad x / |grad x|, over the distance."""
    u, v = _diagonals(_smooth(x, size, "reflect"))
    length = _length(u, v)
    difference = length - target
    distance = norm(2 * difference**2)
    ratio = difference * (2 * inverse(distance)) / above(length, _rounding(x, size))
    return distance, _adjoint(ratio * u, ratio * v, size)


@with_gradient(_distance_and_gradient_to, symmetric=False)
def magnitude_distance_to(x: Array, target: Array, size: int) -> Array:
    """magnitude_distance(x, y), given magnitude(y)."""
    return norm(2 * (magnitude(x, size) - target) ** 2)


@with_gradient(lambda x, y, size: _distance_and_gradient_to(x, magnitude(y, size), size))
def magnitude_distance(x: Array, y: Array, size: int) -> Array:
    """|| |grad x| - |grad y| ||_2 of each image, |grad| the length of its Sobel vector."""
    return norm(2 * (magnitude(x, size) - magnitude(y, size)) ** 2)


def _vector_distance_and_gradient(x: Array, y: Array, size: int) -> tuple[Array, Array]:
    u, v = _diagonals(_smooth(x - y, size, "reflect"))
    distance = norm(2 * (u**2 + v**2))
    return distance, _adjoint(u, v, size) * (2 * inverse(distance))


@with_gradient(_vector_distance_and_gradient)
def vector_distance(x: Array, y: Array, size: int) -> Array:
    """|| grad x - grad y ||_2 of each image: Sobel is linear, so that of x - y."""
    return norm(vector_map(x, y, size) ** 2)


def magnitude_map(x: Array, y: Array, size: int) -> Array:
    """|grad x| - |grad y|, shape (*batch, H, W)."""
    return math.sqrt(2) * (magnitude(x, size) - magnitude(y, size))


def vector_map(x: Array, y: Array, size: int) -> Array:
    """|grad (x - y)|, shape (*batch, H, W)."""
    return math.sqrt(2) * magnitude(x - y, size)
