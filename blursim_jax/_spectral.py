"""The general term: how far apart the spectra of two images are (SPEC 3)."""

import math

import jax.numpy as jnp
from jax import Array, lax

from blursim_jax._distance import SPATIAL, indices, inverse_length, norm, root, with_gradient
from blursim_jax._fft import irfft2, rfft2


def _is_dc(magnitude: Array) -> Array:
    """True at row 0, column 0; broadcasts to a spectrum."""
    return (indices(magnitude, -2) == 0) & (indices(magnitude, -1) == 0)


def _squares(spectrum: Array) -> Array:
    """|X|^2."""
    return spectrum.real**2 + spectrum.imag**2


def _length(spectrum: Array) -> Array:
    """|X|, but at DC, where X is real, X itself with its sign (SPEC 3.3)."""
    absolute = root(_squares(spectrum))
    return jnp.where(_is_dc(absolute), spectrum.real, absolute)


def _energy(columns: Array, width: int) -> Array:
    """Sum of squares over a whole spectrum, from those over the columns of its half."""
    column = indices(columns, -1)
    # Of a real image's spectrum rfft2 leaves out the mirror image of every column but these.
    alone = (column == 0) | (2 * column == width)
    return jnp.sum(jnp.where(alone, columns, 2 * columns), -1)


def _norm(squares: Array, width: int) -> Array:
    """Euclidean norm of a whole spectrum, from the squares of its half."""
    return root(_energy(jnp.sum(squares, -2), width))


def magnitude(x: Array) -> Array:
    """The half spectrum of magnitudes that magnitude_distance compares, shape (*batch, H, W // 2 + 1)."""
    return _length(rfft2(x))


def _rounding(squares: Array, width: int) -> Array:
    """Bound of an FFT's squared rounding error, from the energy in its row, column and image (SPEC 7.1)."""
    rows, columns = 2 * jnp.sum(squares, -1, keepdims=True), jnp.sum(squares, -2, keepdims=True)
    image = _energy(columns, width)[..., None] / (squares.shape[-2] * width)
    energy = jnp.maximum(jnp.maximum(rows, 16 * image), columns)
    return (8 * float(jnp.finfo(squares.dtype).eps)) ** 2 * energy


def _distance_and_direction_to(x: Array, target: Array) -> tuple[Array, Array]:
    """The direction is irfft2((|X| - |Y|) X / |X|): rfft2 backwards, halves and all."""
    X = rfft2(x)
    squares = _squares(X)
    difference = _length(X) - target
    ratio = difference * inverse_length(squares, _rounding(squares, x.shape[-1]))
    scaled = lax.complex(jnp.where(_is_dc(ratio), difference, ratio * X.real), ratio * X.imag)
    return _norm(difference**2, x.shape[-1]), irfft2(scaled, x.shape[-2:])


@with_gradient(_distance_and_direction_to, symmetric=False)
def magnitude_distance_to(x: Array, target: Array) -> Array:
    """magnitude_distance(x, y), given magnitude(y)."""
    return _norm((magnitude(x) - target) ** 2, x.shape[-1])


@with_gradient(lambda x, y: _distance_and_direction_to(x, magnitude(y)))
def magnitude_distance(x: Array, y: Array) -> Array:
    """|| |X| - |Y| ||_2 of each image over its (H, W) bins, DC with its sign."""
    return _norm((magnitude(x) - magnitude(y)) ** 2, x.shape[-1])


def _complex_distance_and_direction(x: Array, y: Array) -> tuple[Array, Array]:
    difference = x - y
    return norm(difference**2) * _root_area(x), difference * _root_area(x) ** 2


@with_gradient(_complex_distance_and_direction)
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
