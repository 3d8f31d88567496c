"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

A k x k Sobel pair is the binomial smoothing B = (1+z)^(k-2) along both axes, followed by

    gx = (right - left) smoothed by (1+z) downwards,    gy = (lower - upper) smoothed by (1+z) sideways

of the four smoothed corners of each pixel. Turned by 45 degrees the pair is the two diagonals

    u = lower right - upper left,    v = upper right - lower left,    gx = u + v,    gy = u - v

so that |grad|^2 = gx^2 + gy^2 = 2 (u^2 + v^2): the edges need B and two subtractions.
"""

import math

import jax.numpy as jnp
from jax import Array, lax

from blursim_jax._distance import inverse, norm, root, with_gradient


def gain(size: int) -> int:
    """Response of the Sobel kernel to a slope of one intensity per pixel: 128 for size 5."""
    return 2 ** (2 * size - 3)


def _reflect(x: Array, axis: int, radius: int, edge: int) -> Array:
    """x mirrored outwards by radius pixels; edge=1 mirrors at the edge pixel, edge=0 beyond it."""
    n = x.shape[axis]
    before = lax.slice_in_dim(x, edge, edge + radius, axis=axis)
    after = lax.slice_in_dim(x, n - edge - radius, n - edge, axis=axis)
    return jnp.concatenate([jnp.flip(before, axis), x, jnp.flip(after, axis)], axis)


def _smooth(x: Array, axis: int, size: int) -> Array:
    """(1+z)^(size-2) along axis, where it fits."""
    last = size - 2
    n = x.shape[axis] - last
    tap = lambda i: lax.slice_in_dim(x, i, i + n, axis=axis)
    # Pairs of equal weight first: mirrored pixels then give mirrored sums, to the bit (SPEC 7.1).
    return sum(math.comb(last, i) * (tap(i) + tap(last - i)) for i in range(size // 2))


def _corners(x: Array, size: int) -> Array:
    """B x at the corners of the pixels, shape (*batch, H + 1, W + 1); x reflected at its edge pixels."""
    for axis in (x.ndim - 2, x.ndim - 1):
        x = _smooth(_reflect(x, axis, size // 2, edge=1), axis, size)
    return x


def _diagonals(corners: Array) -> tuple[Array, Array]:
    """(u, v) of each pixel."""
    u = corners[..., 1:, 1:] - corners[..., :-1, :-1]
    v = corners[..., :-1, 1:] - corners[..., 1:, :-1]
    return u, v


def _magnitude(u: Array, v: Array) -> Array:
    """|grad| of each pixel."""
    return root(2 * (u**2 + v**2))


def _adjoint(u: Array, v: Array, size: int) -> Array:
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


def _border_weight(x: Array) -> Array:
    """2 on the border, 4 in its corners, 1 elsewhere; broadcasts to x."""
    weight = jnp.ones((1,) * x.ndim, x.dtype)
    for axis in (x.ndim - 2, x.ndim - 1):
        shape = [1] * x.ndim
        shape[axis] = x.shape[axis]
        index = lax.broadcasted_iota(jnp.int32, shape, axis)
        weight = weight * jnp.where((index == 0) | (index == x.shape[axis] - 1), 2.0, 1.0).astype(x.dtype)
    return weight


def _magnitude_gradient(x: Array, y: Array, size: int) -> Array:
    """Transposed Sobel of (|grad x| - |grad y|) grad x / |grad x|, over the norm of the difference."""
    u, v = _diagonals(_corners(x, size))
    magnitude = _magnitude(u, v)
    difference = magnitude - _magnitude(*_diagonals(_corners(y, size)))
    nonzero = magnitude > 0
    ratio = jnp.where(nonzero, 2 * difference / jnp.where(nonzero, magnitude, 1), 0)
    return _adjoint(ratio * u, ratio * v, size) * inverse(norm(difference**2))


@with_gradient(_magnitude_gradient)
def magnitude_distance(x: Array, y: Array, size: int) -> Array:
    """|| |grad x| - |grad y| ||_2 of each image, |grad| the length of its Sobel vector."""
    return norm(magnitude_map(x, y, size) ** 2)


def _vector_gradient(x: Array, y: Array, size: int) -> Array:
    u, v = _diagonals(_corners(x - y, size))
    return _adjoint(2 * u, 2 * v, size) * inverse(norm(_magnitude(u, v) ** 2))


@with_gradient(_vector_gradient)
def vector_distance(x: Array, y: Array, size: int) -> Array:
    """|| grad x - grad y ||_2 of each image: Sobel is linear, so that of x - y."""
    return norm(vector_map(x, y, size) ** 2)


def magnitude_map(x: Array, y: Array, size: int) -> Array:
    """|grad x| - |grad y|, shape (*batch, H, W)."""
    return _magnitude(*_diagonals(_corners(x, size))) - _magnitude(*_diagonals(_corners(y, size)))


def vector_map(x: Array, y: Array, size: int) -> Array:
    """|grad (x - y)|, shape (*batch, H, W)."""
    return _magnitude(*_diagonals(_corners(x - y, size)))
