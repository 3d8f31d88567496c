"""Start-up time: imports, first calls and first compilations, in fresh processes with empty caches.

    python benchmarks/startup.py     # prints the table and puts it into docs/speed.md

The same loss, written naively in a few lines without a library, shows what the framework itself takes.
"""

import argparse
import datetime
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import provenance
import report

START, END = "<!-- start-up time: start -->", "<!-- start-up time: end -->"
SHAPES = (8, 3, 64, 64), (8, 3, 96, 80)
ALPHA = 0.3
NAMES = {"jax": "JAX", "torch": "PyTorch"}
SOBEL = [-1, -2, 0, 2, 1], [1, 4, 6, 4, 1]
GAIN = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes for each framework and loss")
    parser.add_argument("--process", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        print(json.dumps(in_this_process(*options.process)))
        return
    where, found = provenance.machine("cpu"), provenance.versions("jax", "torch")
    words = [
        f"{where['cpu']}, {where['cores']} cores",
        f"Python {found['python']}, jax {found['jax']}, torch {found['torch']}",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, commit {provenance.commit()['commit'][:12]}",
        f"medians of {options.rounds} processes" if options.rounds > 1 else "one process each",
    ]
    parts = ["; ".join(words) + ". Seconds:"]
    for framework, name in NAMES.items():
        times: dict[str, list[dict[str, float]]] = {"blursim": [], "naive": []}
        for _ in range(options.rounds):
            for loss, of in times.items():
                print(f"{name}, {loss} ...", file=sys.stderr, flush=True)
                of.append(in_fresh_process(framework, loss))
        lines = [f"| {name} | blursim | naive |", "| --- | ---: | ---: |"]
        for step in times["blursim"][0]:
            cells = [f"{statistics.median(run[step] for run in of):.2f}" for of in times.values()]
            lines.append(f"| {step} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    table = "\n\n".join(parts)
    print(table)
    report.PAGE.write_text(report.insert(report.PAGE.read_text(), table, START, END))


def in_fresh_process(framework: str, loss: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as empty:
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "TORCHINDUCTOR_CACHE_DIR": empty,
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        command = [sys.executable, __file__, "--process", framework, loss]
        return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def in_this_process(framework: str, loss: str) -> dict[str, float]:
    """Seconds for each step, in the order a user meets them."""
    times: dict[str, float] = {}

    def timed(step: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = function()
        times[step] = time.perf_counter() - start
        return result

    steps = {"jax": steps_of_jax, "torch": steps_of_torch}[framework]
    steps(loss, timed)
    return times


def pairs() -> list[np.ndarray]:
    """x and y for each shape."""
    return [np.random.default_rng(0).random((2, *shape), np.float32) for shape in SHAPES]


def chosen(loss: str, package: str, naive: Callable[..., Any], timed: Callable[..., Any]) -> Callable[..., Any]:
    """The naive loss, or ours; what doesn't import our package still has a row for it."""
    found = timed(f"import {package}", lambda: None if loss == "naive" else importlib.import_module(package))
    return naive if found is None else lambda x, y: found.blursim(x, y, ALPHA)


def steps_of_jax(loss: str, timed: Callable[..., Any]) -> None:
    jax = timed("import jax", lambda: importlib.import_module("jax"))
    images = timed("arrays from NumPy", lambda: [jax.numpy.asarray(pair) for pair in pairs()])
    of = chosen(loss, "blursim_jax", lambda x, y: naive_in_jax(jax, x, y), timed)
    step = jax.jit(jax.value_and_grad(of))
    wait = jax.block_until_ready
    timed("first loss, not jitted", lambda: wait(of(*images[0])))
    timed("its gradient, not jitted", lambda: wait(jax.grad(of)(*images[0])))
    timed("jitted, with gradient", lambda: wait(step(*images[0])))
    timed("the same at a second shape", lambda: wait(step(*images[1])))


def steps_of_torch(loss: str, timed: Callable[..., Any]) -> None:
    torch = timed("import torch", lambda: importlib.import_module("torch"))
    images = timed("arrays from NumPy", lambda: [torch.from_numpy(pair) for pair in pairs()])
    of = chosen(loss, "blursim_torch", lambda x, y: naive_in_torch(torch, x, y), timed)

    def step(of: Callable[..., Any], x: Any, y: Any) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(of(x, y), x)

    compiled = torch.compile(of, dynamic=False)
    timed("first loss, eager", lambda: of(*images[0]))
    timed("its gradient, eager", lambda: step(of, *images[0]))
    timed("compiled, with gradient", lambda: step(compiled, *images[0]))
    timed("the same at a second shape", lambda: step(compiled, *images[1]))


def naive_in_jax(jax: Any, x: Any, y: Any) -> Any:
    jnp = jax.numpy
    derivative, smooth = map(jnp.asarray, SOBEL)
    kernels = jnp.stack([jnp.outer(smooth, derivative), jnp.outer(derivative, smooth)])[:, None].astype(x.dtype)

    def edges(image: Any) -> Any:
        flat = jnp.pad(image.reshape(-1, 1, *image.shape[-2:]), [(0, 0), (0, 0), (2, 2), (2, 2)], mode="reflect")
        components = jax.lax.conv(flat, kernels, (1, 1), "VALID")
        return jnp.sqrt((components**2).sum(1) + 1e-12) / GAIN

    general = jnp.abs(jnp.abs(jnp.fft.fft2(x, norm="ortho")) - jnp.abs(jnp.fft.fft2(y, norm="ortho")))
    specific = jnp.abs(edges(x) - edges(y))
    return (1 - ALPHA) * general.mean() + ALPHA * specific.mean()


def naive_in_torch(torch: Any, x: Any, y: Any) -> Any:
    derivative, smooth = (torch.tensor(taps, dtype=x.dtype) for taps in SOBEL)
    kernels = torch.stack([torch.outer(smooth, derivative), torch.outer(derivative, smooth)])[:, None]

    def edges(image: Any) -> Any:
        flat = torch.nn.functional.pad(image.reshape(-1, 1, *image.shape[-2:]), (2, 2, 2, 2), mode="reflect")
        components = torch.nn.functional.conv2d(flat, kernels)
        return ((components**2).sum(1) + 1e-12).sqrt() / GAIN

    general = (torch.fft.fft2(x, norm="ortho").abs() - torch.fft.fft2(y, norm="ortho").abs()).abs()
    specific = (edges(x) - edges(y)).abs()
    return (1 - ALPHA) * general.mean() + ALPHA * specific.mean()


if __name__ == "__main__":
    main()
