"""What the checks of `blursim` ask about arrays, answered for PyTorch."""

import re
from typing import Any

import torch
from torch import Tensor

STATIC = "options are Python values, not tensors"

_ADVICE = {
    "Proxy": "torch.fx traces without shapes: use torch.export or torch.compile",
    "DTensor": "give to_local() of tensors cut along batch axes only, and average the losses",
    "MaskedArray": "fill it first: {0}.filled({0}.mean()), with mask=torch.tensor(~numpy.ma.getmaskarray({0}))",
    "nested tensor": "give each of {0}.unbind()",
    ".* tensor": "convert it first: {0}.to_dense()",
    "q.*int.*": "convert it first: {0}.dequantize()",
    "u?int[1-7]|bits.*|float4.*": "PyTorch converts no {1}: unpack {0}.view(torch.uint8)",
}


def is_array(value: Any) -> bool:
    return isinstance(value, Tensor)


def describe(value: Any) -> str:
    """The dtype of an array of numbers in memory, e.g. "float32"; for anything else its type, e.g. "list"."""
    name = type(value).__name__
    if not is_array(value) or name == "DTensor":
        return name
    if value.is_nested:
        return "nested tensor"
    if value.layout != torch.strided:
        return f"{str(value.layout).removeprefix('torch.').strip('_')} tensor"
    return str(value.dtype).removeprefix("torch.")


def advise(name: str, value: Any) -> str:
    """How to convert the argument of that name to an array of floats."""
    kind = describe(value)
    for pattern, advice in _ADVICE.items():
        if re.fullmatch(pattern, kind):
            return advice.format(name, kind)
    code = f"{name}.float()" if is_array(value) else f'torch.tensor(numpy.array({name}, "float32"))'
    return f"convert it first: {code}"


def device(array: Tensor) -> str:
    """Where the array is, if it must not be combined with arrays elsewhere."""
    return str(array.device)


def is_known(length: Any) -> bool:
    """Whether the length of an axis is a number that maps can be made for."""
    return True
