"""On the frames of a focus stack as they come: which loss makes a blurred frame as sharp as the sharpest?

    python benchmarks/focus_stack.py FOLDER --frames "board_?.jpg"

The frames must be of one size, their names in the order of focus. From places spread over the left of the frames the
U-Net learns to turn what a frame shows into what its neighbour shows there, where the neighbour is the sharpest of all:
as they come, so that the lens's breathing and all else that moves stands between input and target. It is judged on the
right of the frames, against the neighbour registered: a similarity found by RANSAC from the shifts of tiles, then each
tile's own remaining shift, found by correlation of what defocus leaves, neither the finest nor the coarsest detail.
A strip in between chooses the learning rate. Prints a table and writes results/evidence/focus_stack.json, which also
keeps what is done: a loss that is there already, with the same settings, is not repeated.
"""

import argparse
import datetime
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import evidence
import jax
import jax.numpy as jnp
import losses
import numpy as np
import speed
import tasks
import training
from flax import nnx
from PIL import Image
from scipy import ndimage
from skimage.measure import ransac
from skimage.registration import phase_cross_correlation
from skimage.transform import SimilarityTransform

RESULTS = Path(__file__).parent / "results" / "evidence" / "focus_stack.json"
UNTOUCHED = "none: the input as it is"
FORGIVING = (losses.SHIFTED, losses.TILES, f"{evidence.BLURSIM} 0.1", *losses.BEST[2:], *list(losses.MIXED)[1:4])
# The alternative to a loss that forgives: register, then train.
REGISTERED = {f"{name}, registered first": name for name in ("L1", "L1 + FFT", losses.BEST[0], losses.BEST[3])}
LOSSES = ("L1", "L1 + FFT", *FORGIVING, *REGISTERED)
RADIUS = 10  # pixels of the frames as they are, for the losses that search
PATCH, BATCH = 64, 4
JUDGED = 112  # pixels a side of a tile that is judged, with the border that is not
TILE = 128  # pixels a side of those whose shifts make the similarity
PARTS, SIZES = (0.55, 0.75), (PATCH, JUDGED, JUDGED)  # of the width: left of it trains, between chooses, right judges
RATES, CHOSEN_BY = (1e-3, 3e-3), 1000
SHARPER = 1.3  # the least ratio of the sharpest frame's sharpness to its neighbour's, for a pair to count
ALIGNED = 1.0  # pixels: the most that a judged tile may be from where the similarity has it


class Pair(NamedTuple):
    """At a place, the frame that is the input, and the sharpest one, its neighbour."""

    top: int
    left: int
    blurred: int
    sharp: int


class Judged(NamedTuple):
    inputs: np.ndarray  # (tiles, H, W)
    targets: np.ndarray  # the same of the sharpest frame, registered


