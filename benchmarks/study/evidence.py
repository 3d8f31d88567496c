"""Tables and pictures from results/evidence/: python benchmarks/evidence.py.

Reads training.jsonl and measure.json, writes the tables between the markers of benchmarks/README.md and
docs/choosing.md, and the pictures into docs/. It trains nothing.
"""

import base64
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import losses
import numpy as np
import report
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "benchmarks" / "results" / "evidence"
DOCS = ROOT / "docs"

BLURSIM = "BlurSim magnitude/magnitude p=2 k=5 area"
PUBLISHED = "BlurSim complex/magnitude p=2 k=5 area 0.9->0.1"
ALPHAS = ("0", "0.1", "0.3", "0.5", "0.9", "0.9->0.1", "0.1->0.9")
# Those of the summary and of the pictures; the tables of benchmarks/README.md have all.
SHOWN = ["MSE", "L1", "SSIM", "MS-SSIM + L1", "L1 + FFT", "L1, best shift", "L1, best shift of tiles"]
SHOWN += [losses.WINDOWS, PUBLISHED, f"{BLURSIM} 0.9->0.1", f"{BLURSIM} 0.1", *losses.BEST, *losses.BESIDE_L1]
DRAWN = ("aligned", "shift2", "breathing")
DRAWN_OF = ["L1", "SSIM", "L1 + FFT", "L1, best shift", *losses.BEST[::3], losses.BESIDE_L1[1]]
CURVES = [*DRAWN_OF, losses.WINDOWS, f"{BLURSIM} 0.1", losses.BESIDE_L1[2]]  # a colour for each
# Of the guide: tasks across, losses down.
GUIDE = {
    "moved": (
        ("shift2", "breathing", "parallax", "shift2-160", "shift2-unet", "breathing-unet"),
        [*SHOWN[1:3], *SHOWN[4:8], f"{BLURSIM} 0.1", *losses.BEST[2:], *losses.BESIDE_L1[1:]],
    ),
    "still": (
        ("aligned", "render", "aligned-unet", "render-unet"),
        ["L1", "MSE", "SSIM", "L1 + FFT", PUBLISHED, *losses.BEST[:3], losses.BESIDE_L1[0]],
    ),
}
ABOUT = {
    "aligned": "deblurring, aligned pairs",
    "scratch": "deblurring, aligned pairs, without a skip connection",
    "shift1": "deblurring, targets shifted by up to 1 px",
    "shift2": "deblurring, targets shifted by up to 2 px",
    "shift2-whole": "deblurring, targets shifted by whole pixels, up to 2",
    "shift4": "deblurring, targets shifted by up to 4 px",
    "breathing": "deblurring, targets scaled by up to 1.5 %, turned by 0.3°, shifted by 1 px",
    "parallax": "deblurring, targets locally displaced by up to 3 px",
    "render": "blurring the background",
    "fit": "fitting the pixels to a blurred measurement",
    "aligned-160": "deblurring, aligned pairs of 160 x 160",
    "shift2-160": "deblurring, targets of 160 x 160 shifted by up to 2 px",
    "breathing-160": "deblurring, targets of 160 x 160 as with breathing",
    "parallax-160": "deblurring, targets of 160 x 160 locally displaced",
    "aligned-unet": "the U-Net, aligned pairs",
    "shift2-unet": "the U-Net, targets shifted by up to 2 px",
    "breathing-unet": "the U-Net, targets as with breathing",
    "render-unet": "the U-Net, blurring the background",
}
SUMMARY = ("aligned", "shift1", "shift2", "shift4", "breathing", "parallax", "render", "scratch", "fit")
CURVE_HEAD = ["lost since its best", "seen", "smooth", "textured", "power by band", "seeds"]
Cells = dict[tuple[str, str], dict[int, dict[str, Any]]]


