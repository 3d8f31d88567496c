"""rfft2 and irfft2 over the last two axes that leave each image of a batch on the device where it lies.

Before an FFT XLA gathers a sharded batch onto every device; these two say how to split it.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec


def rfft2(x: Array) -> Array:
    """Half spectrum of real images, shape (*batch, H, W // 2 + 1)."""
    return _image_by_image(lax.FftType.RFFT, x.shape[-2:])(x)


def irfft2(half: Array, shape: tuple[int, ...]) -> Array:
    """Real images of shape (H, W) from their half spectra; without the factor 1 / (H W)."""
    return _image_by_image(lax.FftType.IRFFT, shape)(half) * math.prod(shape)


@functools.cache
def _image_by_image(kind: lax.FftType, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    def whole(x: Array) -> Array:
        return lax.fft(x, kind, shape)

    def whole_images(mesh: Any, operands: Any, result: Any) -> NamedSharding:
        sharding = operands[0].sharding
        batch = sharding.spec[: len(operands[0].shape) - 2]
        return NamedSharding(sharding.mesh, PartitionSpec(*batch, None, None))

    def partition(mesh: Any, operands: Any, result: Any) -> tuple[Any, ...]:
        sharding = whole_images(mesh, operands, result)
        return mesh, whole, sharding, (sharding,)

    split = custom_partitioning(whole)
    split.def_partition(
        infer_sharding_from_operands=whole_images,
        partition=partition,
        sharding_rule="... h w -> ... i j",
        need_replication_factors=("h", "w", "i", "j"),
    )

    # It has no rule of its own under vmap and for derivatives: leading axes, and the FFT that XLA knows.
    @custom_vmap
    def batched(x: Array) -> Array:
        return split(x)

    @batched.def_vmap
    def _(size: int, in_batched: list[bool], x: Array) -> tuple[Array, bool]:
        return batched(x), True

    @jax.custom_jvp
    def differentiable(x: Array) -> Array:
        return batched(x)

    @differentiable.defjvp
    def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
        return differentiable(*primals), whole(*tangents)

    return differentiable
