"""As a measure: does BlurSim tell the same scene, blurred differently, from another scene?

    python -m benchmarks.study.measure                 # a minute; writes results/measure.json

From each photograph a few crops, each blurred by every sigma. Pairs of one crop at two sigmas are "same", pairs of
crops of different photographs at any sigmas "different". Three figures for each measure:

separation   AUC: the probability that a different pair is farther apart than a same pair; 1 is perfect, 0.5 chance
ratio        median distance of different pairs / median distance of same pairs
monotonic    Spearman's rank correlation, within a crop, of distance and difference in sigma; the mean over crops

Once with the crops of a pair in register, once with the second of a pair moved by up to two pixels. The intervals
are at 95 %, from resampling photographs.
"""

import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import stats

from benchmarks import provenance
from benchmarks.study import losses, tasks
from blursim_jax import blursim_terms

RESULTS = Path(__file__).parent / "results" / "measure.json"
SCENES = (*tasks.TRAIN, *tasks.SELECTION, *tasks.HELD_OUT)
SIGMAS = (0.0, 0.75, 1.5, 2.25, 3.0)
ALPHAS = (0.1, 0.5, 0.9)
CROPS, SIZE, MOVE = 3, 128, 2
DRAWS = 200


@jax.jit
def distances(x: Array, y: Array) -> dict[str, Array]:
    """Every measure of each pair of images."""
    found = {"MSE": jnp.mean((x - y) ** 2, (-2, -1)), "MAE": jnp.mean(jnp.abs(x - y), (-2, -1))}
    found["SSIM"] = jax.vmap(lambda a, b: losses.ssim(a[None, None], b[None, None]))(x, y)
    for spectrum, edges in itertools.product(("magnitude", "complex"), ("magnitude", "vector")):
        terms = blursim_terms(x, y, spectrum=spectrum, edges=edges, p=2, normalization="area", reduction="none")
        for alpha in ALPHAS:
            found[f"BlurSim {spectrum}/{edges} {alpha}"] = (1 - alpha) * terms.general + alpha * terms.specific
    return found


def scenes(rng: np.random.Generator, moved: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of the same crops, (photograph * crop, sigma, H, W); in the second they are moved, if at all."""
    task = tasks.TASKS["aligned"]
    places = [task.random_place(rng, (name,), SIZE) for name in SCENES for _ in range(CROPS)]
    shifts = rng.integers(-MOVE, MOVE, (len(places), 2), endpoint=True) * moved
    blur = lambda sigma: (lambda image: tasks.gaussian(image, sigma)) if sigma else None
    seen = lambda shifts: np.stack(
        [
            [task.crop((name, top + down, left + right), SIZE, blur(sigma))[0] for sigma in SIGMAS]
            for (name, top, left), (down, right) in zip(places, shifts, strict=True)
        ]
    )
    return seen(0 * shifts), seen(shifts)


def pairs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (crop, sigma, other crop, other sigma): all pairs of one crop, and as many of different photographs."""
    sigmas = list(itertools.permutations(range(len(SIGMAS)), 2))
    same = np.array([(crop, a, crop, b) for crop in range(count) for a, b in sigmas])
    other = (same[:, 0] // CROPS + rng.integers(1, count // CROPS, len(same))) % (count // CROPS)
    different = same.copy()
    different[:, 1], different[:, 3] = rng.integers(len(SIGMAS), size=(2, len(same)))
    different[:, 2] = other * CROPS + rng.integers(CROPS, size=len(same))
    return same, different


def scores(same: np.ndarray, different: np.ndarray, ranks: np.ndarray) -> dict[str, float]:
    """Of one measure; the first axis of each is the crops, ranks are their correlations."""
    return {
        "separation": auc(same.ravel(), different.ravel()),
        "ratio": float(np.median(different) / np.median(same)),
        "monotonic": float(np.mean(ranks)),
    }


def auc(low: np.ndarray, high: np.ndarray) -> float:
    return float(stats.mannwhitneyu(high, low).statistic / (len(low) * len(high)))


def study(moved: bool, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    first, second = scenes(rng, moved)
    count = len(first)
    same, different = pairs(rng, count)
    values = []
    for of in (same, different):
        x, y = first[of[:, 0], of[:, 1]], second[of[:, 2], of[:, 3]]
        parts = [distances(x[i : i + 100], y[i : i + 100]) for i in range(0, len(x), 100)]
        values.append({name: np.concatenate([part[name] for part in parts]).reshape(count, -1) for name in parts[0]})
    gaps = np.abs(np.subtract(*(np.array(SIGMAS)[same[:, i]] for i in (1, 3)))).reshape(count, -1)
    drawn = rng.integers(len(SCENES), size=(DRAWS, len(SCENES)))
    rows = []
    for name in values[0]:
        ranks = [stats.spearmanr(*pair).statistic for pair in zip(values[0][name], gaps, strict=True)]
        of = (values[0][name], values[1][name], np.array(ranks))
        whole = scores(*of)
        resampled = []
        for photographs in drawn:
            crops = (photographs[:, None] * CROPS + np.arange(CROPS)).ravel()
            resampled.append(scores(*(each[crops] for each in of)))
        interval = {key: np.quantile([r[key] for r in resampled], (0.025, 0.975)).tolist() for key in whole}
        rows.append({"measure": name, "moved": moved, "scores": whole, "interval": interval})
    return rows


def main() -> None:
    results = {
        "machine": provenance.machine("cpu" if jax.default_backend() == "cpu" else "gpu"),
        "versions": provenance.versions("jax", "jaxlib", "numpy", "scikit-image", "scipy"),
        **provenance.commit("blursim_jax", "benchmarks/study/*.py"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "rows": study(moved=False) + study(moved=True),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for row in results["rows"]:
        scores = "".join(f"{key:>14} {score:.3f}" for key, score in row["scores"].items())
        print(f"{row['measure']:32}{'moved' if row['moved'] else '':8}{scores}")


if __name__ == "__main__":
    main()
