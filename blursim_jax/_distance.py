"""M_p(|A x| - |A y|), A being a linear map, and its derivative (SPEC 3, 4, 7).

Let d = |A x| - |A y| and dM_p / dd = s u, where u is sign(d) or d, and s is one number per image. Then the gradient for
x is s A^T(u A x / |A x|), and the one for y is -s A^T(u A y / |A y|). Both are formed along with the value, while all
that they need is at hand. Higher derivatives are those of these formulas.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from blursim_jax._maps import LinearMap


class Distance(NamedTuple):
    """M_p(|A x| - |A y|) in some unit, or M_p(|A (x - y)|) if vectors (or complex numbers) are compared."""

    A: LinearMap
    p: int
    vectors: bool
    unit: float = 1.0


class Entries(NamedTuple):
    """A x: the components of its entries, complex numbers or vectors, and their lengths |A x|."""

    components: list[Array]
    lengths: Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def evaluate(distance: Distance, x: Array, y: Array) -> Array:
    """The distance of each image."""
    A, p, _, unit = distance
    return unit * power_mean(A, compare(distance, x, y)[0], p)


@functools.partial(evaluate.defjvp, symbolic_zeros=True)
def _evaluate_jvp(distance: Distance, images: tuple[Array, Array], tangents: Any) -> tuple[Array, Array]:
    A, p, _, unit = distance
    d, *entries = compare(distance, *images)
    value, u = power_mean(A, d, p), jnp.sign(d) if p == 1 else d
    along = jnp.zeros_like(value)
    if not isinstance(tangents[0], SymbolicZero):
        along += jnp.sum(gradient(distance, u, entries[0]) * tangents[0], A.axes)
    if not isinstance(tangents[1], SymbolicZero):
        along -= jnp.sum(gradient(distance, u, entries[-1]) * tangents[1], A.axes)
    return unit * value, unit * slope(A, value, p) * along


def compare(distance: Distance, x: Array, y: Array) -> list[Any]:
    """d of each entry, and the entries it comes from: A x and A y, or A (x - y) where vectors are compared."""
    A = distance.A
    if distance.vectors:
        Az = measure(A, x - y)
        return [Az.lengths, Az]
    Ax, Ay = measure(A, x), measure(A, y)
    d = A.signed(Ax.lengths, Ax.components[0]) - A.signed(Ay.lengths, Ay.components[0])
    return [jnp.where(d * d <= jnp.finfo(d.dtype).tiny, 0, d), Ax, Ay]


def measure(A: LinearMap, x: Array) -> Entries:
    """A x, and |A x|."""
    components = A(x)
    squares = components[0] ** 2
    for component in components[1:]:
        squares = squares + component**2
    return Entries(components, _root(squares))


def gradient(distance: Distance, u: Array, Ax: Entries) -> Array:
    """A^T(u A x / |A x|), and A^T(u) for entries that keep their sign."""
    first, *others = (u * _over(component, Ax.lengths) for component in Ax.components)
    return distance.A.transpose([first if distance.vectors else distance.A.signed(first, u), *others])


def power_mean(A: LinearMap, d: Array, p: int) -> Array:
    """M_p(d) of each image: the mean of |d|, or its root mean square (SPEC 3.6)."""
    return A.total(jnp.abs(d)) / A.count if p == 1 else _root(A.total(d * d) / A.count)


def slope(A: LinearMap, value: Array, p: int) -> Array:
    """s of each image: 1 / N, or 1 / (N M_2)."""
    s = jnp.full_like(value, 1 / A.count)
    return s if p == 1 else _over(s, value)


def _root(squares: Array) -> Array:
    """Square root; squares below the smallest normal number count as zero and have no slope (SPEC 7.1, 8.5)."""
    zero = squares <= jnp.finfo(squares.dtype).tiny
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squares)))


def _over(a: Array, b: Array) -> Array:
    """a / b, but 0 where b is 0: there is no slope (SPEC 7)."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
