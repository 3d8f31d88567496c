"""BlurSim as a torch.nn.Module, with alpha among its buffers."""

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from blursim_torch import _checks
from blursim_torch._blursim import Target, blursim

if TYPE_CHECKING:

    class _Alpha:
        """To type checkers: a number or a tensor is set, and a tensor is got."""

        def __get__(self, module: object, kind: object = None) -> Tensor: ...

        def __set__(self, module: object, value: float | Tensor) -> None: ...


class BlurSim(torch.nn.Module):
    """`blursim` as a module: BlurSim(alpha, ...)(x, y) is blursim(x, y, alpha, ...).

    alpha is a buffer: it moves with the module and can be set at any time, compiled or not, without recompiling:
    `criterion.alpha = 0.5`. It is not saved in the state_dict, since a schedule belongs to the step. Set between a
    forward and its backward pass it counts from the next forward on; if the module is compiled PyTorch refuses that.

    Args:
        alpha: initial weight of the specific term, in [0, 1], a number or a tensor that broadcasts to the batch shape.
            Kept in torch's default dtype. Not learned: to learn one, give `blursim` the sigmoid of a parameter. The
            values of a tensor are checked where they can be read without waiting: on the CPU, not while compiling.
        axes, spectrum, edges, p, normalization, sobel_size, reduction: as in `blursim`.

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

    if TYPE_CHECKING:
        alpha: _Alpha = _Alpha()

    def __init__(
        self,
        alpha: float | Tensor = 0.9,
        *,
        axes: Sequence[int] = (-2, -1),
        spectrum: Literal["magnitude", "complex"] = "magnitude",
        edges: Literal["magnitude", "vector"] = "magnitude",
        p: Literal[1, 2] = 2,
        normalization: Literal["area", "gain"] = "area",
        sobel_size: int = 5,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__()
        _checks.check_words(spectrum=spectrum, edges=edges, normalization=normalization, reduction=reduction)
        _checks.check_p(p)
        _checks.check_options(axes, sobel_size)
        _check_alpha(alpha)
        dtype = torch.get_default_dtype()
        self._initial = alpha.detach().to(dtype, copy=True) if isinstance(alpha, Tensor) else float(alpha)
        shape = alpha.shape if isinstance(alpha, Tensor) else ()
        device = alpha.device if isinstance(alpha, Tensor) else None
        self.register_buffer("alpha", torch.empty(shape, dtype=dtype, device=device), persistent=False)
        self.axes = axes
        self.spectrum = spectrum
        self.edges = edges
        self.p = p
        self.normalization = normalization
        self.sobel_size = sobel_size
        self.reduction = reduction
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """alpha as it was given: PyTorch's name for what makes good the empty memory that `to_empty` leaves."""
        self.alpha = self._initial

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "alpha":
            super().__setattr__(name, value)
            return
        _check_alpha(value)
        if isinstance(value, Real):
            # As a product: the compiler makes a graph of its own for every number to fill with.
            value = torch.ones_like(self.alpha) * cast(float, value)
        if value.shape == self.alpha.shape and (torch.compiler.is_compiling() or not self.alpha.is_inference()):
            # In its place: CUDA graphs know a buffer by its address.
            self.alpha.copy_(value)
        else:
            self._buffers["alpha"] = value.detach().to(self.alpha, copy=True)

    def forward(self, x: Tensor, y: Tensor | Target, mask: Tensor | None = None) -> Tensor:
        """The loss between x and y, within mask if one is given; see `blursim`."""
        # A copy: alpha may be set, in its place, before the backward pass.
        return blursim(x, y, self.alpha.clone(), mask=mask, **self._options())

    def extra_repr(self) -> str:
        # Other devices would have to be waited for, and meta has no values.
        alpha = self.alpha.tolist() if _can_be_read(self.alpha) else f"<on {self.alpha.device}>"
        alpha = f"{alpha:.4g}" if isinstance(alpha, float) else alpha
        return ", ".join([f"alpha={alpha}", *(f"{k}={v!r}" for k, v in self._options().items())])

    def _options(self) -> dict[str, Any]:
        names = ("axes", "spectrum", "edges", "p", "normalization", "sobel_size", "reduction")
        return {name: getattr(self, name) for name in names}


def _check_alpha(alpha: Any) -> None:
    """As for `blursim`, and that it is no tensor that learns, nor, where that can be read, one outside [0, 1]."""
    if not isinstance(alpha, Tensor):
        _checks.check_alpha(alpha, ())
        return
    _checks.check_alpha(alpha, alpha.shape)
    if alpha.requires_grad:
        raise TypeError(
            "alpha: expected a number or a tensor without gradient, got one that requires it; to learn alpha call "
            "blursim(x, y, torch.sigmoid(weight)), weight being a parameter of a module of yours"
        )
    if _can_be_read(alpha):
        for number in alpha.double().flatten().tolist():
            _checks.check_alpha(number, ())


def _can_be_read(tensor: Tensor) -> bool:
    """Whether its values are here: no graph is traced, no device is waited for, no transform has wrapped it."""
    if torch.compiler.is_compiling() or tensor.device.type != "cpu" or type(tensor) is not Tensor:
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
