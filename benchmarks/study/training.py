"""How well it trains: the same network, from the same seeds, with every loss.

    python -m benchmarks.study.training                      # everything that results/training.jsonl lacks: days
    python -m benchmarks.study.training --tasks shift2 --losses L1 MSE
    python -m benchmarks.study.training --shard 1/2          # one core's half; start 2/2 alongside
    python -m benchmarks.study.training --list               # what is planned, and how much of it is done
    python -m benchmarks.study.training --quick              # two minutes, and a table; keeps nothing
    python -m benchmarks.study.report                        # tables and pictures from the results

Each finished run is a line of the results; runs that are there already are not repeated. plan.py lists the runs, in
order.
"""

import argparse
import datetime
import functools
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from benchmarks.study import plan, results
from benchmarks.study.figures import figures
from benchmarks.study.losses import ADVISED, LOSSES, Loss
from benchmarks.study.photographs import HELD_OUT, SELECTION
from benchmarks.study.results import RUNS, append, lines, short
from benchmarks.study.scenes import Problem, make_problem
from benchmarks.study.tasks import TASKS, Task

CHUNK = 20  # steps per call
RATES = (1e-3, 3e-3, 1e-2)  # of Adam, at the start of its cosine
CONSTANT = 1e-3  # the learning rate where it does not decay: Adam's default
SHORT = 400  # the most steps of a run that chooses a rate
FIRST = 10  # seed of the tables; those below it were looked at while the study was designed
CHOOSING = 1000  # the seed that chooses the learning rate, on photographs of its own
PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "scikit-image", "scikit-learn", "PyWavelets", "scipy")
LOOKED_AT = ("psnr", "ssim", "smooth", "textured")  # in the course of a run
PIECES = results.FOLDER / "pieces"  # of a held-out image of this task, first seed, for the guide's picture
DRAWN, WHICH, PIECE = "render-shift2-colour-unet", 5, (..., slice(40, 168), slice(40, 168))


def main() -> None:
    options = parse()
    if options.quick:
        quick()
    elif options.list:
        for task, loss, seeds in options.cells:
            done = len(results.by_cell(RUNS).get((task, loss), {}))
            print(f"{task:36}{loss:52}{min(done, seeds)} of {seeds} seeds")
    else:
        run(options.cells, RUNS)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=[], metavar="LOSS", help="as --list shows them")
    parser.add_argument("--seeds", type=int, help="how many (default: as planned, or 5)")
    parser.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help="the I-th of N parts of the work")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    part, parts = options.shard
    options.cells = plan.cells(options.tasks, options.losses, options.seeds)[part::parts]
    return options


def shard(word: str) -> tuple[int, int]:
    part, parts = map(int, word.split("/"))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {word}")
    return part - 1, parts


def quick() -> None:
    TASKS["render-shift2"] = replace(TASKS["render-shift2"], steps=200)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.jsonl"
        run([("render-shift2", loss, 2) for loss in ("L1", "L1 + FFT", ADVISED.name)], path, rate=RATES[1])
        print(results.gains(results.by_cell(path), ["render-shift2"]))


