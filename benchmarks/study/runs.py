"""What the training runs found: the lines of results/training.jsonl, statistics over seeds, and the table of gains."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.study import tasks
from benchmarks.study.losses import L1, LOSSES, Loss, scheduled
from blursim_jax import blursim

FOLDER = Path(__file__).parent / "results"
RUNS = FOLDER / "training.jsonl"
LOOKED_AT = ("psnr", "ssim", "smooth", "textured", "power", "psnr_seen")  # in the course of a run
Cells = dict[tuple[str, str], dict[int, dict[str, Any]]]


# The file


def append(path: Path, record: dict[str, Any]) -> None:
    """In one write, so that lines of processes side by side do not mix; on a new line, even after one cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    line = "\n" * cut_short + json.dumps(record, allow_nan=False) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def lines(path: Path) -> list[dict[str, Any]]:
    """All that the file holds; a line that a crash cut short is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def short(values: Any) -> Any:
    """Five digits, and None for what is not finite, which JSON has not."""
    return [short(v) for v in values] if np.ndim(values) else float(f"{values:.5g}") if np.isfinite(values) else None


def by_cell(path: Path = RUNS) -> Cells:
    """(task, loss) -> seed -> run, in the order of the losses' records, without those that chose the learning rate.

    Of a seed that was run again, with another rate or on more photographs, the later run.
    """
    cells: Cells = {}
    for record in lines(path):
        if record.get("task") in tasks.TASKS and record["loss"] in LOSSES and not record["choosing"]:
            cells.setdefault((record["task"], record["loss"]), {})[record["seed"]] = record
    order = list(LOSSES)
    return {cell: cells[cell] for cell in sorted(cells, key=lambda cell: order.index(cell[1]))}


def untouched(path: Path = RUNS) -> dict[str, dict[str, Any]]:
    """task -> the figures of doing nothing."""
    return {r["reference"]: r["figures"] for r in lines(path) if "reference" in r and "figures" in r}


# Statistics


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t (NaN for fewer than two values)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()) if len(values) else np.nan, np.nan
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * error)


def value(record: dict[str, Any], figure: str) -> float:
    """Not finite outputs have no figures."""
    return record["figures"].get(figure, np.nan)


def figure_of(cells: Cells, task: str, loss: str, figure: str = "psnr") -> tuple[float, float]:
    return interval([value(record, figure) for record in cells.get((task, loss), {}).values()])


def paired(cells: Cells, of: tuple[str, str], rival: tuple[str, str], figure: str = "psnr") -> tuple[float, float]:
    """The interval of the difference of two cells, seed by seed: the same weights, crops and noise."""
    runs, others = cells.get(of, {}), cells.get(rival, {})
    return interval([value(runs[seed], figure) - value(others[seed], figure) for seed in runs if seed in others])


def over_photographs(cells: Cells, of: tuple[str, str], rival: tuple[str, str]) -> tuple[float, float]:
    """The interval of the difference in PSNR over photographs instead of seeds, each at both of its blurs.

    Of as many photographs as any seed has for both, and of the seeds that have as many.
    """
    runs, others = cells.get(of, {}), cells.get(rival, {})
    each = [[np.array(run["each"]["psnr"], float) for run in (runs[s], others[s])] for s in runs if s in others]
    counts = [min(map(len, pair)) for pair in each]
    apart = [x[:n] - y[:n] for (x, y), n in zip(each, counts, strict=True) if n == max(counts)]
    return interval(np.mean(apart, axis=0).reshape(-1, 2).mean(axis=1)) if apart else (np.nan, np.nan)


# As Markdown


def call(loss: Loss) -> str:
    """A loss as a reader would write it: of BlurSim the options that are not the defaults."""
    if loss.kind == "mix":
        words = (f"{weight:g} {call(part)}".removeprefix("1 ") for weight, part in loss.options["parts"])
        return " + ".join(words)
    if "then" in loss.options:
        return f"{call(loss.options['then'])} after colours"
    if loss.function not in (blursim, scheduled):
        return loss.name
    defaults = {"spectrum": "magnitude", "edges": "magnitude", "p": 1, "sobel_size": 5, "normalization": "gain"}
    found = {key: loss.options[key] for key in defaults if loss.options.get(key, defaults[key]) != defaults[key]}
    words = "".join(f", {key}={json.dumps(value)}" for key, value in found.items())
    alpha = loss.options.get("alpha", f"{loss.options.get('start')} to {loss.options.get('end')}")
    return f"`blursim(x, y, {alpha}{words})`"


def plus_minus(found: tuple[float, float], digits: int, signed: bool = False) -> str:
    mean, half = found
    if np.isnan(mean):
        return ""
    mean = round(mean, digits) + 0.0  # no -0.0
    return f"{mean:{'+' * signed}.{digits}f}" + (f" ± {half:.{digits}f}" if np.isfinite(half) else "")


def markdown(rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *body])


def gains(cells: Cells, across: Sequence[str], losses: Sequence[str] | None = None) -> str:
    """PSNR gain over L1, with SSIM below; the L1 row gives absolute PSNR."""
    across = [task for task in across if any(of == task for of, _ in cells)]
    losses = losses or list(dict.fromkeys(loss for task, loss in cells if task in across))
    rows = [["loss", *across]]
    for loss in losses:
        row = [call(LOSSES[loss])]
        for task in across:
            rival = (task, L1.name)
            alone = (task, loss) == rival
            found = figure_of(cells, task, loss) if alone else paired(cells, (task, loss), rival)
            ssim = plus_minus((figure_of(cells, task, loss, "ssim")[0], np.nan), 3)
            row.append("" if np.isnan(found[0]) else f"{plus_minus(found, 2, not alone)}<br>{ssim}")
        if any(row[1:]):
            rows.append(row)
    return markdown(rows)
