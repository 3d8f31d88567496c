"""M_p(|A x| - |A y|), A being a linear map, and its derivative (SPEC 3, 4, 7).

Let d = |A x| - |A y| and dM_p / dd = s u, where u is sign(d) or d, and s is one number per image. Then the gradient for
x is s A^T(u A x / |A x|), and the one for y is -s A^T(u A y / |A y|). Both are formed along with the value, while all
that they need is at hand. Higher derivatives are those of these formulas.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import hardshrink, threshold

from blursim_torch._maps import LinearMap


class Distance(NamedTuple):
    """M_p(|A x| - |A y|) in some unit, or M_p(|A (x - y)|) if vectors (or complex numbers) are compared."""

    A: LinearMap
    p: int
    vectors: bool
    unit: float = 1.0


class Entries(NamedTuple):
    """A x: the components of its entries, complex numbers or vectors, and their lengths |A x|."""

    components: list[Tensor]
    lengths: Tensor


class Found(NamedTuple):
    """A value for each image, and its derivatives for x, y and alpha, None where they are not wanted."""

    value: Tensor
    for_x: Tensor | None = None
    for_y: Tensor | None = None
    for_alpha: Tensor | None = None


Prepare = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]

# A private name; without it everything counts as watched. The documented alternative, a Function with setup_context and
# jvp, differentiates again from tensors saved for backward, so images could not be overwritten before a first backward.
_functorch_is_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


def blend(
    distances: Sequence[Distance],
    alpha: Tensor | None,
    prepare: Prepare,
    x: Tensor,
    y: Tensor,
    mask: Tensor | None,
) -> Tensor:
    """(1 - alpha) times the first distance plus alpha times the second, or one alone, for the prepared images."""
    if not torch.is_grad_enabled() or _is_watched(x, y, mask, alpha):
        return _blend(distances, alpha, *prepare(x, y, mask)).value
    remembered = None
    if not torch.compiler.is_compiling():
        x, y, mask, alpha = inputs = _Inputs.apply(x, y, mask, alpha)
        remembered = next((i.grad_fn for i in inputs if i is not None and i.requires_grad), None)
    return _Blend.apply(*prepare(x, y, mask), alpha, remembered, prepare, distances)


class _Blend(torch.autograd.Function):
    """Backward multiplies by what forward formed. To be differentiated again, it forms that anew from the inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        alpha: Tensor | None,
        inputs: Any,
        prepare: Prepare,
        distances: Sequence[Distance],
    ) -> Tensor:
        value, *derivatives = _blend(distances, alpha, x, y, ctx.needs_input_grad[:3])
        ctx.save_for_backward(*derivatives)
        ctx.formulas = inputs, prepare, distances, None if alpha is None else alpha.shape
        return value

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        inputs, prepare, distances, shape = ctx.formulas
        for_x, for_y, for_alpha = ctx.saved_tensors
        if inputs is not None and torch.is_grad_enabled():
            x, y, mask, alpha = inputs.saved_tensors
            x, y = prepare(x, y, mask)
            _, for_x, for_y, for_alpha = _blend(distances, alpha, x, y, ctx.needs_input_grad[:3])
        of_pixels = _expand(cotangent, distances[0].A)
        return (
            None if for_x is None else of_pixels * for_x,
            None if for_y is None else of_pixels * for_y,
            None if for_alpha is None else (cotangent * for_alpha).sum_to_size(shape),
            *(None, None, None),
        )


