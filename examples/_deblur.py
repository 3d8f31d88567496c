"""What the two deblurring examples share: photographs, table and picture.

Images are grey, float32, black 0 and white 1, of shape (N, H, W).
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _pictures
import numpy as np
import skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

# Photographs from the scikit-image package, so nothing is downloaded; no scene is in both lists.
TRAIN = ("astronaut", "brick", "grass", "gravel", "hubble_deep_field", "moon", "rocket", "stereo_motorcycle")
HELD_OUT = ("camera", "coffee", "chelsea", "coins")


def photograph(name: str) -> np.ndarray:
    image = getattr(skimage.data, name)()
    image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    image = skimage.util.img_as_float32(image)
    return skimage.color.rgb2gray(image) if image.ndim == 3 else image


def blurred_and_sharp(name: str) -> np.ndarray:
    # Blurred before cropping, so that what is outside a crop blurs into it.
    sharp = photograph(name)
    return np.stack([skimage.filters.gaussian(sharp, sigma=2), sharp])


def add_noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return images + 0.01 * rng.standard_normal(images.shape, dtype=np.float32)


def batches(rng: np.random.Generator, count: int = 8, size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches (blurred, sharp) of random crops of the training photographs."""
    pairs = [blurred_and_sharp(name) for name in TRAIN]
    while True:
        crops = []
        for index in rng.integers(len(pairs), size=count):
            _, height, width = pairs[index].shape
            top, left = rng.integers((height - size + 1, width - size + 1))
            crops.append(pairs[index][:, top : top + size, left : left + size])
        blurred, sharp = np.stack(crops, axis=1)
        yield add_noise(blurred, rng), sharp


def held_out(rng: np.random.Generator, size: int = 288) -> tuple[np.ndarray, np.ndarray]:
    """(blurred, sharp): the centres of the held-out photographs, in the order of HELD_OUT."""
    crops = []
    for pair in map(blurred_and_sharp, HELD_OUT):
        top, left = (np.array(pair.shape[1:]) - size) // 2
        crops.append(pair[:, top : top + size, left : left + size])
    blurred, sharp = np.stack(crops, axis=1)
    return add_noise(blurred, rng), sharp


def parse_args(description: str, output: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=1000, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, crops and noise (default: %(default)s)")
    default = _pictures.OUTPUT / output
    parser.add_argument("--output", type=Path, default=default, help="picture to write (default: %(default)s)")
    return parser.parse_args()


def print_table(sharp: np.ndarray, tried: dict[str, np.ndarray], terms: Sequence[Any]) -> None:
    """One row for each photograph and one for their mean, before and after."""
    measures = {"PSNR (dB)": "10.2f", "SSIM": "10.3f", "general": "10.4f", "specific": "10.4f"}
    values = np.array(
        [
            [
                [peak_signal_noise_ratio(y, x, data_range=1) for x, y in zip(images, sharp, strict=True)],
                [structural_similarity(y, x, data_range=1) for x, y in zip(images, sharp, strict=True)],
                term.general,
                term.specific,
            ]
            for images, term in zip(tried.values(), terms, strict=True)
        ]
    )  # blurred or result, measure, photograph
    values = np.concatenate([values, values.mean(axis=-1, keepdims=True)], axis=-1)
    print("\n" + "held out".ljust(10) + "".join(f"{measure:>22}" for measure in measures))
    print(" " * 10 + "".join(f"{name:>11}" for _ in measures for name in tried))
    for name, row in zip((*HELD_OUT, "mean"), np.moveaxis(values, -1, 0), strict=True):
        cells = (f" {row[i, j]:{form}}" for j, form in enumerate(measures.values()) for i in range(len(tried)))
        print(name.ljust(10) + "".join(cells))
    print("PSNR and SSIM: higher is better. general and specific, the terms of the loss: lower is better.\n")


def draw(path: Path, sharp: np.ndarray, tried: dict[str, np.ndarray], maps: Sequence[Any], shown: int = 2) -> None:
    """The first photographs before and after, with their difference maps."""
    columns = [(name, "image") for name in (*tried, "target")]
    columns += [(f"{kind}\n{name} - target", kind) for kind in ("spectrum", "edges") for name in tried]
    images = [*tried.values(), sharp, *(m.spectrum for m in maps), *(m.edges for m in maps)]
    rows = {name: [np.asarray(image[i]) for image in images] for i, name in enumerate(HELD_OUT[:shown])}
    _pictures.grid(path, columns, rows)
