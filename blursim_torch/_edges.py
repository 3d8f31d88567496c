"""The specific term: how far apart the Sobel edges of two images are (SPEC 4).

E = M_p(|grad x| - |grad y|), or M_p(|grad (x - y)|), in the units that are asked for. The last `axes` axes are spatial.
A Sobel pair of size k is the binomial smoothing (1+z)^(k-2) along every axis, which leaves the corners between the
pixels, followed for each component by (z-1) along its own axis and (1+z) along the others.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from blursim_torch._linear import transposes
from blursim_torch._norm import Bound, eps, length, norm, of_difference

# Binomial steps that double the numbers; further ones average, so that large kernels don't overflow.
DOUBLING_STEPS = 7


def specific(
    x: Tensor, y: Tensor, magnitude_of_y: Tensor | None, axes: int, edges: str, p: int, normalization: str, size: int
) -> Tensor:
    """E of each image; magnitude_of_y, if it is known, is used in the place of y."""
    difference, negligible = edge_difference(x, y, magnitude_of_y, axes, edges, size)
    pixels, distance = math.prod(x.shape[-axes:]), norm(difference, p, axes, negligible)
    if normalization == "gain":
        return _times_two_to(distance / pixels ** (1 / p), _halvings(axes, size) - gain_exponent(axes, size))
    return _times_two_to(distance / pixels ** (1 / p + 1 / 2), _halvings(axes, size))


def edge_difference(
    x: Tensor, y: Tensor, magnitude_of_y: Tensor | None, axes: int, edges: str, size: int
) -> tuple[Sequence[Tensor], Bound]:
    """d_e by its components, over 2^_halvings, and the bound of its rounding error."""
    if edges == "vector":
        *difference, corners = sobel(x - y, axes, size)
        return difference, Bound(partial(_rounding, axes=axes), (corners,))
    X, of_x = magnitude(x, axes, size)
    Y, of_y = magnitude(y, axes, size) if magnitude_of_y is None else _unpacked(magnitude_of_y)
    return [X - Y], of_difference(of_x, of_y)


def magnitude(x: Tensor, axes: int, size: int) -> tuple[Tensor, Bound]:
    """|grad x| over 2^_halvings, and the bound of its rounding error."""
    *gradient, corners = sobel(x, axes, size)
    bound = Bound(partial(_rounding, axes=axes), (corners,))
    return length(gradient, bound), bound


def packed(x: Tensor, axes: int, size: int) -> Tensor:
    """What magnitude gives, as one tensor: side by side along the last axis."""
    absolute, bound = magnitude(x, axes, size)
    return torch.cat([absolute, bound()], -1)


def _unpacked(both: Tensor) -> tuple[Tensor, Bound]:
    absolute, bound = both.chunk(2, -1)
    return absolute, Bound(lambda bound: bound, (bound,))


def edge_map(x: Tensor, y: Tensor, axes: int, edges: str, size: int) -> Tensor:
    """d_e, or its length where it is a vector (SPEC 11)."""
    difference, negligible = edge_difference(x, y, None, axes, edges, size)
    distance = difference[0] if edges == "magnitude" else length(difference, negligible)
    return _times_two_to(distance, _halvings(axes, size))


def gain_exponent(axes: int, size: int) -> int:
    """log2 of the kernel's response to a slope of one intensity per pixel: 7 for two axes and size 5 (SPEC 5.2)."""
    return axes * (size - 1) - 1


def _halvings(axes: int, size: int) -> int:
    """How often a pixel of sobel() was halved."""
    return axes * max(size - 2 - DOUBLING_STEPS, 0)


def _times_two_to(x: Tensor, exponent: int) -> Tensor:
    """x * 2^exponent, in steps that have no overflow of their own: 0 * inf would be NaN, so 0 is let alone as well."""
    while exponent:
        step = max(-64, min(exponent, 64))
        x, exponent = torch.where(x == 0, 0.0, x * 2.0**step), exponent - step
    return x