def lines(path: Path) -> list[dict[str, Any]]:
    """All that the file holds; a line that a crash cut short is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def runs(path: Path) -> Cells:
    """(task, loss) -> seed -> run, in the order of losses.NAMES, without those that chose the learning rate.

    Of a seed that was run again, with another rate or on more photographs, the later run.
    """
    cells: Cells = {}
    for record in lines(path):
        if "task" in record and not record["choosing"]:
            cells.setdefault((record["task"], record["loss"]), {})[record["seed"]] = record
    return {cell: cells[cell] for cell in sorted(cells, key=lambda cell: losses.NAMES.index(cell[1]))}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t (NaN for fewer than two values)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()) if len(values) else np.nan, np.nan
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * error)


def paired(cells: Cells, task: str, loss: str, rival: str, figure: str = "psnr") -> tuple[float, float]:
    """The interval of the difference, seed by seed: the same weights, crops and noise."""
    of, other = cells.get((task, loss), {}), cells.get((task, rival), {})
    seeds = [seed for seed in of if seed in other]
    return interval([value(of[seed], figure) - value(other[seed], figure) for seed in seeds])


def by_image(cells: Cells, task: str, loss: str, rival: str) -> np.ndarray:
    """How far the PSNR of each held-out image, mean of the seeds, is above the rival's.

    Of as many images as any seed has for both, and of the seeds that have as many.
    """
    of, other = cells[task, loss], cells[task, rival]
    pairs = [[np.array(run["each"]["psnr"], float) for run in (of[seed], other[seed])] for seed in of if seed in other]
    counts = [min(map(len, pair)) for pair in pairs]
    most = max(counts, default=0)
    each = [x[:most] - y[:most] for (x, y), count in zip(pairs, counts, strict=True) if count == most]
    return np.mean(each, axis=0) if pairs else np.empty(0)


def images_above(cells: Cells, task: str, loss: str, rival: str) -> str:
    """Of the held-out images those whose PSNR is above the rival's: "3 of 4"."""
    each = by_image(cells, task, loss, rival)
    return f"{np.count_nonzero(each > 0)} of {len(each)}"


def over_photographs(cells: Cells, task: str, loss: str, rival: str) -> tuple[float, float]:
    """The interval of the difference over photographs instead of seeds, each photograph at both of its blurs."""
    each = by_image(cells, task, loss, rival)
    if task == "fit":  # the starts, then the photographs
        return interval(each.reshape(4, -1).mean(axis=0))
    return interval(each.reshape(-1, 2).mean(axis=1))


def value(record: dict[str, Any], figure: str) -> float:
    """Not finite outputs have no figures."""
    return record["figures"].get(figure, np.nan)


def figure_of(cells: Cells, task: str, loss: str, figure: str = "psnr") -> tuple[float, float]:
    return interval([value(record, figure) for record in cells.get((task, loss), {}).values()])


def best_rival(cells: Cells, task: str, figure: str = "psnr") -> str:
    """The highest mean of those that are no BlurSim and are not told how far the pairs may be apart."""
    known = ("plain", "L1, best")
    rivals = [loss for of, loss in cells if of == task and not loss.startswith(known) and "BlurSim" not in loss]
    return max(rivals, key=lambda loss: np.nan_to_num(figure_of(cells, task, loss, figure)[0], nan=-np.inf))


def plus_minus(found: tuple[float, float], digits: int) -> str:
    mean, half = found
    if np.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if np.isfinite(half) else "")


def markdown(rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *body])


