"""Lengths and means, whose derivatives are taken as zero where they have none (SPEC 7)."""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

# A function of arrays to come, and these arrays: called, it gives the length that rounding alone can make.
Bound = partial[Array]


def eps(x: Array) -> float:
    """Distance from 1 to the next number of the dtype of x."""
    return float(jnp.finfo(x.dtype).eps)


def tiny(x: Array) -> float:
    """Smallest normal number of the dtype of x: smaller squares count as zero (SPEC 8.5)."""
    return float(jnp.finfo(x.dtype).tiny)


@jax.custom_jvp
def root(squares: Array, negligible: Array | float = 0.0) -> Array:
    """Square root; its derivatives are 0 where squares <= negligible (SPEC 7.1, 7.2)."""
    return jnp.sqrt(jnp.where(squares <= tiny(squares), 0.0, squares))


def _slope(squares: Array, negligible: Array | float) -> Array:
    """Derivative of root. Selected before the root is taken: 0 times an infinite slope would be NaN."""
    flat = squares <= jnp.maximum(lax.stop_gradient(negligible), tiny(squares))
    return 0.5 * lax.rsqrt(jnp.where(flat, jnp.inf, squares))


root.defjvps(lambda tangent, _, squares, negligible: tangent * _slope(squares, negligible), None)


def length(components: Sequence[Array], negligible: Bound) -> Array:
    """|a| of vectors or complex numbers; its derivative a / |a| is 0 where |a| <= negligible() (SPEC 7.1)."""
    return root(sum_of_squares(components), negligible() ** 2)


def sum_of_squares(components: Sequence[Array]) -> Array:
    """|a|^2 of vectors or complex numbers, given by their components."""
    first, *others = (component**2 for component in components)
    return sum(others, first)


def total(values: Array, axes: int, counts: Array | None = None) -> Array:
    """Sum over the last axes; if counts along the last one are given, each column counts so often."""
    if counts is None:
        return jnp.sum(values, range(-axes, 0))
    columns = jnp.sum(values, range(-axes, -1))
    return jnp.sum(columns * counts.reshape((1,) * (columns.ndim - 1) + counts.shape), -1)


def norm(
    difference: Sequence[Array], p: int, axes: int, pixels: int, negligible: Bound, counts: Array | None = None
) -> Array:
    """M_p: the root mean square (p = 2) or the mean length (p = 1) of a difference, given by its components."""
    if p == 1:
        return total(length(difference, negligible), axes, counts) / pixels
    return root(total(sum_of_squares(difference), axes, counts)) / math.sqrt(pixels)
