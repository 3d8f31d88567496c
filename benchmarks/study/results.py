"""The results of the training runs, results/training.jsonl, with statistics over seeds and what tables are made from.

Each line is one record:

    session, machine, versions, commit, ...       where and with what the runs that name this session were made
    task, untouched                               the figures of the untouched input
    task, loss, trials, session                   SSIM at each learning rate tried
    task, loss, seed, rate, figures, ..., session one run: figures.py defines the figures
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.study.losses import L1, RECORDS

FOLDER = Path(__file__).parent / "results"
RUNS = FOLDER / "training.jsonl"
Cells = dict[tuple[str, str], dict[int, dict[str, Any]]]


# The file


def append(path: Path, record: dict[str, Any]) -> None:
    """In one write, so that lines of parallel processes do not mix; on a new line, even after one cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    line = "\n" * cut_short + json.dumps(record, allow_nan=False) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def lines(path: Path) -> list[dict[str, Any]]:
    """All records of the file, except a line that a crash cut short."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def short(values: Any, digits: int = 5) -> Any:
    """Rounded to that many digits, and None for what is not finite, which JSON lacks."""
    if np.ndim(values):
        return [short(v, digits) for v in values]
    return float(f"{values:.{digits}g}") if np.isfinite(values) else None


def by_cell(path: Path = RUNS) -> Cells:
    """(task, loss) -> seed -> run, in the order of the losses' records; of a seed run twice, the later run."""
    cells: Cells = {}
    for record in lines(path):
        if "seed" in record:
            cells.setdefault((record["task"], record["loss"]), {})[record["seed"]] = record
    order = {loss.name: i for i, loss in enumerate(RECORDS)}
    return {cell: cells[cell] for cell in sorted(cells, key=lambda cell: order.get(cell[1], len(order)))}


def untouched(path: Path = RUNS) -> dict[str, dict[str, Any]]:
    """task -> the figures of the untouched input."""
    return {r["task"]: r["untouched"] for r in lines(path) if "untouched" in r}


def commits(path: Path = RUNS) -> dict[str, str]:
    """session -> the commit that its runs were made with."""
    return {r["session"]: r["commit"] for r in lines(path) if "commit" in r}


# Statistics


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t (NaN for fewer than two values)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()) if len(values) else np.nan, np.nan
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * error)


def figure_of(cells: Cells, task: str, loss: str, figure: str = "psnr") -> tuple[float, float]:
    return interval([run.get(figure, np.nan) for run in cells.get((task, loss), {}).values()])


def paired(cells: Cells, of: tuple[str, str], rival: tuple[str, str], figure: str = "psnr") -> tuple[float, float]:
    """The interval of the difference between two cells, seed by seed: the same weights, crops and noise."""
    runs, others = cells.get(of, {}), cells.get(rival, {})
    return interval(
        [runs[seed].get(figure, np.nan) - others[seed].get(figure, np.nan) for seed in runs if seed in others]
    )


def over_photographs(cells: Cells, of: tuple[str, str], rival: tuple[str, str]) -> tuple[float, float]:
    """The interval of the difference in PSNR over photographs instead of seeds, each at both of its blurs.

    It takes as many photographs as any seed has for both, and the seeds that have as many.
    """
    runs, others = cells.get(of, {}), cells.get(rival, {})
    each = [[np.array(run["each"], float) for run in (runs[s], others[s])] for s in runs if s in others]
    counts = [min(map(len, pair)) for pair in each]
    apart = [x[:n] - y[:n] for (x, y), n in zip(each, counts, strict=True) if n == max(counts)]
    return interval(np.mean(apart, axis=0).reshape(-1, 2).mean(axis=1)) if apart else (np.nan, np.nan)


# As Markdown


def as_code(words: str) -> str:
    return re.sub(r"(blursim\(.*?\))", r"`\1`", words)


def plus_minus(found: tuple[float, float], digits: int, signed: bool = False) -> str:
    mean, half = found
    if np.isnan(mean):
        return ""
    mean = round(mean, digits) + 0.0  # no -0.0
    return f"{mean:{'+' * signed}.{digits}f}" + (f" ± {half:.{digits}f}" if np.isfinite(half) else "")


def markdown(rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *body])


def gains(cells: Cells, across: Sequence[str]) -> str:
    """PSNR gain over L1, with SSIM below; the L1 row gives absolute PSNR."""
    across = [task for task in across if any(of == task for of, _ in cells)]
    rows = [["loss", *across]]
    for loss in dict.fromkeys(loss for task, loss in cells if task in across):
        row = [as_code(loss)]
        for task in across:
            rival = (task, L1.name)
            alone = (task, loss) == rival
            found = figure_of(cells, task, loss) if alone else paired(cells, (task, loss), rival)
            ssim = plus_minus((figure_of(cells, task, loss, "ssim")[0], np.nan), 3)
            row.append("" if np.isnan(found[0]) else f"{plus_minus(found, 2, not alone)}<br>{ssim}")
        rows.append(row)
    return markdown(rows)
