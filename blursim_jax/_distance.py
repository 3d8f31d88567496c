"""M_p(|A x| - |A y|), A being a linear map, and its derivative (SPEC 3, 4, 7).

With d = |A x| - |A y| and dM_p / dd = s u, where u is sign(d) or d and s one number per image, the gradient for x is
s A^T(u A x / |A x|), that for y is -s A^T(u A y / |A y|): formed with the value, when all that they need is at hand.
Derivatives of higher order are those of these formulas.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from blursim_jax._maps import Identity


class Entries(NamedTuple):
    """A x: the components of its entries, complex numbers or vectors, and their lengths |A x|."""

    components: list[Array]
    lengths: Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 3, 4))
def distance(A: Identity, x: Array, y: Array, p: int, magnitude: bool) -> Array:
    """M_p(|A x| - |A y|) of each image, or M_p(|A x - A y|) unless magnitudes are compared."""
    return mean(A, difference(A, x, y, magnitude)[0], p)


@functools.partial(distance.defjvp, symbolic_zeros=True)
def _distance_jvp(
    A: Identity, p: int, magnitude: bool, images: tuple[Array, Array], tangents: Any
) -> tuple[Array, Array]:
    d, Ax, Ay = difference(A, *images, magnitude)
    value = mean(A, d, p)
    u = jnp.sign(d) if p == 1 else d
    along = jnp.zeros_like(value)
    if not isinstance(tangents[0], SymbolicZero):
        along += jnp.sum(gradient(A, u, Ax, magnitude) * tangents[0], A.axes)
    if not isinstance(tangents[1], SymbolicZero):
        along -= jnp.sum(gradient(A, u, Ay, magnitude) * tangents[1], A.axes)
    return value, slope(A, value, p) * along


def difference(A: Identity, x: Array, y: Array, magnitude: bool) -> tuple[Array, Entries, Entries]:
    """d = |A x| - |A y|, or |A x - A y|, of each entry; and the entries that it is made from."""
    if not magnitude:
        Az = entries(A, x - y)
        return Az.lengths, Az, Az
    Ax, Ay = entries(A, x), entries(A, y)
    d = A.signed(Ax.lengths - Ay.lengths, Ax.components[0] - Ay.components[0])
    return jnp.where(d * d <= jnp.finfo(d.dtype).tiny, 0, d), Ax, Ay


def gradient(A: Identity, u: Array, Ax: Entries, magnitude: bool) -> Array:
    """A^T(u A x / |A x|), and A^T(u) of entries that keep their sign."""
    first, *others = (u * _over(component, Ax.lengths) for component in Ax.components)
    return A.transposed([A.signed(first, u) if magnitude else first, *others])


def mean(A: Identity, d: Array, p: int) -> Array:
    """M_p(d) of each image: the mean of |d|, or its root mean square (SPEC 3.6)."""
    return A.total(jnp.abs(d)) / A.entries if p == 1 else _root(A.total(d * d) / A.entries)


def slope(A: Identity, value: Array, p: int) -> Array:
    """s of each image: 1 / N, or 1 / (N M_2)."""
    s = jnp.full_like(value, 1 / A.entries)
    return s if p == 1 else _over(s, value)


def entries(A: Identity, x: Array) -> Entries:
    """A x."""
    components = A(x)
    squares = components[0] ** 2
    for component in components[1:]:
        squares = squares + component**2
    return Entries(components, _root(squares))


def _root(squares: Array) -> Array:
    """Square root; squares below the smallest normal number count as zero and have no slope (SPEC 7.1, 8.5)."""
    zero = squares <= jnp.finfo(squares.dtype).tiny
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squares)))


def _over(a: Array, b: Array) -> Array:
    """a / b, but 0 where b is 0: there is no slope (SPEC 7)."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
