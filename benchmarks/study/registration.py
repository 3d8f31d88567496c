"""Registering a target to its input, once, before training, by scikit-image's flow. Images are (C, H, W).

python -m benchmarks.study.registration            # how well that goes: a minute; writes results/registration.json
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.registration import optical_flow_ilk

RADIUS = 7  # pixels: half the window in which the flow is constant


def flow(reference: np.ndarray, moving: np.ndarray, radius: int = RADIUS) -> np.ndarray:
    """(2, H, W): from each pixel of the reference to where moving shows the same."""
    return optical_flow_ilk(reference.mean(axis=0), moving.mean(axis=0), radius=radius)


def warp(moving: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """moving as seen from the reference, (C, H, W), and a mask (1, H, W): 0 where it lies outside of moving."""
    where = np.indices(moving.shape[1:]) + flow
    last = np.array(moving.shape[1:])[:, None, None] - 1
    inside = ((where >= 0) & (where <= last)).all(axis=0)
    planes = [ndimage.map_coordinates(plane, where, np.float32, order=3, mode="nearest") for plane in moving]
    return np.stack(planes), inside[None].astype(np.float32)


def register(reference: np.ndarray, moving: np.ndarray, radius: int = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    return warp(moving, flow(reference, moving, radius))


def astray(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """(H, W): by how many pixels the way there and back misses its start."""
    where = np.indices(there.shape[1:]) + there
    returned = [ndimage.map_coordinates(component, where, order=1, mode="nearest") for component in back]
    return np.linalg.norm(there + np.stack(returned), axis=0)


def main() -> None:
    """How well it registers patches of 64 px: median PSNR against the target in register, before and after."""
    from benchmarks.study import tasks

    found = {}
    for name in ("shift2", "breathing", "parallax", "render-shift2", "render-shift4", "render-shift8"):
        task = replace(tasks.TASKS[name], patch=64)
        still = replace(task, shift=0, scale=0, degrees=0, parallax=0)
        rows = []
        for seed in range(60):
            place = task.random_place(np.random.default_rng(seed), task.train_on, task.patch)
            image, moved = task.pair(np.random.default_rng(seed), place)
            _, target = still.pair(np.random.default_rng(seed), place)
            reference = image[: task.channels]
            registered, mask = register(reference, moved)
            trusted = mask * (astray(flow(reference, moved), flow(moved, reference)) < 1)
            inside = [of.sum() / of.size for of in (mask, trusted)]
            error = [tasks.psnr(m * registered, m * target) + 10 * np.log10(m.mean()) for m in (mask, trusted)]
            rows.append([tasks.psnr(moved, target), *error, *inside])
        names = (
            "before",
            "after",
            "after, where both flows agree",
            "pixels from inside the patch",
            "pixels where both flows agree",
        )
        found[name] = dict(zip(names, np.median(rows, axis=0).round(3).tolist(), strict=True))
        print(name, found[name])
    (Path(__file__).parent / "results" / "registration.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
