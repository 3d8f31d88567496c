"""Lengths and means, whose derivatives are taken as zero where they have none (SPEC 7)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Bound(NamedTuple):
    """The length that rounding alone can make: a function, and the arrays that it is to be called with if need be."""

    function: Callable[..., Array]
    arrays: tuple[Array, ...]

    def __call__(self) -> Array:
        return self.function(*self.arrays)


def of_difference(x: Bound, y: Bound) -> Bound:
    """What rounding alone can make of a difference of two lengths."""
    of_x, of_y, count = x.function, y.function, len(x.arrays)
    return Bound(lambda *arrays: of_x(*arrays[:count]) + of_y(*arrays[count:]), x.arrays + y.arrays)


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


def _divisor(squares: Array, negligible: Array | float) -> Array:
    """What a tangent of the squares is divided by to give that of the root: infinite where it is to vanish."""
    flat = squares <= jnp.maximum(lax.stop_gradient(negligible), tiny(squares))
    return jnp.where(flat, jnp.inf, 2 * jnp.sqrt(jnp.where(flat, 1.0, squares)))


root.defjvps(lambda tangent, _, squares, negligible: tangent / _divisor(squares, negligible), None)


def length(
    components: Sequence[Array],
    negligible: Bound | None = None,
    axes: int = 0,
    counts: Array | None = None,
    signed: Array | None = None,
) -> Array:
    """|a| of vectors or complex numbers; its derivative a / |a| is 0 where |a| is 0 or <= negligible() (SPEC 7.1).

    The last axes, if any, are taken as one long vector (see total). Where signed is true, and the first component is
    the only one, the length keeps its sign and its derivative (SPEC 3.3).
    """
    squares = total(sum_of_squares(components), axes, counts)
    absolute = root(squares, 0.0 if negligible is None else negligible() ** 2)
    return absolute if signed is None else jnp.where(signed, components[0], absolute)


def norm(difference: Sequence[Array], p: int, axes: int, negligible: Bound, counts: Array | None = None) -> Array:
    """||d||_p of a difference given by its components, so that M_p(d) = ||d||_p / N^(1 / p) (SPEC 3.6)."""
    if p == 1:
        return total(length(difference, negligible), axes, counts)
    return length(difference, None, axes, counts)


def total(values: Array, axes: int, counts: Array | None = None) -> Array:
    """Sum over the last axes, if any; if counts along the last one are given, each column counts so often."""
    if counts is None:
        return jnp.sum(values, range(-axes, 0))
    columns = jnp.sum(values, range(-axes, -1))
    return jnp.sum(columns * counts.reshape((1,) * (columns.ndim - 1) + counts.shape), -1)


def sum_of_squares(components: Sequence[Array]) -> Array:
    """|a|^2 of vectors or complex numbers, given by their components."""
    first, *others = (component**2 for component in components)
    return sum(others, first)
