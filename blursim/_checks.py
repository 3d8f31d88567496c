"""What the public functions accept. Only static facts are read: ranks, shapes, dtypes, words, Python numbers."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, Protocol, get_args

from blursim._options import Edges, Normalization, Options, Reduction, Spectrum

CHOICES = {"spectrum": Spectrum, "edges": Edges, "normalization": Normalization, "reduction": Reduction}
WORDS = {name: get_args(words) for name, words in CHOICES.items()}
FLOATS = ("float16", "bfloat16", "float32", "float64")
# Integer dtypes, and the largest number of each.
INTEGERS = {f"{kind}{bits}": 2 ** (bits - (kind == "int")) - 1 for kind in ("uint", "int") for bits in (8, 16, 32, 64)}
LARGEST_KERNEL = 31  # the Sobel sums of three axes stay below 2^89, far within float32
WINDOW_STEP = 4  # windows are multiples of it, so that they overlap by whole pixels


class Arrays(Protocol):
    """What a framework's module `_arrays` answers, in the words of its users."""

    STATIC: str  # why an option can't be an array

    def is_array(self, value: Any, /) -> bool: ...

    def describe(self, value: Any, /) -> str:
        """The dtype of an array of numbers in memory, e.g. "float32"; for anything else its type, e.g. "list"."""

    def advise(self, name: str, value: Any, /) -> str:
        """How to convert the argument of that name to an array of floats."""

    def device(self, array: Any, /) -> str:
        """Where the array is, if it must not be combined with arrays elsewhere."""

    def is_known(self, length: Any, /) -> bool:
        """Whether the length of an axis is a number that maps can be made for."""


def check_inputs(x: Any, y: Any, mask: Any, options: Options, arrays: Arrays) -> Options:
    """Checks that everything fits; returns the options as plain numbers, with axes counted from the end."""
    options = check_options(options, arrays)
    check_images(x, y, options, arrays)
    check_mask(mask, x, arrays)
    return options._replace(axes=tuple(axis if axis < 0 else axis - len(x.shape) for axis in options.axes))


def check_options(options: Options, arrays: Arrays) -> Options:
    """The options as plain numbers."""
    for name, known in WORDS.items():
        word = getattr(options, name)
        if not isinstance(word, str) or word not in known:
            raise ValueError(f"{name}: expected {_either(list(map(repr, known)))}, got {word!r}")
    axes, p, sobel_size, window = options.axes, options.p, options.sobel_size, options.window

    meaning = "1 is the mean, 2 the root mean square of the differences"
    if not isinstance(p, Real) or isinstance(p, bool):
        raise TypeError(f"p: expected 1 or 2, got {p!r}; {_advise_number('p', p, meaning, arrays)}")
    if p not in (1, 2):
        raise ValueError(f"p: expected 1 or 2, got {p!r}; {meaning}")

    expected = f"axes: expected one to three integers such as (-2, -1), got {axes!r}"
    found = tuple(axes) if isinstance(axes, Iterable) and getattr(axes, "ndim", 1) else ()
    if not found or not all(map(_is_int, found)):
        of_arrays = any(map(arrays.is_array, (axes, *found)))
        raise TypeError(f"{expected}; {arrays.STATIC if of_arrays else 'give a tuple; a signal has axes=(-1,)'}")
    if len(found) > 3:
        raise ValueError(f"{expected}; signals, images and volumes have that many; every other axis is a batch axis")

    # Texts of numbers are made in errors alone: torch.compile can't trace those of numbers that it takes to be dynamic.
    expected = f"sobel_size: expected an odd integer from 3 to {LARGEST_KERNEL}, got"
    if not _is_int(sobel_size):
        advice = _advise_number("sobel_size", sobel_size, "5 is the default", arrays)
        raise TypeError(f"{expected} {sobel_size!r}; {advice}")
    if sobel_size % 2 == 0 or not 3 <= sobel_size <= LARGEST_KERNEL:
        raise ValueError(f"{expected} {sobel_size!r}; 5 is the default")

    if window is not None:
        expected = f"window: expected None or a multiple of {WINDOW_STEP} from 4 up, got"
        if not _is_int(window):
            advice = _advise_number("window", window, "None takes the whole image", arrays)
            raise TypeError(f"{expected} {window!r}; {advice}")
        if window % WINDOW_STEP or window < 4:
            raise ValueError(f"{expected} {window!r}; None takes the whole image")
        window = int(window)
    return options._replace(axes=tuple(map(int, found)), p=int(p), sobel_size=int(sobel_size), window=window)