def _smooth(x: Tensor, axes: int, size: int, mode: Literal["reflect", "symmetric"]) -> Tensor:
    """Corners of x, mirrored at its edge pixels (mode "reflect") or, itself of corners, beyond them ("symmetric")."""
    for axis in range(x.ndim - axes, x.ndim):
        x = _mirrored(x, axis, size // 2, mode)
        for step in range(size - 2):
            x = x if step < DOUBLING_STEPS else x * 0.5
            x = _lower(x, axis) + _upper(x, axis)
    return x


def _mirrored(x: Tensor, axis: int, width: int, mode: Literal["reflect", "symmetric"]) -> Tensor:
    """x with a border of this width along axis."""
    skipped = 1 if mode == "reflect" else 0
    first = x.narrow(axis, skipped, width)
    last = x.narrow(axis, x.shape[axis] - width - skipped, width)
    return torch.cat([first.flip(axis), x, last.flip(axis)], axis)


def _lower(x: Tensor, axis: int) -> Tensor:
    """Of each pair of neighbours the first."""
    return x.narrow(axis, 0, x.shape[axis] - 1)


def _upper(x: Tensor, axis: int) -> Tensor:
    """Of each pair of neighbours the second."""
    return x.narrow(axis, 1, x.shape[axis] - 1)


def _component(x: Tensor, axes: int, along: int) -> Tensor:
    """(z-1) along one spatial axis, (1+z) along the others."""
    for axis in range(-axes, 0):
        lower, upper = _lower(x, x.ndim + axis), _upper(x, x.ndim + axis)
        x = upper - lower if axis == along else upper + lower
    return x


def _sobel(x: Tensor, *, axes: int, size: int) -> tuple[Tensor, ...]:
    corners = _smooth(x, axes, size, "reflect")
    return *(_component(corners, axes, along) for along in range(-axes, 0)), corners


def _sobel_transposed(*gradient: Tensor, axes: int, size: int) -> tuple[Tensor]:
    """Transpose of _sobel.

    Seen through its reflection an image goes on for ever, and there smoothing is its own transpose. What is left to do
    at the border: an edge pixel is its own mirror image and stands once where every other pixel stands twice; hence
    twice its gradient before, half its value after. A component across the border is 0 there, as it changes sign.
    """
    first, *others = (_component_transposed(g, axes, along) for g, along in zip(gradient, range(-axes, 0), strict=True))
    pixels = _smooth(sum(others, first), axes, size, "symmetric")
    for axis in range(-axes, 0):
        pixels.movedim(axis, 0)[:: pixels.shape[axis] - 1].mul_(0.5)
    return (pixels,)


def _component_transposed(x: Tensor, axes: int, along: int) -> Tensor:
    """(1-z) along one spatial axis, where the border of x counts 0 times, and (1+z) along the others, where twice."""
    for axis in range(-axes, 0):
        first, last = x.select(axis, 0), x.select(axis, -1)
        sign = -1 if axis == along else 1
        x = torch.add(_lower(x, axis), _upper(x, axis), alpha=sign)
        x.select(axis, 0).add_(first, alpha=sign)
        x.select(axis, -1).add_(last)
    return x


_sobel_map, _ = transposes(_sobel, _sobel_transposed, constants=1)


def sobel(x: Tensor, axes: int, size: int) -> tuple[Tensor, ...]:
    """Components of grad x over 2^_halvings, and the corners that they are made from, which are taken as constants."""
    return _sobel_map(x, axes=axes, size=size)


def _rounding(corners: Tensor, axes: int) -> Tensor:
    """Bound of a Sobel vector's rounding error, from the corners around its pixel (SPEC 7.1).

    It is 16 eps gain times the mean of their absolute values, each over its own gain, 2^(axes (size - 2)); kernels of 3
    to 63 pixels came to 6.1 in float32, bright pixels among noise.
    """
    around = corners.abs()
    for axis in range(corners.ndim - axes, corners.ndim):
        around = _lower(around, axis) + _upper(around, axis)
    return 8 * eps(around) * around
