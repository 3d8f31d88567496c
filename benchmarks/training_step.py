"""What a loss costs as a share of a training step: python -m benchmarks.training_step; a minute, on one thread.

Processor time of a loss with its gradient, against that of the study's U-Net, forward and backward, on four patches of
64 x 64 in colour; the least of rounds that take turns.
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

from benchmarks import provenance
from benchmarks.study import losses
from benchmarks.study.networks import UNet as JaxUNet
from benchmarks.study.tasks import Task
from blursim_jax import blursim as in_jax
from blursim_torch import blursim as in_torch

RESULTS = Path(__file__).parent / "study" / "results" / "training-step.json"
SHAPE, ROUNDS, CALLS = (4, 3, 64, 64), 40, 10


def every(blursim: Callable[..., Any], l1: Callable[..., Any], l1_fft: Callable[..., Any]) -> dict[str, Any]:
    return {
        "L1": l1,
        "L1 + FFT": l1_fft,
        "L1 + blursim(x, y, 0)": lambda x, y: l1(x, y) + blursim(x, y, 0),
        "blursim(x, y, 0.3)": lambda x, y: blursim(x, y, 0.3),
        "blursim(x, y, 0, window=32)": lambda x, y: blursim(x, y, 0, window=32),
        'blursim(x, y, 0.3, spectrum="complex")': lambda x, y: blursim(x, y, 0.3, spectrum="complex"),
    }


def steps_of_jax() -> dict[str, Callable[[], Any]]:
    """The network's step under "", then each loss."""
    task = Task(colour=True, network=JaxUNet)
    params = nnx.state(task.make_network(0))
    x, y = map(jax.numpy.asarray, np.random.default_rng(0).random((2, *SHAPE), np.float32))
    network = jax.jit(jax.grad(lambda params: task.predict(params, x.transpose(0, 2, 3, 1)).sum()))
    found = {"": lambda: jax.block_until_ready(network(params))}
    for name, loss in every(in_jax, losses.l1, losses.l1_fft).items():
        step = jax.jit(jax.value_and_grad(loss))
        found[name] = lambda step=step: jax.block_until_ready(step(x, y))
    return found


class UNet(nn.Module):
    """As networks.UNet."""

    def __init__(self, fine: int = 32, coarse: int = 96) -> None:
        super().__init__()
        sizes = [(12, fine), (fine, fine), (fine, coarse), (coarse, coarse), (coarse + fine, fine), (fine, 12)]
        self.layers = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = lambda i, h: leaky_relu(self.layers[i](h), 0.1)
        fine = layer(1, layer(0, pixel_unshuffle(x, 2)))
        coarse = layer(3, layer(2, avg_pool2d(fine, 2)))
        return x + pixel_shuffle(self.layers[5](layer(4, torch.cat([interpolate(coarse, scale_factor=2), fine], 1))), 2)


def steps_of_torch() -> dict[str, Callable[[], Any]]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, x, y = UNet(), *torch.rand(2, *SHAPE)
    output = x.clone().requires_grad_()
    l1 = lambda x, y: (x - y).abs().mean()
    l1_fft = lambda x, y: l1(x, y) + 0.1 * torch.view_as_real(torch.fft.fft2(x - y)).abs().mean()
    found = {"": lambda: network(x).sum().backward()}
    for name, loss in every(in_torch, l1, l1_fft).items():
        found[name] = lambda loss=loss: torch.autograd.grad(loss(output, y), output)
    return found


def shares(steps: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Of a step's processor time, for each loss."""
    least = dict.fromkeys(steps, float("inf"))
    for turn in range(ROUNDS + 3):
        for name, step in steps.items():
            started = time.process_time()
            for _ in range(CALLS):
                step()
            least[name] = min(least[name], (time.process_time() - started) / CALLS) if turn >= 3 else least[name]
    print({name: f"{1000 * of:.2f} ms" for name, of in least.items()})
    return {name: round(of / (of + least[""]), 3) for name, of in least.items() if name}


def main() -> None:
    results = {
        "machine": provenance.machine("cpu"),
        "versions": provenance.versions("jax", "torch"),
        **provenance.commit("blursim_jax", "blursim_torch", "benchmarks/training_step.py"),
        "shares": {"JAX, jitted": shares(steps_of_jax()), "PyTorch, eager": shares(steps_of_torch())},
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["shares"], indent=1))


if __name__ == "__main__":
    main()
