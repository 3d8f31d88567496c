"""Train a small network to undo the defocus of a microscope, on volumes (NDHWC) in Flax NNX: BlurSim, MSE and L1.

    python examples/train_volume_flax.py
    python examples/train_volume_flax.py --sharp mine.tif --blurred mine_out_of_focus.tif

Takes a few minutes on two cores. Volumes are float32, grey, from 0 to 1.
"""

import functools
from collections.abc import Iterator

import _volumes
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from tqdm import tqdm

from blursim_jax import blursim

AXES = (-4, -3, -2)  # depth, height and width of volumes (N, D, H, W, C)
LOSSES = {
    "MSE": lambda x, y: jnp.mean((x - y) ** 2),
    "L1": lambda x, y: jnp.mean(jnp.abs(x - y)),
    "BlurSim": lambda x, y: blursim(x, y, 0.3, axes=AXES),
    "BlurSim, complex": lambda x, y: blursim(x, y, 0.3, axes=AXES, spectrum="complex"),
}


# Convolutions in three dimensions, strided ones too, in parts that XLA computes much faster on a CPU.
def to_blocks(x: Array) -> Array:
    """Blocks of 2 x 2 x 2 voxels as channels, at half the resolution."""
    n, d, h, w, _ = x.shape
    blocks = x.reshape(n, d // 2, 2, h // 2, 2, w // 2, 2)
    return blocks.transpose(0, 1, 3, 5, 2, 4, 6).reshape(n, d // 2, h // 2, w // 2, 8)


def from_blocks(x: Array) -> Array:
    n, d, h, w, _ = x.shape
    return x.reshape(n, d, h, w, 2, 2, 2).transpose(0, 1, 4, 2, 5, 3, 6).reshape(n, 2 * d, 2 * h, 2 * w, 1)


def with_neighbours(x: Array) -> Array:
    """Each plane with its two neighbours as channels, for a convolution of 3 x 3 x 3."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    return jnp.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=-1)


class Refocus(nnx.Module):
    """x plus a correction, made by convolutions at half the resolution, where they reach twice as far."""

    def __init__(self, rngs: nnx.Rngs, width: int = 16, depth: int = 4) -> None:
        layers = [to_blocks, nnx.Linear(8, width, rngs=rngs), nnx.relu]
        for _ in range(depth):
            layers += [with_neighbours, nnx.Conv(3 * width, width, kernel_size=(3, 3), rngs=rngs), nnx.relu]
        # Zero at first: training starts from the blurred volume.
        layers += [nnx.Linear(width, 8, kernel_init=nnx.initializers.zeros, rngs=rngs), from_blocks]
        self.correction = nnx.Sequential(*layers)

    def __call__(self, x: Array) -> Array:
        return x + self.correction(x)


@functools.partial(nnx.jit, static_argnums=0)
def train_step(loss: str, model: Refocus, optimizer: nnx.Optimizer, x: ArrayLike, y: ArrayLike) -> Array:
    value, gradient = nnx.value_and_grad(lambda model: LOSSES[loss](model(x), y))(model)
    optimizer.update(model, gradient)
    return value


def train(loss: str, batches: Iterator[_volumes.Pair], steps: int, seed: int) -> _volumes.Restore:
    model = Refocus(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(2e-3, steps)), wrt=nnx.Param)
    with tqdm(range(steps), unit="step", desc=f"{loss}, seed {seed}") as progress:
        for step in progress:
            x, y = next(batches)
            value = train_step(loss, model, optimizer, x[..., None], y[..., None])
            if step % 20 == 0:
                progress.set_postfix(loss=f"{float(value):.4f}")
    return lambda blurred: np.asarray(model(blurred[None, ..., None]))[0, ..., 0]


def main() -> None:
    _volumes.main(__doc__.splitlines()[0], "volume_flax.png", list(LOSSES), train)


if __name__ == "__main__":
    main()
