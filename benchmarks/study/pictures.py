"""The guide's pictures; report.py draws them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.study import scenes
from benchmarks.study.losses import ADVISED, COMPLEX, L1, L1_FFT, SEARCH, Loss
from benchmarks.study.tasks import TASKS
from benchmarks.study.training import DRAWN, FIRST, PIECE, WHICH, piece_path

GUIDE = Path(__file__).parents[2] / "docs" / "choosing.md"
PICTURED = ((L1, False), (L1_FFT, False), (SEARCH, False), (ADVISED, False), (COMPLEX, True))


def label(loss: Loss, registered: bool) -> str:
    words = loss.name.removeprefix("blursim(x, y, 0.3, ").removesuffix(")") if loss is COMPLEX else loss.name
    return "registered: " * registered + words


def draw_pieces(path: Path) -> None:
    """A piece of a held-out photograph: input, results, target, and their errors, times eight."""
    problem = scenes.make_problem(TASKS[DRAWN], FIRST, TASKS[DRAWN].judged_on, 1)
    piece = lambda image: np.moveaxis(image[PIECE], 0, -1).clip(0, 1)
    target = piece(problem.held_targets[WHICH])
    shown = {"input": piece(problem.untouched[WHICH])}
    for loss, registered in PICTURED:
        if (result := piece_path(loss.name, registered)).exists():
            shown[label(loss, registered)] = np.asarray(Image.open(result), float) / 255
    shown["target"] = target
    figure = Figure(figsize=(1.5 * len(shown), 3.5), layout="constrained")
    panels = figure.subplots(2, len(shown))
    for (above, below), (name, image) in zip(panels.T, shown.items(), strict=True):
        above.imshow(image)
        below.imshow(np.clip(8 * np.abs(image - target), 0, 1))
        above.set_title(name.replace(": ", ":\n").replace(" + ", " +\n").replace(", window", ",\nwindow"), fontsize=9)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    panels[0, 0].set_ylabel("result", fontsize=9)
    panels[1, 0].set_ylabel("error x 8", fontsize=9)
    save(figure, path)


def guide_code() -> dict[str, Any]:
    """What the guide's block that registers defines, for its picture and for a test."""
    code = next(block for block in re.findall("```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "ilk" in block)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def real_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two cameras side by side, the left one out of focus."""
    place = ("left", 250, 200)
    return scenes.stereo_views(TASKS["stereo-colour"], np.random.default_rng(0), place, 160, 1.5)[:2]


def draw_registration(path: Path) -> None:
    """The real pair before and after."""
    blurred, right = real_pair()
    registered, mask = guide_code()["register"](right, blurred)
    difference = lambda image: np.clip(4 * np.abs(scenes.gaussian(image, 1.5) - blurred), 0, 1)
    shown = {
        "input": blurred,
        "target, unregistered": right,
        "difference x 4": difference(right),
        "target registered": registered,
        "difference x 4, masked": mask * difference(registered),
        "mask (white: used)": np.repeat(mask[None], 3, axis=0).astype(float),
    }
    figure = Figure(figsize=(11, 2.2), layout="constrained")
    for panel, (name, image) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        panel.imshow(np.moveaxis(image, 0, -1).clip(0, 1))
        panel.set_title(name, fontsize=10)
        panel.set(xticks=[], yticks=[])
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)  # a third of the size
    print(f"wrote {path}")
