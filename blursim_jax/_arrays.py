"""What the checks ask about an array that each framework answers in its own words."""

from typing import Any

import numpy as np
from jax import Array


def described(array: Any) -> str:
    """The dtype of an array of numbers in memory, e.g. "float32"; of anything else what it is, e.g. "list"."""
    if not isinstance(array, (Array, np.ndarray)) or type(array).__name__ == "JetTracer":
        return type(array).__name__
    return str(array.dtype)


def device(array: Array) -> str:
    """Where the array is, if it must not be combined with arrays elsewhere: JAX itself moves it, or says so."""
    return ""


def is_known(length: Any) -> bool:
    """Whether an axis has a length that the maps can be made for: in jax.export it may have a name only."""
    return isinstance(length, int)
