"""Tables and pictures from results/: python -m benchmarks.study.report. It trains nothing.

Writes the pages of tables/, the tables and figures between the markers of docs/choosing.md, and the guide's pictures.
"""

import base64
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from benchmarks.study import plan, tasks, training
from benchmarks.study.losses import COMPLEX, L1, L1_FFT, LOSSES, MAGNITUDES, MIX, OPTIONS, SEARCH, WINDOWS, Loss

HERE = Path(__file__).parent
RESULTS, TABLES, DOCS = HERE / "results", HERE / "tables", HERE.parents[1] / "docs"
GUIDE = DOCS / "choosing.md"
PAGES = {  # title, and what the page says first
    "refocusing": ("Blurred targets", "A part of each photograph is blurred on purpose: bokeh, refocusing."),
    "deblurring": ("Sharp targets", "Blurred and slightly noisy photographs made sharp."),
    "noise": ("Noisy targets", "As on [the page of sharp targets](deblurring.md), but the targets have noise."),
}
ALPHAS = ("0", "0.1", "0.3", "0.5", "0.9->0.1")
Cells = dict[tuple[str, str], dict[int, dict[str, Any]]]


# What was found


def runs(path: Path = training.RESULTS) -> Cells:
    """(task, loss) -> seed -> run, in the order of the losses' records, without those that chose the learning rate.

    Of a seed that was run again, with another rate or on more photographs, the later run.
    """
    cells: Cells = {}
    for record in training.lines(path):
        if record.get("task") in tasks.TASKS and record["loss"] in LOSSES and not record["choosing"]:
            cells.setdefault((record["task"], record["loss"]), {})[record["seed"]] = record
    order = list(LOSSES)
    return {cell: cells[cell] for cell in sorted(cells, key=lambda cell: order.index(cell[1]))}


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
    if not re.match(r"BlurSim \w+(/| p=)", loss.name) or "then" in loss.options:
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


def details(cells: Cells, task: str, nothing: dict[str, Any] | None = None) -> str:
    """The losses of a task, all figures, and those of doing nothing."""
    head = ["loss", "PSNR", "over L1", "over L1, by photograph", "SSIM", "smooth", "textured", "tint", "coarse"]
    rows = [[*head, "power by band", "collapsed", "rate", "seeds"]]
    if nothing:
        psnr, ssim = f"{nothing['psnr']:.2f}", f"{nothing['ssim']:.3f}"
        rows.append(["the input as it is", psnr, "", "", ssim, *[""] * (len(rows[0]) - 5)])
    rival = (task, L1.name)
    for of, loss in cells:
        if of != task or (LOSSES[loss] in OPTIONS and loss not in plan.NAMED):
            continue
        records = list(cells[of, loss].values())
        power = np.array([record["figures"]["power"] for record in records if "power" in record["figures"]])
        mean = lambda figure, scale=1, records=records: scale * np.mean([value(r, figure) for r in records])
        rows.append(
            [
                call(LOSSES[loss]),
                plus_minus(figure_of(cells, task, loss), 2),
                plus_minus(paired(cells, (of, loss), rival), 2, True) if loss != L1.name else "",
                plus_minus(over_photographs(cells, (of, loss), rival), 2, True) if loss != L1.name else "",
                plus_minus(figure_of(cells, task, loss, "ssim"), 3),
                *(plus_minus((mean(figure), np.nan), 1) for figure in ("smooth", "textured")),
                *(plus_minus((mean(figure, 1000), np.nan), 1) for figure in ("tint", "coarse")),
                " ".join(f"{ratio:.2f}" for ratio in power.mean(axis=0)) if len(power) else "",
                f"{sum(record['figures']['collapsed'] >= 0.5 for record in records)} of {len(records)}",
                f"{records[0]['rate']:g}",
                str(len(records)),
            ]
        )
    return markdown(rows)


