"""Train a small network to defocus the background of photographs, from misaligned pairs.

    python examples/train_refocus_flax.py

The network gets a photograph and a map of where to blur it. Its training targets are misaligned by up to 2 px, as two
exposures are. It is trained twice from the same seed, with L1 and with BlurSim: less than three minutes on two cores,
without the installation. Images are float32, in colour, from 0 to 1.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import _pictures
import jax.numpy as jnp
import numpy as np
import optax
import scipy
import skimage
from flax import nnx
from jax import Array
from matplotlib.figure import Figure
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm import tqdm

from blursim_jax import blursim

LOSSES = {
    "L1": lambda x, y: jnp.mean(jnp.abs(x - y)),
    # Height and width of Flax's channels-last images.
    "BlurSim": lambda x, y: blursim(x, y, 0, axes=(-3, -2), window=32),
}
# Photographs from the scikit-image package, so nothing is downloaded.
TRAIN = ("astronaut", "coffee", "rocket", "stereo_motorcycle", "hubble_deep_field")
SHIFT = 2  # largest misalignment of a target, in pixels, along each axis


def photograph(name: str) -> np.ndarray:
    image = getattr(skimage.data, name)()
    image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    return skimage.util.img_as_float32(image[..., :3])


def out_of_focus(image: np.ndarray, radius: int = 5) -> np.ndarray:
    """Convolved with a disk: what a lens makes of a point out of focus."""
    disk = skimage.morphology.disk(radius, dtype=np.float32)
    return scipy.ndimage.convolve(image, disk[..., None] / disk.sum(), mode="mirror")


def refocused(sharp: np.ndarray, blurred: np.ndarray, blur_here: np.ndarray) -> np.ndarray:
    return sharp + blur_here * (blurred - sharp)


def random_map(rng: np.random.Generator, size: int) -> np.ndarray:
    """1 where to blur, 0 elsewhere, with soft borders at random places."""
    noise = scipy.ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), size / 8)
    return (0.5 + noise / noise.std()).clip(0, 1)[..., None]


def batches(rng: np.random.Generator, count: int = 4, size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches: photographs with their maps as a fourth channel, and misaligned targets."""
    pairs = [(image, out_of_focus(image)) for image in map(photograph, TRAIN)]
    while True:
        inputs, targets = [], []
        for index in rng.integers(len(pairs), size=count):
            larger = size + 2 * SHIFT
            top, left = (rng.integers(side - larger + 1) for side in pairs[index][0].shape[:2])
            sharp, blurred = (image[top : top + larger, left : left + larger] for image in pairs[index])
            blur_here = random_map(rng, larger)
            down, right = rng.integers(2 * SHIFT + 1, size=2)
            inside = slice(SHIFT, SHIFT + size)
            inputs.append(np.concatenate([sharp, blur_here], axis=-1)[inside, inside])
            targets.append(refocused(sharp, blurred, blur_here)[down : down + size, right : right + size])
        yield np.stack(inputs), np.stack(targets)


class Refocus(nnx.Module):
    """The photograph plus a correction, made by a few convolutions."""

    def __init__(self, rngs: nnx.Rngs, width: int = 36, depth: int = 6) -> None:
        def conv(inputs: int, outputs: int, **options) -> nnx.Conv:
            return nnx.Conv(inputs, outputs, kernel_size=(3, 3), rngs=rngs, **options)

        layers = [conv(4, width), nnx.leaky_relu]
        for _ in range(depth - 2):
            layers += [conv(width, width), nnx.leaky_relu]
        # Zero at first: training starts from the photograph.
        self.correction = nnx.Sequential(*layers, conv(width, 3, kernel_init=nnx.initializers.zeros))

    def __call__(self, x: Array) -> Array:
        return x[..., :3] + self.correction(x)


def train(name: str, steps: int, seed: int) -> Refocus:
    model = Refocus(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(2e-3, steps)), wrt=nnx.Param)

    @nnx.jit
    def train_step(model: Refocus, optimizer: nnx.Optimizer, x: Array, y: Array) -> Array:
        loss, gradient = nnx.value_and_grad(lambda model: LOSSES[name](model(x), y))(model)
        optimizer.update(model, gradient)
        return loss

    pairs = batches(np.random.default_rng(seed))
    with tqdm(range(steps), unit="step", desc=f"{name:<7}") as progress:
        for step in progress:
            loss = train_step(model, optimizer, *next(pairs))
            if step % 20 == 0:
                progress.set_postfix(loss=f"{float(loss):.4f}")
    return model


def held_out() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cat, the map that keeps its face in focus, and the target, here aligned."""
    sharp = photograph("chelsea")
    y, x = np.ogrid[: sharp.shape[0], : sharp.shape[1]]
    face = np.hypot((y - 148) / 108, (x - 215) / 128)  # an ellipse, 1 at its border
    blur_here = (0.5 + 4 * (face - 1)).clip(0, 1).astype(np.float32)[..., None]
    return sharp, blur_here, refocused(sharp, out_of_focus(sharp), blur_here)


def draw(path: Path, sharp: np.ndarray, blur_here: np.ndarray, target: np.ndarray, results: dict) -> None:
    error = {name: (8 * abs(image - target)).clip(0, 1) for name, image in results.items()}
    psnr = {name: peak_signal_noise_ratio(target, image, data_range=1) for name, image in results.items()}
    panels = {
        "input, and what to keep in focus": sharp,
        **{f"trained with {name}: {psnr[name]:.1f} dB": image for name, image in results.items()},
        "target": target,
        **{f"error of {name}, times 8": image for name, image in error.items()},
    }
    shown = (slice(10, 280), slice(75, 365))
    figure = Figure(figsize=(9, 6.1), layout="constrained")
    axes = figure.subplots(2, 3)
    for ax, (title, image) in zip(axes.flat, panels.items(), strict=True):
        ax.imshow(image[shown])
        ax.set_title(title, fontsize=12)
        ax.set(xticks=[], yticks=[])
    axes[0, 0].contour(blur_here[shown][..., 0], [0.5], colors="white")
    _pictures.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and pairs (default: %(default)s)")
    default = _pictures.OUTPUT / "refocus.png"
    parser.add_argument("--output", type=Path, default=default, help="picture to write (default: %(default)s)")
    args = parser.parse_args()

    print(f"Training twice on {len(TRAIN)} photographs, with targets misaligned by up to {SHIFT} px", flush=True)
    sharp, blur_here, target = held_out()
    results, seconds = {}, {}
    for name in LOSSES:
        start = time.perf_counter()
        model = train(name, args.steps, args.seed)
        seconds[name] = time.perf_counter() - start
        x = np.concatenate([sharp, blur_here], axis=-1)
        results[name] = np.asarray(model(x[None])[0]).clip(0, 1)

    print(f"\n{'held out: chelsea':<20}{'PSNR (dB)':>10}{'SSIM':>8}{'training (s)':>14}")
    for name, image in {"input": sharp, **results}.items():
        psnr = peak_signal_noise_ratio(target, image, data_range=1)
        ssim = structural_similarity(target, image, data_range=1, channel_axis=-1)
        print(f"{name:<20}{psnr:10.2f}{ssim:8.3f}" + (f"{seconds[name]:14.0f}" if name in seconds else ""))
    print()
    draw(args.output, sharp, blur_here, target, results)


if __name__ == "__main__":
    main()
