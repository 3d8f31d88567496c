"""The general term: how far apart the spectra of two images are (SPEC 3)."""

import jax.numpy as jnp
from jax import Array, lax

from blursim_jax._distance import SPATIAL, inverse, norm, root, with_gradient


def _bin_indices(half: Array) -> tuple[Array, Array]:
    """Row and column of each bin of a half spectrum."""
    row, column = (lax.broadcasted_iota(jnp.int32, half.shape, half.ndim + axis) for axis in (-2, -1))
    return row, column


def _magnitude(spectrum: Array) -> Array:
    """|X|, but at DC, where X is real, X itself with its sign (SPEC 3.3)."""
    row, column = _bin_indices(spectrum)
    length = root(spectrum.real**2 + spectrum.imag**2)
    return jnp.where((row == 0) & (column == 0), spectrum.real, length)


def _full_squares(half: Array, width: int) -> Array:
    """Squares over the half spectrum that add up to those over the whole one."""
    _, column = _bin_indices(half)
    # Of a real image's spectrum rfft2 leaves out the mirror image of every column but these.
    alone = (column == 0) | (2 * column == width)
    return jnp.where(alone, half**2, 2 * half**2)


def _magnitude_gradient(x: Array, y: Array) -> Array:
    """irfft2((|X| - |Y|) X / |X|) / || |X| - |Y| ||: rfft2 seen backwards, halves and all."""
    X = jnp.fft.rfft2(x)
    magnitude = _magnitude(X)
    difference = magnitude - _magnitude(jnp.fft.rfft2(y))
    # Below the rounding error of the FFT a magnitude is zero and has no phase (SPEC 7.1).
    rounding = 16 * jnp.finfo(x.dtype).eps * norm(x**2)[..., None, None]
    nonzero = jnp.abs(magnitude) > rounding
    ratio = jnp.where(nonzero, difference / jnp.where(nonzero, magnitude, 1), 0)
    row, column = _bin_indices(X)
    dc = (row == 0) & (column == 0)
    direction = lax.complex(jnp.where(dc, difference, ratio * X.real), ratio * X.imag)
    length = norm(_full_squares(difference, x.shape[-1]))
    return jnp.fft.irfft2(direction, x.shape[-2:], norm="forward") * inverse(length)


@with_gradient(_magnitude_gradient)
def magnitude_distance(x: Array, y: Array) -> Array:
    """|| |X| - |Y| ||_2 of each image over its (H, W) bins, DC with its sign."""
    difference = _magnitude(jnp.fft.rfft2(x)) - _magnitude(jnp.fft.rfft2(y))
    return norm(_full_squares(difference, x.shape[-1]))


def _complex_gradient(x: Array, y: Array) -> Array:
    difference = x - y
    return difference * inverse(norm(difference**2)) * _root_area(x)


@with_gradient(_complex_gradient)
def complex_distance(x: Array, y: Array) -> Array:
    """||X - Y||_2 of each image: by Parseval sqrt(H W) ||x - y||_2, without an FFT."""
    return norm((x - y) ** 2) * _root_area(x)


def _root_area(x: Array) -> float:
    return float(x.shape[-2] * x.shape[-1]) ** 0.5


def magnitude_map(x: Array, y: Array) -> Array:
    """|X| - |Y| with DC in the centre, shape (*batch, H, W)."""
    return jnp.fft.fftshift(_magnitude(jnp.fft.fft2(x)) - _magnitude(jnp.fft.fft2(y)), SPATIAL)


def complex_map(x: Array, y: Array) -> Array:
    """|X - Y| with DC in the centre, shape (*batch, H, W)."""
    return jnp.fft.fftshift(jnp.abs(jnp.fft.fft2(x - y)), SPATIAL)