def task_table(cells: Cells, task: str) -> str:
    """The losses of a task, all figures; of BlurSim's options the main ones, as grid_table has the others."""
    rival = best_rival(cells, task)
    head = [
        "loss",
        "PSNR",
        f"PSNR - {rival}",
        "over photographs",
        "in images",
        "SSIM",
        f"SSIM - {rival}",
        "PSNR, best shift",
    ]
    rows = [
        [
            *head,
            "sharpness",
            "edge error",
            "error by band",
            "power by band",
            "smooth",
            "textured",
            "collapsed",
            "rate",
            "seeds",
        ]
    ]
    for of, loss in cells:
        if of != task or (loss in losses.GRID and loss not in losses.MAIN):
            continue
        records = list(cells[of, loss].values())
        bands, power = (
            np.array([record["figures"][name] for record in records if name in record["figures"]])
            for name in ("bands", "power")
        )
        collapsed = sum(record["figures"]["collapsed"] >= 0.5 for record in records)
        rows.append(
            [
                loss,
                plus_minus(figure_of(cells, task, loss), 2),
                plus_minus(paired(cells, task, loss, rival), 2) if loss != rival else "",
                plus_minus(over_photographs(cells, task, loss, rival), 2) if loss != rival else "",
                images_above(cells, task, loss, rival) if loss != rival else "",
                plus_minus(figure_of(cells, task, loss, "ssim"), 3),
                plus_minus(paired(cells, task, loss, rival, "ssim"), 3) if loss != rival else "",
                f"{figure_of(cells, task, loss, 'psnr_shifted')[0]:.2f}",
                f"{figure_of(cells, task, loss, 'sharpness')[0]:.2f}",
                f"{figure_of(cells, task, loss, 'edges')[0]:.3f}",
                " ".join(f"{error:.2f}" for error in bands.mean(axis=0)) if len(bands) else "",
                " ".join(f"{ratio:.2f}" for ratio in power.mean(axis=0)) if len(power) else "",
                plus_minus((figure_of(cells, task, loss, "smooth")[0], np.nan), 2),
                plus_minus((figure_of(cells, task, loss, "textured")[0], np.nan), 2),
                f"{collapsed} of {len(records)}",
                f"{records[0]['rate']:g}",
                str(len(records)),
            ]
        )
    return markdown(rows)


def summary_table(cells: Cells) -> str:
    """The losses of SHOWN down, the small network's tasks across: PSNR and SSIM; without an interval, of one seed."""
    across = [task for task in SUMMARY if any(of == task for of, _ in cells)]
    rows = [["loss", *across]]
    for loss in SHOWN:
        pair = lambda task, loss=loss: [figure_of(cells, task, loss, figure) for figure in ("psnr", "ssim")]
        found = {task: pair(task) for task in across}
        rows.append(
            [loss, *(f"{plus_minus(p, 2)}<br>{plus_minus(s, 3)}".removeprefix("<br>") for p, s in found.values())]
        )
    return markdown(rows)


def guide_table(cells: Cells, across: Sequence[str], of: Sequence[str]) -> str:
    """How far PSNR is above that of L1, and SSIM; of L1 both as they are."""
    rows = [["loss", *across]]
    for loss in of:
        row = [loss]
        for task in across:
            difference = figure_of(cells, task, loss) if loss == "L1" else paired(cells, task, loss, "L1")
            signed = plus_minus(difference, 2) if loss == "L1" or difference[0] < 0 else f"+{plus_minus(difference, 2)}"
            pair = f"{signed}<br>{plus_minus((figure_of(cells, task, loss, 'ssim')[0], np.nan), 3)}"
            row.append("" if np.isnan(difference[0]) else pair)
        rows.append(row)
    return markdown(rows)


def grid_table(cells: Cells, task: str, figure: str = "psnr") -> str:
    """BlurSim's options down, alpha across; alpha = 0 has no edges, whatever their options."""
    rows = [["spectrum/edges", *(f"alpha {alpha}" for alpha in ALPHAS)]]
    whole = [loss for loss in losses.CALLS if "/" in loss]
    for options in dict.fromkeys(loss.rsplit(" ", 1)[0] for loss in sorted(whole, key=grid_order)):
        found = [figure_of(cells, task, cell_name(options, alpha), figure) for alpha in ALPHAS]
        if not all(np.isnan(mean) for mean, _ in found[1:]):
            rows.append([options.removeprefix("BlurSim "), *(plus_minus(f, 2 + (figure == "ssim")) for f in found)])
    return markdown(rows)


