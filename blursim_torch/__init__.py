"""BlurSim for PyTorch: a loss for models whose inputs or outputs contain Gaussian blur."""

try:
    import torch as _torch  # noqa: F401  (imported for its error alone)
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("blursim_torch needs PyTorch: pip install 'blursim[torch]'") from error

from blursim_torch._blursim import Maps as Maps
from blursim_torch._blursim import Target as Target
from blursim_torch._blursim import Terms as Terms
from blursim_torch._blursim import blursim as blursim
from blursim_torch._blursim import blursim_terms as blursim_terms
from blursim_torch._blursim import difference_maps as difference_maps
from blursim_torch._blursim import prepare as prepare
from blursim_torch._module import BlurSim as BlurSim
from blursim_torch._schedules import cosine_decay_schedule as cosine_decay_schedule
from blursim_torch._schedules import linear_schedule as linear_schedule
