"""The real FFT over all spatial axes, and its transpose, that leave each image on the device where it lies.

Before an FFT XLA gathers a batch that is sharded over devices; `_image_by_image` says how to split it.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from blursim_jax._linear import transposes


def indices(x: Array, axis: int) -> Array:
    """0, 1, 2, ... along one axis of x, counted from its end, of length 1 along the others."""
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    return lax.broadcasted_iota(jnp.int32, shape, x.ndim + axis)


def multiplicity(half: Array, width: int) -> Array:
    """How many columns of a spectrum each one of its half stands for: 2, but those with no mirror image 1."""
    column = lax.iota(jnp.int32, half.shape[-1])
    return jnp.where((column == 0) | (2 * column == width), 1, 2).astype(half.dtype)


def _rfftn(x: Array, *, shape: tuple[int, ...]) -> tuple[Array, Array]:
    half = _image_by_image(lax.FftType.RFFT, shape)(x)
    return half.real, half.imag


def _rfftn_transposed(real: Array, imag: Array, *, shape: tuple[int, ...]) -> tuple[Array]:
    # The inverse counts a column as often as its multiplicity, and divides by the number of pixels.
    weight = math.prod(shape) / multiplicity(real, shape[-1])
    weight = weight.reshape((1,) * (real.ndim - 1) + weight.shape)
    return (_image_by_image(lax.FftType.IRFFT, shape)(lax.complex(weight * real, weight * imag)),)


_rfftn_map, _ = transposes(_rfftn, _rfftn_transposed)


def rfftn(x: Array, axes: int) -> tuple[Array, ...]:
    """Real and imaginary parts of the half spectrum, unnormalised, over the last axes of x."""
    return _rfftn_map(x, shape=x.shape[-axes:])


def _whole(x: Array, kind: lax.FftType, shape: tuple[int, ...]) -> Array:
    """The FFT of whole images. XLA's go over three axes at most; what is left goes over the others as complex."""
    others = range(x.ndim - len(shape), x.ndim - 3)
    if kind == lax.FftType.RFFT:
        x = lax.fft(x, kind, shape[-3:])
    for axis in others:
        last = jnp.moveaxis(x, axis, -1)
        fft = lax.FftType.FFT if kind == lax.FftType.RFFT else lax.FftType.IFFT
        x = jnp.moveaxis(lax.fft(last, fft, last.shape[-1:]), -1, axis)
    return x if kind == lax.FftType.RFFT else lax.fft(x, kind, shape[-3:])


@functools.lru_cache(maxsize=128)
def _image_by_image(kind: lax.FftType, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """The FFT of a batch, each image on the device where it lies."""
    axes = len(shape)
    whole = functools.partial(_whole, kind=kind, shape=shape)

    def whole_images(mesh: Any, operands: Any, result: Any) -> Sharding:
        sharding, of = operands[0].sharding, operands[0].shape
        if sharding.shard_shape(of)[-axes:] == of[-axes:]:
            return sharding
        # Of arrays bound to no mesh, or only to a part of one, it names no axes: then each device gets all images.
        batch = sharding.spec[: len(of) - axes] if isinstance(sharding, NamedSharding) else ()
        return NamedSharding(mesh, PartitionSpec(*batch))

    def partition(mesh: Any, operands: Any, result: Any) -> tuple[Any, ...]:
        sharding = whole_images(mesh, operands, result)
        return mesh, whole, sharding, (sharding,)

    split = custom_partitioning(lambda x: whole(x))
    before, after = (" ".join(f"{name}{axis}" for axis in range(axes)) for name in "ij")
    split.def_partition(
        infer_sharding_from_operands=whole_images, partition=partition, sharding_rule=f"... {before} -> ... {after}"
    )
    return split