def cell_name(options: str, alpha: str) -> str:
    _, terms, p, *_ = options.split()
    return f"BlurSim {terms.split('/')[0]} {p} 0" if alpha == "0" else f"{options} {alpha}"


def grid_order(loss: str) -> tuple[str, ...]:
    _, terms, p, size, normalization, _ = loss.split()
    return normalization, *terms.split("/"), p, size


def curve_table(cells: Cells, task: str) -> str:
    """PSNR and SSIM in the course of training, and what tells sharpening too much from learning by heart."""
    rows: list[list[str]] = []
    for (of, loss), by_seed in cells.items():
        if of == task:
            curves = [record["curve"] for record in by_seed.values()]
            names = ("psnr", "ssim", "smooth", "textured", "power", "psnr_seen")
            curve = {name: np.mean([np.array(c[name], float) for c in curves], axis=0) for name in names}
            steps = curves[0]["steps"]
            gain = [f"{curve[key][-1] - curve[key].max():.2f}" for key in ("psnr", "psnr_seen", "smooth", "textured")]
            power = " ".join(f"{ratio:.2f}" for ratio in curve["power"][-1])
            points = [f"{p:.2f}<br>{s:.3f}" for p, s in zip(curve["psnr"], curve["ssim"], strict=True)]
            rows = rows or [["loss", *(f"step {step}" for step in steps), *CURVE_HEAD]]
            rows.append([loss, *points, *gain, power, str(len(curves))])
    return markdown(rows) if rows else ""


def stack_table(results: dict[str, Any]) -> str:
    """The losses on a focus stack: means over tiles and seeds, intervals over seeds."""
    rows = [["loss", "PSNR", "SSIM", "PSNR, best shift", "sharpness", "power by band", "rate"]]
    for row in results["rows"]:
        of = row["figures"]
        power = " ".join(f"{ratio:.2f}" for ratio in of["power"])
        means = [
            plus_minus(interval(row.get("each", {}).get(name, [of[name]])), digits)
            for name, digits in (("psnr", 2), ("ssim", 3))
        ]
        numbers = [*means, f"{of['psnr_shifted']:.2f}", f"{of['sharpness']:.2f}"]
        rows.append([row["loss"], *numbers, power, f"{row['rate'] or ''}"])
    return markdown(rows)


def measure_table(rows: list[dict[str, Any]], moved: bool) -> str:
    head = ["measure", "separation (AUC)", "different / same", "monotonic (Spearman)"]
    body = []
    for row in (row for row in rows if row["moved"] is moved):
        cells = [f"{row['scores'][k]:.3g} ({low:.3g} to {high:.3g})" for k, (low, high) in row["interval"].items()]
        body.append([row["measure"], *cells])
    return markdown([head, *body])


def heading(found: list[dict[str, Any]]) -> str:
    """Where the runs of training.jsonl were made."""
    used = {record["session"] for record in found if "task" in record}
    words = {}
    for record in found:
        if "machine" in record and record["session"] in used:
            of = record["machine"]
            state = record["commit"][:12] + " with changes" * record["modified"]
            where = of["gpu"] or f"{of['cpu']}, {of['cores']} cores"
            words[f"{where}; jax {record['versions']['jax']}; {record['date']}, commit {state}."] = None
    steps = sorted({record["steps"] for record in found if "task" in record})
    return "\n".join([*words, f"{', '.join(map(str, steps))} steps in each training."])


def by_start(cells: Cells) -> str:
    """PSNR of "fit", start by start, for the losses of SHOWN, and the best of all."""
    starts = ("measurement", "noise", "grey", "another photograph")
    rows = [["loss", *(f"from {start}" for start in starts)]]
    for task, loss in cells:
        if task == "fit" and loss in [*SHOWN, "focal frequency"]:
            each = [record["each"]["psnr"] for record in cells[task, loss].values()]
            each = np.array(each, float).reshape(len(each), len(starts), -1).mean(axis=-1)
            rows.append([loss, *(plus_minus(interval(column), 2) for column in each.T)])
    return markdown(rows)


