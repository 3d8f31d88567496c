"""Tables and a plot from results/*.json: python benchmarks/report.py [results/one.json ...]."""

import json
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import peers

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "speed.md"
README = HERE.parent / "README.md"
PLOT = HERE / "results" / "ratio.png"
START, END = "<!-- speed table: start -->", "<!-- speed table: end -->"
SHORT_START, SHORT_END = "<!-- speed in short: start -->", "<!-- speed in short: end -->"
FLOOR = "FFT floor"
SECTIONS = {
    "batches": "Batches",
    "peers": "Alternatives",
    "volumes": "Volumes",
    "volume-peers": "Alternatives for volumes",
    "sides": "By size",
    "odd": "Odd, prime and non-square sizes",
}
# Rows and columns of the README's table.
BACKENDS = {"jax": "JAX, jitted", "torch.compile": "PyTorch, compiled", "torch eager": "PyTorch, eager"}
CALLS = {"blursim": "`blursim(x, y, 0.3)`", "blursim, alpha=0, window=32": "`blursim(x, y, 0, window=32)`"}
STEADY = 1.25


def tables(results: dict[str, Any], sections: Iterable[str] = SECTIONS) -> str:
    """One Markdown table for each dtype and section: contestants down, shapes across."""
    found = [heading(results)]
    for dtype in results["options"]["dtypes"]:
        for section in sections:
            rows = [r for r in results["measurements"] if (r["section"], r["dtype"]) == (section, dtype)]
            if rows:
                found += [
                    f"{SECTIONS[section]}, {dtype}: times the FFT floor, forward / forward + backward",
                    table(rows),
                ]
    return "\n\n".join(found)


def in_short(all_results: list[dict[str, Any]], shape: tuple[int, ...] = (16, 256, 256)) -> str:
    """The README's table: one shape, out of the box and with freed memory kept."""
    sections = ("batches", "peers")
    rows = [row for results in all_results for row in results["measurements"] if tuple(row["shape"]) == shape]
    rows = [row for row in rows if row["section"] == sections[row["name"] in peers.LOSSES]]
    cells = {(row["backend"], row["name"], row["keeps_memory"]): cell(row) for row in rows}
    calls = [name for name in CALLS if any(row["name"] == name for row in rows)]
    columns = [(name, keeps_memory) for name in calls for keeps_memory in (False, True)]
    head = ["loss / with gradient", *(CALLS[n] if not keeps else "freed memory kept" for n, keeps in columns)]
    lines = [head, ["---"] + ["---:"] * len(columns)]
    lines += [[word, *(cells.get((backend, *of), "") for of in columns)] for backend, word in BACKENDS.items()]
    alternatives = [f"{row['name']} {cell(row)}" for row in rows if row["name"] in peers.LOSSES]
    measured = next(r for r in all_results if any(row in rows for row in r["measurements"]))
    machine, date = measured["machine"], measured["date"]
    note = (
        f"Times for {shape[0]} float32 images of {shape[1]} x {shape[2]}, as multiples of the time that the FFTs alone "
        f"take in the same framework. Other losses in eager PyTorch: {', '.join(alternatives)}. {machine['cpu']}, "
        f"{machine['cores']} cores, {date}.{unsteady(rows)}"
    )
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", textwrap.fill(note, 120)])


def table(rows: list[dict[str, Any]]) -> str:
    shapes = list(dict.fromkeys(tuple(row["shape"]) for row in rows))
    contestants: dict[tuple[str, str], dict[Any, dict[str, Any]]] = {}
    for row in rows:
        backend = row["backend"] + ", no page faults" * row["keeps_memory"]
        contestants.setdefault((backend, row["name"]), {})[tuple(row["shape"])] = row
    with_memory = any(row["memory"] is not None for row in rows)
    with_kernels = any(row.get("kernels") for row in rows)
    head = ["backend", "loss", *map(str, shapes)] + ["memory / x"] * with_memory
    head += ["kernels", "bytes / pixel"] * with_kernels
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for (backend, name), of in contestants.items():
        memories = [row["memory"] for row in of.values() if row["memory"] is not None]
        memory = [f"{max(memories):.1f}" if memories else ""] * with_memory
        counts = [row["kernels"] for row in of.values() if row.get("kernels")]
        forward, backward, size = counts[0] if counts else (None,) * 3
        kernels = [f"{forward} + {backward}", f"{size:.0f}"] if counts else ["", ""] * with_kernels
        cells = (cell(of[shape]) if shape in of else "" for shape in shapes)
        lines.append([backend, name, *cells, *memory, *kernels])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(row: dict[str, Any]) -> str:
    """Ratios to the floor; for the floor itself, milliseconds."""
    return " / ".join(entry(row[direction], row["name"] == FLOOR) for direction in ("forward", "backward"))


