"""M_p(|A x| - |A y|), A being a linear map, and its derivative (SPEC 3, 4, 7).

With d = |A x| - |A y| and dM_p / dd = s u, where u is sign(d) or d and s one number per image, the gradient for x is
s A^T(u A x / |A x|), that for y is -s A^T(u A y / |A y|): formed with the value, when all that they need is at hand.
Derivatives of higher order are those of these formulas.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import hardshrink, threshold

from blursim_torch._maps import Identity


class Entries(NamedTuple):
    """A x: the components of its entries, complex numbers or vectors, and their lengths |A x|."""

    components: list[Tensor]
    lengths: Tensor


# A private name of PyTorch's; where it is missing everything counts as watched. The other is missing in PyTorch 2.6.
_functorch_is_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def distance(A: Identity, x: Tensor, y: Tensor, p: int, magnitude: bool) -> Tensor:
    """M_p(|A x| - |A y|) of each image, or M_p(|A x - A y|) unless magnitudes are compared."""
    if _watched(x, y):
        return _value_and_gradients(A, x, y, p, magnitude)[0]
    return _Distance.apply(x, y, A, p, magnitude)


class _Distance(torch.autograd.Function):
    """Backward is one product with what forward formed; to be differentiated again it forms that anew, of x and y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, A: Identity, p: int, magnitude: bool) -> Tensor:
        value, *gradients = _value_and_gradients(A, x, y, p, magnitude, ctx.needs_input_grad[:2])
        ctx.save_for_backward(x, y, value, *gradients)
        ctx.options = A, p, magnitude
        return value

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        x, y, value, *gradients = ctx.saved_tensors
        A, p, magnitude = ctx.options
        if torch.is_grad_enabled():
            value, *gradients = _value_and_gradients(A, x, y, p, magnitude, ctx.needs_input_grad[:2])
        cotangent = (cotangent * slope(A, value, p))[(..., *(None for _ in A.axes))]
        return *(None if g is None else cotangent * g for g in gradients), None, None, None


def _watched(x: Tensor, y: Tensor) -> bool:
    """Whether another than autograd differentiates or records: torch.func, forward mode, torch.export, TorchScript."""
    # PyTorch documents is_tracing, but its type stubs don't export it.
    if _functorch_is_active() or _is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return True
    return any(forward_ad.unpack_dual(image).tangent is not None for image in (x, y))


def _value_and_gradients(
    A: Identity, x: Tensor, y: Tensor, p: int, magnitude: bool, wanted: tuple[bool, ...] = (False, False)
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    d, Ax, Ay = difference(A, x, y, magnitude)
    value = mean(A, d, p)
    if not any(wanted):
        return value, None, None
    u = d.sign() if p == 1 else d
    for_x = gradient(A, u, Ax, magnitude) if wanted[0] or not magnitude else None
    for_y = None
    if wanted[1]:
        for_y = -for_x if for_x is not None and not magnitude else gradient(A, -u, Ay, magnitude)
    return value, for_x if wanted[0] else None, for_y


def difference(A: Identity, x: Tensor, y: Tensor, magnitude: bool) -> tuple[Tensor, Entries, Entries]:
    """d = |A x| - |A y|, or |A x - A y|, of each entry; and the entries that it is made from."""
    if not magnitude:
        Az = entries(A, x - y)
        return Az.lengths, Az, Az
    Ax, Ay = entries(A, x), entries(A, y)
    d = A.signed(Ax.lengths - Ay.lengths, Ax.components[0] - Ay.components[0])
    return hardshrink(d, torch.finfo(d.dtype).tiny ** 0.5), Ax, Ay


def gradient(A: Identity, u: Tensor, Ax: Entries, magnitude: bool) -> Tensor:
    """A^T(u A x / |A x|), and A^T(u) of entries that keep their sign."""
    first, *others = (u * _over(component, Ax.lengths) for component in Ax.components)
    return A.transposed([A.signed(first, u) if magnitude else first, *others])


def mean(A: Identity, d: Tensor, p: int) -> Tensor:
    """M_p(d) of each image: the mean of |d|, or its root mean square (SPEC 3.6)."""
    return A.total(d.abs()) / A.entries if p == 1 else _root(A.total(d.square()) / A.entries)


def slope(A: Identity, value: Tensor, p: int) -> Tensor:
    """s of each image: 1 / N, or 1 / (N M_2)."""
    s = torch.full_like(value, 1 / A.entries)
    return s if p == 1 else _over(s, value)


def entries(A: Identity, x: Tensor) -> Entries:
    """A x."""
    components = A(x)
    squares = components[0].square()
    for component in components[1:]:
        squares = torch.addcmul(squares, component, component)
    # A view that changes nothing, but torch.compile then computes the squares once, not at each of their uses.
    return Entries(components, _root(squares.as_strided(squares.shape, squares.stride())))


def _root(squares: Tensor) -> Tensor:
    """Square root; squares below the smallest normal number count as zero and have no slope (SPEC 7.1, 8.5)."""
    # In this order the slope is finite before it is dropped; a mask would cost eager PyTorch as much as an FFT.
    tiny = torch.finfo(squares.dtype).tiny
    return threshold(squares.clamp_min(tiny).sqrt(), tiny**0.5, 0)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """a / b, but 0 where b is 0: there is no slope (SPEC 7)."""
    return a / threshold(b, 0, torch.inf)
