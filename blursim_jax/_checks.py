"""What the public functions accept. Only static facts are read: ranks, shapes, dtypes, words, Python numbers."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

WORDS = {
    "spectrum": ("magnitude", "complex"),
    "edges": ("magnitude", "vector"),
    "normalization": ("area", "rms"),
    "reduction": ("mean", "sum", "none"),
}
DTYPES = ("float16", "bfloat16", "float32", "float64")


def check_words(**words: str) -> None:
    for name, word in words.items():
        if word not in WORDS[name]:
            expected = " or ".join(map(repr, WORDS[name]))
            raise ValueError(f"{name}: expected {expected}, got {word!r}")


def check_images(x: Any, y: Any, axes: Sequence[int], sobel_size: int) -> None:
    check_dtype("x", x)
    check_dtype("y", y)
    if tuple(x.shape) != tuple(y.shape):
        raise ValueError(
            f"x and y: expected equal shapes, got {tuple(x.shape)} and {tuple(y.shape)}; "
            "nothing is broadcast, so expand or crop one of them first"
        )
    check_layout(tuple(x.shape), axes, sobel_size)


def check_dtype(name: str, array: Any) -> None:
    if not (hasattr(array, "dtype") and hasattr(array, "shape")):
        raise TypeError(f"{name}: expected an array of {', '.join(DTYPES)}, got {type(array).__name__}; convert it first")
    if _dtype(array) not in DTYPES:
        raise TypeError(
            f"{name}: expected dtype {', '.join(DTYPES)}, got {_dtype(array)}; "
            "convert it first (8-bit images: to float32, divided by 255)"
        )


def check_layout(shape: tuple[int, ...], axes: Sequence[int], sobel_size: int) -> None:
    rank = len(shape)
    if rank < 2:
        raise ValueError(f"x: expected at least 2 axes, height and width, got shape {shape}")
    if isinstance(axes, (str, bytes)) or not isinstance(axes, Sequence) or not all(map(_is_int, axes)):
        raise TypeError(f"axes: expected a pair of integers such as (-2, -1), got {axes!r}")
    if len(axes) != 2 or not all(-rank <= a < rank for a in axes) or axes[0] % rank == axes[1] % rank:
        raise ValueError(
            f"axes: expected two different axes in [{-rank}, {rank - 1}] for shape {shape}, got {tuple(axes)}; "
            "channels last is (-3, -2)"
        )
    if not _is_int(sobel_size):
        raise TypeError(f"sobel_size: expected an odd integer >= 3, got {sobel_size!r}")
    if sobel_size < 3 or sobel_size % 2 == 0:
        raise ValueError(f"sobel_size: expected an odd integer >= 3, got {sobel_size}")
    height, width = (shape[a] for a in axes)
    least = sobel_size // 2 + 1
    if min(height, width) < least:
        raise ValueError(
            f"x: expected images of at least {least} x {least} pixels for sobel_size={sobel_size}, "
            f"got {height} x {width}; check axes, or take larger images or a smaller sobel_size"
        )
    if 0 in shape:
        raise ValueError(f"x: expected at least one image, got an empty batch of shape {shape}")


def check_alpha(alpha: Any, batch: tuple[int, ...]) -> None:
    if isinstance(alpha, Real) and not isinstance(alpha, bool):
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: expected a number in [0, 1], got {alpha}; 0 is general alone, 1 is specific alone")
        return
    if not (hasattr(alpha, "dtype") and hasattr(alpha, "shape")):
        raise TypeError(f"alpha: expected a number in [0, 1] or an array of such, got {type(alpha).__name__}")
    if _dtype(alpha) not in DTYPES:
        raise TypeError(f"alpha: expected dtype {', '.join(DTYPES)}, got {_dtype(alpha)}; convert it first")
    if not _broadcasts(tuple(alpha.shape), batch):
        raise ValueError(
            f"alpha: expected a scalar or a shape that broadcasts to the batch shape {batch}, got {tuple(alpha.shape)}"
        )


def check_mask(mask: Any, shape: tuple[int, ...]) -> None:
    if not (hasattr(mask, "dtype") and hasattr(mask, "shape")) or _dtype(mask) not in ("bool", *DTYPES):
        got = _dtype(mask) if hasattr(mask, "dtype") else type(mask).__name__
        raise TypeError(f"mask: expected an array of bool or of floats in [0, 1], got {got}; convert it first")
    if not _broadcasts(tuple(mask.shape), shape):
        raise ValueError(
            f"mask: expected a shape that broadcasts to that of x, {shape}, got {tuple(mask.shape)}; "
            "give it an axis of length 1 where it is the same for all"
        )


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _dtype(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))
