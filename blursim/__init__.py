"""BlurSim, a loss for models whose inputs or outputs contain Gaussian blur.

Each framework has a package of its own, with the same names, options, defaults and errors:

    from blursim_jax import blursim      # pip install 'blursim[jax]'
    from blursim_torch import blursim    # pip install 'blursim[torch]'

This package holds what the two share, and imports neither.
"""

from typing import NoReturn

__version__ = "0.1.0"

_PACKAGES = dict.fromkeys(("blursim", "blursim_terms", "difference_maps"), "blursim_jax or blursim_torch")
_PACKAGES |= dict.fromkeys(("BlurSim", "cosine_decay_schedule", "linear_schedule"), "blursim_torch")


def __getattr__(name: str) -> NoReturn:
    # An ImportError: `from blursim import blursim` would replace the text of an AttributeError.
    if name in _PACKAGES:
        raise ImportError(f"{name} has to be imported from {_PACKAGES[name]}")
    raise AttributeError(f"module 'blursim' has no attribute {name!r}: the loss is in blursim_jax and in blursim_torch")
