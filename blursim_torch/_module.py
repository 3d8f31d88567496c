"""BlurSim as a torch.nn.Module."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from blursim_torch._blursim import blursim
from blursim_torch._checks import (
    Edges,
    Normalization,
    Options,
    Order,
    Reduction,
    Spectrum,
    check_alpha,
    checked_options,
)


class BlurSim(torch.nn.Module):
    """`blursim` as a module: BlurSim(alpha, ...)(x, y) is blursim(x, y, alpha, ...).

    alpha is a plain attribute, which may be set at any time: `criterion.alpha = schedule(step)`. Compiled, a number
    that changes compiles a second time, and then never again. It is not saved in the state_dict, since a schedule
    belongs to the step, and stays the number that it is when the module is moved or cast.

    Args:
        alpha: weight of the specific term, in [0, 1]: a number, or a tensor as in `blursim`. A tensor stays as it was
            given, too: make it a torch.nn.Parameter to have it moved, saved, stacked or learned.
        axes, spectrum, edges, p, normalization, sobel_size, reduction: as in `blursim`.

    Raises:
        TypeError, ValueError: as `blursim`, here for alpha and the options, on a call for the images.

    Example:
        >>> import torch
        >>> from blursim_torch import BlurSim
        >>> criterion = BlurSim(0.3)
        >>> x, y = torch.rand(2, 8, 3, 64, 64)
        >>> criterion(x, y).shape
        torch.Size([])
    """

    def __init__(
        self,
        alpha: float | Tensor,
        *,
        axes: Sequence[int] = (-2, -1),
        spectrum: Spectrum = "magnitude",
        edges: Edges = "magnitude",
        p: Order = 1,
        normalization: Normalization = "gain",
        sobel_size: int = 5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_alpha(alpha)
        self.alpha = alpha
        options = checked_options(Options(axes, spectrum, edges, p, normalization, sobel_size, reduction))
        self.options: dict[str, Any] = options._asdict()  # here: torch.compile of PyTorch 2.6 can't trace it

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor: ...

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss between x and y, within mask if one is given; see `blursim`."""
        return blursim(x, y, self.alpha, mask=mask, **self.options)

    def extra_repr(self) -> str:
        return ", ".join([f"alpha={self.alpha}", *(f"{k}={v!r}" for k, v in self.options.items())])
