"""What the public functions accept. Only static facts are read: ranks, shapes, dtypes, words, Python numbers."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import jax
import numpy as np

ARRAYS = (jax.Array, np.ndarray)
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
CONVERT = "convert it first, with torch.as_tensor or jax.numpy.asarray"
STATIC = "options are Python values, not arrays: under jax.jit name them in static_argnames"
WORDS = {
    "spectrum": ("magnitude", "complex"),
    "edges": ("magnitude", "vector"),
    "normalization": ("area", "gain"),
    "reduction": ("mean", "sum", "none"),
}


def check_words(**words: str) -> None:
    for name, word in words.items():
        if not isinstance(word, str) or word not in WORDS[name]:
            raise ValueError(f"{name}: expected {_either(list(map(repr, WORDS[name])))}, got {word!r}")


def check_p(p: float) -> None:
    if not isinstance(p, Real) or isinstance(p, bool):
        raise TypeError(f"p: expected 1 or 2, got {p!r}; {STATIC}")
    if p not in (1, 2):
        raise ValueError(f"p: expected 1 or 2, got {p!r}; 1 is the mean, 2 the root mean square of the differences")


def check_options(axes: Sequence[int], sobel_size: int) -> None:
    if not isinstance(axes, (tuple, list)) or not axes or not all(map(_is_int, axes)):
        raise TypeError(f"axes: expected one or more integers such as (-2, -1), got {axes!r}; {STATIC}")
    if not _is_int(sobel_size):
        raise TypeError(f"sobel_size: expected an odd integer >= 3, got {sobel_size!r}; {STATIC}")
    if sobel_size < 3 or sobel_size % 2 == 0:
        raise ValueError(f"sobel_size: expected an odd integer >= 3, got {sobel_size}; 5 is the default")


def check_images(x: Any, y: Any, axes: Sequence[int], sobel_size: int) -> None:
    check_options(axes, sobel_size)
    for name, image in (("x", x), ("y", y)):
        if not isinstance(image, ARRAYS):
            raise TypeError(f"{name}: expected an array of {_either(FLOATS)}, got {type(image).__name__}; {CONVERT}")
        if _dtype(image) not in FLOATS:
            raise TypeError(
                f"{name}: expected an array of {_either(FLOATS)}, got {_dtype(image)}; "
                "convert it first (8-bit images: to float32, divided by 255)"
            )
    shape, rank = tuple(x.shape), len(x.shape)
    if shape != tuple(y.shape):
        raise ValueError(
            f"x and y: expected equal shapes, got {shape} and {tuple(y.shape)}; "
            "nothing is broadcast, so expand or crop one of them first"
        )
    if rank < len(axes):
        raise ValueError(
            f"x: expected at least the {len(axes)} axes that axes={tuple(axes)} names, got shape {shape}; "
            "add the missing ones, or name fewer"
        )
    if not all(-rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
        raise ValueError(
            f"axes: expected different axes of an array of {rank} axes, got {tuple(axes)}; "
            "channels first is (-2, -1), channels last is (-3, -2)"
        )
    if 0 in shape:
        raise ValueError(f"x: expected at least one image, got an empty array of shape {shape}; skip empty batches")
    lengths = [shape[axis] for axis in axes]
    least = max(sobel_size, 5)
    if min(lengths) < least:
        raise ValueError(
            f"x: expected at least {least} pixels along each of axes={tuple(axes)} for sobel_size={sobel_size}, "
            f"got {' x '.join(map(str, lengths))}; channels last is axes=(-3, -2); else take larger images, "
            "sobel_size=3 (5 pixels), or of a thin volume its slices, axes=(-2, -1)"
        )


def check_target(x: Any, target: Any, options: tuple[Any, ...]) -> None:
    lengths = tuple(x.shape[axis] for axis in options[0])
    names = ("axes", "spectrum", "edges", "sobel_size", "spatial shape")
    for name, now, was in zip(names, (*options, lengths), target.options, strict=True):
        if now != was:
            raise ValueError(
                f"y: expected a target prepared with {name}={now!r}, got {was!r}; prepare it with the same"
            )
    if _dtype(x) == "float64" != _dtype(target.image):
        raise ValueError("y: expected a float64 target for float64 x, got float32; prepare it from a float64 y")
    half, double = (list(target.image.shape) for _ in range(2))
    last = options[0][-1]
    half[last], double[last] = half[last] // 2 + 1, 2 * double[last]
    for name, array, shape in (("spectrum", target.spectrum, half), ("edges", target.edges, double)):
        if array is not None and list(array.shape) != shape:
            raise ValueError(
                f"y: expected a target whose {name} has shape {tuple(shape)}, got {tuple(array.shape)}; "
                "slice only batch axes before the spatial ones, the same of all its arrays, or prepare the sliced y"
            )


def check_alpha(alpha: Any, batch: Sequence[int]) -> None:
    if isinstance(alpha, Real) and not isinstance(alpha, bool):
        if not 0 <= float(alpha) <= 1:
            raise ValueError(
                f"alpha: expected a number in [0, 1], got {alpha}; 0 is the general term alone, 1 the specific"
            )
        return
    if not isinstance(alpha, ARRAYS) or _dtype(alpha) not in FLOATS + INTEGERS:
        got = _dtype(alpha) if isinstance(alpha, ARRAYS) else type(alpha).__name__
        mend = "a schedule is called with the step: alpha(step)" if callable(alpha) else CONVERT
        raise TypeError(
            f"alpha: expected a number in [0, 1] or an array of {_either(FLOATS)} or integers, got {got}; {mend}"
        )
    if not _broadcasts(alpha.shape, batch):
        raise ValueError(
            f"alpha: expected a scalar or a shape that broadcasts to the batch shape {tuple(batch)}, "
            f"got {tuple(alpha.shape)}; one weight per image: of NCHW images (N, 1) is per picture, (C,) per channel"
        )


def check_mask(mask: Any, shape: Sequence[int]) -> None:
    if mask is None:
        return
    if not isinstance(mask, ARRAYS) or _dtype(mask) not in ("bool", *FLOATS):
        got = _dtype(mask) if isinstance(mask, ARRAYS) else type(mask).__name__
        raise TypeError(f"mask: expected an array of {_either(('bool', *FLOATS))}, got {got}; {CONVERT}")
    if not _broadcasts(mask.shape, shape):
        raise ValueError(
            f"mask: expected a shape that broadcasts to that of x, {tuple(shape)}, got {tuple(mask.shape)}; "
            "give it axes of length 1 where it is the same for all: of NCHW images (N, 1, H, W) is one per picture"
        )


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _dtype(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _either(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]


def _broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))
