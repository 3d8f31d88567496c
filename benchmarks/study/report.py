"""Tables and pictures from results/: python -m benchmarks.study.report. It trains nothing.

Writes the pages of tables/, the tables and figures between the markers of docs/choosing.md, and the guide's pictures.
"""

import itertools
import json
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import pictures, plan, tasks
from benchmarks.study.losses import COMPLEX, L1, L1_FFT, LOSSES, MAGNITUDES, MIX, OPTIONS, WINDOWS, Loss, ours
from benchmarks.study.pictures import GUIDE
from benchmarks.study.runs import (
    FOLDER,
    LOOKED_AT,
    RUNS,
    Cells,
    by_cell,
    call,
    figure_of,
    gains,
    lines,
    markdown,
    over_photographs,
    paired,
    plus_minus,
    untouched,
    value,
)

TABLES = Path(__file__).parent / "tables"
PAGES = {  # the kind of its tasks, and what the page says first
    "refocusing": ("blurred targets", "A part of each photograph is blurred on purpose: bokeh, refocusing."),
    "deblurring": ("sharp targets", "Blurred and slightly noisy photographs made sharp."),
    "noise": ("noisy targets", "As on [the page of sharp targets](deblurring.md), but the targets have noise."),
}
ALPHAS = (0, 0.1, 0.3, 0.5, "0.9->0.1")


def details(cells: Cells, task: str, nothing: dict[str, Any] | None = None) -> str:
    """The losses of a task, all figures, and those of doing nothing."""
    head = ["loss", "PSNR", "over L1", "over L1 (± over photographs)", "SSIM", "smooth", "textured", "tint", "coarse"]
    rows = [[*head, "power by band", "collapsed", "learning rate", "seeds"]]
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
    terms = ("magnitude", "complex"), ("magnitude", "vector")
    for spectrum, edges, p, k in itertools.product(*terms, (1, 2), (3, 5)):
        of = [ours(spectrum, p, alpha, edges, k).name for alpha in ALPHAS]
        found = [plus_minus(figure_of(cells, task, loss, figure), 2 + (figure == "ssim")) for loss in of]
        rows += [[f"{spectrum}/{edges} p={p} k={k}", *found]] if any(found[1:]) else []
    return markdown(rows)


def curves(cells: Cells, task: str) -> str:
    """PSNR and SSIM in the course of training, and what tells sharpening too much from learning by heart."""
    rows: list[list[str]] = []
    for (of, loss), by_seed in cells.items():
        if of == task and all("psnr" in record["curve"] for record in by_seed.values()):
            found = [record["curve"] for record in by_seed.values()]
            curve = {name: np.mean([np.array(c[name], float) for c in found], axis=0) for name in LOOKED_AT}
            lost = [f"{curve[key][-1] - curve[key].max():.2f}" for key in ("psnr", "psnr_seen", "smooth", "textured")]
            points = [f"{p:.2f}<br>{s:.3f}" for p, s in zip(curve["psnr"], curve["ssim"], strict=True)]
            head = ["loss", *(f"step {step}" for step in found[0]["steps"])]
            rows = rows or [
                [*head, "change since best: PSNR", "on training photographs", "smooth", "textured", "seeds"]
            ]
            rows.append([call(LOSSES[loss]), *points, *lost, str(len(found))])
    return markdown(rows) if rows else ""


# Pages


def capital(words: str) -> str:
    return words[0].upper() + words[1:]


