"""The networks: (N, H, W, planes) to (N, H, W, channels)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array


class Convolution(nnx.Module):
    """3 x 3, as matrix products: within a scan on a CPU, ten times as fast as XLA's own convolution."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs, scale: float = 1) -> None:
        kernel = jax.random.normal(rngs.params(), (3, 3 * inputs, outputs)) * np.sqrt(2 / (9 * inputs))
        self.kernel = nnx.Param(scale * kernel)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Array) -> Array:
        height, width = x.shape[-3:-1]
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        across = jnp.concatenate([padded[:, :, j : j + width] for j in range(3)], axis=-1)
        return sum(across[:, i : i + height] @ self.kernel[i] for i in range(3)) + self.bias[...]


def leaky_relu(h: Array) -> Array:
    """Leaky, because with plain ReLUs some runs died in their first steps and returned their input for good."""
    return nnx.leaky_relu(h, 0.1)


class Network(nnx.Module):
    """Four convolutions. With a skip connection the output starts out as the first planes of the input."""

    def __init__(self, planes: int, channels: int, rngs: nnx.Rngs, skip: bool = True, width: int = 24) -> None:
        self.first = Convolution(planes, width, rngs)
        self.middle = nnx.List([Convolution(width, width, rngs) for _ in range(2)])
        self.last = Convolution(width, channels, rngs, scale=0 if skip else 1)
        self.channels, self.skip = channels, skip

    def __call__(self, x: Array) -> Array:
        h = leaky_relu(self.first(x))
        for layer in self.middle:
            h = leaky_relu(layer(h))
        return self.last(h) + x[..., : self.channels] if self.skip else self.last(h)


class UNet(nnx.Module):
    """Two scales and fifteen times the weights of Network: 159 thousand.

    As in FFDNet, each square of four pixels becomes four planes, and is put back at the end.
    """

    def __init__(self, planes: int, channels: int, rngs: nnx.Rngs, skip: bool = True) -> None:
        fine, coarse = 32, 96
        self.down = nnx.List([Convolution(4 * planes, fine, rngs), Convolution(fine, fine, rngs)])
        self.bottom = nnx.List([Convolution(fine, coarse, rngs), Convolution(coarse, coarse, rngs)])
        self.up = Convolution(coarse + fine, fine, rngs)
        self.last = Convolution(fine, 4 * channels, rngs, scale=0 if skip else 1)
        self.channels, self.skip = channels, skip

    def __call__(self, x: Array) -> Array:
        def through(layers: Any, h: Array) -> Array:
            for layer in layers:
                h = leaky_relu(layer(h))
            return h

        count, height, width, planes = x.shape
        squares = x.reshape(count, height // 2, 2, width // 2, 2, planes).transpose(0, 1, 3, 2, 4, 5)
        fine = through(self.down, squares.reshape(count, height // 2, width // 2, 4 * planes))
        coarse = through(self.bottom, nnx.avg_pool(fine, (2, 2), strides=(2, 2)))
        larger = coarse.repeat(2, axis=1).repeat(2, axis=2)
        out = self.last(leaky_relu(self.up(jnp.concatenate([larger, fine], axis=-1))))
        back = out.reshape(count, height // 2, width // 2, 2, 2, self.channels).transpose(0, 1, 3, 2, 4, 5)
        out = back.reshape(count, height, width, self.channels)
        return out + x[..., : self.channels] if self.skip else out
