"""Train a small network to deblur photographs, with BlurSim in a jitted Flax NNX train step.

    python examples/train_deblur_flax.py

Takes about a minute on two cores. Images are float32, grey, from 0 to 1.
"""

import _deblur
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from tqdm import tqdm

from blursim_jax import blursim, blursim_terms, difference_maps

AXES = (-3, -2)  # height and width of Flax's channels-last images


class Deblur(nnx.Module):
    """x plus a correction, made by a few convolutions."""

    def __init__(self, rngs: nnx.Rngs, width: int = 24, depth: int = 5) -> None:
        def conv(inputs: int, outputs: int, **options) -> nnx.Conv:
            return nnx.Conv(inputs, outputs, kernel_size=(3, 3), rngs=rngs, **options)

        layers = [conv(1, width), nnx.relu]
        for _ in range(depth - 2):
            layers += [conv(width, width), nnx.relu]
        # Zero at first: training starts from the blurred image.
        self.correction = nnx.Sequential(*layers, conv(width, 1, kernel_init=nnx.initializers.zeros))

    def __call__(self, x: Array) -> Array:
        return x + self.correction(x)


@nnx.jit
def train_step(model: Deblur, optimizer: nnx.Optimizer, x: ArrayLike, y: ArrayLike) -> Array:
    def loss(model: Deblur) -> Array:
        # The pairs are aligned, so the loss may depend on position.
        return blursim(model(x), y, 0.3, axes=AXES, spectrum="complex")

    value, gradient = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradient)
    return value


def train(steps: int, seed: int) -> Deblur:
    model = Deblur(nnx.Rngs(seed))
    learning_rate = optax.cosine_decay_schedule(2e-3, steps)
    optimizer = nnx.Optimizer(model, optax.adam(learning_rate), wrt=nnx.Param)
    batches = _deblur.batches(np.random.default_rng(seed))
    with tqdm(range(steps), unit="step") as progress:
        for step in progress:
            x, y = next(batches)
            loss = train_step(model, optimizer, x[..., None], y[..., None])
            if step % 20 == 0:
                progress.set_postfix(loss=f"{float(loss):.4f}")
    return model


def main() -> None:
    args = _deblur.parse_args(__doc__.splitlines()[0], "deblur_flax.png")
    print(f"Training on {len(_deblur.TRAIN)} photographs; the first step takes seconds to compile", flush=True)
    model = train(args.steps, args.seed)
    print(f"Deblurring the centres of {len(_deblur.HELD_OUT)} held-out photographs", flush=True)
    blurred, sharp = _deblur.held_out(np.random.default_rng(args.seed))
    result = np.asarray(model(blurred[..., None])[..., 0]).clip(0, 1)
    tried = {"blurred": blurred, "result": result}
    _deblur.print_table(sharp, tried, [blursim_terms(x, sharp, reduction="none") for x in tried.values()])
    _deblur.draw(args.output, sharp, tried, [difference_maps(x, sharp) for x in tried.values()])


if __name__ == "__main__":
    main()