def table_page(cells: Cells, name: str) -> str:
    kind, first = PAGES[name]
    across = [name for name, task in tasks.TASKS.items() if task.kind == kind and name in {of for of, _ in cells}]
    groups: dict[tuple[Any, ...], list[str]] = {}
    for task in across:
        of = tasks.TASKS[task]
        groups.setdefault((of.network, of.colour, of.patch if of.network is tasks.Network else 0), []).append(task)
    parts = [f"# {kind.capitalize()}", f"{first} {HOW_TO_READ}"]
    for group in groups.values():
        of = tasks.TASKS[group[0]]
        network = "U-Net" if of.network is tasks.UNet else f"Small network, patches of {of.patch} x {of.patch}"
        named = [loss for loss in LOSSES if LOSSES[loss] not in OPTIONS or loss in plan.NAMED]
        parts += [f"## {network}, {'colour' if of.colour else 'grey'}", gains(cells, group, named)]
    if any(task in pictures.CURVES for task in across):
        parts += ["PSNR in the course of training, mean of seeds:", "![PSNR against steps for each loss](curves.png)"]
    parts += ["## Every figure", WHAT_THEY_ARE]
    nothing = untouched()
    for task in across:
        parts += [f"### {task}\n\n{capital(tasks.TASKS[task].title)}.", details(cells, task, nothing.get(task))]
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
        parts += [f"## {task}: {tasks.TASKS[task].kind}, {tasks.TASKS[task].title}"]
        parts += [grid(cells, task, figure) for figure in ("psnr", "ssim")]
    return "\n\n".join(parts) + "\n"


def measure_page() -> str:
    rows = json.loads((FOLDER / "measure.json").read_text())["rows"]
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
    found = json.loads((FOLDER / "registration.json").read_text())
    rows = [["targets", *next(iter(found.values()))]]
    for task, of in found.items():
        psnr = [f"{of[name]:.1f} dB" for name in rows[0][1:4]]
        rows.append(
            [
                f"{capital(tasks.TASKS[task].kind)}, {tasks.TASKS[task].title}",
                *psnr,
                *(f"{100 * of[n]:.0f} %" for n in rows[0][4:]),
            ]
        )
    first = (
        "Written by `python -m benchmarks.study.report`. Median PSNR of grey patches of 64 px against the target in "
        "register, before and after registering by `optical_flow_ilk` with radius 7, and the median shares of pixels "
        "that come from inside the patch and where forward and backward flow agree to 1 px."
    )
    return "\n\n".join(["# How well flow registers", first, markdown(rows)]) + "\n"


def frames_page() -> str:
    """Of each folder of real frames, for each use, what each loss made of it."""
    parts = ["# Real frames", FRAMES]
    for of in json.loads((FOLDER / "frames.json").read_text()):
        off = of["registration"]
        parts += [
            f"## {of['folder']}: {of['scenes']} scene{'s' * (of['scenes'] > 1)}",
            f"{of['steps']} steps, {of['seeds']} seed{'s' * (of['seeds'] > 1)}. Forward and backward flow agree "
            f"to 1 px on {100 * off['trusted']:.0f} % of all pixels. In the median tile of the {off['judged tiles']} "
            f"that are scored they disagree by {off['astray, px']:.2f} px, and the flow differs from a second method's "
            f"by {off['apart, px']:.2f} px.",
        ]
        for use in dict.fromkeys(row["use"] for row in of["rows"]):
            rows = [row for row in of["rows"] if row["use"] == use]
            kinds = [kind for kind in rows[0]["figures"] if kind] if len(rows[0]["figures"]) > 2 else []
            head = ["loss", "targets", "PSNR", "SSIM", *kinds, "tint", "coarse", "PSNR against unregistered targets"]
            table = [head]
            for row in rows:
                mean = row["figures"][""]
                name = call(LOSSES[row["loss"]]) if row["loss"] in LOSSES else row["loss"]
                each = [f"{row['figures'][kind]['psnr']:.2f}" for kind in kinds]
                told = "registered" if row["registered"] else "unregistered"
                ends = [f"{1000 * mean['tint']:.1f}", f"{1000 * mean['coarse']:.1f}", f"{mean['as it comes']:.2f}"]
                table.append([name, told, f"{mean['psnr']:.2f}", f"{mean['ssim']:.3f}", *each, *ends])
            parts += [f"### {use}: {rows[0]['tiles']} tiles", markdown(table)]
    return "\n\n".join(parts) + "\n"


