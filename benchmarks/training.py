"""How well it trains: the same network, from the same seeds, with every loss.

    python benchmarks/training.py                      # everything that results/evidence/training.jsonl lacks: hours
    python benchmarks/training.py --tasks shift2 --losses L1 MSE
    python benchmarks/training.py --shard 1/2          # one core's half; start 2/2 beside it
    python benchmarks/training.py --list               # what there is, and how much of it is done
    python benchmarks/training.py --quick              # two minutes, and a table; keeps nothing
    python benchmarks/evidence.py                      # tables and pictures from the results

Each finished run is a line of the results; a line in between says on which machine, with which versions, the runs
of a session were made. Runs that are there already are not repeated. What is run, and in which order, says plan().
README.md beside this file tells the rest.
"""

import argparse
import base64
import datetime
import functools
import io
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import evidence
import jax
import jax.numpy as jnp
import losses
import numpy as np
import optax
import speed
import tasks
from jax import Array
from PIL import Image
from tqdm import tqdm

RESULTS = Path(__file__).parent / "results" / "evidence" / "training.jsonl"
CHUNK = 20  # steps that one call makes
RATES = (1e-3, 3e-3, 1e-2)  # of Adam, at the start of its cosine
SHORT = 400  # the most steps of a training that chooses a rate
LOOKED_AT = ("psnr", "ssim", "smooth", "textured", "power", "psnr_seen")  # in the course of a training
FIRST = 10  # seed of the table; those below it were looked at while the benchmark was made
CHOOSING = 1000  # the seed that chooses the learning rate, on photographs of its own
QUICK = [
    "MSE",
    "L1",
    losses.SHIFTED,
    *(f"BlurSim magnitude/magnitude p=2 k=5 area {alpha}" for alpha in ("0.1", "0.9->0.1")),
]
PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "scikit-image", "scikit-learn", "PyWavelets", "scipy")
SHOWN = (0, slice(16, 112), slice(16, 112))  # of the first held-out image, for the pictures


def main() -> None:
    options = parse()
    share, shares = options.shard
    if shares > 1 and hasattr(os, "sched_setaffinity"):
        # Before JAX looks around: XLA starts as many threads as it may run on.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[share % len(cores)]})
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            options.output = Path(folder) / "training.jsonl"
            run(options)
            print(evidence.task_table(evidence.runs(options.output), "shift2"))
    elif options.list:
        show(options)
    else:
        run(options)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=tasks.TASKS, default=list(tasks.TASKS), metavar="TASK")
    parser.add_argument("--losses", nargs="+", choices=losses.NAMES, metavar="LOSS", help="names that --list prints")
    parser.add_argument("--seeds", type=int, help="how many (default: as planned; 5 of what is not)")
    parser.add_argument("--steps", type=int, help="of each training (default: those of the task)")
    parser.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help="the I-th of N parts of the work")
    parser.add_argument("--side-by-side", type=int, help="trainings in one vmap (default: 1 on a CPU, 8 on a GPU)")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    if options.steps is not None and (options.steps < 1 or options.steps % CHUNK):
        parser.error(f"expected a multiple of {CHUNK} as --steps, got {options.steps}")
    if options.quick:
        options.tasks, options.losses, options.seeds, options.steps = ["shift2"], QUICK, 2, 200
    return options


