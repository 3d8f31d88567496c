"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

A k x k Sobel pair is the binomial smoothing B = (1+z)^(k-2) along both axes, followed by

    gx = (right - left) smoothed by (1+z) downwards,    gy = (lower - upper) smoothed by (1+z) sideways

of the four smoothed corners of each pixel. Turned by 45 degrees the pair is the two diagonals

    u = lower right - upper left,    v = upper right - lower left,    gx = u + v,    gy = u - v

so that |grad|^2 = gx^2 + gy^2 = 2 (u^2 + v^2): the edges need B and two subtractions. Magnitudes and
distances below are those of (u, v); times sqrt(2) they are those of the Sobel vectors.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from blursim_jax._distance import SPATIAL, indices, inverse_length, norm, root, with_gradient


def gain(size: int) -> int:
    """Response of the Sobel kernel to a slope of one intensity per pixel: 128 for size 5."""
    return 1 << (2 * size - 3)


def _smooth(x: Array, size: int, mode: Literal["reflect", "symmetric"]) -> Array:
    """B x, x mirrored at its edge pixels (mode "reflect") or beyond them ("symmetric")."""
    radius, edge, (height, width) = size // 2, int(mode == "reflect"), x.shape[-2:]
    # Rows by index, which XLA fuses with the sums; columns by concatenation, as indexed ones are not vectorised.
    x = jnp.take(x, np.pad(np.arange(height), radius, mode=mode), -2, mode="clip")
    x = _binomial(x, x.ndim - 2, size - 2)
    left = jnp.flip(x[..., edge : edge + radius], -1)
    right = jnp.flip(x[..., width - edge - radius : width - edge], -1)
    return _binomial(jnp.concatenate([left, x, right], -1), x.ndim - 1, size - 2)


def _binomial(x: Array, axis: int, degree: int) -> Array:
    """(1+z)^degree along axis, where it fits."""
    for n in range(x.shape[axis] - 1, x.shape[axis] - 1 - degree, -1):
        x = lax.slice_in_dim(x, 0, n, axis=axis) + lax.slice_in_dim(x, 1, n + 1, axis=axis)
    return x


def _sobel(x: Array, size: int) -> tuple[Array, Array]:
    """(u, v) of each pixel."""
    corners = _smooth(x, size, "reflect")
    u = corners[..., 1:, 1:] - corners[..., :-1, :-1]
    v = corners[..., :-1, 1:] - corners[..., 1:, :-1]
    return u, v


def _length(u: Array, v: Array) -> Array:
    """sqrt(u^2 + v^2) of each pixel."""
    return root(u**2 + v**2)


def _border_weight(x: Array) -> Array:
    """2 on the border, 4 in its corners, 1 elsewhere; broadcasts to x."""
    weight = jnp.ones((1,) * x.ndim, x.dtype)
    for axis in SPATIAL:
        index = indices(x, axis)
        weight = weight * jnp.where((index == 0) | (index == x.shape[axis] - 1), 2, 1).astype(x.dtype)
    return weight


def _sobel_transposed(u: Array, v: Array, size: int) -> Array:
    """Transpose of _sobel, for u and v that mirror like those of an image.

    Seen through its reflection an image goes on for ever, and there B is its own transpose. What
    is left to do at the border: an edge pixel is its own mirror image and stands once where every
    other pixel stands twice; hence twice its (u, v) before, half its value after.
    """
    weight = _border_weight(u)
    u, v = weight * u, weight * v
    corners = u[..., :-1, :-1] - u[..., 1:, 1:] + v[..., 1:, :-1] - v[..., :-1, 1:]
    return _smooth(corners, size, "symmetric") / weight


def magnitude(x: Array, size: int) -> Array:
    """Length of (u, v) of each pixel, shape (*batch, H, W)."""
    return _length(*_sobel(x, size))


def _rounding(x: Array, size: int) -> Array:
    """Bound of a length's squared rounding error, from the mean square of the image (SPEC 7.1)."""
    mean_square = jnp.sum(x**2, SPATIAL) / (x.shape[-2] * x.shape[-1])
    return 128 * (float(jnp.finfo(x.dtype).eps) * gain(size)) ** 2 * mean_square[..., None, None]


def _distance_and_direction_to(x: Array, target: Array, size: int) -> tuple[Array, Array]:
    """The direction is transposed Sobel of (|grad x| - |grad y|) grad x / |grad x|."""
    u, v = _sobel(x, size)
    difference = _length(u, v) - target
    ratio = difference * inverse_length(u**2 + v**2, _rounding(x, size))
    return norm(difference**2), _sobel_transposed(ratio * u, ratio * v, size)


@with_gradient(_distance_and_direction_to, symmetric=False)
def magnitude_distance_to(x: Array, target: Array, size: int) -> Array:
    """magnitude_distance(x, y), given magnitude(y)."""
    return norm((magnitude(x, size) - target) ** 2)


@with_gradient(lambda x, y, size: _distance_and_direction_to(x, magnitude(y, size), size))
def magnitude_distance(x: Array, y: Array, size: int) -> Array:
    """|| |grad x| - |grad y| ||_2 / sqrt(2) of each image, |grad| the length of its Sobel vector."""
    return norm((magnitude(x, size) - magnitude(y, size)) ** 2)


def _vector_distance_and_direction(x: Array, y: Array, size: int) -> tuple[Array, Array]:
    u, v = _sobel(x - y, size)
    return norm(_length(u, v) ** 2), _sobel_transposed(u, v, size)


@with_gradient(_vector_distance_and_direction)
def vector_distance(x: Array, y: Array, size: int) -> Array:
    """|| grad x - grad y ||_2 / sqrt(2) of each image: Sobel is linear, so that of x - y."""
    return norm(vector_map(x, y, size) ** 2)


def magnitude_map(x: Array, y: Array, size: int) -> Array:
    """(|grad x| - |grad y|) / sqrt(2), shape (*batch, H, W)."""
    return magnitude(x, size) - magnitude(y, size)


def vector_map(x: Array, y: Array, size: int) -> Array:
    """|grad (x - y)| / sqrt(2), shape (*batch, H, W)."""
    return magnitude(x - y, size)
