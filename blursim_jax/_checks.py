"""What the public functions accept. Only static facts are read: ranks, shapes, dtypes, words, Python numbers."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import jax
import numpy as np

ARRAYS = (jax.Array, np.ndarray)
DTYPES = ("float16", "bfloat16", "float32", "float64")
WORDS = {
    "spectrum": ("magnitude", "complex"),
    "edges": ("magnitude", "vector"),
    "normalization": ("area", "rms"),
    "reduction": ("mean", "sum", "none"),
}


def check_words(**words: str) -> None:
    for name, word in words.items():
        if word not in WORDS[name]:
            raise ValueError(f"{name}: expected {_words(list(map(repr, WORDS[name])))}, got {word!r}")


def check_options(axes: Sequence[int], sobel_size: int) -> None:
    if not isinstance(axes, (tuple, list)) or len(axes) != 2 or not all(map(_is_int, axes)):
        raise TypeError(f"axes: expected a pair of integers such as (-2, -1), got {axes!r}")
    if not _is_int(sobel_size):
        raise TypeError(f"sobel_size: expected an odd integer >= 3, got {sobel_size!r}")
    if sobel_size < 3 or sobel_size % 2 == 0:
        raise ValueError(f"sobel_size: expected an odd integer >= 3, got {sobel_size}")


def check_images(x: Any, y: Any, axes: Sequence[int], sobel_size: int) -> None:
    check_options(axes, sobel_size)
    for name, image in (("x", x), ("y", y)):
        if not isinstance(image, ARRAYS):
            raise TypeError(
                f"{name}: expected an array of {_words(DTYPES)}, got {type(image).__name__}; convert it first"
            )
        if _dtype(image) not in DTYPES:
            raise TypeError(
                f"{name}: expected an array of {_words(DTYPES)}, got {_dtype(image)}; "
                "convert it first (8-bit images: to float32, divided by 255)"
            )
    shape, rank = tuple(x.shape), len(x.shape)
    if shape != tuple(y.shape):
        raise ValueError(
            f"x and y: expected equal shapes, got {shape} and {tuple(y.shape)}; "
            "nothing is broadcast, so expand or crop one of them first"
        )
    if rank < 2:
        raise ValueError(f"x: expected at least 2 axes, height and width, got shape {shape}; add the missing axes")
    if not all(-rank <= axis < rank for axis in axes) or axes[0] % rank == axes[1] % rank:
        raise ValueError(
            f"axes: expected two different axes of an array of {rank} axes, got {tuple(axes)}; "
            "channels first is (-2, -1), channels last is (-3, -2)"
        )
    if 0 in shape:
        raise ValueError(f"x: expected at least one image, got an empty array of shape {shape}; skip empty batches")
    height, width = (shape[axis] for axis in axes)
    least = sobel_size // 2 + 1
    if min(height, width) < least:
        raise ValueError(
            f"x: expected images of at least {least} x {least} pixels for sobel_size={sobel_size}, "
            f"got {height} x {width}; check axes, or take larger images or a smaller sobel_size"
        )


def check_target(x: Any, target: Any, options: tuple[Any, ...]) -> None:
    for name, now, was in zip(("axes", "spectrum", "edges", "sobel_size"), options, target.options, strict=True):
        if now != was:
            raise ValueError(
                f"y: expected a target prepared with {name}={now!r}, got {was!r}; prepare it with the same"
            )
    if _dtype(x) == "float64" != _dtype(target.image):
        raise ValueError("y: expected a float64 target for float64 x, got float32; prepare it from a float64 y")


def check_alpha(alpha: Any, batch: Sequence[int]) -> None:
    if isinstance(alpha, Real) and not isinstance(alpha, bool):
        if not 0 <= float(alpha) <= 1:
            raise ValueError(
                f"alpha: expected a number in [0, 1], got {alpha}; 0 is the general term alone, 1 the specific"
            )
        return
    if not isinstance(alpha, ARRAYS) or _dtype(alpha) not in DTYPES:
        got = _dtype(alpha) if isinstance(alpha, ARRAYS) else type(alpha).__name__
        raise TypeError(
            f"alpha: expected a number in [0, 1] or an array of {_words(DTYPES)}, got {got}; convert it first"
        )
    if not _broadcasts(alpha.shape, batch):
        raise ValueError(
            f"alpha: expected a scalar or a shape that broadcasts to the batch shape {tuple(batch)}, "
            f"got {tuple(alpha.shape)}; one weight per image"
        )


def check_mask(mask: Any, shape: Sequence[int]) -> None:
    if not isinstance(mask, ARRAYS) or _dtype(mask) not in ("bool", *DTYPES):
        got = _dtype(mask) if isinstance(mask, ARRAYS) else type(mask).__name__
        raise TypeError(f"mask: expected an array of {_words(('bool', *DTYPES))}, got {got}; convert it first")
    if not _broadcasts(mask.shape, shape):
        raise ValueError(
            f"mask: expected a shape that broadcasts to that of x, {tuple(shape)}, got {tuple(mask.shape)}; "
            "give it axes of length 1 where it is the same for all"
        )


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _dtype(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _words(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]


def _broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))