def without_collapsed(cells: Cells) -> Cells:
    """What can be drawn to one scale."""
    stands = lambda record: record["figures"].get("collapsed", 0) < 0.5
    return {cell: {seed: record for seed, record in of.items() if stands(record)} for cell, of in cells.items()}


def draw_differences(cells: Cells, path: Path) -> None:
    """Of the guide's tables, without collapsed runs, how far PSNR is above that of L1: mean and interval."""
    standing = without_collapsed(cells)
    figure = Figure(figsize=(14, 6), layout="constrained")
    panels = figure.subplots(len(GUIDE), max(len(across) for across, _ in GUIDE.values()))
    for row, (across, of) in zip(panels, GUIDE.values(), strict=True):
        for panel, task in zip(row, across, strict=False):
            for i, loss in enumerate(of):
                mean, half = paired(standing, task, loss, "L1")
                color = f"C{int('BlurSim' in loss)}"
                panel.errorbar(mean, -i, xerr=np.nan_to_num(half), fmt="o", markersize=4, color=color, capsize=3)
            panel.axvline(0, color="gray", linewidth=1, linestyle=":")
            panel.set_title(textwrap.fill(ABOUT[task], 30), fontsize=8)
            names = of if panel is row[0] else [""] * len(of)
            panel.set_yticks(range(0, -len(of), -1), names, fontsize=7)
            panel.tick_params(axis="x", labelsize=7)
        for panel in row[len(across) :]:
            panel.set_visible(False)
    figure.supxlabel("PSNR - that of L1, dB", fontsize=8)
    save(figure, path)


