"""What the checks ask about an array that each framework answers in its own words."""

from typing import Any

import torch
from torch import Tensor


def is_array(array: Any) -> bool:
    return isinstance(array, Tensor)


def described(array: Any) -> str:
    """The dtype of an array of numbers in memory, e.g. "float32"; of anything else what it is, e.g. "list"."""
    name = type(array).__name__
    if not is_array(array) or name == "DTensor":
        return name
    if array.layout != torch.strided or array.is_nested:
        return f"{'nested' if array.is_nested else str(array.layout).removeprefix('torch.').strip('_')} tensor"
    return str(array.dtype).removeprefix("torch.")


def device(array: Tensor) -> str:
    """Where the array is, if it must not be combined with arrays elsewhere."""
    return str(array.device)


def is_known(length: Any) -> bool:
    """Whether an axis has a length that the maps can be made for."""
    return True
