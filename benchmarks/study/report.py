"""Tables and pictures from results/: python -m benchmarks.study.report. It trains nothing.

Writes the pages of tables/, the parts of docs/choosing.md and README.md between markers, and the guide's pictures.
"""

import itertools
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import pictures
from benchmarks.study.losses import (
    ADVISED,
    AT_RANDOM,
    COMPLEX,
    L1,
    L1_FFT,
    LOSSES,
    MIX,
    SEARCH_PER_PIXEL,
    SPECTRUM,
    SQUARE,
    WINDOWED,
)
from benchmarks.study.networks import Network, UNet
from benchmarks.study.pictures import GUIDE
from benchmarks.study.results import (
    FOLDER,
    Cells,
    as_code,
    by_cell,
    commits,
    figure_of,
    gains,
    interval,
    markdown,
    over_photographs,
    paired,
    plus_minus,
    untouched,
)
from benchmarks.study.tasks import TASKS

TABLES, README = Path(__file__).parent / "tables", GUIDE.parents[1] / "README.md"
WRITTEN = "Written by `python -m benchmarks.study.report`"
FRAMES = json.loads((FOLDER / "frames.json").read_text())


# The pages of every figure

PAGES = {  # the kind of its tasks, and what the page says first
    "refocusing": ("blurred targets", "A part of each photograph is blurred on purpose: bokeh, refocusing."),
    "deblurring": ("sharp targets", "Blurred and slightly noisy photographs are made sharp."),
    "noise": ("noisy targets", "As on [the page about sharp targets](deblurring.md), but the targets have noise."),
}
HOW_TO_READ = (
    f"{WRITTEN}; [the method](../README.md) has its own page.\n\n"
    "PSNR gain over L1 in dB, with SSIM below; the L1 row gives absolute PSNR. In tasks that end in `-registered`, "
    "targets are registered first, for L1 as well. ± is the 95 % interval over seeds; without it, there was one seed."
)
WHAT_THEY_ARE = (
    "`smooth` and `textured` are the PSNR of the thirds of the pixels where the target varies least and most. `tint` "
    "is the largest mean error of a channel and `coarse` the RMS of the error smoothed by 8 px, both in thousandths of "
    "white. `power by band` is output over target in four bands of frequency, low to high. The oldest runs lack `tint` "
    "and `coarse`. A loss with a commit after its name is no longer in the code; that commit has it."
)


def table_page(cells: Cells, page: str) -> str:
    kind, first = PAGES[page]
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, task in TASKS.items():
        if task.kind == kind and any(of == name for of, _ in cells):
            patch = task.patch if task.network is Network else 0
            groups.setdefault((task.network, task.colour, patch), []).append(name)
    parts = [f"# {kind.capitalize()}", f"{first} {HOW_TO_READ}"]
    for (network, colour, patch), names in groups.items():
        words = "U-Net" if network is UNet else f"Small network, patches of {patch} x {patch}"
        parts += [f"## {words}, {'colour' if colour else 'grey'}", gains(cells, names)]
    parts += ["## Every figure", WHAT_THEY_ARE]
    for name in itertools.chain(*groups.values()):
        parts += [f"### {name}\n\n{capital(TASKS[name].title)}.", details(cells, name), curves(cells, name)]
    return "\n\n".join(filter(None, parts)) + "\n"


def capital(words: str) -> str:
    return words[0].upper() + words[1:]


def details(cells: Cells, task: str) -> str:
    """Every figure of a task's losses, and of the untouched input."""
    head = ["loss", "PSNR", "over L1", "over L1 (± over photographs)", "SSIM", "smooth", "textured", "tint", "coarse"]
    rows = [[*head, "power by band", "collapsed", "learning rate", "seeds"]]
    if nothing := untouched().get(task):
        psnr, ssim = f"{nothing['psnr']:.2f}", f"{nothing['ssim']:.3f}"
        rows.append(["untouched input", psnr, "", "", ssim, *[""] * (len(rows[0]) - 5)])
    rival, made_by = (task, L1.name), commits()
    for of, loss in cells:
        if of != task:
            continue
        runs = list(cells[of, loss].values())
        power = np.array([run["power"] for run in runs if "power" in run])
        mean = lambda figure, scale=1, runs=runs: plus_minus(
            (scale * np.mean([r.get(figure, np.nan) for r in runs]), 0), 1
        )
        apart = (paired(cells, (of, loss), rival), over_photographs(cells, (of, loss), rival))
        rows.append(
            [
                as_code(loss) + ("" if loss in LOSSES else f" ({made_by[runs[-1]['session']][:7]})"),
                plus_minus(figure_of(cells, task, loss), 2),
                *(plus_minus(gain, 2, True) if loss != L1.name else "" for gain in apart),
                plus_minus(figure_of(cells, task, loss, "ssim"), 3),
                *(mean(figure).split(" ±")[0] for figure in ("smooth", "textured")),
                *(mean(figure, 1000).split(" ±")[0] for figure in ("tint", "coarse")),
                " ".join(f"{ratio:.2f}" for ratio in power.mean(axis=0)) if len(power) else "",
                f"{sum(run['collapsed'] >= 0.5 for run in runs)} of {len(runs)}",
                f"{runs[0]['rate']:g}",
                str(len(runs)),
            ]
        )
    return markdown(rows)


