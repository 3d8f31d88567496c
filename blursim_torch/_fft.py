"""rfft2 and irfft2 over the last two axes, their complex numbers as two real ones.

torch.compile generates no code for complex tensors, and warns of them; here they are hidden from it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def rfft2(x: Tensor) -> Tensor:
    """Half spectrum of each image, real and imaginary parts along the last axis."""
    if torch.compiler.is_dynamo_compiling():
        return _opaque_rfft2(x)
    return torch.view_as_real(torch.fft.rfft2(x))


def irfft2(real: Tensor, imag: Tensor, shape: Sequence[int]) -> Tensor:
    """Images of the given height and width from half spectra; without the factor 1 / (H W)."""
    if torch.compiler.is_dynamo_compiling():
        return _opaque_irfft2(real, imag, shape)
    return torch.fft.irfft2(torch.complex(real, imag), shape, norm="forward")


@torch.library.custom_op("blursim::rfft2", mutates_args=())
def _opaque_rfft2(x: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.rfft2(x)).contiguous()


@_opaque_rfft2.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], x.shape[-1] // 2 + 1, 2))


@torch.library.custom_op("blursim::irfft2", mutates_args=())
def _opaque_irfft2(real: Tensor, imag: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.fft.irfft2(torch.complex(real, imag), shape, norm="forward").contiguous()


@_opaque_irfft2.register_fake
def _(real: Tensor, imag: Tensor, shape: Sequence[int]) -> Tensor:
    return real.new_empty((*real.shape[:-2], *shape))
