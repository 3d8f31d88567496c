"""How well it trains: the same small network, from the same seeds, with every loss.

    python benchmarks/training.py                      # everything that results/evidence/training.jsonl lacks: hours
    python benchmarks/training.py --tasks shift2 --losses L1 MSE
    python benchmarks/training.py --shard 1/2          # one core's half; start 2/2 beside it
    python benchmarks/training.py --list               # what there is, and how much of it is done
    python benchmarks/training.py --quick              # two minutes, and a table; keeps nothing
    python benchmarks/evidence.py                      # tables and pictures from the results

Each finished run is a line of the results; a line in between says on which machine, with which versions, the runs
of a session were made. Runs that are there already are not repeated. README.md beside this file tells the rest.
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
STEPS, CHUNK = 400, 25  # of one training; those that one call makes
RATES = (1e-3, 3e-3, 1e-2)  # of Adam, at the start of its cosine
CURVE = 4  # times in a training that the held-out images are looked at
FIRST = 10  # seed of the table; those below it were looked at while the benchmark was made
CHOOSING = 1000  # the seed that chooses the learning rate, on photographs of its own
QUICK = ["MSE", "L1", losses.SHIFTED, *(f"BlurSim magnitude/magnitude area {alpha}" for alpha in ("0.1", "0.9->0.1"))]
PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "scikit-image", "scipy")
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
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training (default: %(default)s)")
    parser.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help="the I-th of N parts of the work")
    parser.add_argument("--side-by-side", type=int, help="trainings in one vmap (default: 1 on a CPU, 8 on a GPU)")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    if options.steps < 1 or options.steps % CHUNK:
        parser.error(f"expected a multiple of {CHUNK} as --steps, got {options.steps}")
    if options.quick:
        options.tasks, options.losses, options.seeds, options.steps = ["shift2"], QUICK, 2, 200
    return options


def shard(word: str) -> tuple[int, int]:
    part, parts = map(int, word.split("/"))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {word}")
    return part - 1, parts


def cells(options: argparse.Namespace) -> list[tuple[str, str]]:
    """(task, loss), what tells most first: peers and main options of every task, then the rest of the grid."""
    first = [*losses.PEERS, losses.SHIFTED, *losses.MAIN]
    wanted = [(task, loss) for task in options.tasks for loss in options.losses or first]
    if not options.losses:
        rest = [loss for loss in losses.GRID if loss not in losses.MAIN]
        wanted += [(task, loss) for task in ("shift2", "aligned") if task in options.tasks for loss in rest]
        wanted += [("scratch", losses.TRAP)] * ("scratch" in options.tasks)
    share, shares = options.shard
    return wanted[share::shares]


def show(options: argparse.Namespace) -> None:
    done = finished(options.output, options.steps)
    for task, loss in cells(options):
        rates, seeds = (len([key for key in done if key[:2] == (task, loss) and key[4] is c]) for c in (True, False))
        print(f"{task:14}{loss:44}{rates} of {len(RATES)} rates  {seeds} of {options.seeds} seeds")


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
    with tqdm(total=len(wanted) * (options.seeds + rates), unit="run", smoothing=0.1) as progress:
        for name, loss in wanted:
            train = trainer(name, loss, options.steps)
            done = finished(options.output, options.steps)
            if not any(key[0] == name for key in done):
                of = problem(name, FIRST, tasks.HELD_OUT, CHUNK)
                pieces = {"input": png(of.untouched[SHOWN]), "target": png(of.held_targets[SHOWN])}
                append(options.output, {"reference": name, **pieces})
            for record in cell(name, loss, train, done, options):
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
    name: str, loss: str, train: Callable[..., Any], done: dict[Any, dict[str, Any]], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The runs of a task and a loss, those already done as they are: first to choose the rate, then the seeds."""

    def runs(seeds: Sequence[int], rates: Sequence[float], choosing: bool) -> Iterator[dict[str, Any]]:
        wanted = [(seed, rate) for seed in seeds for rate in rates]
        keys = {pair: (name, loss, *pair, choosing) for pair in wanted}
        missing = [pair for pair in wanted if keys[pair] not in done]
        yield from (done[keys[pair]] for pair in wanted if pair not in missing)
        for some in (missing[i : i + options.side_by_side] for i in range(0, len(missing), options.side_by_side)):
            names = tasks.SELECTION if choosing else tasks.HELD_OUT
            for (seed, rate), found in zip(some, train(some, names), strict=True):
                words = {"task": name, "loss": loss, "seed": seed, "rate": rate, "choosing": choosing}
                yield {**words, "steps": options.steps, **found}

    best = RATES[1]
    if not options.quick:
        tried = list(runs([CHOOSING], RATES, choosing=True))
        yield from tried
        best = chosen(tried)
    yield from runs(range(FIRST, FIRST + options.seeds), [best], choosing=False)


