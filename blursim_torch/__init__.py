"""BlurSim for PyTorch: a loss for models whose inputs or outputs contain Gaussian blur."""

try:
    import torch as _torch  # noqa: F401  (imported for its error alone)
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("blursim_torch needs PyTorch: pip install 'blursim[torch]'") from error

from blursim import __version__ as __version__
from blursim._options import Edges, Normalization, Order, Reduction, Spectrum
from blursim_torch._blursim import Maps, Terms, blursim, blursim_terms, difference_maps
from blursim_torch._module import BlurSim
from blursim_torch._schedules import cosine_decay_schedule, linear_schedule

__all__ = [
    "BlurSim",
    "Edges",
    "Maps",
    "Normalization",
    "Order",
    "Reduction",
    "Spectrum",
    "Terms",
    "blursim",
    "blursim_terms",
    "cosine_decay_schedule",
    "difference_maps",
    "linear_schedule",
]