def grid(cells: Cells, task: str, figure: str = "psnr") -> str:
    """BlurSim's options down, alpha across; alpha = 0 has no edges, whatever their options."""
    rows = [["spectrum/edges", *(f"alpha {alpha}" for alpha in ALPHAS)]]
    names = [loss.name for loss in OPTIONS if "/" in loss.name]
    for options in dict.fromkeys(name.rsplit(" ", 1)[0] for name in sorted(names)):
        _, terms, p, *_ = options.split()
        alone = f"BlurSim {terms.split('/')[0]} {p} 0"
        of = [alone if alpha == "0" else f"{options} {alpha}" for alpha in ALPHAS]
        found = [plus_minus(figure_of(cells, task, loss, figure), 2 + (figure == "ssim")) for loss in of]
        rows += [[options.removeprefix("BlurSim ").removesuffix(" gain"), *found]] if any(found[1:]) else []
    return markdown(rows)


def curves(cells: Cells, task: str) -> str:
    """PSNR and SSIM in the course of training, and what tells sharpening too much from learning by heart."""
    rows: list[list[str]] = []
    for (of, loss), by_seed in cells.items():
        if of == task and all("psnr" in record["curve"] for record in by_seed.values()):
            found = [record["curve"] for record in by_seed.values()]
            curve = {name: np.mean([np.array(c[name], float) for c in found], axis=0) for name in training.LOOKED_AT}
            lost = [f"{curve[key][-1] - curve[key].max():.2f}" for key in ("psnr", "psnr_seen", "smooth", "textured")]
            points = [f"{p:.2f}<br>{s:.3f}" for p, s in zip(curve["psnr"], curve["ssim"], strict=True)]
            head = ["loss", *(f"step {step}" for step in found[0]["steps"])]
            rows = rows or [[*head, "lost since its best", "seen", "smooth", "textured", "seeds"]]
            rows.append([call(LOSSES[loss]), *points, *lost, str(len(found))])
    return markdown(rows) if rows else ""


# Pages


def page_of(task: str) -> str:
    return "noise" if "noisy" in task else "refocusing" if task.startswith("render") else "deblurring"


def title(task: str) -> str:
    of = tasks.TASKS[task]
    words = [of.about, "colour" * of.colour, "U-Net" * (of.network is tasks.UNet), "registered first" * of.registered]
    noise = f"targets with noise of {of.target_noise:g}" if of.target_noise else ""
    steps = f"{of.steps:,} steps" if of.steps not in (400, 2000) else ""
    patch = f"patches of {of.patch}" if of.patch not in (48, 64) else ""
    return ", ".join(filter(None, [*words, noise, patch, steps]))


def table_page(cells: Cells, name: str) -> str:
    heading, first = PAGES[name]
    across = [task for task in tasks.TASKS if page_of(task) == name and any(of == task for of, _ in cells)]
    groups: dict[tuple[Any, ...], list[str]] = {}
    for task in across:
        of = tasks.TASKS[task]
        groups.setdefault((of.network, of.colour, of.patch if of.network is tasks.Network else 0), []).append(task)
    parts = [f"# {heading}", f"{first} {HOW_TO_READ}"]
    for group in groups.values():
        of = tasks.TASKS[group[0]]
        network = "U-Net" if of.network is tasks.UNet else f"Small network, patches of {of.patch} x {of.patch}"
        named = [loss for loss in LOSSES if LOSSES[loss] not in OPTIONS or loss in plan.NAMED]
        parts += [f"## {network}, {'colour' if of.colour else 'grey'}", gains(cells, group, named)]
    parts += ["## Every figure", WHAT_THEY_ARE]
    nothing = {
        r["reference"]: r["figures"] for r in training.lines(training.RESULTS) if "figures" in r and "reference" in r
    }
    for task in across:
        parts += [f"### {task}\n\n{title(task)[0].upper()}{title(task)[1:]}.", details(cells, task, nothing.get(task))]
        parts += [curves(cells, task)] if tasks.TASKS[task].looks else []
    return "\n\n".join(filter(None, parts)) + "\n"


