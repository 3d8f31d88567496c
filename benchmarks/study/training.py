"""How well it trains: the same network, from the same seeds, with every loss.

    python -m benchmarks.study.training                      # everything that results/training.jsonl lacks: days
    python -m benchmarks.study.training --tasks shift2 --losses L1 MSE
    python -m benchmarks.study.training --shard 1/2          # one core's half; start 2/2 beside it
    python -m benchmarks.study.training --list               # what is planned, and how much of it is done
    python -m benchmarks.study.training --quick              # two minutes, and a table; keeps nothing
    python -m benchmarks.study.report                        # tables and pictures from the results

Each finished run is a line of the results; a line in between says on which machine, with which versions, the runs of a
session were made. Runs that are there already are not repeated. What is run, and in which order, says plan.py.
"""

import argparse
import base64
import datetime
import functools
import io
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from PIL import Image
from tqdm import tqdm

from benchmarks import provenance
from benchmarks.study import plan, runs, tasks
from benchmarks.study.losses import LOSSES, Loss
from benchmarks.study.runs import LOOKED_AT, RUNS, append, lines, short

CHUNK = 20  # steps that one call makes
RATES = (1e-3, 3e-3, 1e-2)  # of Adam, at the start of its cosine
SHORT = 400  # the most steps of a run that chooses a rate
FIRST = 10  # seed of the tables; those below it were looked at while the benchmark was made
CHOOSING = 1000  # the seed that chooses the learning rate, on photographs of its own
QUICK = ["L1", "L1 + FFT", "BlurSim magnitude/magnitude p=1 k=5 gain 0.3"]
PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "scikit-image", "scikit-learn", "PyWavelets", "scipy")
SHOWN = (..., slice(40, 168), slice(40, 168))  # of a held-out image, for the pictures
DRAWN = {"render-shift2-colour-unet": 5, "render-shift2-colour-unet-registered": 5}  # task -> which of them


