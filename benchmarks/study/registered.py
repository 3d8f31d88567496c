"""How well flow registers patches: python -m benchmarks.study.registered, which writes results/registration.json."""

import json
from dataclasses import replace

import numpy as np

from benchmarks import provenance
from benchmarks.study import scenes
from benchmarks.study.figures import psnr
from benchmarks.study.registration import discrepancy, flow, register
from benchmarks.study.results import FOLDER
from benchmarks.study.tasks import TASKS, Task

TRIED = ("shift2", "breathing", "parallax", "render-shift2", "render-shift4", "render-shift8")
NAMES = ("before", "after", "after, where both flows agree", "pixels from inside the patch")
NAMES += ("pixels where both flows agree",)


def figures(task: Task, count: int = 60) -> dict[str, float]:
    """Medians over patches of 64 px: PSNR against the aligned target, and shares of pixels."""
    task, rows = replace(task, patch=64), []
    aligned = replace(task, shift=0, scale=0, degrees=0, warp=0)
    _, make_pair, _ = scenes.SCENES[task.scene]
    for seed in range(count):
        place = scenes.random_place(task, np.random.default_rng(seed), task.train_on, 64)
        image, moved = make_pair(task, np.random.default_rng(seed), place)
        _, target = make_pair(aligned, np.random.default_rng(seed), place)
        reference = image[: task.channels]
        found, mask = register(reference, moved)
        trusted = mask * (discrepancy(flow(reference, moved), flow(moved, reference)) < 1)
        after = [psnr(m * found, m * target) + 10 * np.log10(m.mean()) for m in (mask, trusted)]
        rows.append([psnr(moved, target), *after, mask.mean(), trusted.mean()])
    return dict(zip(NAMES, np.median(rows, axis=0).round(3).tolist(), strict=True))


def main() -> None:
    made = {
        "versions": provenance.versions("numpy", "scikit-image", "scipy"),
        **provenance.commit("benchmarks/study/*.py"),
        "tasks": {name: figures(TASKS[name]) for name in TRIED},
    }
    (FOLDER / "registration.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