HOW_TO_READ = (
    "Written by `python -m benchmarks.study.report`; [the method](../README.md) is a page of its own.\n\n"
    "PSNR gain over L1 in dB, with SSIM below; the L1 row gives absolute PSNR. In a task that ends in `-registered` "
    "targets are registered first, for L1 as well. ± is the 95 % interval over seeds; without it, there was one seed."
)
WHAT_THEY_ARE = (
    "`smooth` and `textured` are the PSNR of the thirds of the pixels where the target varies least and most. `tint` "
    "is the largest mean error of a channel and `coarse` the RMS of the error smoothed by 8 px, both in thousandths of "
    "white. `power by band` is output over target in four bands of frequency, low to high. Older runs have neither "
    "`tint` nor `coarse`."
)


def options_page(cells: Cells) -> str:
    parts = [
        "# BlurSim's options",
        "Written by `python -m benchmarks.study.report`. PSNR in dB, then SSIM, for every combination of options with "
        '`normalization="gain"`; `0.9->0.1` is a straight line over the training run. Mostly one seed: take 0.1 dB for '
        "noise, on blurred targets 1 dB.",
    ]
    for task in ("aligned", "shift2", "render"):
        parts += [f"## {task}: {PAGES[page_of(task)][0].lower()}, {title(task)}"]
        parts += [grid(cells, task, figure) for figure in ("psnr", "ssim")]
    return "\n\n".join(parts) + "\n"


def measure_page() -> str:
    rows = json.loads((RESULTS / "measure.json").read_text())["rows"]
    parts = ["# As a measure", "Written by `python -m benchmarks.study.report`; [measure.py](../measure.py) says how."]
    for moved in (False, True):
        table = [["measure", "separation (AUC)", "different / same", "monotonic (Spearman)"]]
        for row in (row for row in rows if row["moved"] is moved):
            spread = row["interval"].items()
            table.append(
                [row["measure"], *(f"{row['scores'][k]:.3g} ({low:.3g} to {high:.3g})" for k, (low, high) in spread)]
            )
        parts += ["## Pairs moved by up to 2 px" if moved else "## Pairs in register", markdown(table)]
    return "\n\n".join(parts) + "\n"


def registration_page() -> str:
    found = json.loads((RESULTS / "registration.json").read_text())
    rows = [["targets", *next(iter(found.values()))]]
    for task, of in found.items():
        psnr = [f"{of[name]:.1f} dB" for name in rows[0][1:4]]
        rows.append(
            [f"{PAGES[page_of(task)][0]}, {title(task)}", *psnr, *(f"{100 * of[n]:.0f} %" for n in rows[0][4:])]
        )
    first = (
        "Written by `python -m benchmarks.study.report`. Median PSNR of grey patches of 64 px against the target in "
        "register, before and after registering by `optical_flow_ilk` with radius 7, and the medians of how much of a "
        "patch comes from inside and of where the flow there and back agrees to 1 px."
    )
    return "\n\n".join(["# How well flow registers", first, markdown(rows)]) + "\n"