def main() -> None:
    options = parse()
    frames = load(sorted(options.folder.glob(options.frames)), options.shrink)
    settings = {"frames": list(frames.shape), **{name: getattr(options, name) for name in ("shrink", "steps", "seeds")}}
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    if any(results.get(name) != value for name, value in settings.items()):
        results = {**settings, "rows": []}
    results |= {
        "machine": speed.machine("cpu" if jax.default_backend() == "cpu" else "gpu"),
        "versions": speed.versions(*training.PACKAGES),
        **speed.commit("blursim_jax", "benchmarks/*.py"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    for found in study(frames, options, [row["loss"] for row in results["rows"]]):
        results |= {**found, "rows": results["rows"] + found["rows"]}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
        print(evidence.stack_table(results))


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", default="*", metavar="GLOB", help="which files of it (default: all)")
    parser.add_argument(
        "--shrink", type=int, default=1, help="pixels a side of the squares that become one (default: 1)"
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--losses", nargs="+", choices=[*losses.NAMES, *REGISTERED], default=LOSSES, metavar="LOSS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(words)


def load(paths: Sequence[Path], shrink: int) -> np.ndarray:
    """(frames, H, W), grey, from 0 to 1."""
    grey = np.stack([np.asarray(Image.open(path).convert("L"), np.float32) / 255 for path in paths])
    return np.asarray(losses.in_tiles(grey, shrink).mean(axis=(2, 4)))


def study(frames: np.ndarray, options: argparse.Namespace, known: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is found of the frames, with one row after the other of those not known."""
    links = [similarity(*pair) for pair in itertools.pairwise(frames)]
    borders = [int(part * frames.shape[2]) for part in (0, *PARTS, 1)]
    places = [pairs(frames, size, *strip) for size, strip in zip(SIZES, itertools.pairwise(borders), strict=True)]
    choosing, judging = (judged(frames, links, of) for of in places[1:])
    of = [{"scale": float(link.scale), "degrees": float(np.rad2deg(link.rotation))} for link in links]
    found = {"links": of, "places": len(places[0]), "tiles": len(judging.inputs)}
    for name in (name for name in (UNTOUCHED, *options.losses) if name not in known):
        row = {"loss": name, "rate": None, "seconds": 0.0, "figures": means(judging.inputs, judging)}
        if name != UNTOUCHED:
            train = trainer(name, options, frames, places[0], links)
            tried = [means(train(CHOSEN_BY, rate, choosing.inputs), choosing)["ssim"] for rate in RATES]
            row["rate"] = RATES[int(np.argmax(tried))]
            started = time.perf_counter()
            runs = [
                means(train(training.FIRST + i, row["rate"], judging.inputs), judging) for i in range(options.seeds)
            ]
            row["seconds"] = training.short((time.perf_counter() - started) / options.seeds)
            row["figures"] = {key: training.short(value) for key, value in training.mean_figures(runs).items()}
            row["each"] = {key: [run[key] for run in runs] for key in ("psnr", "ssim")}  # of the seeds
        yield {**found, "rows": [row]}


def pairs(frames: np.ndarray, size: int, left: int, right: int) -> list[Pair]:
    """Of places on a grid between two columns those where something is sharper in one frame than in its neighbour."""
    detail = np.stack([ndimage.gaussian_laplace(frame, 1) ** 2 for frame in frames])
    energy = ndimage.uniform_filter(detail, (0, size, size))
    half, height = size // 2, frames.shape[1]
    centres = [(top, at) for top in range(half, height - half, half) for at in range(left + half, right - half, half)]
    strongest = np.array([energy[:, top, at].max() for top, at in centres])
    found = []
    for (top, at), most in zip(centres, strongest, strict=True):
        here = energy[:, top, at]
        sharp = int(here.argmax())
        for blurred in (sharp - 1, sharp + 1):
            if most > np.median(strongest) and 0 <= blurred < len(frames) and most > SHARPER * here[blurred]:
                found.append(Pair(top - half, at - half, blurred, sharp))
    return found


def similarity(frame: np.ndarray, neighbour: np.ndarray) -> SimilarityTransform:
    """From (column, row) in a frame to that in its neighbour."""
    corners = [range(0, side - TILE + 1, TILE // 2) for side in frame.shape]
    here = np.array([(left, top) for top in corners[0] for left in corners[1]])
    cut = lambda image, left, top: image[top : top + TILE, left : left + TILE]
    both = [band(image) for image in (frame, neighbour)]
    there = here + np.array([shift(*(cut(image, *at) for image in both))[::-1] for at in here])
    centre = (TILE - 1) / 2
    of = (here + centre, there + centre)
    _, inliers = ransac(of, SimilarityTransform, min_samples=3, residual_threshold=1, max_trials=1000, rng=0)
    return SimilarityTransform.from_estimate(*(side[inliers] for side in of))


def band(image: np.ndarray) -> np.ndarray:
    """What a frame and its neighbour have in common: no fine detail, which defocus takes, and no coarse one."""
    return ndimage.gaussian_filter(image, 2) - ndimage.gaussian_filter(image, 8)


def shift(tile: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(rows, columns) from what a tile shows to where another shows the same."""
    window = np.outer(*(np.hanning(side) for side in tile.shape))
    found, *_ = phase_cross_correlation(tile * window, other * window, upsample_factor=20, normalization=None)
    return -found


def to_sharp(links: Sequence[SimilarityTransform], pair: Pair) -> SimilarityTransform:
    """From the input's frame to the sharp one's."""
    return links[pair.blurred] if pair.sharp > pair.blurred else links[pair.sharp].inverse


def crop(frame: np.ndarray, pair: Pair, size: int) -> np.ndarray:
    return frame[pair.top : pair.top + size, pair.left : pair.left + size]


def registered(frames: np.ndarray, links: Sequence[SimilarityTransform], pair: Pair, size: int) -> np.ndarray:
    """What the sharp frame shows of what the input shows."""
    row, column = np.indices((size, size)) + np.array([pair.top, pair.left])[:, None, None]
    where = to_sharp(links, pair)(np.stack([column.ravel(), row.ravel()], axis=1))[:, ::-1].T
    return ndimage.map_coordinates(frames[pair.sharp], where.reshape(2, size, size), order=3, mode="mirror")


def judged(frames: np.ndarray, links: Sequence[SimilarityTransform], places: Sequence[Pair]) -> Judged:
    """Without the places that the similarity does not bring together: where a tile's own shift is above ALIGNED."""
    inputs, targets = [], []
    for pair in places:
        blurred, sharp = crop(frames[pair.blurred], pair, JUDGED), registered(frames, links, pair, JUDGED)
        rest = shift(band(blurred), band(sharp))
        if np.abs(rest).max() <= ALIGNED:
            inputs.append(blurred)
            targets.append(ndimage.shift(sharp, -rest, order=3, mode="mirror"))
    return Judged(np.stack(inputs), np.stack(targets))


def trainer(
    name: str,
    options: argparse.Namespace,
    frames: np.ndarray,
    places: Sequence[Pair],
    links: Sequence[SimilarityTransform],
) -> Callable[..., np.ndarray]:
    """train(seed, rate, inputs) -> what the network makes of the inputs; compiled once."""
    task = tasks.Deblur(network=tasks.UNet)
    steps = options.steps
    loss = losses.make(REGISTERED.get(name, name), RADIUS // options.shrink)
    begin, chunk = training.learner(task, loss, steps)
    chunk, result = jax.jit(chunk), jax.jit(task.result)

    def target(pair: Pair) -> np.ndarray:
        return registered(frames, links, pair, PATCH) if name in REGISTERED else crop(frames[pair.sharp], pair, PATCH)

    def train(seed: int, rate: float, inputs: np.ndarray) -> np.ndarray:
        drawn = [places[i] for i in np.random.default_rng(seed).integers(len(places), size=steps * BATCH)]
        shape = (steps, BATCH, PATCH, PATCH)
        x = jnp.stack([crop(frames[pair.blurred], pair, PATCH) for pair in drawn]).reshape(*shape, 1)
        y = jnp.stack([target(pair) for pair in drawn]).reshape(shape)
        params = nnx.state(task.network(1, True, nnx.Rngs(seed)))
        moments = begin(params)
        for first in range(0, steps, training.CHUNK):
            (params, moments), _ = chunk(params, moments, rate, x, y, first)
        return np.asarray(result(params, inputs[..., None]))

    return train


def means(outputs: np.ndarray, of: Judged) -> dict[str, Any]:
    """Over the tiles."""
    found = training.mean_figures(
        [tasks.figures(*images) for images in zip(outputs, of.targets, of.inputs, strict=True)]
    )
    return {key: training.short(value) for key, value in found.items()}


if __name__ == "__main__":
    main()
