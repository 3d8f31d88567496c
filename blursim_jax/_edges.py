"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

E = M_p(|grad x| - |grad y|), or M_p(|grad (x - y)|), in the units that are asked for. The last `axes` axes are spatial.
A Sobel pair of size k is the binomial smoothing (1+z)^(k-2) along every axis, which leaves the corners between the
pixels, followed for each component by (z-1) along its own axis and (1+z) along the others.
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from blursim_jax._fft import indices
from blursim_jax._linear import transposes
from blursim_jax._norm import Bound, eps, length, norm, of_difference

# Binomial steps that double the numbers; further ones average, so that large kernels don't overflow.
DOUBLING_STEPS = 7


def specific(
    x: Array, y: Array, magnitude_of_y: Array | None, axes: int, edges: str, p: int, normalization: str, size: int
) -> Array:
    """E of each image; magnitude_of_y, if it is known, is used in the place of y."""
    difference, negligible = edge_difference(x, y, magnitude_of_y, axes, edges, size)
    pixels, distance = math.prod(x.shape[-axes:]), norm(difference, p, axes, negligible)
    if normalization == "gain":
        return _times_two_to(distance / pixels ** (1 / p), _halvings(axes, size) - gain_exponent(axes, size))
    return _times_two_to(distance / pixels ** (1 / p + 1 / 2), _halvings(axes, size))


def edge_difference(
    x: Array, y: Array, magnitude_of_y: Array | None, axes: int, edges: str, size: int
) -> tuple[Sequence[Array], Bound]:
    """d_e by its components, over 2^_halvings, and the bound of its rounding error."""
    if edges == "vector":
        *difference, corners = sobel(x - y, axes, size)
        return difference, Bound(partial(_rounding, axes=axes), (corners,))
    X, of_x = magnitude(x, axes, size)
    Y, of_y = magnitude(y, axes, size) if magnitude_of_y is None else _unpacked(magnitude_of_y)
    return [X - Y], of_difference(of_x, of_y)


def magnitude(x: Array, axes: int, size: int) -> tuple[Array, Bound]:
    """|grad x| over 2^_halvings, and the bound of its rounding error."""
    *gradient, corners = sobel(x, axes, size)
    bound = Bound(partial(_rounding, axes=axes), (corners,))
    return length(gradient, bound), bound


def packed(x: Array, axes: int, size: int) -> Array:
    """What magnitude gives, as one array: side by side along the last axis."""
    absolute, bound = magnitude(x, axes, size)
    return jnp.concatenate([absolute, bound()], -1)


def _unpacked(both: Array) -> tuple[Array, Bound]:
    absolute, bound = jnp.split(both, 2, -1)
    return absolute, Bound(lambda bound: bound, (bound,))


def edge_map(x: Array, y: Array, axes: int, edges: str, size: int) -> Array:
    """d_e, or its length where it is a vector (SPEC 11)."""
    difference, negligible = edge_difference(x, y, None, axes, edges, size)
    distance = difference[0] if edges == "magnitude" else length(difference, negligible)
    return _times_two_to(distance, _halvings(axes, size))


def gain_exponent(axes: int, size: int) -> int:
    """log2 of the kernel's response to a slope of one intensity per pixel: 7 for two axes and size 5 (SPEC 5.2)."""
    return axes * (size - 1) - 1


def _halvings(axes: int, size: int) -> int:
    """How often a pixel of sobel() was halved."""
    return axes * max(size - 2 - DOUBLING_STEPS, 0)


def _times_two_to(x: Array, exponent: int) -> Array:
    """x * 2^exponent, in steps that have no overflow of their own: 0 * inf would be NaN, so 0 is let alone as well."""
    while exponent:
        step = max(-64, min(exponent, 64))
        x, exponent = jnp.where(x == 0, 0.0, x * 2.0**step), exponent - step
    return x