def frames_page() -> str:
    """Of each folder of real frames, for each use, what each loss made of it."""
    path, earlier = RESULTS / "frames.json", RESULTS / "focus_stack.json"
    parts = ["# Real frames", FRAMES]
    if earlier.exists():
        rows = [["loss", "PSNR", "SSIM"]]
        for row in json.loads(earlier.read_text())["rows"]:
            spread = [interval(row.get("each", {}).get(k, [row["figures"][k]])) for k in ("psnr", "ssim")]
            rows.append([row["loss"], plus_minus(spread[0], 2), plus_minus(spread[1], 3)])
        parts += ["## A focus stack, grey, by an earlier script", EARLIER, markdown(rows)]
    for of in json.loads(path.read_text()) if path.exists() else []:
        off = of["registration"]
        parts += [
            f"## {of['folder']}: {of['scenes']} scene{'s' * (of['scenes'] > 1)}",
            f"{of['steps']} steps, {of['seeds']} seed{'s' * (of['seeds'] > 1)}. The flow there and back agrees to 1 px "
            f"on {100 * off['trusted']:.0f} % of all pixels. In the median tile of the {off['judged tiles']} that are "
            f"judged it misses its start by {off['astray, px']:.2f} px, and another method's flow is "
            f"{off['apart, px']:.2f} px away.",
        ]
        for use in dict.fromkeys(row["use"] for row in of["rows"]):
            rows = [row for row in of["rows"] if row["use"] == use]
            kinds = [kind for kind in rows[0]["figures"] if kind] if len(rows[0]["figures"]) > 2 else []
            head = ["loss", "targets", "PSNR", "SSIM", *kinds, "tint", "coarse", "PSNR against targets as they come"]
            table = [head]
            for row in rows:
                mean = row["figures"][""]
                name = call(LOSSES[row["loss"]]) if row["loss"] in LOSSES else row["loss"]
                each = [f"{row['figures'][kind]['psnr']:.2f}" for kind in kinds]
                told = "registered" if row["registered"] else "as they come"
                ends = [f"{1000 * mean['tint']:.1f}", f"{1000 * mean['coarse']:.1f}", f"{mean['as it comes']:.2f}"]
                table.append([name, told, f"{mean['psnr']:.2f}", f"{mean['ssim']:.3f}", *each, *ends])
            parts += [f"### {use}: {rows[0]['tiles']} tiles", markdown(table)]
    return "\n\n".join(parts) + "\n"


EARLIER = (
    "Seven frames of one scene, half of the places 3 to 6.5 px out of register: the U-Net makes a frame as sharp as "
    "its neighbour. The left of the frames trains for 400 steps, the right judges. Registered by a similarity. "
    "`area` and `p=2` are options of the definition as published."
)
FRAMES = (
    "Written by `python -m benchmarks.study.report`; [frames.py](../frames.py) says what is done. `sharpen` makes the "
    "other frame of a pair from this one where the other is the sharper; `refocus` makes the other frame, whole, from "
    "this one and a map of which is how much sharper. PSNR in dB, judged on registered tiles; the last column judges "
    "against the targets as they come, which rewards whoever learned to be out of register, or blurred, like them."
)


def fill(path: Path, blocks: dict[str, Callable[[], str]]) -> None:
    """Each block goes between the markers of its name."""
    page = path.read_text()
    for name, make in blocks.items():
        marks = [f"<!-- study {name}: {word} -->" for word in ("start", "end")]
        before, start, rest = page.partition(marks[0])
        _, end, after = rest.partition(marks[1])
        if not (start and end):
            raise ValueError(f"expected the markers {marks[0]} and {marks[1]} in {path.name}")
        page = f"{before}{start}\n{make()}\n{end}{after}"
    path.write_text(page)


# The guide


@dataclass(frozen=True)
class Advice:
    """A row of the guide's first table: what it is measured on is compared with L1 and L1 + FFT on the same targets."""

    data: str
    loss: Loss
    measured: Sequence[str]


ADVICE = [
    Advice(
        "**Blurred targets, out of register** (misaligned), that can't be registered: refocusing, bokeh",
        MAGNITUDES,
        ("render-shift2", "render-shift2-unet", "render-shift2-colour"),
    ),
    Advice(
        "**Blurred targets, out of register, that can be registered**: [register](#register-first), then",
        COMPLEX,
        ("render-shift2-registered", "render-shift2-unet-registered", "render-shift2-colour-registered"),
    ),
    Advice(
        "**Sharp targets, out of register, that can be registered**: [register](#register-first), then",
        COMPLEX,
        ("shift2-registered", "breathing-registered", "parallax-registered", "shift2-unet-registered"),
    ),
    Advice(
        "**Sharp targets, out of register, that can't be registered**",
        MIX,
        ("shift2", "breathing", "parallax", "shift2-unet"),
    ),
    Advice(
        "**Sharp targets, in register**; with a U-Net L1 + FFT is cheaper and level",
        COMPLEX,
        ("aligned", "aligned-unet"),
    ),
    Advice("**Blurred targets, in register**", COMPLEX, ("render", "render-unet", "render-colour")),
    Advice("**Noisy targets, in register**", COMPLEX, ("aligned-noisy5", "aligned-noisy5-unet")),
    Advice(
        "**Noisy targets, out of register**, that can't be registered", MIX, ("shift2-noisy5", "shift2-noisy5-unet")
    ),
]