FRAMES = (
    "Written by `python -m benchmarks.study.report`; [frames.py](../frames.py) says how. `sharpen` predicts the other "
    "frame of a pair from this one, where the other is the sharper; `refocus` predicts the other frame, whole, "
    "given a map of relative sharpness. U-Net, colour. PSNR in dB on registered tiles, for each kind of scene that the "
    "names of the folders begin with; [tint and coarse](refocusing.md#every-figure) are errors of colour and of large "
    "areas. The last column judges against unregistered targets, which rewards a network for learning their "
    "misalignment or blur."
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


REFOCUSED = tuple(
    f"render-{name}"
    for name in ("shift2", "shift2-unet", "shift2-long", "shift2-colour-unet", "parallax", "stereo-colour")
)
REGISTERED = "out of register, that can be registered**: [register](#register-first), then this"
ADVICE = [
    Advice(
        "**Blurred targets, out of register** (misaligned), that can't be registered: refocusing, bokeh; "
        "[not with strong parallax](#traps)",
        MAGNITUDES,
        REFOCUSED,
    ),
    Advice(f"**Blurred targets, {REGISTERED}", COMPLEX, [f"{task}-registered" for task in REFOCUSED]),
    Advice(
        f"**Sharp targets, {REGISTERED}; on U-Nets, L1 + FFT is level",
        COMPLEX,
        [
            f"{task}-registered"
            for task in ("shift2", "breathing", "parallax", "stereo-colour", "shift2-unet", "breathing-unet")
        ],
    ),
    Advice(
        "**Sharp targets, out of register, that can't be registered**; or [L1 at the best shift](#traps)",
        MIX,
        ("shift2", "breathing", "parallax", "stereo-colour", "shift2-unet"),
    ),
    Advice(
        "**Sharp targets, in register**; on U-Nets, L1 + FFT is cheaper and level",
        COMPLEX,
        ("aligned", "aligned-unet", "motion-colour"),
    ),
    Advice("**Blurred targets, in register**", COMPLEX, ("render", "render-unet", "render-colour")),
    Advice(
        "**Noisy targets, in register**, or [registered first](#register-first)",
        COMPLEX,
        ("aligned-noisy5", "aligned-noisy5-unet", "shift2-noisy5-registered"),
    ),
    Advice(
        "**Noisy targets, out of register**, that can't be registered", MIX, ("shift2-noisy5", "shift2-noisy5-unet")
    ),
]


MOVED = {
    "motion": "motion blur",
    "shift2": "2 px",
    "breathing": "breathing",
    "parallax": "smooth warp of 3 px",
    "stereo": "real parallax",
}


def measured_on(task: str) -> str:
    of = tasks.TASKS[task]
    moved = MOVED.get(task.removeprefix("render-").split("-")[0], "")
    network = "U-Net" if of.network is tasks.UNet else "small"
    steps = f"{of.steps:,} steps" if of.steps > 2000 else ""
    return ", ".join(filter(None, [moved, network, steps, "colour" if of.colour else "grey"]))


def lead(cells: Cells) -> dict[str, Callable[[], str]]:
    """What the README says of the case that is this loss's own."""
    gain = lambda task: plus_minus(paired(cells, (task, MAGNITUDES.name), (task, L1.name)), 1)
    refocus = lambda of, loss: next(
        row["figures"][""]["psnr"]
        for row in of["rows"]
        if (row["use"], row["registered"], row["loss"]) == ("refocus", False, loss.name)
    )
    frames = [refocus(of, MAGNITUDES) - refocus(of, L1) for of in json.loads((FOLDER / "frames.json").read_text())]
    words = (
        f"In [the study]({GUIDE.parent.name}/{GUIDE.name}), on other photographs and judged against targets in "
        f"register, the same call gained {gain('render-shift2')} dB over L1 with a network of 11 thousand weights, "
        f"{gain('render-shift2-unet')} with a U-Net, {gain('render-shift2-long')} with the same U-Net trained three "
        f"times as long, and {gain('render-shift2-colour-unet')} with a U-Net in colour (± is the 95 % interval over "
        f"three to five seeds). Refocusing real photographs, it gained {min(frames):.1f} to {max(frames):.1f} dB; with "
        f"strong parallax it gained nothing ({gain('render-stereo-colour')})."
    )
    return {"in short": lambda: textwrap.fill(words, 120, break_on_hyphens=False)}


def as_module(words: str) -> str:
    return re.sub(r"blursim\(x, y, (.*)\)`", r"BlurSim(\1)(x, y)`", words)


def advice(cells: Cells) -> str:
    rows = [["your data", "function / PyTorch module", "dB gained over L1 / over L1 + FFT: on what (seeds)"]]
    for of in ADVICE:
        words = call(of.loss).replace("L1 + `", "`l1 + ")
        found = []
        for task in of.measured:
            if (task, of.loss.name) in cells:
                over = [paired(cells, (task, of.loss.name), (task, rival.name)) for rival in (L1, L1_FFT)]
                gained = " / ".join(plus_minus(gain, 1, True) or "–" for gain in over)
                line = f"{gained}: {measured_on(task)} ({len(cells[task, of.loss.name])})"
                found.append(line.replace(" ", "\N{NO-BREAK SPACE}"))
        rows.append([of.data, f"{words}<br>{as_module(words)}", "<br>".join(found)])
    return markdown(rows).replace("---:", "---")


def how_far(cells: Cells) -> str:
    """What magnitudes gain on blurred targets against how far these are out of register."""
    names = [f"render-shift{px}" for px in ("0.5", "1", "2", "4", "8", "16")]
    rows = [["small network, grey, targets shifted by up to", *(f"{name[12:]} px" for name in names)]]
    for words, rival in (("L1", L1), ("L1 + FFT", L1_FFT), ("FFT magnitudes in windows of 16 px", WINDOWS)):
        found = [paired(cells, (name, MAGNITUDES.name), (name, rival.name)) for name in names]
        rows.append([f"gain of `blursim(x, y, 0.3)` over {words}", *(plus_minus(f, 1, True) for f in found)])
    nothing = untouched()
    lead = [figure_of(cells, name, L1.name)[0] - nothing[name]["psnr"] for name in names]
    return markdown([*rows, ["gain of L1 over the input itself", *(plus_minus((of, np.nan), 1, True) for of in lead)]])


def real_frames() -> str:
    """How far above its input each loss ends on real frames."""
    shown = [(L1, False), (L1_FFT, False), (WINDOWS, False), (MAGNITUDES, False)]
    shown += [(L1, True), (L1_FFT, True), (COMPLEX, True)]
    rows = [["gain over the input", *("registered: " * registered + call(loss) for loss, registered in shown)]]
    for of in json.loads((FOLDER / "frames.json").read_text()):
        for use in dict.fromkeys(row["use"] for row in of["rows"]):
            psnr = {(r["loss"], r["registered"]): r["figures"][""]["psnr"] for r in of["rows"] if r["use"] == use}
            each = [psnr[loss.name, registered] - psnr["the input as it is", False] for loss, registered in shown]
            rows.append([f"{of['folder'].replace('_', ' ')}, {use}", *(plus_minus((e, np.nan), 1, True) for e in each)])
    return markdown(rows)


def costs() -> str:
    found = json.loads((FOLDER / "cost.json").read_text())["shares"]
    names = [name.replace("blursim", "`blursim") + "`" * ("blursim" in name) for name in found["JAX, jitted"]]
    rows = [["share of a training step (colour U-Net, one CPU thread)", *names]]
    rows += [[where, *(f"{100 * share:.1f} %" for share in of.values())] for where, of in found.items()]
    return markdown(rows)


def pages(cells: Cells) -> dict[str, Callable[[], str]]:
    found = {name: lambda name=name: table_page(cells, name) for name in PAGES}
    return (
        found
        | {"options": lambda: options_page(cells), "frames": frames_page, "measure": measure_page}
        | {"registration": registration_page}
    )


def blocks(cells: Cells) -> dict[str, Callable[[], str]]:
    return {
        "advice": lambda: advice(cells),
        "how far": lambda: how_far(cells),
        "real frames": real_frames,
        "costs": costs,
    }


README = GUIDE.parents[1] / "README.md"


def main() -> None:
    cells, found = by_cell(), lines(RUNS)
    TABLES.mkdir(exist_ok=True)
    for name, make in pages(cells).items():
        (TABLES / f"{name}.md").write_text(make())
    fill(GUIDE, blocks(cells))
    fill(README, lead(cells))
    pictures.draw_curves(cells, TABLES / "curves.png")
    pictures.draw_pieces(found, GUIDE.with_name("evidence-pieces.png"))
    pictures.draw_registration(GUIDE.with_name("registration.png"))


if __name__ == "__main__":
    main()