def chosen(tried: Sequence[dict[str, Any]]) -> float:
    """The rate of the highest SSIM: of the figures, the one that blur and noise both lower.

    PSNR is what MSE minimizes, the others are near to what BlurSim does.
    """
    return max(tried, key=lambda record: record["figures"].get("ssim", -1))["rate"]


@functools.lru_cache(maxsize=8)
def problem(name: str, seed: int, names: tuple[str, ...], steps: int) -> tasks.Problem:
    return tasks.TASKS[name].problem(seed, names, steps)


def trainer(name: str, loss_name: str, steps: int) -> Callable[..., list[dict[str, Any]]]:
    """train([(seed, rate), ...], held-out photographs) -> what there is to say of each; compiled once."""
    task = tasks.TASKS[name]
    loss = losses.make(loss_name, task.radius)
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

    # The first axis of everything: trainings side by side, each with its seed and rate.
    chunk = jax.jit(jax.vmap(chunk, (0, 0, 0, 0, 0, None)))
    result = jax.jit(jax.vmap(task.result))
    drawn = name in evidence.DRAWN and loss_name in evidence.SHOWN

    def train(runs: Sequence[tuple[int, float]], names: tuple[str, ...]) -> list[dict[str, Any]]:
        problems = [problem(name, seed, names, steps) for seed, _ in runs]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        rates = jnp.array([rate for _, rate in runs])
        begin = time.perf_counter()
        params, moments = stacked.params, jax.vmap(adam.init)(stacked.params)
        values, scores = [], []
        judged = {steps * part // CURVE // CHUNK * CHUNK for part in range(1, CURVE + 1)}
        for start in range(0, steps, CHUNK):
            (params, moments), value = chunk(params, moments, rates, stacked.inputs, stacked.targets, start)
            values.append(value.mean(axis=1))
            if start + CHUNK in judged:
                outputs = np.asarray(result(params, stacked.held_inputs))
                scores.append([mean_psnr(*of) for of in zip(outputs, stacked.held_targets, strict=True)])
        seconds = (time.perf_counter() - begin) / len(runs)
        return [
            {
                **judge(output, one, shown=drawn and one_seed == FIRST and names == tasks.HELD_OUT),
                "curve": {"loss": short(np.array(values)[:, i]), "psnr": short(np.array(scores)[:, i])},
                "seconds": round(seconds, 2),
            }
            for i, (output, one, (one_seed, _)) in enumerate(zip(outputs, problems, runs, strict=True))
        ]

    return train


def mean_psnr(outputs: np.ndarray, targets: np.ndarray) -> float:
    inner = lambda image: np.asarray(image)[(slice(tasks.BORDER, -tasks.BORDER),) * 2]
    pairs = zip(outputs, targets, strict=True)
    return float(np.mean([tasks.psnr(inner(x).clip(0, 1), inner(y)) for x, y in pairs]))


def judge(outputs: np.ndarray, of: tasks.Problem, shown: bool) -> dict[str, Any]:
    """Mean figures over the held-out images, PSNR and SSIM of each, and a piece of the first to look at."""
    each = [tasks.figures(*images) for images in zip(outputs, of.held_targets, of.untouched, strict=True)]
    names = each[0].keys() if all(e.keys() == each[0].keys() for e in each) else ["collapsed"]
    found = {
        "figures": {name: short(np.mean([e[name] for e in each], axis=0)) for name in names},
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


def finished(path: Path, steps: int) -> dict[tuple[Any, ...], dict[str, Any]]:
    records = [r for r in evidence.lines(path) if r.get("steps") == steps]
    return {(r["task"], r["loss"], r["seed"], r["rate"], r["choosing"]): r for r in records}


if __name__ == "__main__":
    main()
