"""Functions that torch.compile calls as they are, instead of generating code for what is inside."""

import functools
from collections.abc import Callable
from typing import Any

import torch


def opaque(like: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of tensors opaque to torch.compile; like(*args) gives empty tensors of the shapes of its result.

    For complex numbers, for which no code is generated, and for mirrored borders, which inside of
    generated loops keep these from being vectorised.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        operator = torch.library.custom_op(f"blursim::{function.__name__}", function, mutates_args=())
        operator.register_fake(like)

        @functools.wraps(function)
        def either(*args: Any) -> Any:
            return operator(*args) if torch.compiler.is_dynamo_compiling() else function(*args)

        return either

    return decorate
