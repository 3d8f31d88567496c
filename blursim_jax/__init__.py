"""BlurSim for JAX: a loss for models whose inputs or outputs contain Gaussian blur."""

try:
    import jax as _jax  # noqa: F401  (imported for its error alone)
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("blursim_jax needs JAX: pip install 'blursim[jax]'") from error

from blursim import __version__ as __version__
from blursim._options import Edges, Normalization, Order, Reduction, Spectrum
from blursim_jax._blursim import Maps, Terms, blursim, blursim_terms, difference_maps

__all__ = [
    "Edges",
    "Maps",
    "Normalization",
    "Order",
    "Reduction",
    "Spectrum",
    "Terms",
    "blursim",
    "blursim_terms",
    "difference_maps",
]