def measured_on(cells: Cells, task: str, loss: Loss) -> str:
    of, seeds = tasks.TASKS[task], len(cells[task, loss.name])
    moved = {"shift2": "2 px", "breathing": "breathing", "parallax": "parallax"}.get(task.split("-")[0], "")
    network = "U-Net" if of.network is tasks.UNet else "small"
    words = [moved, network, "colour" if of.colour else "grey", f"{seeds} seed{'s' * (seeds > 1)}"]
    return ", ".join(filter(None, words))


def as_module(words: str) -> str:
    return re.sub(r"blursim\(x, y, (.*)\)`", r"BlurSim(\1)(x, y)`", words)


def advice(cells: Cells) -> str:
    rows = [["your data", "function, then PyTorch's module", "gain over L1", "over L1 + FFT", "measured on"]]
    for of in ADVICE:
        known = [task for task in of.measured if (task, of.loss.name) in cells]
        over = lambda rival, of=of, known=known: "<br>".join(
            plus_minus(paired(cells, (task, of.loss.name), (task, rival.name)), 1, True) or "–" for task in known
        )
        words = call(of.loss).replace("L1 + `", "`l1 + ")
        where = "<br>".join(measured_on(cells, task, of.loss) for task in known) or "not measured yet"
        rows.append([of.data, f"{words}<br>{as_module(words)}", over(L1), over(L1_FFT), where])
    return markdown(rows).replace("---:", "---")


def how_far(cells: Cells) -> str:
    """What magnitudes gain on blurred targets against how far these are out of register."""
    shifts = [px for px in ("0.5", "1", "2", "4", "8", "16") if (f"render-shift{px}", MAGNITUDES.name) in cells]
    rows = [["small network, grey, targets moved by up to", *(f"{px} px" for px in shifts)]]
    for words, rival in (("L1", L1), ("L1 + FFT", L1_FFT), ("magnitudes of windows of 16 px", WINDOWS)):
        names = [f"render-shift{px}" for px in shifts]
        found = [paired(cells, (name, MAGNITUDES.name), (name, rival.name)) for name in names]
        rows.append([f"gain of `blursim(x, y, 0.3)` over {words}", *(plus_minus(f, 1, True) for f in found)])
    return markdown(rows)


def costs() -> str:
    found = json.loads((RESULTS / "cost.json").read_text())["shares"]
    rows = [
        ["share of a training step", *(name if name.startswith("L1") else f"`{name}`" for name in found["JAX, jitted"])]
    ]
    rows += [[where, *(f"{100 * share:.1f} %" for share in of.values())] for where, of in found.items()]
    return markdown(rows)


# Pictures

NAMED = {
    "L1": (L1, ""),
    "L1 + FFT": (L1_FFT, ""),
    "L1, best shift": (SEARCH, ""),
    "FFT of windows": (WINDOWS, ""),
    "L1 + blursim(x, y, 0)": (MIX, ""),
    "blursim(x, y, 0.3)": (MAGNITUDES, ""),
    "registered: L1": (L1, "-registered"),
    "registered: L1 + FFT": (L1_FFT, "-registered"),
    "registered: complex": (COMPLEX, "-registered"),
}


SHOWN = ("render-shift2", "render-shift2-unet", "render-shift2-colour", "shift2")


