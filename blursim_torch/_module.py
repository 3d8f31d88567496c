"""BlurSim as a torch.nn.Module, with alpha among its buffers."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor

from blursim_torch import _checks
from blursim_torch._blursim import blursim


class BlurSim(torch.nn.Module):
    """`blursim` as a module: BlurSim(alpha, ...)(x, y) is blursim(x, y, alpha, ...).

    alpha is a scalar buffer: it moves with the module, is saved in its state_dict, and can be
    changed during training, compiled or not, without recompiling: `criterion.alpha = 0.5`.

    Args:
        alpha: initial weight of the specific term, in [0, 1]. Kept in torch's default dtype.
        axes, spectrum, edges, normalization, sobel_size, reduction: as in `blursim`.

    Raises:
        TypeError, ValueError: as `blursim`, here for the options, on a call for the images.

    Example:
        >>> import torch
        >>> from blursim_torch import BlurSim, linear_schedule
        >>> criterion, schedule = BlurSim(alpha=0.9), linear_schedule(0.9, 0.1, 100)
        >>> x, y = torch.rand(2, 8, 3, 64, 64)
        >>> for step in range(3):
        ...     criterion.alpha = schedule(step)
        ...     loss = criterion(x, y)
    """

    alpha: Tensor

    def __init__(
        self,
        alpha: float = 0.9,
        *,
        axes: Sequence[int] = (-2, -1),
        spectrum: Literal["magnitude", "complex"] = "magnitude",
        edges: Literal["magnitude", "vector"] = "magnitude",
        normalization: Literal["area", "rms"] = "area",
        sobel_size: int = 5,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__()
        _checks.check_words(spectrum=spectrum, edges=edges, normalization=normalization, reduction=reduction)
        _checks.check_options(axes, sobel_size)
        _checks.check_alpha(alpha, ())
        self.register_buffer("alpha", torch.as_tensor(alpha, dtype=torch.get_default_dtype()).clone())
        self.axes = axes
        self.spectrum = spectrum
        self.edges = edges
        self.normalization = normalization
        self.sobel_size = sobel_size
        self.reduction = reduction

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "alpha" and isinstance(value, Real):
            _checks.check_alpha(value, ())
            self.alpha.fill_(float(value))
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss between x and y, within mask if one is given; see `blursim`."""
        return blursim(x, y, self.alpha, mask=mask, **self._options())

    def extra_repr(self) -> str:
        return ", ".join([f"alpha={self.alpha.item():.4g}", *(f"{k}={v!r}" for k, v in self._options().items())])

    def _options(self) -> dict[str, Any]:
        names = ("axes", "spectrum", "edges", "normalization", "sobel_size", "reduction")
        return {name: getattr(self, name) for name in names}
