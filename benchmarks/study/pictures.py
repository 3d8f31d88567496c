"""The guide's pictures, and that of the study's curves; report.py draws them."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.study import tasks
from benchmarks.study.losses import COMPLEX, L1, L1_FFT, MAGNITUDES, MIX, SEARCH, WINDOWS
from benchmarks.study.runs import Cells

GUIDE = Path(__file__).parents[2] / "docs" / "choosing.md"
NAMED = {
    "L1": (L1, ""),
    "L1 + FFT": (L1_FFT, ""),
    "L1, best shift": (SEARCH, ""),
    "FFT of windows": (WINDOWS, ""),
    "L1 + blursim(x, y, 0)": (MIX, ""),
    "blursim(x, y, 0.3)": (MAGNITUDES, ""),
    "registered: L1": (L1, "-registered"),
    "registered: L1 + FFT": (L1_FFT, "-registered"),
    'registered: spectrum="complex"': (COMPLEX, "-registered"),
}
PICTURED = ("L1", "L1 + FFT", "L1, best shift", "blursim(x, y, 0.3)", 'registered: spectrum="complex"')
CURVES = ("render-shift2-long", "shift2-unet")


def draw_pieces(found: Sequence[dict[str, Any]], path: Path, task: str = "render-shift2-colour-unet") -> None:
    """Of the first seed a piece of a held-out photograph: input, results, target, and their errors, times eight."""
    image = lambda word: np.asarray(Image.open(io.BytesIO(base64.b64decode(word))), float) / 255
    reference = next((r for r in found if r.get("reference") == task), None)
    pieces = {(r["task"], r["loss"]): r["piece"] for r in found if "piece" in r}
    shown = {name: pieces.get((task + suffix, loss.name)) for name, (loss, suffix) in NAMED.items()}
    shown = {name: image(piece) for name, piece in shown.items() if piece and name in PICTURED}
    if not (reference and shown):
        return
    target = image(reference["target"])
    shown = {"input": image(reference["input"]), **shown, "target": target}
    figure = Figure(figsize=(1.5 * len(shown), 3.5), layout="constrained")
    panels = figure.subplots(2, len(shown))
    for (above, below), (name, piece) in zip(panels.T, shown.items(), strict=True):
        above.imshow(piece)
        below.imshow(np.clip(8 * np.abs(piece - target), 0, 1))
        above.set_title(name.replace(": ", ":\n").replace(" + ", " +\n"), fontsize=9)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    panels[0, 0].set_ylabel("result", fontsize=9)
    panels[1, 0].set_ylabel("error x 8", fontsize=9)
    save(figure, path)


def draw_curves(cells: Cells, path: Path, across: Sequence[str] = CURVES) -> None:
    """PSNR of held-out photographs in the course of the U-Net's training runs, mean of seeds."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for panel, task in zip(figure.subplots(1, len(across), squeeze=False)[0], across, strict=True):
        for i, (name, (loss, suffix)) in enumerate(NAMED.items()):
            records = list(cells.get((task + suffix, loss.name), {}).values())
            if records:
                curve = np.mean([np.array(r["curve"]["psnr"], float) for r in records], axis=0)
                steps = records[0]["curve"]["steps"]
                panel.plot(steps, curve, "s:" if suffix else "o-", color=f"C{i}", label=name)
        panel.set_title(f"{tasks.TASKS[task].kind},\n{tasks.TASKS[task].title}", fontsize=9)
        panel.set_xlabel("step")
        panel.set_xscale("log")
        panel.set_xticks(steps, [f"{step:,}" for step in steps], fontsize=8)
        panel.minorticks_off()
    figure.axes[0].set_ylabel("PSNR, dB")
    handles = {label: h for panel in figure.axes for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=9)
    save(figure, path)


def guide_code() -> dict[str, Any]:
    """What the guide's first block that registers defines, for its picture and for a test."""
    code = next(block for block in re.findall("```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "ilk" in block)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


def real_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two cameras side by side, the left one out of focus."""
    return tasks.TASKS["stereo-colour"].seen(np.random.default_rng(0), ("left", 250, 200), 160, 1.5)[:2]


def draw_registration(path: Path) -> None:
    """The real pair before and after."""
    blurred, right = real_pair()
    registered, mask = guide_code()["register"](right, blurred)
    apart = lambda image: np.clip(4 * np.abs(tasks.gaussian(image, 1.5) - blurred), 0, 1)
    shown = {
        "input": blurred,
        "target, unregistered": right,
        "difference x 4": apart(right),
        "target registered": registered,
        "difference x 4, masked": mask * apart(registered),
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
