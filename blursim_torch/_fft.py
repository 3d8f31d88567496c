"""The real FFT over all spatial axes, and its transpose."""

import torch
from torch import Tensor

from blursim_torch._linear import transposes


def multiplicity(half: Tensor, width: int) -> Tensor:
    """How many columns of a spectrum each one of its half stands for: 2, but those with no mirror image 1."""
    counts = half.new_full(half.shape[-1:], 2)
    counts[:1] = 1
    counts[-1:] = 1 + width % 2  # without a branch, which would fix the width where it is dynamic
    return counts


def _rfftn(x: Tensor, *, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    return torch.view_as_real(torch.fft.rfftn(x, dim=tuple(range(-len(shape), 0)))).unbind(-1)


def _rfftn_transposed(real: Tensor, imag: Tensor, *, shape: tuple[int, ...]) -> tuple[Tensor]:
    # The inverse counts twice what has a mirror image.
    half = torch.complex(real, imag)
    half[..., 1 : (shape[-1] + 1) // 2].mul_(0.5)
    return (torch.fft.irfftn(half, shape, dim=tuple(range(-len(shape), 0)), norm="forward"),)


_rfftn_map, _ = transposes(_rfftn, _rfftn_transposed)


def rfftn(x: Tensor, axes: int) -> tuple[Tensor, ...]:
    """Real and imaginary parts of the half spectrum, unnormalised, over the last axes of x."""
    return _rfftn_map(x, shape=x.shape[-axes:])