def curves(cells: Cells, task: str) -> str:
    """PSNR and SSIM in the course of training, and what tells over-sharpening from memorising."""
    rows: list[list[str]] = []
    for (of, loss), by_seed in cells.items():
        if of == task and all("curve" in run for run in by_seed.values()):
            found = [run["curve"] for run in by_seed.values()]
            mean = {name: np.mean([np.array(curve[name], float) for curve in found], axis=0) for name in found[0]}
            lost = [f"{mean[key][-1] - mean[key].max():.2f}" for key in ("psnr", "psnr_seen", "smooth", "textured")]
            points = [f"{p:.2f}<br>{s:.3f}" for p, s in zip(mean["psnr"], mean["ssim"], strict=True)]
            head = ["loss", *(f"step {step}" for step in found[0]["steps"]), "change since best: PSNR"]
            rows = rows or [[*head, "on training photographs", "smooth", "textured", "seeds"]]
            rows.append([as_code(loss), *points, *lost, str(len(found))])
    return markdown(rows) if rows else ""


# The other pages


def registration_page() -> str:
    found = json.loads((FOLDER / "registration.json").read_text())["tasks"]
    head, *_ = found.values()
    rows = [["targets", *head]]
    for task, of in found.items():
        *psnr, inside, trusted = of.values()
        shares = [f"{100 * share:.0f} %" for share in (inside, trusted)]
        title = f"{capital(TASKS[task].kind)}, {TASKS[task].title}"
        rows.append([title, *(f"{each:.1f} dB" for each in psnr), *shares])
    first = (
        f"{WRITTEN}. Median PSNR of grey patches of 64 px against the aligned target, before and after registering by "
        "`optical_flow_ilk` with radius 7, and the median shares of pixels that come from inside the patch and where "
        "forward and backward flow agree to 1 px."
    )
    return "\n\n".join(["# How well flow registers", first, markdown(rows)]) + "\n"


def frames_page() -> str:
    parts = [
        "# Real frames",
        f"{WRITTEN}; [frames.py](../frames.py) has the method. `sharpen` predicts the other frame of a pair where the "
        "other is the sharper; `refocus` predicts the whole other frame, given a map of relative sharpness. U-Net, "
        "colour. PSNR in dB on registered tiles, also for each kind of scene that the folders' names begin with; "
        "[tint and coarse](refocusing.md#every-figure) are errors of colour and of large areas. The last column scores "
        "against unregistered targets, which rewards a network for learning their misalignment or blur.",
    ]
    for of in FRAMES:
        off = of["registration"]
        parts += [
            f"## {of['folder']}: {of['scenes']} scene{'s' * (of['scenes'] > 1)}, {of['steps']:,} steps, "
            f"{of['seeds']} seed{'s' * (of['seeds'] > 1)}",
            "Forward and backward flow agree "
            f"to 1 px on {100 * off['trusted']:.0f} % of all pixels. In the median tile of the {off['scored tiles']} "
            f"that are scored they disagree by {off['discrepancy, px']:.2f} px, and the flow differs from a second "
            f"method's by {off['difference, px']:.2f} px.",
        ]
        for use in dict.fromkeys(row["use"] for row in of["rows"]):
            rows = [row for row in of["rows"] if row["use"] == use]
            kinds = [kind for kind in rows[0]["figures"] if kind] if len(rows[0]["figures"]) > 2 else []
            head = ["loss", "targets", "PSNR", "SSIM", *kinds, "tint", "coarse", "PSNR against unregistered targets"]
            table = [head]
            for row in rows:
                mean = row["figures"][""]
                each = [f"{row['figures'][kind]['psnr']:.2f}" for kind in kinds]
                targets = "registered" if row["registered"] else "unregistered"
                ends = [f"{1000 * mean['tint']:.1f}", f"{1000 * mean['coarse']:.1f}", f"{mean['as it comes']:.2f}"]
                table.append(
                    [as_code(row["loss"]), targets, f"{mean['psnr']:.2f}", f"{mean['ssim']:.3f}", *each, *ends]
                )
            parts += [f"### {use}: {rows[0]['tiles']} tiles", markdown(table)]
    return "\n\n".join(parts) + "\n"