def plan() -> Iterator[tuple[str, str, int]]:
    """(task, loss, seeds), what tells most first; a cell that comes again asks for more seeds."""
    few, former = ["L1", "L1 + FFT", "SSIM", losses.SHIFTED], f"{evidence.BLURSIM} 0.1"
    main = [*few, losses.TILES, "MS-SSIM + L1", former, "MSE"]
    complexes, magnitudes = losses.BEST[:2], losses.BEST[2:]
    with_complex, beside, squares, *ways, beside_windows = losses.MIXED
    rivals = [*losses.PEERS, losses.SLICED, *losses.SEARCHES, beside_windows]
    moved, still, grids = ["shift2", "breathing", "parallax"], ["aligned", "render"], ["shift2", "aligned", "render"]
    small = [name for name in tasks.TASKS if tasks.TASKS[name].steps == tasks.Learned.steps and "160" not in name]
    large = ["shift2-160", "breathing-160", "parallax-160"]

    def all_of(names: Sequence[str], of: Sequence[str], seeds: int) -> Iterator[tuple[str, str, int]]:
        return ((name, loss, seeds) for name in names for loss in of)

    for seeds in (1, 3):  # what the guide speaks of
        yield from all_of(moved, [*main, *magnitudes, beside, squares, losses.WINDOWS], seeds)
        yield from all_of(still, [*main, *losses.BEST, with_complex], seeds)
        yield from all_of(["shift1", "shift4"], [squares, magnitudes[1]], seeds)
        yield from all_of(large, ["L1", losses.SHIFTED, magnitudes[1], squares], seeds)
        yield from all_of(["shift2-unet"], [*few, former, magnitudes[-1], beside, squares, losses.WINDOWS], seeds)
        yield from all_of(["shift2-unet"], [beside_windows], seeds)
        yield from all_of(["aligned-unet"], ["L1", "L1 + FFT", "SSIM", "MS-SSIM + L1", *complexes], seeds)
        yield from all_of(["render-unet"], ["L1", "L1 + FFT", complexes[0]], seeds)
    yield from all_of(["breathing-unet"], [*few, former, magnitudes[-1], beside, squares, losses.WINDOWS], 1)
    yield from all_of(["breathing-unet"], [beside_windows], 1)
    yield from all_of(["shift2-unet"], [*magnitudes, *losses.MORE_EDGES, *ways, losses.TILES], 1)
    yield from all_of(["aligned-unet"], [evidence.PUBLISHED, with_complex], 2)
    yield from all_of(["render-unet"], [complexes[1], "MSE"], 1)
    yield from all_of(large, [former, beside, losses.WINDOWS], 1)
    yield from all_of(["parallax-160"], [losses.TILES, *magnitudes], 1)
    yield from all_of(["aligned-160"], ["L1", "L1 + FFT", complexes[0], with_complex], 1)
    yield from all_of(["shift4"], [losses.WINDOWS, beside], 1)
    yield from all_of(grids, list(losses.GRID), 1)
    yield from all_of([*moved, "aligned"], [*rivals, squares], 1)
    yield from all_of([*moved, *still], [*main, *losses.BEST, with_complex, beside, squares], 5)
    yield from all_of(small, [*rivals, *losses.MAIN], 5)
    yield from all_of(["scratch"], [losses.TRAP], 5)


def rate_from(name: str, loss: str) -> tuple[str, str]:
    """The task and the loss whose trials choose the rate: mostly its own.

    Larger patches take that of the small ones; the U-Net that of L1 on the same task or, where it breathes, on shift2;
    and what only the grid of BlurSim's options shows that of one of its cells with the same task, spectrum and p.
    """
    if name.endswith("-unet"):
        return name.replace("breathing", "shift2"), "L1"
    if loss in losses.GRID and loss not in losses.MAIN:
        loss = losses.LIKE[losses.GRID[loss]["spectrum"], losses.GRID[loss]["p"]]
    return name.removesuffix("-160"), loss


def shard(word: str) -> tuple[int, int]:
    part, parts = map(int, word.split("/"))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {word}")
    return part - 1, parts


