"""A distance between two images, and its gradient where autograd would divide by zero."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SPATIAL = (-2, -1)
Distance = Callable[..., Tensor]
WithDirection = Callable[..., tuple[Tensor, Tensor]]

# Pixels that eager mode works on at once: their temporaries fit the caches, and memory that malloc keeps for the next.
PART = 2**18


def root(squares: Tensor) -> Tensor:
    """Square root whose derivatives at 0 are 0; squares below the smallest normal number count as 0 (SPEC 7.1, 8.5).

    If autograd is not watching these squares are set to 0.
    """
    tiny = torch.finfo(squares.dtype).tiny
    if not torch.is_grad_enabled():
        return torch.nn.functional.threshold(squares, tiny, 0, inplace=True).sqrt()
    positive = squares > tiny
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


def norm(squares: Tensor) -> Tensor:
    """Euclidean norm of each image from the squares of its entries."""
    return root(squares.sum(SPATIAL))


def inverse(norms: Tensor) -> Tensor:
    """1 / norm; 0 where the norm is 0 (SPEC 7.2)."""
    return 1 / torch.where(norms > 0, norms, torch.inf)


def above(length: Tensor, rounding: Tensor) -> Tensor:
    """length where it is above its rounding error, else infinite: what is divided by it is 0 (SPEC 7.1)."""
    rounding = rounding.detach().clamp(min=torch.finfo(length.dtype).tiny)
    # Many times faster in eager mode than torch.where.
    return torch.nn.functional.threshold(length / rounding, 1, torch.inf).mul_(rounding)


def times(x: Tensor, factor: Tensor) -> Tensor:
    """x * factor, in the memory of x if autograd is not watching: new memory costs more than the product."""
    return x * factor if torch.is_grad_enabled() else x.mul_(factor)


def square(x: Tensor) -> Tensor:
    """x^2, in the memory of x if autograd is not watching."""
    return times(x, x)


def over(x: Tensor, divisor: Tensor) -> Tensor:
    """x / divisor, in the memory of x if autograd is not watching."""
    return x / divisor if torch.is_grad_enabled() else x.div_(divisor)


def with_gradient(distance_and_direction: WithDirection, symmetric: bool = True) -> Callable[[Distance], Distance]:
    """Give distance(x, y, *static), a norm ||d||, its gradient for x in closed form.

    distance_and_direction takes the same arguments and gives ||d|| and the direction, d back through
    the Jacobian of x -> d: the gradient is direction / ||d||. Symmetry makes its gradient at (y, x)
    the one for y; without symmetry y is a constant. It is built of plain operations, so every
    transform, of any order, goes through it.
    """

    def decorate(distance: Distance) -> Distance:
        @functools.wraps(distance)
        def of_images(x: Tensor, y: Tensor, *static: int) -> Tensor:
            # torch.compile traces no Function that has a forward-mode rule, and needs none.
            function = _Distance if torch.compiler.is_compiling() else _ForwardModeDistance
            y = y if symmetric else y.detach()
            wanted = tuple(torch.is_grad_enabled() and image.requires_grad for image in (x, y))
            result: Tensor = function.apply(x, y, distance, distance_and_direction, static, wanted)[0]
            return result

        return of_images

    return decorate


def _in_parts(function: Callable[[Tensor, Tensor], tuple[Tensor, ...]], x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """function(x, y) of two batches, on a CPU a few images at a time."""
    if x.ndim == 2 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return function(x, y)
    count = max(1, PART // math.prod(x.shape[1:]))
    if len(x) <= count:
        return function(x, y)
    parts = [function(*images) for images in zip(x.split(count), y.split(count), strict=True)]
    return tuple(torch.cat(results) for results in zip(*parts, strict=True))


class _Distance(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        y: Tensor,
        distance: Distance,
        rule: WithDirection,
        static: tuple[int, ...],
        wanted: tuple[bool, bool],
    ) -> tuple[Tensor, ...]:
        """The distance, then the directions wanted: by now half of their work is done."""
        if not any(wanted):
            return _in_parts(lambda x, y: (distance(x, y, *static),), x, y)
        pairs = [pair for pair, want in (((x, y), wanted[0]), ((y, x), wanted[1])) if want]
        results = [_in_parts(lambda x, y: rule(x, y, *static), *pair) for pair in pairs]
        return results[0][0], *(direction for _, direction in results)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, y, _, ctx.rule, ctx.static, ctx.wanted = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, y, *output)
        ctx.save_for_forward(x, y)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, y, distance = ctx.saved_tensors[:3]
        directions = list(ctx.saved_tensors)[3:]
        results: list[Tensor | None] = []
        for pair, needed, known in zip(((x, y), (y, x)), ctx.needs_input_grad, ctx.wanted, strict=False):
            direction = directions.pop(0) if known else None
            if not needed:
                results.append(None)
                continue
            if direction is None or torch.is_grad_enabled():
                # To be differentiated once more, so it must depend on the images.
                distance, direction = ctx.rule(*pair, *ctx.static)
            results.append((upstream * inverse(distance))[..., None, None] * direction)
        return *results, None, None, None, None


class _ForwardModeDistance(_Distance):
    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dy: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        along = []
        for pair, tangent in (((x, y), dx), ((y, x), dy)):
            if tangent is not None:
                distance, direction = ctx.rule(*pair, *ctx.static)
                along.append((direction * tangent).sum(SPATIAL) * inverse(distance))
        return sum(along[1:], along[0]), *(None for want in ctx.wanted if want)