def entry(times: dict[str, Any] | str | None, absolute: bool) -> str:
    if not isinstance(times, dict):
        return "fails" if times else "none"
    if absolute:
        return f"{times['median'] * 1e3:.3g} ms"
    return f"{times['ratio']:.2f}" if times["ratio"] < 10 else f"{times['ratio']:.0f}"


def heading(results: dict[str, Any]) -> str:
    machine, versions, options = results["machine"], results["versions"], results["options"]
    threads = f"{options['threads']} threads" if options["threads"] else "2 threads for JAX, 1 for PyTorch"
    where = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores, {threads}"
    backends = {row["backend"] for row in results["measurements"]}
    frameworks = ["jax"] * ("jax" in backends) + ["torch"] * ("torch" in backends)
    state = results["commit"][:12] + " with changes" * results["modified"]
    words = [
        where,
        ", ".join(f"{name} {versions[name]}" for name in frameworks),
        f"{results['date']}, commit {state}",
        f"medians of {options['rounds']} rounds",
    ]
    return "; ".join(words) + "." + unsteady(results["measurements"])


def unsteady(rows: list[dict[str, Any]]) -> str:
    """A warning if other work on the machine shows in the floor."""
    floors = [row[direction] for row in rows if row["name"] == FLOOR for direction in ("forward", "backward")]
    wavering = [f for f in floors if f["quartiles"][1] > STEADY * f["quartiles"][0]]
    if not wavering:
        return ""
    apart = f"{len(wavering)} of {len(floors)} contests"
    return f" The machine was busy: in {apart} the floor's quartiles are over 25 % apart."


def insert(page: str, text: str, start: str = START, end: str = END) -> str:
    """The page with the text between the two markers replaced."""
    before, found_start, rest = page.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise ValueError(f"expected the markers {start} and {end}, in this order; put them in the page")
    return f"{before}{start}\n{text}\n{end}{after}"


def plot(all_results: list[dict[str, Any]], path: Path) -> None:
    """Ratio to the floor against the side of the image: squares as lines, odd sizes as crosses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, direction, title in zip(panels, ("forward", "backward"), ("forward", "forward + backward"), strict=True):
        lines = series(all_results, direction)
        labels = list(dict.fromkeys(label for label, _ in lines))
        for (label, section), points in lines.items():
            line, color = section == "sides", f"C{labels.index(label)}"
            panel.plot(*points, "o-" if line else "x", color=color, label=label if line else None, markersize=4)
        panel.axhline(1, color="gray", linewidth=1, linestyle=":")
        panel.set(xscale="log", title=title)
        panel.set_xlabel("side of the image, pixels (x: odd, prime, not square)")
        panel.set_xticks([128, 256, 512, 1024, 2048, 4096], ["128", "256", "512", "1024", "2048", "4096"])
        panel.minorticks_off()
    panels[0].set_ylabel("time / FFT floor")
    panels[0].set_ylim(0)
    panels[1].legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def series(all_results: list[dict[str, Any]], direction: str) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """(label, section) -> sides and ratios of the default loss."""
    found: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for results in all_results:
        for row in results["measurements"]:
            if row["name"] == "blursim" and row["section"] in ("sides", "odd") and isinstance(row[direction], dict):
                if not row["keeps_memory"]:  # else page faults are most of what is seen
                    continue
                words = [row["backend"], results["machine"]["gpu"], row["dtype"] if row["dtype"] != "float32" else None]
                sides, ratios = found.setdefault((", ".join(filter(None, words)), row["section"]), ([], []))
                sides.append((row["shape"][-2] * row["shape"][-1]) ** 0.5)
                ratios.append(row[direction]["ratio"])
    return found


def main() -> None:
    paths = [Path(word) for word in sys.argv[1:]] or sorted((HERE / "results").glob("*.json"))
    all_results = [json.loads(path.read_text()) for path in paths]
    shown = ("batches", "peers", "volumes", "volume-peers")
    seen = [results for results in all_results if {row["section"] for row in results["measurements"]} & {*shown}]
    text = "\n\n".join(tables(results, shown) for results in seen)
    PAGE.write_text(insert(PAGE.read_text(), text))
    README.write_text(insert(README.read_text(), in_short(all_results), SHORT_START, SHORT_END))
    plot(all_results, PLOT)


if __name__ == "__main__":
    main()