class _Inputs(torch.autograd.Function):
    """Passes its inputs on and remembers them. A first backward doesn't ask for them, so they may change before it."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        outputs = [None if i is None else i.view_as(i) for i in inputs]
        pairs = zip(outputs, ctx.needs_input_grad, strict=True)
        ctx.mark_non_differentiable(*(o for o, wanted in pairs if o is not None and not wanted))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        return cotangents


def _is_watched(*tensors: Tensor | None) -> bool:
    """Whether anything but plain autograd differentiates or traces: torch.func, forward mode, export, TorchScript."""
    # The ignored type: PyTorch documents is_tracing, but its type stubs don't export it.
    if _functorch_is_active() or torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return True
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def _blend(
    distances: Sequence[Distance],
    alpha: Tensor | None,
    x: Tensor,
    y: Tensor,
    wanted: Sequence[bool] = (False, False, False),
) -> Found:
    weights: Sequence[Any] = (1,) if alpha is None else (1 - alpha, alpha)
    values, slopes, for_x, for_y = zip(*(_distance(distance, x, y, wanted) for distance in distances), strict=True)
    factors = [_expand(w * s, d.A) for w, s, d in zip(weights, slopes, distances, strict=True)]
    return Found(
        _weighted_sum(weights, values),
        _weighted_sum(factors, for_x) if wanted[0] else None,
        _weighted_sum(factors, for_y) if wanted[1] else None,
        values[1] - values[0] if wanted[2] else None,
    )


def _distance(distance: Distance, x: Tensor, y: Tensor, wanted: Sequence[bool]) -> tuple[Any, ...]:
    """M_p of each image, s, and the gradients for x and y without the factor s."""
    A, p, vectors, unit = distance
    d, *entries = compare(distance, x, y)
    value, u = power_mean(A, d, p), d.sign() if p == 1 else d
    for_x: Any = None
    for_y = None
    if wanted[0] or (vectors and wanted[1]):
        for_x = gradient(distance, u, entries[0])
    if wanted[1]:
        for_y = -for_x if vectors else gradient(distance, -u, entries[1])
    return unit * value, unit * slope(A, value, p), for_x, for_y


def compare(distance: Distance, x: Tensor, y: Tensor) -> list[Any]:
    """d of each entry, and the entries it comes from: A x and A y, or A (x - y) where vectors are compared."""
    A = distance.A
    if distance.vectors:
        Az = measure(A, x - y)
        return [Az.lengths, Az]
    Ax, Ay = measure(A, x), measure(A, y)
    d = A.signed(Ax.lengths, Ax.components[0]) - A.signed(Ay.lengths, Ay.components[0])
    return [hardshrink(d, torch.finfo(d.dtype).tiny ** 0.5), Ax, Ay]


def measure(A: LinearMap, x: Tensor) -> Entries:
    """A x, and |A x|."""
    components = A(x)
    squares = components[0].square()
    for component in components[1:]:
        squares = torch.addcmul(squares, component, component)
    return Entries(components, _root(squares))


def gradient(distance: Distance, u: Tensor, Ax: Entries) -> Tensor:
    """A^T(u A x / |A x|), and A^T(u) for entries that keep their sign."""
    over = _over(u, Ax.lengths)
    first, *others = (over * component for component in Ax.components)
    return distance.A.transpose([first if distance.vectors else distance.A.signed(first, u), *others])


def power_mean(A: LinearMap, d: Tensor, p: int) -> Tensor:
    """M_p(d) of each image: the mean of |d|, or its root mean square (SPEC 3.6)."""
    return A.total(d.abs()) / A.count if p == 1 else _root(A.total(d.square()) / A.count)


def slope(A: LinearMap, value: Tensor, p: int) -> Tensor:
    """s of each image: 1 / N, or 1 / (N M_2)."""
    s = torch.full_like(value, 1 / A.count)
    return s if p == 1 else _over(s, value)


def _weighted_sum(weights: Sequence[Any], values: Sequence[Tensor]) -> Tensor:
    total = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total = torch.addcmul(total, weight, value)
    return total


def _expand(values: Tensor, A: LinearMap) -> Tensor:
    """One value for each image, shaped to multiply images by."""
    return values[(..., *(None for _ in A.shape))]


def _root(squares: Tensor) -> Tensor:
    """Square root; squares below the smallest normal number count as zero and have no slope (SPEC 7.1, 8.5)."""
    # In this order the slope is finite before it is dropped; a mask would cost eager PyTorch as much as an FFT.
    tiny = torch.finfo(squares.dtype).tiny
    return threshold(squares.clamp_min(tiny).sqrt(), tiny**0.5, 0)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """a / b, but 0 where b is 0: there is no slope (SPEC 7)."""
    return a / threshold(b, 0, torch.inf)