def draw_alphas(cells: Cells, path: Path) -> None:
    """PSNR and SSIM against alpha, one line for each of the other options, of the spectrum that fits the task."""
    across = {"aligned": "complex", "render": "complex", "shift2": "magnitude"}
    courses = [alpha for alpha in ALPHAS if alpha not in ("0.9", "0.1->0.9")]
    options = [(p, size, edges) for p in (1, 2) for size in (3, 5) for edges in ("magnitude", "vector")]
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, len(across), sharex=True)
    for row, name in zip(panels, ("psnr", "ssim"), strict=True):
        for panel, (task, spectrum) in zip(row, across.items(), strict=True):
            for i, (p, size, edges) in enumerate(options):
                names = [losses.named(spectrum, edges, p, alpha, size)[0] for alpha in courses]
                found = np.array([figure_of(cells, task, loss, name)[0] for loss in names])
                style = ("o-" if edges == "magnitude" else "s:", f"C{i // 2}")
                panel.plot(found, style[0], color=style[1], markersize=3, label=f"p = {p}, {size} x {size}, {edges}")
            panel.set_xticks(range(len(courses)), courses, fontsize=7)
            panel.tick_params(axis="y", labelsize=7)
        row[0].set_ylabel("PSNR, dB" if name == "psnr" else "SSIM")
    for panel, (task, spectrum) in zip(panels[0], across.items(), strict=True):
        panel.set_title(f"{textwrap.fill(ABOUT[task], 30)}:\nspectrum {spectrum}", fontsize=8)
    figure.supxlabel("alpha", fontsize=9)
    panels[0, -1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def draw_curves(cells: Cells, path: Path) -> None:
    """PSNR and SSIM of held-out photographs in the course of the U-Net's training, mean of seeds not collapsed."""
    cells = without_collapsed(cells)
    across = [task for task in ABOUT if task.endswith("unet") and any(of == task for of, _ in cells)]
    if not across:
        return
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, len(across), squeeze=False, sharex=True)
    for column, task in zip(panels.T, across, strict=True):
        for i, loss in enumerate(CURVES):
            curves = [record["curve"] for record in cells.get((task, loss), {}).values()]
            for panel, name in zip(column, ("psnr", "ssim"), strict=True) if curves else ():
                curve = np.mean([np.array(c[name], float) for c in curves], axis=0)
                line = "o-" if "BlurSim" in loss else "s:"
                panel.plot(curves[0]["steps"], curve, line, markersize=3, color=f"C{i}", label=loss)
        column[0].set_title(ABOUT[task], fontsize=8)
        column[0].set_xscale("log")
        column[1].set_xlabel("step")
    for panel, name in zip(panels[:, 0], ("PSNR, dB", "SSIM"), strict=True):
        panel.set_ylabel(name)
    handles = {label: h for panel in panels.flat for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    save(figure, path)


def draw_pieces(found: list[dict[str, Any]], path: Path, across: Sequence[str] = DRAWN) -> None:
    """Of the first seed a piece of the first held-out image: input, results, target."""
    references = {record["reference"]: record for record in found if "reference" in record}
    pieces = {(r["task"], r["loss"]): r["piece"] for r in found if "piece" in r}
    across = [task for task in across if task in references]
    if not across:
        return
    columns = ["input", *DRAWN_OF, "target"]
    figure = Figure(figsize=(1.25 * len(columns), 1.4 * len(across) + 0.4), layout="constrained")
    panels = figure.subplots(len(across), len(columns), squeeze=False)
    for panel, name in zip(panels[0], columns, strict=True):
        panel.set_title(name.replace(" ", "\n").replace("/", "/\n"), fontsize=5)
    for row, task in zip(panels, across, strict=True):
        for panel, name in zip(row, columns, strict=True):
            piece = references[task].get(name) or pieces.get((task, name))
            panel.set(xticks=[], yticks=[])
            if piece:
                panel.imshow(Image.open(io.BytesIO(base64.b64decode(piece))), cmap="gray", vmin=0, vmax=255)
            else:
                panel.set_frame_on(False)
        row[0].set_ylabel(task, fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def fill(path: Path, tables: dict[str, Callable[[], str]]) -> None:
    """Each table goes between the markers of its name, where the page has them."""
    page = path.read_text()
    for name, make in tables.items():
        start, end = (f"<!-- evidence {name}: {word} -->" for word in ("start", "end"))
        if start in page:
            page = report.insert(page, make(), start, end)
    path.write_text(page)


def main() -> None:
    found = lines(EVIDENCE / "training.jsonl")
    cells = runs(EVIDENCE / "training.jsonl")
    every = [task for task in ABOUT if any(of == task for of, _ in cells)]
    tables = {
        "summary": lambda: summary_table(cells),
        "all": lambda: "\n\n".join([heading(found), *(f"### {ABOUT[t]}\n\n{task_table(cells, t)}" for t in every)]),
        "starts": lambda: by_start(cells),
    }
    for name, of in GUIDE.items():
        tables[name] = lambda of=of: guide_table(cells, *of)
    for task in [task for task in ABOUT if task.endswith("unet")]:
        tables[f"{task} curve"] = lambda task=task: curve_table(cells, task)
    for task in ("aligned", "shift2", "render"):
        for figure in ("psnr", "ssim"):
            tables[f"{task} {figure}"] = lambda task=task, figure=figure: grid_table(cells, task, figure)
    if (EVIDENCE / "focus_stack.json").exists():
        tables["stack"] = lambda: stack_table(json.loads((EVIDENCE / "focus_stack.json").read_text()))
    if (EVIDENCE / "measure.json").exists():
        rows = json.loads((EVIDENCE / "measure.json").read_text())["rows"]
        tables["measure"] = lambda: measure_table(rows, moved=False)
        tables["measure moved"] = lambda: measure_table(rows, moved=True)
    for page in (ROOT / "benchmarks" / "README.md", DOCS / "choosing.md"):
        fill(page, tables)
    draw_differences(cells, DOCS / "evidence-losses.png")
    draw_alphas(cells, DOCS / "evidence-alpha.png")
    draw_curves(cells, DOCS / "evidence-curves.png")
    draw_pieces(found, DOCS / "evidence-pieces.png")


if __name__ == "__main__":
    main()
