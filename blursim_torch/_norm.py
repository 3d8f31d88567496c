"""Lengths and means, whose derivatives are taken as zero where they have none (SPEC 7)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

Mean = Callable[[Tensor], Tensor]
# A function of tensors to come, and these tensors: called, it gives the square below which a length is rounding alone.
Bound = partial[Tensor]


def eps(x: Tensor) -> float:
    """Distance from 1 to the next number of the dtype of x."""
    return torch.finfo(x.dtype).eps


def tiny(x: Tensor) -> float:
    """Smallest normal number of the dtype of x: smaller squares count as zero (SPEC 8.5)."""
    return torch.finfo(x.dtype).tiny


def root(squares: Tensor, negligible: Tensor | None = None) -> Tensor:
    """Square root; its derivatives are 0 where squares <= negligible (SPEC 7.1, 7.2)."""
    zero = squares <= tiny(squares)
    flat = zero if negligible is None else zero | (squares <= negligible)
    # Selected before the root is taken: 0 times an infinite slope would be NaN.
    rooted = squares.masked_fill(flat, 1).sqrt()
    if negligible is not None:
        rooted = torch.where(flat, squares.detach().sqrt(), rooted)
    return rooted.masked_fill(zero, 0)


def length(components: Sequence[Tensor], negligible: Bound) -> Tensor:
    """|a| of vectors or complex numbers; its derivative a / |a| is 0 where |a|^2 <= negligible() (SPEC 7.1)."""
    if torch.compiler.is_compiling():
        return root(sum_of_squares(components), negligible().detach())
    bound = partial(negligible.func, **negligible.keywords)
    return _Length.apply(len(components), bound, *components, *negligible.args)


class _Length(torch.autograd.Function):
    """Autograd would keep the squares and their slopes as well, which are as large as the components."""

    generate_vmap_rule = True

    @staticmethod
    def forward(count: int, bound: Bound, *tensors: Tensor) -> Tensor:
        squares = sum_of_squares(tensors[:count])
        return torch.nn.functional.threshold(squares, tiny(squares), 0).sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.count, ctx.bound, *tensors = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        components, others, inverse = _Length.inverse(ctx)
        factor = gradient * inverse
        return None, None, *(factor * component for component in components), *(None for _ in others)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        components, _, inverse = _Length.inverse(ctx)
        products = [c * t for c, t in zip(components, tangents[2:], strict=False)]
        return sum(products[1:], products[0]) * inverse

    @staticmethod
    def inverse(ctx: Any) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        """The components, what the bound is made from, and 1 / |a|, 0 where |a| is negligible."""
        *tensors, absolute = ctx.saved_tensors
        components, others = tensors[: ctx.count], tensors[ctx.count :]
        negligible = ctx.bound(*others).detach().clamp(min=tiny(absolute)).sqrt()
        return components, others, 1 / absolute.masked_fill(absolute <= negligible, torch.inf)


def sum_of_squares(components: Sequence[Tensor]) -> Tensor:
    """|a|^2 of vectors or complex numbers, given by their components."""
    first, *others = components
    squares = first.square()
    for component in others:
        squares = torch.addcmul(squares, component, component)
    return squares


def mean(pixels: Tensor, axes: int) -> Tensor:
    """Over the last axes."""
    return pixels.mean(tuple(range(-axes, 0)))


def norm(difference: Sequence[Tensor], p: int, average: Mean, negligible: Bound) -> Tensor:
    """M_p: the root mean square (p = 2) or the mean length (p = 1) of a difference, given by its components."""
    return root(average(sum_of_squares(difference))) if p == 2 else average(length(difference, negligible))
