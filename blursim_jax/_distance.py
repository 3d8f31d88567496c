"""A distance between two images, and its gradient where autodiff would divide by zero."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

SPATIAL = (-2, -1)
Distance = Callable[..., Array]
WithDirection = Callable[..., tuple[Array, Array]]


def root(squares: Array) -> Array:
    """Square root whose derivatives at 0 are 0 (SPEC 7.1)."""
    positive = squares >= float(jnp.finfo(squares.dtype).tiny)
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def norm(squares: Array) -> Array:
    """Euclidean norm of each image from the squares of its entries."""
    return root(jnp.sum(squares, SPATIAL))


def inverse(norms: Array) -> Array:
    """1 / norm; 0 where the norm is 0 (SPEC 7.2)."""
    return 1 / jnp.where(norms > 0, norms, jnp.inf)


def inverse_length(squares: Array, rounding: Array) -> Array:
    """1 / length; 0 where the square of a length is not above that of its rounding error (SPEC 7.1)."""
    least = jnp.maximum(rounding, float(jnp.finfo(squares.dtype).tiny))
    return lax.rsqrt(jnp.where(squares > least, squares, jnp.inf))


def indices(x: Array, axis: int) -> Array:
    """0, 1, 2, ... along one axis of x, of length 1 along the others."""
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    return lax.broadcasted_iota(jnp.int32, shape, x.ndim + axis)


def with_gradient(distance_and_direction: WithDirection, symmetric: bool = True) -> Callable[[Distance], Distance]:
    """Give distance(x, y, *static), a norm ||d||, its gradient for x in closed form.

    distance_and_direction takes the same arguments and gives ||d|| and the direction, d back through
    the Jacobian of x -> d: the gradient is direction / ||d||. Symmetry makes its gradient at (y, x)
    the one for y; without symmetry y is a constant. It is built of plain operations, so every
    transform, of any order, goes through it.
    """

    def decorate(distance: Distance) -> Distance:
        @functools.wraps(distance)
        def of_images(x: Array, y: Array, *static: int) -> Array:
            @jax.custom_jvp
            def differentiable(x: Array, y: Array) -> Array:
                return distance(x, y, *static)

            def jvp(images: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
                value = differentiable(*images)
                along = jnp.zeros_like(value)
                pairs = (images, images[::-1]) if symmetric else (images,)
                for pair, tangent in zip(pairs, tangents, strict=False):
                    # An image that is not differentiated costs nothing.
                    if not isinstance(tangent, SymbolicZero):
                        norms, direction = distance_and_direction(*pair, *static)
                        along += jnp.sum(direction * tangent, SPATIAL) * inverse(norms)
                return value, along

            differentiable.defjvp(jvp, symbolic_zeros=True)
            return differentiable(x, y)

        return of_images

    return decorate