def check_images(x: Any, y: Any, options: Options, arrays: Arrays) -> None:
    axes = options.axes
    for name, image in (("x", x), ("y", y)):
        got = _describe(image, arrays)
        if got not in FLOATS:
            advice = _advise(name, image, got, arrays)
            raise TypeError(f"{name}: expected an array of {_either(FLOATS)}, got {got}; {advice}")
    shape, rank = tuple(x.shape), len(x.shape)
    if shape != tuple(y.shape):
        raise ValueError(
            f"x and y: expected equal shapes, got {shape} and {tuple(y.shape)}; "
            "nothing is broadcast, so expand or crop one of them first"
        )
    _check_device("y", y, x, arrays)
    if rank < len(axes):
        raise ValueError(
            f"x: expected at least the {len(axes)} axes that axes={axes} names, got shape {shape}; "
            "add the missing ones, or name fewer"
        )
    if not all(-rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
        raise ValueError(
            f"axes: expected different axes of an array of {rank} axes, got {axes}; "
            "channels first is (-2, -1), channels last is (-3, -2)"
        )
    lengths = [shape[axis] for axis in axes]
    if not all(map(arrays.is_known, lengths)):
        raise ValueError(
            f"x: expected lengths that are numbers along axes={axes}, got shape {shape}; "
            "export one program for each image size: only batch axes may be symbolic"
        )
    if any(arrays.is_known(length) and length == 0 for length in shape):
        raise ValueError(f"x: expected at least one image, got an empty array of shape {shape}; skip empty batches")
    least = max(options.sobel_size, 5)
    if min(lengths) < least:
        raise ValueError(
            f"x: expected at least {least} pixels along each of axes={axes} for sobel_size={options.sobel_size}, "
            f"got {_size(lengths)}; channels last is axes={tuple(range(-len(axes) - 1, -1))}; "
            "otherwise use larger images, sobel_size=3 (5 pixels) or, for a thin volume, its slices with axes=(-2, -1)"
        )
    if options.window is not None and options.window > min(lengths):
        raise ValueError(
            f"window: expected windows no larger than the images, got {options.window}; "
            f"images of {_size(lengths)} hold windows of at most {min(lengths) // WINDOW_STEP * WINDOW_STEP}"
        )


def check_alpha(alpha: Any, arrays: Arrays, x: Any = None, axes: Sequence[int] = ()) -> None:
    """Checks alpha, and that it fits x where x is known; axes are counted from the end."""
    if isinstance(alpha, Real) and not isinstance(alpha, bool):
        number: Any = alpha
        if not 0 <= number <= 1:
            got = "one beyond 1e9" if 1e9 < abs(number) < float("inf") else str(number)
            raise ValueError(
                f"alpha: expected a number in [0, 1], got {got}; 0 is the general term alone, 1 the specific"
            )
        return
    got = _describe(alpha, arrays)
    if got not in (*FLOATS, *INTEGERS):
        advice = _advise("alpha", alpha, got, arrays)
        if callable(alpha):
            advice = "call a schedule with the step: alpha(step)"
        elif not arrays.is_array(alpha):
            advice = f"0.3 is a good first choice; a number is float(alpha); for one weight per image {advice}"
        raise TypeError(
            f"alpha: expected a number in [0, 1] or an array of {_either(FLOATS)} or integers, got {got}; {advice}"
        )
    if x is None:
        return
    batch = [length for axis, length in enumerate(x.shape, -len(x.shape)) if axis not in axes]
    if not _broadcasts(alpha.shape, batch):
        raise ValueError(
            f"alpha: expected a scalar or a shape that broadcasts to the batch shape {tuple(batch)}, "
            f"got {tuple(alpha.shape)}; "
            "one weight per image: for NCHW images (N, 1) gives one per picture, (C,) per channel"
        )
    if alpha.shape or arrays.device(alpha) != "cpu":  # a scalar on the CPU may meet any device
        _check_device("alpha", alpha, x, arrays)


def check_mask(mask: Any, x: Any, arrays: Arrays) -> None:
    if mask is None:
        return
    got = _describe(mask, arrays)
    if got not in ("bool", *FLOATS):
        advice = _advise("mask", mask, got, arrays)
        if isinstance(mask, Real):
            advice = "a mask is an array; alpha is given as BlurSim(alpha) or blursim(x, y, alpha)"
        elif got in INTEGERS:
            advice = f"a mask of 0 and 1 is mask != 0; one of 0 to {INTEGERS[got]} is mask / {_largest(got)}"
        raise TypeError(f"mask: expected an array of {_either(('bool', *FLOATS))}, got {got}; {advice}")
    if not _broadcasts(mask.shape, x.shape):
        raise ValueError(
            f"mask: expected a shape that broadcasts to that of x, {tuple(x.shape)}, got {tuple(mask.shape)}; "
            "give it length 1 along axes where it doesn't change: for NCHW images (N, 1, H, W) gives one per picture"
        )
    _check_device("mask", mask, x, arrays)


def _check_device(name: str, array: Any, x: Any, arrays: Arrays) -> None:
    if arrays.device(array) != arrays.device(x):
        raise ValueError(
            f"{name}: expected an array on the device of x, {arrays.device(x)}, got one on {arrays.device(array)}; "
            "move one of them first, with its method to()"
        )


def _describe(value: Any, arrays: Arrays) -> str:
    """The dtype of an array; for anything else its type, in a word that is no dtype."""
    got = arrays.describe(value)
    return got if arrays.is_array(value) or got not in ("bool", *FLOATS, *INTEGERS) else f"{got} scalar"


def _advise(name: str, value: Any, got: str, arrays: Arrays) -> str:
    """How to convert it to an array of floats."""
    if got.startswith("complex"):
        return "compare its real and imaginary parts, or its magnitude"
    scale = f", divided by {_largest(got)} if it fills the range of {got}" if got in INTEGERS else ""
    return arrays.advise(name, value) + scale


def _advise_number(name: str, value: Any, default: str, arrays: Arrays) -> str:
    """How to convert an option to a plain number, if it holds one."""
    if arrays.is_array(value):
        return arrays.STATIC
    whole = value.isdecimal() if isinstance(value, str) else isinstance(value, float) and value.is_integer()
    return f"convert it with int({name})" if whole else default


def _largest(got: str) -> str:
    """The largest number of an integer dtype, written so that any array can be divided by it."""
    return f"{INTEGERS[got]}" if got.endswith(("8", "16")) else f"{INTEGERS[got]}.0"


def _size(lengths: Sequence[int]) -> str:
    return " x ".join(map(str, lengths))


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _either(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]


def _broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape, to[len(to) - len(shape) :], strict=True))
