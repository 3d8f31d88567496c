"""BlurSim as a torch.nn.Module."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from blursim._checks import check_alpha, check_options
from blursim._options import Edges, Normalization, Options, Order, Reduction, Spectrum
from blursim_torch import _arrays
from blursim_torch._blursim import blursim


class BlurSim(torch.nn.Module):
    """`blursim` as a module: BlurSim(alpha, ...)(x, y) is blursim(x, y, alpha, ...).

    alpha and the options are plain attributes that may be set at any time: `criterion.alpha = schedule(step)`,
    `criterion.reduction = "none"`. A compiled program compiles once more when a number alpha changes, and never again.
    alpha is not in the state_dict, since a schedule belongs to the step, and moving or casting the module doesn't
    change it.

    Args:
        alpha: weight of the specific term, in [0, 1]: a number, or a tensor as in `blursim`. A tensor isn't moved or
            saved either: make it a torch.nn.Parameter to have it moved, saved, stacked or learned.
        axes, spectrum, window, edges, p, normalization, sobel_size, reduction: as in `blursim`.

    Raises:
        TypeError, ValueError: as `blursim`, when the module is made for alpha and the options, and on every call.

    Examples:
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
        window: int | None = None,
        edges: Edges = "magnitude",
        p: Order = 1,
        normalization: Normalization = "gain",
        sobel_size: int = 5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_alpha(alpha, _arrays)
        self.alpha = alpha
        options = Options(axes, spectrum, window, edges, p, normalization, sobel_size, reduction)
        options = check_options(options, _arrays)
        self.axes = options.axes
        self.spectrum = options.spectrum
        self.window = options.window
        self.edges = options.edges
        self.p = options.p
        self.normalization = options.normalization
        self.sobel_size = options.sobel_size
        self.reduction = options.reduction

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor: ...

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss between x and y, within mask if one is given; see `blursim`."""
        return blursim(x, y, self.alpha, mask=mask, **self._options())

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in {"alpha": self.alpha, **self._options()}.items())

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Options._fields}