def main() -> None:
    options = parse()
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            options.output = Path(folder) / "training.jsonl"
            run(options)
            print(runs.gains(runs.by_cell(options.output), options.tasks))
    elif options.list:
        show(options)
    else:
        run(options)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=tasks.TASKS, default=list(tasks.TASKS), metavar="TASK")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=[], metavar="LOSS", help="as --list has them")
    parser.add_argument("--seeds", type=int, help="how many (default: as planned; 5 of what is not)")
    parser.add_argument("--steps", type=int, help="of each run (default: those of the task)")
    parser.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help="the I-th of N parts of the work")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no new run is begun")
    parser.add_argument("--output", type=Path, default=RUNS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    if options.steps is not None and (options.steps < 1 or options.steps % CHUNK):
        parser.error(f"expected a multiple of {CHUNK} as --steps, got {options.steps}")
    if options.quick:
        options.tasks, options.losses, options.seeds, options.steps = ["render-shift2"], QUICK, 2, 200
    return options


def shard(word: str) -> tuple[int, int]:
    part, parts = map(int, word.split("/"))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {word}")
    return part - 1, parts


def cells(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    wanted = plan.cells(options.tasks, options.losses, options.seeds)
    share, shares = options.shard
    # A cell stays with its shard when it comes again, for more seeds.
    part = {cell: i % shares for i, cell in enumerate(dict.fromkeys(cell[:2] for cell in wanted))}
    return [cell for cell in wanted if part[cell[:2]] == share]


def show(options: argparse.Namespace) -> None:
    done = finished(options.output, options.steps)
    for task, loss, seeds in cells(options):
        count = lambda task, loss, choosing: len([k for k in done if k[:2] == (task, loss) and k[4] is choosing])
        of, runs = count(*rates_of(task, loss), True), count(task, loss, False)
        print(f"{task:36}{loss:52}{of} of {len(RATES)} rates  {min(runs, seeds)} of {seeds} seeds")


def rates_of(task: str, loss: str) -> tuple[str, str]:
    """The task and the loss whose runs choose the rate: mostly its own."""
    of, same = tasks.TASKS[task].rates_of or (task, "")
    return of, same or loss


def run(options: argparse.Namespace) -> None:
    session = {
        "session": uuid.uuid4().hex[:8],
        "machine": provenance.machine("cpu" if jax.default_backend() == "cpu" else "gpu"),
        "versions": provenance.versions(*PACKAGES),
        **provenance.commit("blursim_jax", "benchmarks/study/*.py"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    known, started = False, time.monotonic()
    wanted, done = cells(options), finished(options.output, options.steps)
    referred = set(runs.untouched(options.output))
    rates = 0 if options.quick else len(RATES)
    with tqdm(total=sum(seeds + rates for *_, seeds in wanted), unit="run", smoothing=0.1) as progress:
        for task, loss, seeds in wanted:
            progress.set_description(f"{task}, {loss}")
            if task not in referred:
                append(options.output, reference(task))
                referred.add(task)
            for key, record in cell(task, loss, seeds, done, options):
                progress.update()
                if key not in done:
                    if not known:
                        append(options.output, session)
                        known = True
                    append(options.output, {**record, "session": session["session"]})
                    done[key] = record
                if time.monotonic() - started > 60 * options.minutes:
                    return


def reference(name: str) -> dict[str, Any]:
    """What doing nothing comes to; of some tasks also what the pictures begin and end with."""
    of = tasks.TASKS[name].problem(FIRST, tasks.TASKS[name].judged_on, 1)
    each = [tasks.figures(x, y, x) for x, y in zip(of.untouched, of.held_targets, strict=True)]
    figures = mean_figures(each[: counted(name, len(each))])
    record = {"reference": name, "figures": {key: short(value) for key, value in figures.items()}}
    drawn = {"input": of.untouched, "target": of.held_targets} if name in DRAWN else {}
    return record | {key: png(images[DRAWN[name]]) for key, images in drawn.items()}


def counted(name: str, images: int) -> int:
    """Means are over the first photographs, which runs from before there were more have as well."""
    task = tasks.TASKS[name]
    return images if task.colour else images * len(tasks.HELD_OUT) // len(task.judged_on)


def cell(
    task: str, loss: str, seeds: int, done: dict[Any, dict[str, Any]], options: argparse.Namespace
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The runs of a task and a loss: first those that choose the rate, unless all seeds are there, then the seeds."""

    def one(*key: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        task, loss, seed, rate, choosing = key
        if key in done:
            return key, done[key]
        steps = options.steps or tasks.TASKS[task].steps
        steps = min(steps, SHORT) if choosing else steps
        names = tasks.SELECTION if choosing else tasks.TASKS[task].judged_on
        words = {"task": task, "loss": loss, "seed": seed, "rate": rate, "choosing": choosing, "steps": steps}
        return key, words | trainer(task, loss, steps)(seed, rate, names)

    wanted = range(FIRST, FIRST + seeds)
    rate = next((r for r in RATES if all((task, loss, seed, r, False) in done for seed in wanted)), None)
    if options.quick:
        rate = RATES[1]
    elif rate is None and not tasks.TASKS[task].decay:
        rate = 1e-3
    elif rate is None:
        tried = []
        for rate in RATES:
            tried.append(one(*rates_of(task, loss), CHOOSING, rate, True))
            yield tried[-1]
        rate = chosen([record for _, record in tried])
    for seed in wanted:
        yield one(task, loss, seed, rate, False)


def chosen(tried: Sequence[dict[str, Any]]) -> float:
    """The rate of the highest SSIM: of the figures, the one that blur and noise both lower.

    PSNR is what MSE minimizes, the others are near to what BlurSim does.
    """
    return max(tried, key=lambda record: record["figures"].get("ssim", -1))["rate"]


@functools.lru_cache(maxsize=6)
def problem(task: str, seed: int, names: tuple[str, ...], steps: int) -> tasks.Problem:
    return tasks.TASKS[task].problem(seed, names, steps)


def learner(task: tasks.Task, loss: Loss, steps: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """begin(params) -> moments; chunk(params, moments, rate, inputs, targets, masks, first step) -> CHUNK steps on."""
    adam = optax.scale_by_adam()

    def value(params: Any, x: Array, y: Array, mask: Array, progress: Array) -> Array:
        output = task.predict(params, x)
        output = y + mask * (output - y) if task.registered else output
        return loss(output, y, radius=task.radius, progress=progress, noise=task.target_noise)

    def chunk(params: Any, moments: Any, rate: Array, of: tuple[Array, ...], begin: Array) -> Any:
        def step(carry: Any, now: Array) -> Any:
            params, moments = carry
            found, gradient = jax.value_and_grad(value)(params, *(a[now % len(a)] for a in of), now / steps)
            update, moments = adam.update(gradient, moments)
            cosine = (1 + jnp.cos(jnp.pi * now / steps)) / 2 if task.decay else 1.0
            return (jax.tree.map(lambda p, u: p - rate * cosine * u, params, update), moments), found

        return jax.lax.scan(step, (params, moments), begin + jnp.arange(CHUNK))

    return adam.init, chunk


@functools.lru_cache(maxsize=1)
def trainer(task_name: str, loss_name: str, steps: int) -> Callable[..., dict[str, Any]]:
    """train(seed, rate, held-out photographs) -> what there is to say of it; compiled once."""
    task = tasks.TASKS[task_name]
    begin, chunk = learner(task, LOSSES[loss_name], steps)
    chunk, result = jax.jit(chunk), jax.jit(task.result)

    def train(seed: int, rate: float, names: tuple[str, ...]) -> dict[str, Any]:
        of = problem(task_name, seed, names, steps)
        choosing = names == tasks.SELECTION
        count = len(of.held_targets) if choosing else counted(task_name, len(of.held_targets))
        data = tuple(jnp.asarray(a) for a in (of.inputs, of.targets, of.masks))
        started = time.perf_counter()
        params, moments = of.params, begin(of.params)
        values, curve = [], []
        looks = {max(1, int(steps * part) // CHUNK) * CHUNK for part in (() if choosing else task.looks)}
        for start in range(0, steps, CHUNK):
            (params, moments), found = chunk(params, moments, rate, data, start)
            values.append(found.mean())
            if start + CHUNK in looks:
                held = np.asarray(result(params, of.held_inputs[:count]))
                curve.append(look(held, np.asarray(result(params, of.seen_inputs)), of))
        outputs = np.asarray(result(params, of.held_inputs))
        seconds = time.perf_counter() - started
        each = [tasks.figures(*images) for images in zip(outputs, of.held_targets, of.untouched, strict=True)]
        points = {key: [short(point[key]) for point in curve] for key in LOOKED_AT if curve}
        found = {
            "figures": {name: short(value) for name, value in mean_figures(each[:count]).items()},
            "each": {name: short([e.get(name, np.nan) for e in each]) for name in ("psnr", "ssim")},
            "curve": {"steps": sorted(looks), "loss": short(np.array(values))} | points,
            "seconds": round(seconds, 2),
        }
        drawn = task_name in DRAWN and seed == FIRST and not choosing
        return found | ({"piece": png(outputs[DRAWN[task_name]])} if drawn else {})

    return train


def look(outputs: np.ndarray, seen: np.ndarray, of: tasks.Problem) -> dict[str, Any]:
    """Figures in the course of a run; psnr_seen is of the photographs that it trains on, their targets aligned."""

    def means(outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        return mean_figures([tasks.figures(x, y, y) for x, y in zip(outputs, targets, strict=True)])

    held, again = means(outputs, of.held_targets[: len(outputs)]), means(seen, of.seen_targets)
    return {name: held.get(name, np.nan) for name in LOOKED_AT[:-1]} | {"psnr_seen": again.get("psnr", np.nan)}


def mean_figures(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = each[0].keys() if all(e.keys() == each[0].keys() for e in each) else ["collapsed"]
    return {name: np.mean([e[name] for e in each], axis=0) for name in names}


def png(image: np.ndarray) -> str:
    levels = np.nan_to_num(255 * np.moveaxis(image[SHOWN], 0, -1)).clip(0, 255).round().astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels.squeeze()).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def finished(path: Path, steps: int | None = None) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The runs of that many steps (None: as planned), unless there are more photographs by now to be judged on."""

    def complete(r: dict[str, Any]) -> bool:
        task = tasks.TASKS.get(r["task"])
        of = steps or (task.steps if task else 0)
        fewer = not r["choosing"] and len(r["each"]["psnr"]) < 2 * len(task.judged_on if task else ())
        return r["steps"] == (min(of, SHORT) if r["choosing"] else of) and not fewer

    records = [r for r in lines(path) if "task" in r and complete(r)]
    return {(r["task"], r["loss"], r["seed"], r["rate"], r["choosing"]): r for r in records}


if __name__ == "__main__":
    main()
