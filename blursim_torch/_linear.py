"""Linear maps whose transposes are known, so that derivatives of every order cost what the maps cost.

Without it autograd would transpose a real FFT as a complex one, and each slice as a sum into a whole image of zeros.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

Map = Callable[..., tuple[Tensor, ...]]


def transposes(forward: Map, backward: Map, constants: int = 0) -> tuple[Map, Map]:
    """Two maps of real tensors, each declared to be the transpose of the other.

    Both take tensors, leading axes of which are batch axes, and static keywords; both give a tuple of tensors. The last
    of what the first one gives may be no linear maps of x but constants: nothing is differentiated through them.
    """
    there, back = _Pair(forward, backward, constants), _Pair(backward, forward, 0)
    return partial(_apply, there), partial(_apply, back)


class _Pair(NamedTuple):
    function: Map
    transpose: Map
    constants: int


def _apply(pair: _Pair, *tensors: Tensor, **static: Any) -> tuple[Tensor, ...]:
    # torch.compile and export take apart and differentiate what they trace, and refuse a Function that has a jvp.
    if torch.compiler.is_compiling():
        results = pair.function(*tensors, **static)
        linear = len(results) - pair.constants
        return *results[:linear], *(constant.detach() for constant in results[linear:])
    return _LinearMap.apply(pair, static, *tensors)


class _LinearMap(torch.autograd.Function):
    """A function as an operation of autograd: its value, its derivative, transpose and batches."""

    @staticmethod
    def forward(pair: _Pair, static: dict[str, Any], *tensors: Tensor) -> tuple[Tensor, ...]:
        return pair.function(*tensors, **static)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.pair, ctx.static, *tensors = inputs
        ctx.count = len(tensors)
        ctx.linear = len(output) - ctx.pair.constants
        ctx.mark_non_differentiable(*output[ctx.linear :])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        back = _Pair(ctx.pair.transpose, ctx.pair.function, 0)
        known = next((gradient for gradient in gradients if gradient is not None), None)
        if known is None:
            return None, None, *(None for _ in range(ctx.count))
        filled = [torch.zeros_like(known) if gradient is None else gradient for gradient in gradients[: ctx.linear]]
        return None, None, *_apply(back, *filled, **ctx.static)[: ctx.count]

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Tensor) -> tuple[Tensor | None, ...]:
        along = _apply(ctx.pair, *tangents, **ctx.static)
        return *along[: ctx.linear], *(None for _ in along[ctx.linear :])

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], pair: _Pair, static: dict[str, Any], *tensors: Tensor
    ) -> tuple[Any, ...]:
        batched = [
            tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip(tensors, in_dims[2:], strict=True)
        ]
        results = _apply(pair, *batched, **static)
        return results, (0,) * len(results)
