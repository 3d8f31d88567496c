"""A distance between two images, and its gradient where autograd would divide by zero."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SPATIAL = (-2, -1)


def root(squares: Tensor) -> Tensor:
    """Square root whose derivatives at 0 are 0 (SPEC 7.1)."""
    positive = squares >= torch.finfo(squares.dtype).tiny
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


def norm(squares: Tensor) -> Tensor:
    """Euclidean norm of each image from the squares of its entries."""
    return root(squares.sum(SPATIAL))


def inverse(norms: Tensor) -> Tensor:
    """1 / norm, to be broadcast over an image; 0 where the norm is 0 (SPEC 7.2)."""
    safe = torch.where(norms > 0, norms, 1)
    return torch.where(norms > 0, 1 / safe, 0)[..., None, None]


def with_gradient(gradient: Callable[..., Tensor]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Give a symmetric distance(x, y, *static) its closed-form gradient(x, y, *static) for x.

    Symmetry makes gradient(y, x) the gradient for y. The rule is built of plain operations, so
    every transform, of any order, goes through it.
    """

    def decorate(distance: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(distance)
        def of_images(x: Tensor, y: Tensor, *static: int) -> Tensor:
            # torch.compile traces no Function that has a forward-mode rule, and needs none.
            function = _Distance if torch.compiler.is_compiling() else _ForwardModeDistance
            result: Tensor = function.apply(x, y, distance, gradient, *static)
            return result

        return of_images

    return decorate


class _Distance(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, distance: Callable[..., Tensor], gradient: Callable[..., Tensor], *static: int) -> Tensor:
        return distance(x, y, *static)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, y, _, ctx.gradient, *ctx.static = inputs
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        scale = upstream[..., None, None]
        for_x = scale * ctx.gradient(x, y, *ctx.static) if ctx.needs_input_grad[0] else None
        for_y = scale * ctx.gradient(y, x, *ctx.static) if ctx.needs_input_grad[1] else None
        return for_x, for_y, None, None, *(None for _ in ctx.static)


class _ForwardModeDistance(_Distance):
    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dy: Tensor | None, *_: None) -> Tensor:
        x, y = ctx.saved_tensors
        along_x = (ctx.gradient(x, y, *ctx.static) * dx).sum(SPATIAL) if dx is not None else 0
        along_y = (ctx.gradient(y, x, *ctx.static) * dy).sum(SPATIAL) if dy is not None else 0
        return along_x + along_y
