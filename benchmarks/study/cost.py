"""What a loss costs as a share of a training step: python -m benchmarks.study.cost; a minute, on one thread.

The U-Net of the study, colour, four patches of 64 x 64; processor time of forward and backward, the least of rounds
that take turns. The share is what a loss takes beyond a sum of the output's pixels, which costs next to nothing.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1"}
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

import blursim_jax
import blursim_torch
from benchmarks import provenance
from benchmarks.study import losses, tasks

RESULTS = Path(__file__).parent / "results" / "cost.json"
SHAPE, ROUNDS = (4, 3, 64, 64), 41
OURS = {"blursim(x, y, 0.3)": {}, 'blursim(x, y, 0.3, spectrum="complex")': {"spectrum": "complex"}}
DEFAULTS = {"p": 1, "normalization": "gain"}


def in_jax() -> dict[str, Callable[[], Any]]:
    task = tasks.Task("", colour=True, network=tasks.UNet)
    params = nnx.state(task.network(3, 3, nnx.Rngs(0)))
    x, y = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    inputs = np.moveaxis(x, 1, -1)
    ours = lambda alpha, **options: lambda x, y: blursim_jax.blursim(x, y, alpha, **DEFAULTS, **options)
    every = {"": lambda x, y: x.sum(), "L1": losses.l1, "L1 + FFT": losses.l1_fft}
    every |= {"L1 + blursim(x, y, 0)": lambda x, y: losses.l1(x, y) + ours(0)(x, y)}
    every |= {name: ours(0.3, **options) for name, options in OURS.items()}
    steps = {
        name: jax.jit(jax.grad(lambda p, loss=loss: loss(task.predict(p, inputs), y))) for name, loss in every.items()
    }
    return {name: lambda step=step: jax.block_until_ready(step(params)) for name, step in steps.items()}


class UNet(nn.Module):
    """As tasks.UNet."""

    def __init__(self, fine: int = 32, coarse: int = 96) -> None:
        super().__init__()
        sizes = [(12, fine), (fine, fine), (fine, coarse), (coarse, coarse), (coarse + fine, fine), (fine, 12)]
        self.layers = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = lambda i, h: leaky_relu(self.layers[i](h), 0.1)
        fine = layer(1, layer(0, pixel_unshuffle(x, 2)))
        coarse = layer(3, layer(2, avg_pool2d(fine, 2)))
        return x + pixel_shuffle(self.layers[5](layer(4, torch.cat([interpolate(coarse, scale_factor=2), fine], 1))), 2)


def in_torch() -> dict[str, Callable[[], Any]]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, x, y = UNet(), *torch.rand(2, *SHAPE)

    def l1_fft(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        d = x - y
        return d.abs().mean() + 0.1 * torch.view_as_real(torch.fft.fft2(d)).abs().mean()

    ours = lambda alpha, **options: lambda x, y: blursim_torch.blursim(x, y, alpha, **DEFAULTS, **options)
    every = {"": lambda x, y: x.sum(), "L1": lambda x, y: (x - y).abs().mean(), "L1 + FFT": l1_fft}
    every |= {"L1 + blursim(x, y, 0)": lambda x, y: (x - y).abs().mean() + ours(0)(x, y)}
    every |= {name: ours(0.3, **options) for name, options in OURS.items()}
    return {name: lambda loss=loss: loss(network(x), y).backward() for name, loss in every.items()}


def shares(steps: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Of the step's processor time, for each loss."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(ROUNDS + 3):
        for name, step in steps.items():
            started = time.process_time()
            step()
            if turn >= 3:
                times[name].append(time.process_time() - started)
    least = {name: min(of) for name, of in times.items()}
    return {name: round(1 - least[""] / of, 3) for name, of in least.items() if name}


def main() -> None:
    results = {
        "machine": provenance.machine("cpu"),
        "versions": provenance.versions("jax", "torch"),
        **provenance.commit("blursim_jax", "blursim_torch", "benchmarks/study/cost.py"),
        "shares": {"JAX, jitted": shares(in_jax()), "PyTorch, eager": shares(in_torch())},
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["shares"], indent=1))


if __name__ == "__main__":
    main()
