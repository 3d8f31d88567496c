"""What the checks ask about an array that each framework answers in its own words."""

from typing import Any

import numpy as np
from jax import Array


def is_array(array: Any) -> bool:
    return isinstance(array, (Array, np.ndarray))


def described(array: Any) -> str:
    """The dtype of an array of numbers in memory, e.g. "float32"; of anything else what it is, e.g. "list"."""
    name = type(array).__name__
    return str(array.dtype) if is_array(array) and name != "JetTracer" else name


def device(array: Array) -> str:
    """Where the array is, if it must not be combined with arrays elsewhere: JAX itself moves it, or says so."""
    return ""


def is_known(length: Any) -> bool:
    """Whether an axis has a length that the maps can be made for: in jax.export it may have a name only."""
    return isinstance(length, int)
