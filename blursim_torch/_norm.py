"""Lengths and means, whose derivatives are taken as zero where they have none (SPEC 7)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Bound(NamedTuple):
    """The length that rounding alone can make: a function, and the tensors that it is to be called with if need be."""

    function: Callable[..., Tensor]
    tensors: tuple[Tensor, ...]

    def __call__(self) -> Tensor:
        return self.function(*self.tensors)


def of_difference(x: Bound, y: Bound) -> Bound:
    """What rounding alone can make of a difference of two lengths."""
    of_x, of_y, count = x.function, y.function, len(x.tensors)
    return Bound(lambda *tensors: of_x(*tensors[:count]) + of_y(*tensors[count:]), x.tensors + y.tensors)


def eps(x: Tensor) -> float:
    """Distance from 1 to the next number of the dtype of x."""
    return torch.finfo(x.dtype).eps


def tiny(x: Tensor) -> float:
    """Smallest normal number of the dtype of x: smaller squares count as zero (SPEC 8.5)."""
    return torch.finfo(x.dtype).tiny


def root(squares: Tensor, negligible: Tensor | None) -> Tensor:
    """Square root; its derivatives are 0 where squares <= negligible (SPEC 7.1, 7.2)."""
    zero = squares <= tiny(squares)
    flat = zero if negligible is None else zero | (squares <= negligible)
    # Selected before a root is taken: 0 times an infinite slope would be NaN, even where a tool drops detach().
    rooted = squares.masked_fill(flat, 1).sqrt()
    if negligible is not None:
        rooted = torch.where(flat, squares.masked_fill(zero, 1).detach().sqrt(), rooted)
    return rooted.masked_fill(zero, 0)


def length(
    components: Sequence[Tensor],
    negligible: Bound | None = None,
    axes: int = 0,
    counts: Tensor | None = None,
    signed: tuple[Any, ...] | None = None,
) -> Tensor:
    """|a| of vectors or complex numbers; its derivative a / |a| is 0 where |a| is 0 or <= negligible() (SPEC 7.1).

    The last axes, if any, are taken as one long vector (see total). At the index signed, where the first component is
    the only one, the length keeps its sign and its derivative (SPEC 3.3).
    """
    if torch.compiler.is_compiling():
        squares = total(sum_of_squares(components), axes, counts)
        absolute = root(squares, None if negligible is None else negligible().detach() ** 2)
        if signed is not None:
            # Selected: a program exported and decomposed does not differentiate what is written in place.
            place = torch.zeros_like(absolute, dtype=torch.bool)
            place[signed] = True
            absolute = torch.where(place, components[0], absolute)
        return absolute
    bound, tensors = negligible or (None, ())
    return _Length.apply(_Options(len(components), bound, axes, signed), counts, *components, *tensors)


class _Options(NamedTuple):
    components: int
    negligible: Callable[..., Tensor] | None
    axes: int
    signed: tuple[Any, ...] | None


class _Length(torch.autograd.Function):
    """Autograd would keep the squares and their slopes as well, which are as large as the components."""

    generate_vmap_rule = True

    @staticmethod
    def forward(options: _Options, counts: Tensor | None, *tensors: Tensor) -> Tensor:
        squares = total(sum_of_squares(tensors[: options.components]), options.axes, counts)
        # In the memory of the squares, which is nobody else's: new memory costs more than a root.
        absolute = torch.threshold_(squares, tiny(squares), 0).sqrt_()
        if options.signed is not None:
            absolute[options.signed] = tensors[0][options.signed]
        return absolute

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.options, *tensors = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        components, counts, divisor = _Length.saved(ctx)
        ratio = (gradient / divisor).reshape(*gradient.shape, *(1 for _ in range(ctx.options.axes)))
        ratio = ratio if counts is None else ratio * counts
        gradients = [ratio * component for component in components]
        if (signed := ctx.options.signed) is not None:
            gradients[0][signed] = gradient[signed]
        return None, None, *gradients, *(None for _ in ctx.needs_input_grad[2 + len(components) :])

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Any) -> Tensor:
        components, counts, divisor = _Length.saved(ctx)
        first, *others = [c * t for c, t in zip(components, tangents, strict=False)]
        along = total(sum(others, first), ctx.options.axes, counts) / divisor
        if (signed := ctx.options.signed) is not None:
            along[signed] = tangents[0][signed]
        return along

    @staticmethod
    def saved(ctx: Any) -> tuple[Sequence[Tensor], Tensor | None, Tensor]:
        """The components, the counts, and |a|, infinite where it is negligible."""
        counts, *tensors, absolute = ctx.saved_tensors
        count, negligible, *_ = ctx.options
        bound = 0 if negligible is None else negligible(*tensors[count:]).detach()
        return tensors[:count], counts, absolute.masked_fill(absolute <= bound, torch.inf)


def norm(difference: Sequence[Tensor], p: int, axes: int, negligible: Bound, counts: Tensor | None = None) -> Tensor:
    """||d||_p of a difference given by its components, so that M_p(d) = ||d||_p / N^(1 / p) (SPEC 3.6)."""
    if p == 1:
        return total(length(difference, negligible), axes, counts)
    return length(difference, None, axes, counts)


def total(values: Tensor, axes: int, counts: Tensor | None = None) -> Tensor:
    """Sum over the last axes, if any; if counts along the last one are given, each column counts so often."""
    if counts is None:
        return values.sum(tuple(range(-axes, 0))) if axes else values
    return ((values.sum(tuple(range(-axes, -1))) if axes > 1 else values) * counts).sum(-1)


def sum_of_squares(components: Sequence[Tensor]) -> Tensor:
    """|a|^2 of vectors or complex numbers, given by their components."""
    first, *others = components
    squares = first * first
    for component in others:
        squares = torch.addcmul(squares, component, component)
    return squares