def _smooth(x: Array, axes: int, size: int, mode: Literal["reflect", "symmetric"]) -> Array:
    """Corners of x, mirrored at its edge pixels (mode "reflect") or, itself of corners, beyond them ("symmetric")."""
    for axis in range(x.ndim - axes, x.ndim):
        x = _mirrored(x, axis, size // 2, mode)
        for step in range(size - 2):
            x = x if step < DOUBLING_STEPS else x * 0.5
            x = _lower(x, axis) + _upper(x, axis)
    return x


def _mirrored(x: Array, axis: int, width: int, mode: Literal["reflect", "symmetric"]) -> Array:
    """x with a border of this width along axis."""
    if axis < x.ndim - 1:
        # Rows by index: XLA makes one loop of it and the sums. Along the last axis that loop would not be vectorised.
        return jnp.take(x, np.pad(np.arange(x.shape[axis]), width, mode), axis, mode="clip")
    skipped = 1 if mode == "reflect" else 0
    first = x[..., skipped : skipped + width]
    last = x[..., x.shape[-1] - width - skipped : x.shape[-1] - skipped]
    return jnp.concatenate([jnp.flip(first, -1), x, jnp.flip(last, -1)], -1)


def _lower(x: Array, axis: int) -> Array:
    """Of each pair of neighbours the first."""
    return lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)


def _upper(x: Array, axis: int) -> Array:
    """Of each pair of neighbours the second."""
    return lax.slice_in_dim(x, 1, x.shape[axis], axis=axis)


def _component(x: Array, axes: int, along: int) -> Array:
    """(z-1) along one spatial axis, (1+z) along the others."""
    for axis in range(-axes, 0):
        lower, upper = _lower(x, x.ndim + axis), _upper(x, x.ndim + axis)
        x = upper - lower if axis == along else upper + lower
    return x


def _sobel(x: Array, *, axes: int, size: int) -> tuple[Array, ...]:
    corners = _smooth(x, axes, size, "reflect")
    return *(_component(corners, axes, along) for along in range(-axes, 0)), corners


def _sobel_transposed(*gradient: Array, axes: int, size: int) -> tuple[Array]:
    """Transpose of _sobel.

    Seen through its reflection an image goes on for ever, and there smoothing is its own transpose. What is left to do
    at the border: an edge pixel is its own mirror image and stands once where every other pixel stands twice; hence
    twice its gradient before, half its value after. A component across the border is 0 there, as it changes sign.
    """
    first, *others = (_component_transposed(g, axes, along) for g, along in zip(gradient, range(-axes, 0), strict=True))
    return (_smooth(sum(others, first), axes, size, "symmetric") / _border_weight(gradient[0], axes),)


def _component_transposed(x: Array, axes: int, along: int) -> Array:
    """(1-z) along one spatial axis, where the border of x counts 0 times, and (1+z) along the others, where twice."""
    x = _border_weight(x, axes, along) * x
    # All 2^axes neighbours of a corner at once, not axis by axis: XLA makes one loop of it.
    corners = jnp.zeros((), x.dtype)
    for upper in itertools.product((0, 1), repeat=axes):
        neighbour = x[(..., *(slice(of, n - 1 + of) for of, n in zip(upper, x.shape[-axes:], strict=True)))]
        corners = corners - neighbour if upper[along] else corners + neighbour
    return corners


def _border_weight(x: Array, axes: int, across: int | None = None) -> Array:
    """2 on the border (4 where two meet), but 0 on that across one axis, and 1 elsewhere; broadcasts to x."""
    weight = jnp.ones((1,) * x.ndim, x.dtype)
    for axis in range(-axes, 0):
        index = indices(x, axis)
        on_border = (index == 0) | (index == x.shape[axis] - 1)
        weight = weight * jnp.where(on_border, 0 if axis == across else 2, 1).astype(x.dtype)
    return weight


_sobel_map, _ = transposes(_sobel, _sobel_transposed, constants=1)


def sobel(x: Array, axes: int, size: int) -> tuple[Array, ...]:
    """Components of grad x over 2^_halvings, and the corners that they are made from, which are taken as constants."""
    return _sobel_map(x, axes=axes, size=size)


def _rounding(corners: Array, axes: int) -> Array:
    """Bound of a Sobel vector's rounding error, from the corners around its pixel (SPEC 7.1).

    It is 16 eps gain times the mean of their absolute values, each over its own gain, 2^(axes (size - 2)); kernels of 3
    to 63 pixels came to 6.1 in float32, bright pixels among noise.
    """
    around = jnp.abs(corners)
    for axis in range(corners.ndim - axes, corners.ndim):
        around = _lower(around, axis) + _upper(around, axis)
    return 8 * eps(around) * around