def run(cells: Sequence[tuple[str, str, int]], output: Path, rate: float | None = None) -> None:
    """What of these cells the output lacks; without a rate, each loss at its own."""
    session = {
        "session": uuid.uuid4().hex[:8],
        "machine": provenance.machine("cpu" if jax.default_backend() == "cpu" else "gpu"),
        "versions": provenance.versions(*PACKAGES),
        **provenance.commit("blursim_jax", "benchmarks/study/*.py"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    known = False
    with tqdm(cells, unit="cell") as progress:
        for task, loss, seeds in progress:
            progress.set_description(f"{task}, {loss}")
            if task not in results.untouched(output):
                append(output, {"task": task, "untouched": figures_untouched(task)})
            for record in cell(task, loss, seeds, lines(output), rate):
                if not known:
                    append(output, session)
                    known = True
                append(output, {**record, "session": session["session"]})


def figures_untouched(name: str) -> dict[str, Any]:
    problem = make_problem(TASKS[name], FIRST, TASKS[name].judged_on, 1)
    each = [figures(x, y, x) for x, y in zip(problem.untouched, problem.held_targets, strict=True)]
    return {key: short(found) for key, found in mean_figures(each[: counted(TASKS[name])]).items() if key in LOOKED_AT}


def counted(task: Task) -> int:
    """Figures are means over the first held-out photographs, two images each; the others serve intervals alone."""
    return 2 * (len(task.judged_on) if task.colour else len(HELD_OUT))


def cell(task: str, loss: str, seeds: int, done: list[dict[str, Any]], rate: float | None) -> Iterator[dict[str, Any]]:
    """What is missing of a task and a loss: first the choice of the learning rate, then the seeds."""
    records = [r for r in done if r.get("loss") == loss and r["task"] == task and "seed" in r]
    missing = [seed for seed in range(FIRST, FIRST + seeds) if seed not in {r["seed"] for r in records}]
    if not missing:
        return
    of, same = rates_of(task, loss)
    if rate is None and not TASKS[task].decay:
        rate = CONSTANT
    elif rate is None:
        trials = next((r["trials"] for r in done if "trials" in r and (r["task"], r["loss"]) == (of, same)), None)
        if trials is None:
            trials = {f"{rate:g}": try_rate(of, same, rate) for rate in RATES}
            yield {"task": of, "loss": same, "trials": trials}
        rate = chosen(trials)
    train = trainer(task, loss, TASKS[task].steps)
    for seed in missing:
        yield {"task": task, "loss": loss, "seed": seed, "rate": rate, **train(seed, rate, TASKS[task].judged_on)}


def rates_of(task: str, loss: str) -> tuple[str, str]:
    """The task and the loss whose trials choose the rate: mostly its own."""
    of, same = TASKS[task].rates_of or (task, "")
    return of, same or LOSSES[loss].rates_of or loss


def try_rate(task: str, loss: str, rate: float) -> float | None:
    steps = min(TASKS[task].steps, SHORT)
    return trainer(task, loss, steps)(CHOOSING, rate, SELECTION).get("ssim")


def chosen(trials: dict[str, float | None]) -> float:
    """The rate of the highest SSIM: of the figures, the one that blur and noise both lower.

    PSNR is what MSE minimizes, and the others are close to what BlurSim does.
    """
    return float(max(trials, key=lambda rate: trials[rate] or -1))


@functools.lru_cache(maxsize=6)
def problem(task: str, seed: int, names: tuple[str, ...], steps: int) -> Problem:
    return make_problem(TASKS[task], seed, names, steps)


def learner(task: Task, loss: Loss, steps: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """begin(params) -> moments; chunk(params, moments, rate, (inputs, targets, masks), step) -> CHUNK steps later."""
    adam = optax.scale_by_adam()

    def value(params: Any, x: Array, y: Array, mask: Array, progress: Array) -> Array:
        output = task.predict(params, x)
        output = y + mask * (output - y) if task.registered else output
        return loss(output, y, radius=task.radius, progress=progress)

    def chunk(params: Any, moments: Any, rate: Array, of: tuple[Array, ...], begin: Array) -> Any:
        def step(carry: Any, now: Array) -> Any:
            params, moments = carry
            gradient = jax.grad(value)(params, *(a[now % len(a)] for a in of), now / steps)
            update, moments = adam.update(gradient, moments)
            now_rate = rate * ((1 + jnp.cos(jnp.pi * now / steps)) / 2 if task.decay else 1)
            return (jax.tree.map(lambda p, u: p - now_rate * u, params, update), moments), None

        return jax.lax.scan(step, (params, moments), begin + jnp.arange(CHUNK))[0]

    return adam.init, chunk


@functools.lru_cache(maxsize=1)
def trainer(task_name: str, loss_name: str, steps: int) -> Callable[..., dict[str, Any]]:
    """train(seed, rate, held-out photographs) -> its record; compiled once."""
    task = TASKS[task_name]
    begin, chunk = learner(task, LOSSES[loss_name], steps)
    chunk, result = jax.jit(chunk), jax.jit(task.predict_singly)

    def train(seed: int, rate: float, names: tuple[str, ...]) -> dict[str, Any]:
        of = problem(task_name, seed, names, steps)
        choosing = names == SELECTION
        count = len(of.held_targets) if choosing else counted(task)
        data = tuple(jnp.asarray(a) for a in (of.inputs, of.targets, of.masks))
        started = time.perf_counter()
        params, moments = of.params, begin(of.params)
        looks = {max(1, int(steps * part) // CHUNK) * CHUNK for part in (() if choosing else task.looks)}
        curve = []
        for start in range(0, steps, CHUNK):
            params, moments = chunk(params, moments, rate, data, start)
            if start + CHUNK in looks:
                held = np.asarray(result(params, of.held_inputs[:count]))
                curve.append(look(held, np.asarray(result(params, of.seen_inputs)), of))
        outputs = np.asarray(result(params, of.held_inputs))
        seconds = short(time.perf_counter() - started, 3)
        each = [figures(*images) for images in zip(outputs, of.held_targets, of.untouched, strict=True)]
        found = {name: short(value) for name, value in mean_figures(each[:count]).items()}
        found |= {"each": short([e.get("psnr", np.nan) for e in each], 4), "seconds": seconds}
        if curve:
            found["curve"] = {"steps": sorted(looks)} | {key: [point[key] for point in curve] for key in curve[0]}
        if task_name.removesuffix("-registered") == DRAWN and seed == FIRST and not choosing:
            save_piece(outputs[WHICH], piece_path(loss_name, task.registered))
        return found

    return train


def look(outputs: np.ndarray, seen: np.ndarray, of: Problem) -> dict[str, Any]:
    """Figures in the course of a run; psnr_seen is on the photographs trained on, with aligned targets."""
    means = lambda *images: mean_figures([figures(x, y, y) for x, y in zip(*images, strict=True)])
    held, again = means(outputs, of.held_targets[: len(outputs)]), means(seen, of.seen_targets)
    points = {name: held.get(name, np.nan) for name in LOOKED_AT} | {"psnr_seen": again.get("psnr", np.nan)}
    return {name: short(point) for name, point in points.items()}


def mean_figures(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = each[0].keys() if all(e.keys() == each[0].keys() for e in each) else ["collapsed"]
    return {name: np.mean([e[name] for e in each], axis=0) for name in names}


def piece_path(loss: str, registered: bool) -> Path:
    words = re.findall("[a-z0-9.]+", f"{loss} {'registered' * registered}".lower())
    return PIECES / f"{'-'.join(words)}.png"


def save_piece(image: np.ndarray, path: Path) -> None:
    levels = np.nan_to_num(255 * np.moveaxis(image[PIECE], 0, -1)).clip(0, 255).round().astype(np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(levels).save(path, optimize=True)


if __name__ == "__main__":
    main()
