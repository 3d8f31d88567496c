"""The general term: how far apart the spectra of two images are (SPEC 3)."""

import math

import jax.numpy as jnp
from jax import Array, lax

from blursim_jax._distance import SPATIAL, above, indices, inverse, norm, root, with_gradient
from blursim_jax._fft import irfft2, rfft2


def _is_dc(magnitude: Array) -> Array:
    """True at row 0, column 0; broadcasts to a spectrum."""
    return (indices(magnitude, -2) == 0) & (indices(magnitude, -1) == 0)


def _length(spectrum: Array) -> Array:
    """|X|, but at DC, where X is real, X itself with its sign (SPEC 3.3)."""
    absolute = root(spectrum.real**2 + spectrum.imag**2)
    return jnp.where(_is_dc(absolute), spectrum.real, absolute)


def _full_squares(half: Array, width: int) -> Array:
    """Squares over the half spectrum that add up to those over the whole one."""
    column = indices(half, -1)
    # Of a real image's spectrum rfft2 leaves out the mirror image of every column but these.
    alone = (column == 0) | (2 * column == width)
    return jnp.where(alone, half**2, 2 * half**2)


def magnitude(x: Array) -> Array:
    """The half spectrum of magnitudes that magnitude_distance compares, shape (*batch, H, W // 2 + 1)."""
    return _length(rfft2(x))


def _rounding(length: Array, width: int) -> Array:
    """Bound of an FFT's rounding error, from the energy in a bin's row, its column and the image (SPEC 7.1)."""
    rows = jnp.sum(_full_squares(length, width), -1, keepdims=True)
    columns = jnp.sum(length**2, -2, keepdims=True)
    image = jnp.mean(rows, -2, keepdims=True) / width
    return 8 * float(jnp.finfo(length.dtype).eps) * jnp.sqrt(jnp.maximum(16 * image, jnp.maximum(rows, columns)))


def _distance_and_gradient_to(x: Array, target: Array) -> tuple[Array, Array]:
    """The gradient is irfft2((|X| - |Y|) X / |X|) / || |X| - |Y| ||: rfft2 backwards, halves and all."""
    X = rfft2(x)
    length = _length(X)
    difference = length - target
    distance = norm(_full_squares(difference, x.shape[-1]))
    unscaled = difference * inverse(distance)
    ratio = unscaled / above(length, _rounding(length, x.shape[-1]))
    direction = lax.complex(jnp.where(_is_dc(ratio), unscaled, ratio * X.real), ratio * X.imag)
    return distance, irfft2(direction, x.shape[-2:])


@with_gradient(_distance_and_gradient_to, symmetric=False)
def magnitude_distance_to(x: Array, target: Array) -> Array:
    """magnitude_distance(x, y), given magnitude(y)."""
    return norm(_full_squares(magnitude(x) - target, x.shape[-1]))


@with_gradient(lambda x, y: _distance_and_gradient_to(x, magnitude(y)))
def magnitude_distance(x: Array, y: Array) -> Array:
    """|| |X| - |Y| ||_2 of each image over its (H, W) bins, DC with its sign."""
    return norm(_full_squares(magnitude(x) - magnitude(y), x.shape[-1]))


def _complex_distance_and_gradient(x: Array, y: Array) -> tuple[Array, Array]:
    difference = x - y
    distance = norm(difference**2) * _root_area(x)
    return distance, difference * (_root_area(x) ** 2 * inverse(distance))


@with_gradient(_complex_distance_and_gradient)
def complex_distance(x: Array, y: Array) -> Array:
    """||X - Y||_2 of each image: by Parseval sqrt(H W) ||x - y||_2, without an FFT."""
    return norm((x - y) ** 2) * _root_area(x)


def _root_area(x: Array) -> float:
    return math.sqrt(x.shape[-2] * x.shape[-1])


def magnitude_map(x: Array, y: Array) -> Array:
    """|X| - |Y| with DC in the centre, shape (*batch, H, W)."""
    X, Y = (jnp.fft.fft2(image) for image in (x, y))
    return jnp.fft.fftshift(_length(X) - _length(Y), SPATIAL)


def complex_map(x: Array, y: Array) -> Array:
    """|X - Y| with DC in the centre, shape (*batch, H, W)."""
    return jnp.fft.fftshift(jnp.abs(jnp.fft.fft2(x - y)), SPATIAL)
