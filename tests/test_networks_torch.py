"""A network trained through Inductor gets eager PyTorch's loss and gradients, wherever memory is saved or layouts move.

Inductor may give a convolution's output another layout than the one that was traced. Each network meets each set of
options, each way of training meets each of both, and all of them meet both choices of layout.
"""

from contextlib import nullcontext

import pytest
import torch
import torch._functorch.config
import torch._inductor.config
from tolerances import GRADIENT_64, distance
from torch.nn import BatchNorm2d, Conv2d, PixelShuffle, Sequential, Sigmoid
from torch.utils.checkpoint import checkpoint

from blursim_torch import blursim

SHAPE = (2, 3, 16, 12)


class Residual(Sequential):
    def forward(self, x):
        return x + super().forward(x)


def convolution(channels=3, **options):
    return Conv2d(3, channels, 3, padding=1, **options)


NETWORKS = {
    "convolution": convolution,
    "residual": lambda: Residual(convolution(), Sigmoid(), convolution()),
    "channels last": lambda: convolution().to(memory_format=torch.channels_last),
    "pixel shuffle": lambda: Sequential(convolution(12, stride=2), PixelShuffle(2)),
    "batch norm": lambda: Sequential(convolution(bias=False), BatchNorm2d(3), Sigmoid()),
}
OPTIONS = {
    "default": {},
    "vectors": {"edges": "vector"},
    "Parseval": {"spectrum": "complex", "p": 2},
    "masked": {"mask": torch.arange(12.0) / 11},
    "p=2, area": {"p": 2, "normalization": "area", "sobel_size": 3},
}
WINDOWS = {"windows": {"window": 8}}  # once in each network and in each way
checkpointed = lambda step: lambda x, y: checkpoint(step, x, y, use_reentrant=False)
WAYS = {
    "training": torch.compile,
    "checkpoint inside": lambda step: torch.compile(checkpointed(step)),
    "checkpoint outside": lambda step: checkpointed(torch.compile(step)),
    "memory budget of 0": torch.compile,
    "no_grad": torch.compile,
}
LAYOUTS = ["as Inductor chooses", "layouts forced"]


def every_program():
    """One of each choice, so that any two of network, options and way meet."""
    for layout in LAYOUTS:
        for i, network in enumerate(NETWORKS):
            for j, way in enumerate(WAYS):
                options = [list(OPTIONS)[(i + j) % len(OPTIONS)], *(WINDOWS if i == j else ())]
                for program in ((network, name, way, layout) for name in options):
                    soon = program in SOON
                    yield pytest.param(*program, id="-".join(program), marks=() if soon else pytest.mark.slow)


SOON = [
    ("convolution", "vectors", "checkpoint inside", "as Inductor chooses"),
    ("residual", "p=2, area", "memory budget of 0", "layouts forced"),
]


def trained(network, step, x, y):
    """The loss, and the gradients of the network's weights and input; the loss alone where nothing else is wanted."""
    x = x.clone().requires_grad_()
    loss = step(x, y)
    wanted = [x, *network.parameters()]
    return [loss, *torch.autograd.grad(loss, wanted)] if torch.is_grad_enabled() else [loss]


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(("network", "options", "way", "layout"), list(every_program()))
def test_compiled_training_gives_the_eager_loss_and_gradients(network, options, way, layout):
    torch.compiler.reset()
    torch.manual_seed(0)
    layers = NETWORKS[network]().double()
    x, y = torch.rand(2, *SHAPE, dtype=torch.float64)
    if network == "channels last":
        x, y = (image.contiguous(memory_format=torch.channels_last) for image in (x, y))
    step = lambda x, y: blursim(layers(x), y, 0.3, **(OPTIONS | WINDOWS)[options])
    budget = 0 if way == "memory budget of 0" else 1
    with (
        torch.no_grad() if way == "no_grad" else nullcontext(),
        torch._functorch.config.patch(activation_memory_budget=budget),
        torch._inductor.config.patch(force_layout_optimization=layout == "layouts forced"),
    ):
        compiled = trained(layers, WAYS[way](step), x, y)
        expected = trained(layers, step, x, y)
    for actual, right in zip(compiled, expected, strict=True):
        assert distance(actual.detach(), right.detach()) < GRADIENT_64
