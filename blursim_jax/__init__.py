"""BlurSim for JAX: a loss for models whose inputs or outputs contain Gaussian blur."""

try:
    import jax as _jax  # noqa: F401  (imported for its error alone)
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("blursim_jax needs JAX: pip install 'blursim[jax]'") from error

from blursim_jax._blursim import Maps as Maps
from blursim_jax._blursim import Target as Target
from blursim_jax._blursim import Terms as Terms
from blursim_jax._blursim import blursim as blursim
from blursim_jax._blursim import blursim_terms as blursim_terms
from blursim_jax._blursim import difference_maps as difference_maps
from blursim_jax._blursim import prepare as prepare