# The guide and the README


# The parts of the guide's first table: the data, a loss, and the tasks on which it is compared
ADVICE = [
    (
        "**Blurred targets, misaligned**: refocusing, bokeh",
        ADVISED,
        "render-shift2 render-parallax render-stereo-colour render-shift2-colour-unet render-parallax-unet",
    ),
    ("**Blurred targets, aligned** or [registered](#register-first)", COMPLEX, "render render-unet"),
    ("**Sharp targets, misaligned**", MIX, "shift2 stereo-colour shift2-unet"),
    ("**Sharp targets, aligned** or [registered](#register-first)", COMPLEX, "aligned aligned-unet"),
    ("**Noisy targets, misaligned**", MIX, "shift2-noisy5 shift2-noisy5-unet"),
    ("**Noisy targets, aligned** or [registered](#register-first)", COMPLEX, "aligned-noisy5 aligned-noisy5-unet"),
]
MISALIGNED = {
    "shift2": "shift of 2 px",
    "breathing": "breathing",
    "parallax": "warp of 3 px",
    "stereo": "real parallax",
}


def measured_on(name: str) -> str:
    task = TASKS[name]
    words = [MISALIGNED.get(name.removeprefix("render-").split("-")[0], ""), "colour" * task.colour]
    words += ["U-Net" * (task.network is UNet), f"{task.steps:,} steps" * (task.steps > 2000)]
    return ", ".join(filter(None, words)) or "small network, grey"


def verdict(gain: tuple[float, float]) -> str:
    """In words where the interval reaches below zero: that is no recommendation."""
    words = plus_minus(gain, 1, signed=True)
    return f"level ({words})" if words and gain[0] <= np.nan_to_num(gain[1]) else words


def advice(cells: Cells) -> str:
    rows = [["your data", "call", "measured on", "dB over L1", "dB over L1 + FFT", "seeds"]]
    for data, loss, measured in ADVICE:
        for i, task in enumerate(measured.split()):
            if (task, loss.name) in cells:
                found = [paired(cells, (task, loss.name), (task, rival.name)) for rival in (L1, L1_FFT)]
                first = ["", ""] if i else [data, as_code(loss.name).replace("L1 + `", "`l1 + ")]
                seeds = str(len(cells[task, loss.name]))
                rows.append([*first, measured_on(task), *map(verdict, found), seeds])
    return markdown(rows).replace("---: | ---: |", "--- | --- |", 1)


def rivals(cells: Cells) -> str:
    """What the advised call gains on blurred, misaligned targets over all that a user might otherwise take."""
    across = {
        "render-shift2": "shift of 2 px",
        "render-shift2-colour": "in colour",
        "render-breathing": "breathing",
        "render-parallax": "warp",
        "render-stereo-colour": "real parallax",
        "render-shift2-160": "shift, patches of 160 px",
        "render-parallax-160": "warp, patches of 160 px",
    }
    rows = [[f"gain of `{ADVISED.name}` over", *across.values()]]
    others = [WINDOWED[of] for of in ((16, 0), (24, 0), (48, 0), (64, 0), (32, 0.1), (32, 0.3))]
    for rival in (L1, L1_FFT, SQUARE, AT_RANDOM, SEARCH_PER_PIXEL, SPECTRUM, *others):
        found = [paired(cells, (task, ADVISED.name), (task, rival.name)) for task in across]
        rows.append([as_code(rival.name), *(plus_minus(gain, 1, True) for gain in found)])
    return markdown(rows)