def cells(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Of the plan what the options ask for, then what they ask for besides it."""
    wanted = [(name, loss, seeds) for name, loss, seeds in plan() if name in options.tasks]
    if options.losses:
        planned = [cell for cell in wanted if cell[1] in options.losses]
        known = {cell[:2] for cell in planned}
        every = [(name, loss) for name in options.tasks for loss in options.losses]
        wanted = planned + [(*cell, 5) for cell in every if cell not in known]
    if options.seeds:
        wanted = [(*cell[:2], options.seeds) for cell in wanted]
    share, shares = options.shard
    # A cell stays with its shard when it comes again, for more seeds.
    part = {cell: i % shares for i, cell in enumerate(dict.fromkeys(cell[:2] for cell in wanted))}
    asked: dict[tuple[str, str], int] = {}
    found = []
    for name, loss, seeds in wanted:
        if part[name, loss] == share and seeds > asked.get((name, loss), 0):
            asked[name, loss] = seeds
            found.append((name, loss, seeds))
    return found


def show(options: argparse.Namespace) -> None:
    done = finished(options.output, options.steps)
    for name, loss, seeds in cells(options):
        counted = ((rate_from(name, loss), True), ((name, loss), False))
        rates, runs = (len([key for key in done if key[:2] == of and key[4] is choosing]) for of, choosing in counted)
        print(f"{name:16}{loss:52}{rates} of {len(RATES)} rates  {min(runs, seeds)} of {seeds} seeds")


def run(options: argparse.Namespace) -> None:
    device = "cpu" if jax.default_backend() == "cpu" else "gpu"
    options.side_by_side = options.side_by_side or (1 if device == "cpu" else 8)
    session = {
        "session": uuid.uuid4().hex[:8],
        "machine": speed.machine(device),
        "versions": speed.versions(*PACKAGES),
        **speed.commit("blursim_jax", "benchmarks/*.py"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    known = False
    wanted = cells(options)
    rates = 0 if options.quick else len(RATES)
    with tqdm(total=sum(seeds + rates for *_, seeds in wanted), unit="run", smoothing=0.1) as progress:
        for name, loss, seeds in wanted:
            done = finished(options.output, options.steps)
            if not any(key[0] == name for key in done):
                of = problem(name, FIRST, tasks.HELD_OUT, CHUNK)
                pieces = {"input": png(of.untouched[SHOWN]), "target": png(of.held_targets[SHOWN])}
                append(options.output, {"reference": name, **pieces})
            for record in cell(name, loss, seeds, done, options):
                progress.set_description(f"{name}, {loss}")
                progress.set_postfix(psnr=record["figures"].get("psnr"), refresh=False)
                progress.update()
                if record in done.values():
                    continue
                if not known:
                    append(options.output, session)
                    known = True
                append(options.output, {**record, "session": session["session"]})


def cell(
    name: str, loss: str, seeds: int, done: dict[Any, dict[str, Any]], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The runs of a task and a loss, those already done as they are: first to choose the rate, then the seeds."""

    def runs(
        name: str, loss: str, seeds: Sequence[int], rates: Sequence[float], choosing: bool
    ) -> Iterator[dict[str, Any]]:
        task = tasks.TASKS[name]
        steps = options.steps or task.steps
        wanted = [(seed, rate) for seed in seeds for rate in rates]
        keys = {pair: (name, loss, *pair, choosing) for pair in wanted}
        missing = [pair for pair in wanted if keys[pair] not in done]
        yield from (done[keys[pair]] for pair in wanted if pair not in missing)
        of = min(steps, SHORT) if choosing else steps
        for some in (missing[i : i + options.side_by_side] for i in range(0, len(missing), options.side_by_side)):
            names = tasks.SELECTION if choosing else task.photographs
            for (seed, rate), found in zip(some, trainer(name, loss, of)(some, names), strict=True):
                words = {"task": name, "loss": loss, "seed": seed, "rate": rate, "choosing": choosing}
                yield {**words, "steps": of, **found}

    best = RATES[1]
    if not options.quick:
        tried = list(runs(*rate_from(name, loss), [CHOOSING], RATES, choosing=True))
        yield from tried
        best = chosen(tried)
    yield from runs(name, loss, range(FIRST, FIRST + seeds), [best], choosing=False)


def chosen(tried: Sequence[dict[str, Any]]) -> float:
    """The rate of the highest SSIM: of the figures, the one that blur and noise both lower.

    PSNR is what MSE minimizes, the others are near to what BlurSim does.
    """
    return max(tried, key=lambda record: record["figures"].get("ssim", -1))["rate"]


@functools.lru_cache(maxsize=8)
def problem(name: str, seed: int, names: tuple[str, ...], steps: int) -> tasks.Problem:
    return tasks.TASKS[name].problem(seed, names, steps)


def learner(task: Any, loss: losses.Loss, steps: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """begin(params) -> moments; chunk(params, moments, rate, inputs, targets, first step) -> what CHUNK steps later."""
    adam = optax.scale_by_adam()

    def chunk(params: Any, moments: Any, rate: Array, inputs: Array, targets: Array, begin: Array) -> Any:
        def step(carry: Any, now: Array) -> Any:
            params, moments = carry
            x, y = inputs[now % len(inputs)], targets[now % len(inputs)]
            value, gradient = jax.value_and_grad(lambda p: loss(task.predict(p, x), y, now / steps))(params)
            update, moments = adam.update(gradient, moments)
            cosine = (1 + jnp.cos(jnp.pi * now / steps)) / 2
            return (jax.tree.map(lambda p, u: p - rate * cosine * u, params, update), moments), value

        return jax.lax.scan(step, (params, moments), begin + jnp.arange(CHUNK))

    return adam.init, chunk


@functools.lru_cache(maxsize=1)
def trainer(name: str, loss_name: str, steps: int) -> Callable[..., list[dict[str, Any]]]:
    """train([(seed, rate), ...], held-out photographs) -> what there is to say of each; compiled once."""
    task = tasks.TASKS[name]
    begin, chunk = learner(task, losses.make(loss_name, task.radius), steps)
    # The first axis of everything: trainings side by side, each with its seed and rate.
    begin, chunk = jax.vmap(begin), jax.jit(jax.vmap(chunk, (0, 0, 0, 0, 0, None)))
    result = jax.jit(jax.vmap(task.result))
    drawn = name in evidence.DRAWN and loss_name in evidence.SHOWN

    def train(runs: Sequence[tuple[int, float]], names: tuple[str, ...]) -> list[dict[str, Any]]:
        problems = [problem(name, seed, names, steps) for seed, _ in runs]
        # Means are over the first photographs, which runs from before there were more have as well.
        firsts = sum(name not in tasks.MORE for name in names)
        count = len(problems[0].held_targets) * firsts // len(names)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        rates = jnp.array([rate for _, rate in runs])
        started = time.perf_counter()
        params, moments = stacked.params, begin(stacked.params)
        values, curve = [], []
        parts = () if names == tasks.SELECTION else task.looks
        looks = {max(1, int(steps * part) // CHUNK) * CHUNK for part in parts}
        for start in range(0, steps, CHUNK):
            (params, moments), value = chunk(params, moments, rates, stacked.inputs, stacked.targets, start)
            values.append(value.mean(axis=1))
            if start + CHUNK in looks:
                seen = np.asarray(result(params, stacked.seen_inputs))
                first = np.asarray(result(params, stacked.held_inputs[:, :count]))
                curve.append([look(*of) for of in zip(first, seen, problems, strict=True)])
        outputs = np.asarray(result(params, stacked.held_inputs))
        seconds = (time.perf_counter() - started) / len(runs)
        return [
            {
                **judge(output, one, count, shown=drawn and one_seed == FIRST and names == task.photographs),
                "curve": {"steps": sorted(looks), "loss": short(np.array(values)[:, i])}
                | {key: [short(points[i][key]) for points in curve] for key in LOOKED_AT if curve},
                "seconds": round(seconds, 2),
            }
            for i, (output, one, (one_seed, _)) in enumerate(zip(outputs, problems, runs, strict=True))
        ]

    return train


def look(outputs: np.ndarray, seen: np.ndarray, of: tasks.Problem) -> dict[str, Any]:
    """Figures in the course of a training; psnr_seen is of the photographs that it trains on, their targets aligned."""

    def means(outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        return mean_figures([tasks.figures(x, y, y) for x, y in zip(outputs, targets, strict=True)])

    held, again = means(outputs, of.held_targets[: len(outputs)]), means(seen, of.seen_targets)
    return {name: held.get(name, np.nan) for name in LOOKED_AT[:-1]} | {"psnr_seen": again.get("psnr", np.nan)}


def mean_figures(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = each[0].keys() if all(e.keys() == each[0].keys() for e in each) else ["collapsed"]
    return {name: np.mean([e[name] for e in each], axis=0) for name in names}


def judge(outputs: np.ndarray, of: tasks.Problem, count: int, shown: bool) -> dict[str, Any]:
    """Mean figures over the first held-out images, PSNR and SSIM of each, and a piece of the first to look at."""
    each = [tasks.figures(*images) for images in zip(outputs, of.held_targets, of.untouched, strict=True)]
    found = {
        "figures": {name: short(value) for name, value in mean_figures(each[:count]).items()},
        "each": {name: short([e.get(name, np.nan) for e in each]) for name in ("psnr", "ssim")},
    }
    return {**found, "piece": png(outputs[SHOWN])} if shown else found


def short(values: Any) -> Any:
    """Four significant digits; null where not finite, as JSON knows no NaN."""
    if np.ndim(values):
        return [short(value) for value in values]
    return float(f"{values:.4g}") if np.isfinite(values) else None


def png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray((np.nan_to_num(image).clip(0, 1) * 255).round().astype(np.uint8)).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def append(path: Path, record: dict[str, Any]) -> None:
    """In one write, so that lines of processes side by side do not mix; on a new line, even after one cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    line = "\n" * cut_short + json.dumps(record, allow_nan=False) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def finished(path: Path, steps: int | None = None) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The runs of that many steps (None: as planned), unless there are more photographs by now to be judged on."""

    def complete(r: dict[str, Any]) -> bool:
        task = tasks.TASKS[r["task"]]
        of = steps or task.steps
        fewer = not r["choosing"] and len(r["each"]["psnr"]) < 2 * len(task.photographs)
        return r["steps"] == (min(of, SHORT) if r["choosing"] else of) and not fewer

    records = [r for r in evidence.lines(path) if "task" in r and complete(r)]
    return {(r["task"], r["loss"], r["seed"], r["rate"], r["choosing"]): r for r in records}


if __name__ == "__main__":
    main()
