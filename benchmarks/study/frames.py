"""On real frames of one scene, focused near and far: which loss trains best on misaligned targets?

    python -m benchmarks.study.frames FOLDER                    # each folder in it is a scene; its files are the frames
    python -m benchmarks.study.frames FOLDER --frames "board_?.jpg" --shrink 2     # a focus stack: FOLDER is the scene

The frames of a scene have one size and names in the order of focus. Neighbours make pairs, in both directions, for two
uses: "sharpen" predicts the other frame where it is the sharper one; "refocus" predicts the whole other frame, given a
map of relative sharpness. Targets are taken as they come, or registered by flow, with pixels masked where the forward
and backward flows disagree. Half of the scenes train and the others test, then the halves are swapped; a single scene
is split into left and right. Results are scored on registered tiles and reported with the registration error
(forward-backward discrepancy, and difference from a second method's flow). Prints a table and writes
results/frames.json; rows that are there already are not repeated.
"""

import argparse
import datetime
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from benchmarks import provenance
from benchmarks.study import registration, training
from benchmarks.study.figures import BORDER, figures, psnr
from benchmarks.study.losses import ADVISED, COMPLEX, L1, L1_FFT, LOSSES, MAGNITUDES, SEARCH, SPECTRUM, SQUARE, in_tiles
from benchmarks.study.networks import UNet
from benchmarks.study.results import FOLDER, short
from benchmarks.study.tasks import Task

RESULTS = FOLDER / "frames.json"
PATCH, BATCH, TILE = 64, 4, 128  # pixels a side of a training patch, patches in a batch, pixels a side of a scored tile
RADIUS = 20  # pixels: the window of the second method's flow
ENERGY = 15  # pixels a side of the windows whose sharpness is compared
SHARPER = 1.5  # how much sharper the target is, as a ratio of energies, where a frame is to be sharpened
AGREE = 1.0  # pixels: the largest forward-backward discrepancy that is trusted
TRUSTED = 0.95  # the share of a scored tile that must be trusted
RATE = 1e-3  # for all losses: with the U-Net, nearly every one of them chose it on the study's tasks
FIRST = training.FIRST
USES = ("sharpen", "refocus")
LOSSES_OF = {  # registered or not
    False: (L1, L1_FFT, SEARCH, SQUARE, MAGNITUDES, SPECTRUM, ADVISED),
    True: (L1, L1_FFT, MAGNITUDES, COMPLEX, ADVISED),
}


class Pair(NamedTuple):
    """One frame and its neighbour, all (C, H, W), with what is known of them."""

    scene: str
    part: int  # which of the two halves it belongs to
    columns: tuple[int, int]
    frame: np.ndarray
    other: np.ndarray
    registered: np.ndarray  # the other as seen from the frame
    mask: np.ndarray
    discrepancy: np.ndarray  # (H, W): pixels, forward-backward
    difference: np.ndarray  # (H, W): pixels between this flow and a second method's
    sharper: np.ndarray  # (1, H, W): log2 of the energy ratio, other over frame; -4 to 4 become -1 to 1


