"""Lengths and means, whose derivatives are taken as zero where they have none (SPEC 7)."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

# A function of tensors to come, and these tensors: called, it gives the length that rounding alone can make.
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
    """|a| of vectors or complex numbers; its derivative a / |a| is 0 where |a| <= negligible() (SPEC 7.1)."""
    if torch.compiler.is_compiling():
        return root(sum_of_squares(components), negligible().detach() ** 2)
    bound = partial(negligible.func, **negligible.keywords)
    return _Length.apply(len(components), bound, *components, *negligible.args)


class _Length(torch.autograd.Function):
    """Autograd would keep the squares and their slopes as well, which are as large as the components."""

    generate_vmap_rule = True

    @staticmethod
    def forward(count: int, bound: Bound, *tensors: Tensor) -> Tensor:
        squares = sum_of_squares(tensors[:count])
        # In the memory of the squares, which is nobody else's: new memory costs more than a root.
        return torch.nn.functional.threshold_(squares, tiny(squares), 0).sqrt_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.count, ctx.bound, *tensors = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        components, others, divisor = _Length.divisor(ctx)
        ratio = gradient / divisor
        return None, None, *(ratio * component for component in components), *(None for _ in others)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        components, _, divisor = _Length.divisor(ctx)
        products = [c * t for c, t in zip(components, tangents[2:], strict=False)]
        return sum(products[1:], products[0]) / divisor

    @staticmethod
    def divisor(ctx: Any) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        """The components, what the bound is made from, and |a|, infinite where it is negligible."""
        *tensors, absolute = ctx.saved_tensors
        components, others = tensors[: ctx.count], tensors[ctx.count :]
        return components, others, absolute.masked_fill(absolute <= ctx.bound(*others).detach(), torch.inf)


def sum_of_squares(components: Sequence[Tensor]) -> Tensor:
    """|a|^2 of vectors or complex numbers, given by their components."""
    first, *others = components
    squares = first * first
    for component in others:
        squares = torch.addcmul(squares, component, component)
    return squares


def total(values: Tensor, axes: int, counts: Tensor | None = None) -> Tensor:
    """Sum over the last axes; if counts along the last one are given, each column counts so often."""
    if counts is None:
        return values.sum(tuple(range(-axes, 0)))
    return ((values.sum(tuple(range(-axes, -1))) if axes > 1 else values) * counts).sum(-1)


def norm(
    difference: Sequence[Tensor], p: int, axes: int, pixels: int, negligible: Bound, counts: Tensor | None = None
) -> Tensor:
    """M_p: the root mean square (p = 2) or the mean length (p = 1) of a difference, given by its components."""
    if p == 1:
        return total(length(difference, negligible), axes, counts) / pixels
    if torch.compiler.is_compiling():
        squares = total(sum_of_squares(difference), axes, counts)
    else:
        squares = _TotalOfSquares.apply(axes, counts, *difference)
    return root(squares) / math.sqrt(pixels)


class _TotalOfSquares(torch.autograd.Function):
    """Autograd would go back through each of its steps, over whole images, and this goes once."""

    generate_vmap_rule = True

    @staticmethod
    def forward(axes: int, counts: Tensor | None, *components: Tensor) -> Tensor:
        return total(sum_of_squares(components), axes, counts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.axes, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        counts, *components = ctx.saved_tensors
        scale = 2 * gradient.reshape(*gradient.shape, *(1 for _ in range(ctx.axes)))
        scale = scale if counts is None else scale * counts
        return None, None, *(component * scale for component in components)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Tensor) -> Tensor:
        counts, *components = ctx.saved_tensors
        products = [component * tangent for component, tangent in zip(components, tangents, strict=True)]
        return 2 * total(sum(products[1:], products[0]), ctx.axes, counts)