def how_far(cells: Cells) -> str:
    """What windows and the whole spectrum gain on blurred targets, by the size of the shift."""
    sizes = ("0.5", "1", "2", "4", "8", "16")
    rows = [["small network, grey, targets shifted by up to", *(f"{px} px" for px in sizes)]]
    for loss, rival in itertools.product((ADVISED, SPECTRUM), (L1, L1_FFT)):
        found = [paired(cells, (f"render-shift{px}", loss.name), (f"render-shift{px}", rival.name)) for px in sizes]
        gains = (plus_minus(gain, 1, True) for gain in found)
        rows.append([f"gain of {as_code(loss.name)} over {rival.name}", *gains])
    absolute = {px: figure_of(cells, f"render-shift{px}", L1.name)[0] for px in sizes}
    lead = [absolute[px] - untouched()[f"render-shift{px}"]["psnr"] for px in sizes]
    return markdown(
        [*rows, ["gain of L1 over the input itself", *(plus_minus((gain, np.nan), 1, True) for gain in lead)]]
    )


def real_frames() -> str:
    """How far above its input each loss ends on real frames."""
    shown = [(loss.name, False) for loss in (L1, L1_FFT, SQUARE, SPECTRUM, ADVISED)]
    shown += [(loss.name, True) for loss in (L1, L1_FFT, COMPLEX)]
    found: dict[str, dict[tuple[str, bool], Any]] = {}
    for of in FRAMES:
        longer = f", {of['steps']:,} steps" * (of["steps"] > 400)
        for row in of["rows"]:
            cells = found.setdefault(f"{of['folder'].replace('_', ' ')}, {row['use']}{longer}", {})
            cells[row["loss"], row["registered"]] = np.array(row["psnr of seeds"])
    rows = [["gain over the input", *("registered: " * registered + as_code(loss) for loss, registered in shown)]]
    for name, cells in found.items():
        gained = (interval(cells.get(of, np.array([])) - cells["untouched input", False].mean()) for of in shown)
        rows.append([name, *(plus_minus(gain, 1, True) for gain in gained)])
    return markdown(rows)


def costs() -> str:
    found = json.loads((FOLDER / "training-step.json").read_text())["shares"]
    rows = [["share of a training step (colour U-Net, one CPU thread)", *map(as_code, found["JAX, jitted"])]]
    rows += [[where, *(f"{100 * share:.1f} %" for share in of.values())] for where, of in found.items()]
    return markdown(rows)


def in_short(cells: Cells) -> str:
    """What the README says of the case that this loss is for."""
    gain = lambda task: plus_minus(paired(cells, (task, ADVISED.name), (task, L1.name)), 1)
    words = (
        f"In [the study]({GUIDE.parent.name}/{GUIDE.name}), on other photographs and scored against aligned targets, "
        f"`{ADVISED.name}` gained {gain('render-shift2')} dB over L1 where targets were shifted by up to 2 px, "
        f"{gain('render-parallax')} where they were warped, and {gain('render-stereo-colour')} with real parallax "
        f"(± is the 95 % interval over seeds). With a U-Net in colour it gained {gain('render-shift2-colour-unet')} dB."
    )
    return textwrap.fill(words, 120, break_on_hyphens=False)


def fill(path: Path, blocks: dict[str, Callable[[], str]]) -> None:
    """Each block goes between the markers of its name; one whose markers the page lacks is left out."""
    page = path.read_text()
    for name, make in blocks.items():
        marks = [f"<!-- study {name}: {word} -->" for word in ("start", "end")]
        before, start, rest = page.partition(marks[0])
        _, end, after = rest.partition(marks[1])
        if bool(start) != bool(end):
            raise ValueError(f"expected both markers {marks[0]} and {marks[1]} in {path.name}")
        page = f"{before}{start}\n{make()}\n{end}{after}" if start else page
    path.write_text(page)


def pages(cells: Cells) -> dict[str, Callable[[], str]]:
    found = {name: lambda name=name: table_page(cells, name) for name in PAGES}
    return found | {"frames": frames_page, "registration": registration_page}


def guide_blocks(cells: Cells) -> dict[str, Callable[[], str]]:
    found = {"advice": advice, "rivals": rivals, "how far": how_far}
    found = {name: lambda make=make: make(cells) for name, make in found.items()}
    return found | {"real frames": real_frames, "costs": costs}


def main() -> None:
    cells = by_cell()
    TABLES.mkdir(exist_ok=True)
    for name, make in pages(cells).items():
        (TABLES / f"{name}.md").write_text(make())
    fill(GUIDE, guide_blocks(cells))
    fill(README, {"in short": lambda: in_short(cells)})
    pictures.draw_pieces(GUIDE.with_name("evidence-pieces.png"))
    pictures.draw_registration(GUIDE.with_name("registration.png"))


if __name__ == "__main__":
    main()