def main() -> None:
    options = parse()
    found = scenes(options.folder, options.frames, options.shrink)
    settings = {"folder": options.folder.name, "scenes": len(found), "steps": options.steps, "seeds": options.seeds}
    every = json.loads(options.output.read_text()) if options.output.exists() else []
    results = next((r for r in every if all(r[name] == of for name, of in settings.items())), None)
    if results is None:
        results = {**settings, "rows": []}
        every.append(results)
    pairs = [pair for i, scene in enumerate(found) for pair in pairs_of(*scene, i % 2 if len(found) > 1 else None)]
    results |= {
        "machine": provenance.machine("cpu" if jax.default_backend() == "cpu" else "gpu"),
        "versions": provenance.versions(*training.PACKAGES, "opencv-python-headless"),
        **provenance.commit("blursim_jax", "benchmarks/study/*.py"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "registration": error_of_registration(pairs),
    }
    print(results["registration"])
    cells = [(use, False, "untouched input") for use in USES]
    cells += [
        (use, registered, loss.name) for use in USES for registered in LOSSES_OF for loss in LOSSES_OF[registered]
    ]
    for cell in tqdm(cells):
        if cell not in [(row["use"], row["registered"], row["loss"]) for row in results["rows"]]:
            results["rows"].append(result(pairs, *cell, options))
            options.output.write_text(json.dumps(every, indent=1) + "\n")
    for row in results["rows"]:
        print(row["use"], "registered" if row["registered"] else "as they come", row["loss"], row["figures"][""])


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", default="*", metavar="GLOB", help="which files are frames (default: all)")
    parser.add_argument("--shrink", type=int, default=1, help="pixels a side of the squares that become one")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(words)


def scenes(folder: Path, frames: str, shrink: int) -> list[tuple[str, list[np.ndarray]]]:
    """(name, frames (C, H, W) from 0 to 1) of each folder with two pictures or more."""
    found = []
    for of in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        paths = [path for path in sorted(of.glob(frames)) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif")]
        if len(paths) > 1:
            images = [np.moveaxis(np.asarray(Image.open(p).convert("RGB"), np.float32) / 255, -1, 0) for p in paths]
            found.append((of.name, [np.asarray(in_tiles(image, shrink).mean(axis=(2, 4))) for image in images]))
    return found


def pairs_of(scene: str, frames: list[np.ndarray], part: int | None) -> list[Pair]:
    found = []
    for first, second in itertools.pairwise(frames):
        for frame, other in ((first, second), (second, first)):
            flow, back = dense_inverse_search(frame, other), dense_inverse_search(other, frame)
            registered, mask = registration.warp(other, flow)
            discrepancy = registration.discrepancy(flow, back)
            mask = mask * (discrepancy <= AGREE).astype(np.float32)
            soft = [ndimage.gaussian_filter(image, 2, axes=(1, 2)) for image in (frame, other)]
            difference = np.linalg.norm(flow - registration.flow(*soft, RADIUS), axis=0)
            energy = [energy_of(image) for image in (frame, registered)]
            sharper = np.clip(np.log2(energy[1] / energy[0]) / 4, -1, 1)[None].astype(np.float32)
            width = frame.shape[2]
            parts = [(part, (0, width))] if part is not None else [(0, (0, width // 2)), (1, (width // 2, width))]
            of = (frame, other, registered, mask, discrepancy, difference, sharper)
            found += [Pair(scene, part, columns, *of) for part, columns in parts]
    return found


def dense_inverse_search(frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    """OpenCV's DIS flow between both frames, blurred so that defocus differs less: (2, H, W), rows first."""
    grey = [(255 * ndimage.gaussian_filter(image.mean(axis=0), 2)).astype(np.uint8) for image in (frame, other)]
    found = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    return np.moveaxis(found[..., ::-1], -1, 0)


def energy_of(image: np.ndarray) -> np.ndarray:
    detail = ndimage.gaussian_laplace(image.mean(axis=0), 1) ** 2
    return ndimage.uniform_filter(detail, ENERGY) + 1e-7


def error_of_registration(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The share of trusted pixels, and for the scored tiles median errors in pixels."""
    scored = [(pair, at) for pair in pairs for at in tiles(pair, "refocus")]
    median = lambda name: np.median([np.median(tile_of(getattr(pair, name), *at)) for pair, at in scored])
    return {
        "trusted": short(np.mean([pair.mask.mean() for pair in pairs])),
        "scored tiles": len(scored),
        "discrepancy, px": short(median("discrepancy")),
        "difference, px": short(median("difference")),
    }


def tile_of(image: np.ndarray, top: int, left: int, size: int = TILE) -> np.ndarray:
    return image[..., top : top + size, left : left + size]


def tiles(pair: Pair, use: str) -> list[tuple[int, int]]:
    """Corners of the scored tiles: where registration can be trusted."""
    height = pair.frame.shape[1]
    first, last = pair.columns
    grid = itertools.product(range(0, height - TILE + 1, TILE), range(first, last - TILE + 1, TILE))
    good = lambda at: tile_of(pair.mask, *at).mean() >= TRUSTED
    return [at for at in grid if good(at) and (use == "refocus" or to_sharpen(pair, *at, TILE))]


def to_sharpen(pair: Pair, top: int, left: int, size: int) -> bool:
    """Is the other frame the sharper one in nearly all of the tile?"""
    return bool(np.quantile(tile_of(pair.sharper, top, left, size), 0.1) > np.log2(SHARPER) / 4)


def result(pairs: Sequence[Pair], use: str, registered: bool, loss: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both halves, each scored with the network that the other one trained."""
    started, runs = time.perf_counter(), []
    for seed in range(FIRST, FIRST + options.seeds):
        each = []
        for part in (0, 1):
            judge = [(pair, *at) for pair in pairs if pair.part == part for at in tiles(pair, use)]
            inputs = np.stack([planes(use, pair, *at, TILE) for pair, *at in judge])
            outputs = inputs[:, :3]
            if loss in LOSSES:
                outputs = trained([p for p in pairs if p.part != part], use, registered, loss, seed, options.steps)(
                    inputs
                )
            for (pair, *at), output, before in zip(judge, outputs, inputs, strict=True):
                found = figures(output, tile_of(pair.registered, *at), before[:3])
                inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
                found["as it comes"] = psnr(output[inner].clip(0, 1), tile_of(pair.other, *at)[inner])
                each.append({"scene": pair.scene, **found})
        runs.append(each)
    names = ("psnr", "ssim", "tint", "coarse", "as it comes")
    every = list(itertools.chain(*runs))
    mean = lambda kind, name: np.mean([each[name] for each in every if each["scene"].startswith(kind)])
    kinds = sorted({"", *(pair.scene.split("_")[0] for pair in pairs)})
    means = {kind: {name: short(mean(kind, name)) for name in names if not kind or name == "psnr"} for kind in kinds}
    of_seeds = [short(np.mean([e["psnr"] for e in each])) for each in runs]
    seconds = short(time.perf_counter() - started)
    words = {"use": use, "registered": registered, "loss": loss, "tiles": len(runs[0]), "seconds": seconds}
    return {**words, "figures": means, "psnr of seeds": of_seeds}


def planes(use: str, pair: Pair, top: int, left: int, size: int) -> np.ndarray:
    """(3 or 4, size, size): the frame and, to refocus, the map."""
    parts = [pair.frame, pair.sharper] if use == "refocus" else [pair.frame]
    return np.concatenate([tile_of(part, top, left, size) for part in parts])


def trained(pairs: Sequence[Pair], use: str, registered: bool, loss: str, seed: int, steps: int) -> Any:
    """The network, once trained on the pairs, as a function of inputs (N, planes, H, W)."""
    scene = "stereo render" if use == "refocus" else "stereo"
    task = Task(scene=scene, colour=True, network=UNet, registered=registered, radius=4)
    begin, chunk = training.learner(task, LOSSES[loss], steps)
    rng, drawn = np.random.default_rng(seed), []
    places = [(i, at) for i, pair in enumerate(pairs) for at in places_of(pair, use)]
    for at in rng.integers(len(places), size=steps * BATCH):
        i, corner = places[at]
        drawn.append((pairs[i], *corner, PATCH))
    shaped = lambda images: jnp.asarray(np.stack(images)).reshape(steps, BATCH, *images[0].shape)
    x = shaped([np.moveaxis(planes(use, *of), 0, -1) for of in drawn])
    y = shaped([tile_of(pair.registered if registered else pair.other, *of) for pair, *of in drawn])
    mask = shaped([tile_of(pair.mask, *of) for pair, *of in drawn])
    params = nnx.state(task.make_network(seed))
    moments, chunk = begin(params), jax.jit(chunk)
    for first in range(0, steps, training.CHUNK):
        params, moments = chunk(params, moments, RATE, (x, y, mask), first)
    return lambda inputs: np.asarray(jax.jit(task.predict_singly)(params, np.moveaxis(inputs, 1, -1)))


def places_of(pair: Pair, use: str) -> list[tuple[int, int]]:
    """Corners of the patches that may train."""
    first, last = pair.columns
    grid = itertools.product(range(0, pair.frame.shape[1] - PATCH + 1, 16), range(first, last - PATCH + 1, 16))
    return [at for at in grid if use == "refocus" or to_sharpen(pair, *at, PATCH)]


if __name__ == "__main__":
    main()