def draw_gains(cells: Cells, path: Path, across: Sequence[str]) -> None:
    """How far the PSNR of each loss is above that of L1 on targets as they come: mean and interval."""
    across = [task for task in across if (task, L1.name) in cells]
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for panel, task in zip(figure.subplots(1, len(across), squeeze=False)[0], across, strict=True):
        for i, (loss, suffix) in enumerate(NAMED.values()):
            mean, half = paired(cells, (task + suffix, loss.name), (task, L1.name))
            color = "C1" if "BlurSim" in loss.name else "C0"
            panel.errorbar(mean, -i, xerr=np.nan_to_num(half), fmt="o", markersize=6, color=color, capsize=3)
        panel.axvline(0, color="gray", linewidth=1, linestyle=":")
        panel.axhline(-5.5, color="gray", linewidth=0.5)
        panel.set_title(re.sub("^(blurred|sharp) targets, ", r"\1 targets,\n", about(task)), fontsize=10)
        panel.set_yticks(range(0, -len(NAMED), -1), NAMED if task == across[0] else [""] * len(NAMED))
    figure.supxlabel("PSNR gain over L1 on targets as they come, dB", fontsize=10)
    save(figure, path)


def about(task: str) -> str:
    of = tasks.TASKS[task]
    network = "U-Net" if of.network is tasks.UNet else "small network"
    return f"{PAGES[page_of(task)][0].lower()}, {network}, {'colour' if of.colour else 'grey'}"


PICTURED = ("L1", "L1 + FFT", "L1, best shift", "blursim(x, y, 0.3)", "registered: complex")


def draw_pieces(found: Sequence[dict[str, Any]], path: Path, task: str = "render-shift2-colour") -> None:
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
    panels[1, 0].set_ylabel("error, times 8", fontsize=9)
    save(figure, path)


def draw_curves(cells: Cells, path: Path, across: Sequence[str]) -> None:
    """PSNR of held-out photographs in the course of the U-Net's training runs, mean of seeds."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for panel, task in zip(figure.subplots(1, len(across), squeeze=False)[0], across, strict=True):
        for i, (name, (loss, suffix)) in enumerate(NAMED.items()):
            records = list(cells.get((task + suffix, loss.name), {}).values())
            if records:
                curve = np.mean([np.array(r["curve"]["psnr"], float) for r in records], axis=0)
                panel.plot(records[0]["curve"]["steps"], curve, "s:" if suffix else "o-", color=f"C{i}", label=name)
        panel.set_title(f"{about(task)},\n{title(task)}", fontsize=9)
        panel.set_xlabel("step")
        panel.set_xscale("log")
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
        "target as it comes": right,
        "difference, times 4": apart(right),
        "target registered": registered,
        "difference in the mask": mask * apart(registered),
        "mask": np.repeat(mask[None], 3, axis=0).astype(float),
    }
    figure = Figure(figsize=(11, 2.2), layout="constrained")
    for panel, (name, image) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        panel.imshow(np.moveaxis(image, 0, -1).clip(0, 1))
        panel.set_title(name, fontsize=10)
        panel.set(xticks=[], yticks=[])
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def pages(cells: Cells) -> dict[str, Callable[[], str]]:
    found = {name: lambda name=name: table_page(cells, name) for name in PAGES}
    return (
        found
        | {"options": lambda: options_page(cells), "frames": frames_page, "measure": measure_page}
        | {"registration": registration_page}
    )


def blocks(cells: Cells) -> dict[str, Callable[[], str]]:
    return {"advice": lambda: advice(cells), "how far": lambda: how_far(cells), "costs": costs}


def main() -> None:
    cells, found = runs(), training.lines(training.RESULTS)
    TABLES.mkdir(exist_ok=True)
    for name, make in pages(cells).items():
        (TABLES / f"{name}.md").write_text(make())
    fill(GUIDE, blocks(cells))
    draw_gains(cells, DOCS / "evidence-losses.png", SHOWN)
    draw_curves(cells, TABLES / "curves.png", ("render-shift2-long", "shift2-unet"))
    draw_pieces(found, DOCS / "evidence-pieces.png")
    draw_registration(DOCS / "registration.png")


if __name__ == "__main__":
    main()
