"""What the checks of `blursim` ask about arrays, answered for JAX."""

from typing import Any

import numpy as np
from jax import Array

STATIC = "options are Python values, not arrays: under jax.jit name them in static_argnames"


def is_array(value: Any) -> bool:
    return isinstance(value, (Array, np.ndarray)) and type(value).__name__ not in ("JetTracer", "MaskedArray")


def describe(value: Any) -> str:
    """The dtype of an array of numbers in memory, e.g. "float32"; for anything else its type, e.g. "list"."""
    return str(value.dtype) if is_array(value) else type(value).__name__


def advise(name: str, value: Any) -> str:
    """How to convert the argument of that name to an array of floats."""
    if type(value).__name__ == "JetTracer":
        return "jax.experimental.jet has no rule for what the loss is made of: nest jax.jvp instead"
    if isinstance(value, np.ma.MaskedArray):
        return f"fill it first: {name}.filled({name}.mean()), with mask=~numpy.ma.getmaskarray({name})"
    code = f'{name}.astype("float32")' if is_array(value) else f'jax.numpy.asarray({name}, "float32")'
    return f"convert it first: {code}"


def device(array: Array) -> str:
    """Where the array is, if it must not be combined with arrays elsewhere: JAX moves it, or raises its own error."""
    return ""


def is_known(length: Any) -> bool:
    """Whether the length of an axis is a number that maps can be made for; under jax.export it may be a symbol."""
    return isinstance(length, int)


def unwrap(value: Any) -> Any:
    """The array inside an object such as flax.nnx.Param."""
    array = getattr(value, "__jax_array__", None)
    return array() if callable(array) else value
