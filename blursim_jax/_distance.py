"""A distance between two images, and its gradient where autodiff would divide by zero."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

SPATIAL = (-2, -1)


def root(squares: Array) -> Array:
    """Square root whose derivatives at 0 are 0 (SPEC 7.1)."""
    positive = squares >= jnp.finfo(squares.dtype).tiny
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def norm(squares: Array) -> Array:
    """Euclidean norm of each image from the squares of its entries."""
    return root(jnp.sum(squares, SPATIAL))


def inverse(norms: Array) -> Array:
    """1 / norm, to be broadcast over an image; 0 where the norm is 0 (SPEC 7.2)."""
    safe = jnp.where(norms > 0, norms, 1)
    return jnp.where(norms > 0, 1 / safe, 0)[..., None, None]


def with_gradient(gradient: Callable[..., Array]) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Give a symmetric distance(x, y, *static) its closed-form gradient(x, y, *static) for x.

    Symmetry makes gradient(y, x) the gradient for y. The rule is built of plain operations, so
    every transform, of any order, goes through it.
    """

    def decorate(distance: Callable[..., Array]) -> Callable[..., Array]:
        @functools.wraps(distance)
        def with_static(x: Array, y: Array, *static: int) -> Array:
            @jax.custom_jvp
            def of_images(x: Array, y: Array) -> Array:
                return distance(x, y, *static)

            def jvp(images: tuple[Array, Array], tangents: tuple[object, object]) -> tuple[Array, Array]:
                value = of_images(*images)
                directional = jnp.zeros_like(value)
                for (image, other), tangent in zip((images, images[::-1]), tangents, strict=True):
                    # An image that is not differentiated costs nothing.
                    if not isinstance(tangent, SymbolicZero):
                        slope = gradient(image, other, *static) * tangent
                        directional += jnp.sum(slope, SPATIAL)
                return value, directional

            of_images.defjvp(jvp, symbolic_zeros=True)
            return of_images(x, y)

        return with_static

    return decorate
