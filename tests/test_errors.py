"""Bad input: the same class and expectation in both backends, with advice in the framework's own words that works."""

import fractions
import re
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends import BACKENDS, Jax
from PIL import Image

import blursim_jax
import blursim_torch
from blursim._checks import INTEGERS

FLOATS = "float16, bfloat16, float32 or float64"
IMAGES = {"x": ((2, 6, 5), "float32"), "y": ((2, 6, 5), "float32")}

# What is wrong, the arguments that differ from two images of (2, 6, 5) and alpha = 0.5, the error, part of its text.
# (shape, dtype) stands for an array.
CASES = [
    ("integer images", {"x": ((6, 5), "uint8")}, TypeError, f"x: expected an array of {FLOATS}, got uint8; convert"),
    ("complex images", {"y": ((6, 5), "complex64")}, TypeError, f"y: expected an array of {FLOATS}, got complex64"),
    ("boolean images", {"x": ((6, 5), "bool")}, TypeError, "got bool; convert it first"),
    ("a list", {"x": [[0.0]]}, TypeError, "got list; convert it first"),
    ("a number", {"y": 0.5}, TypeError, "y: expected an array of"),
    ("unequal shapes", {"y": ((2, 5, 6), "float32")}, ValueError, "got (2, 6, 5) and (2, 5, 6); nothing is broadcast"),
    ("shapes that would broadcast", {"y": ((1, 6, 5), "float32")}, ValueError, "nothing is broadcast"),
    ("unequal ranks", {"y": ((6, 5), "float32")}, ValueError, "x and y: expected equal shapes"),
    (
        "one axis",
        {"x": ((6,), "float32"), "y": ((6,), "float32")},
        ValueError,
        "at least the 2 axes that axes=(-2, -1)",
    ),
    ("no axes", {"x": ((), "float32"), "y": ((), "float32")}, ValueError, "got shape ()"),
    (
        "repeated axes",
        {"axes": (1, 1)},
        ValueError,
        "axes: expected different axes of an array of 3 axes, got (1, 1)",
    ),
    ("axes repeated from the end", {"axes": (2, -1)}, ValueError, "expected different axes"),
    ("axes beyond the last", {"axes": (2, 3)}, ValueError, "got (2, 3); channels first is (-2, -1)"),
    ("axes beyond the first", {"axes": (-4, -1)}, ValueError, "got (-4, -1)"),
    ("no axes named", {"axes": ()}, TypeError, "axes: expected one to three integers such as (-2, -1), got ()"),
    (
        "three axes of two",
        {"x": ((6, 5), "float32"), "y": ((6, 5), "float32"), "axes": (0, 1, 2)},
        ValueError,
        "3 axes",
    ),
    ("four axes", {"axes": (0, 1, 2, 3)}, ValueError, "got (0, 1, 2, 3); signals, images and volumes have that many"),
    (
        "a range of four axes",
        {"axes": range(4)},
        ValueError,
        "expected one to three integers such as (-2, -1), got range",
    ),
    ("axes in a word", {"axes": "12"}, TypeError, "got '12'"),
    ("an array of fractions as axes", {"axes": np.array([1.0, 2.0])}, TypeError, "got array([1., 2.])"),
    ("one axis number", {"axes": -1}, TypeError, "got -1; give a tuple; a signal has axes=(-1,)"),
    (
        "an odd window",
        {"window": 5},
        ValueError,
        "window: expected None or a multiple of 4 from 4 up, got 5; None takes",
    ),
    ("a window of 2", {"window": 2}, ValueError, "got 2"),
    ("a window that is no multiple of 4", {"window": 6}, ValueError, "got 6"),
    ("no window", {"window": 0}, ValueError, "got 0"),
    ("a negative window", {"window": -4}, ValueError, "got -4"),
    ("a fractional window", {"window": 4.5}, TypeError, "got 4.5; None takes the whole image"),
    ("a window from a file", {"window": 4.0}, TypeError, "got 4.0; convert it with int(window)"),
    ("a window in words", {"window": "4"}, TypeError, "got '4'; convert it with int(window)"),
    ("a boolean window", {"window": True}, TypeError, "got True"),
    ("windows in a list", {"window": [4, 4]}, TypeError, "got [4, 4]"),
    (
        "windows larger than images",
        {"window": 8},
        ValueError,
        "window: expected windows no larger than the images, got 8; images of 6 x 5 hold windows of at most 4",
    ),
    ("fractional axes", {"axes": (0.0, 1.0)}, TypeError, "got (0.0, 1.0)"),
    ("boolean axes", {"axes": (False, True)}, TypeError, "got (False, True)"),
    ("an empty batch", {"x": ((0, 6, 5), "float32"), "y": ((0, 6, 5), "float32")}, ValueError, "skip empty batches"),
    ("empty images", {"x": ((2, 6, 0), "float32"), "y": ((2, 6, 0), "float32")}, ValueError, "at least one image"),
    (
        "small images",
        {"sobel_size": 11},
        ValueError,
        "at least 11 pixels along each of axes=(-2, -1) for sobel_size=11",
    ),
    (
        "wrong axes",
        {"axes": (-3, -2)},
        ValueError,
        "got 2 x 6; channels last is axes=(-3, -2); otherwise use larger images",
    ),
    ("a thin volume", {"axes": (0, 1, 2)}, ValueError, "sobel_size=3 (5 pixels) or, for a thin volume, its slices"),
    (
        "channels last by mistake",
        {"x": ((2, 8, 8, 3), "float32"), "y": ((2, 8, 8, 3), "float32")},
        ValueError,
        "got 8 x 3; channels last is axes=(-3, -2)",
    ),
    ("an even kernel", {"sobel_size": 4}, ValueError, "sobel_size: expected an odd integer from 3 to 31, got 4"),
    ("a kernel of 1", {"sobel_size": 1}, ValueError, "got 1"),
    ("a kernel of 33", {"sobel_size": 33}, ValueError, "from 3 to 31, got 33; 5 is the default"),
    ("a fractional kernel", {"sobel_size": 5.0}, TypeError, "from 3 to 31, got 5.0; convert it with int(sobel_size)"),
    ("a boolean kernel", {"sobel_size": True}, TypeError, "got True"),
    ("a word", {"spectrum": "phase"}, ValueError, "spectrum: expected 'magnitude' or 'complex', got 'phase'"),
    ("no word", {"edges": None}, ValueError, "edges: expected 'magnitude' or 'vector', got None"),
    ("a word in capitals", {"normalization": "GAIN"}, ValueError, "expected 'area' or 'gain', got 'GAIN'"),
    ("the old word", {"normalization": "rms"}, ValueError, "normalization: expected 'area' or 'gain', got 'rms'"),
    ("another norm", {"p": 3}, ValueError, "p: expected 1 or 2, got 3; 1 is the mean, 2 the root mean square"),
    ("a norm in words", {"p": "1"}, TypeError, "p: expected 1 or 2, got '1'; convert it with int(p)"),
    ("a boolean norm", {"p": True}, TypeError, "p: expected 1 or 2, got True"),
    ("no norm", {"p": float("nan")}, ValueError, "p: expected 1 or 2, got nan"),
    ("a reduction", {"reduction": "max"}, ValueError, "reduction: expected 'mean', 'sum' or 'none', got 'max'"),
    ("alpha above 1", {"alpha": 1.5}, ValueError, "alpha: expected a number in [0, 1], got 1.5; 0 is the general"),
    ("alpha below 0", {"alpha": -1}, ValueError, "got -1"),
    ("alpha not a number", {"alpha": float("nan")}, ValueError, "got nan"),
    ("boolean alpha", {"alpha": True}, TypeError, "alpha: expected a number in [0, 1] or an array of"),
    ("no alpha", {"alpha": None}, TypeError, "got NoneType; 0.3 is a good first choice"),
    ("alpha in words", {"alpha": "1e-1"}, TypeError, "got str; 0.3 is a good first choice; a number is float(alpha)"),
    ("an alpha beyond all floats", {"alpha": 10**400}, ValueError, "got one beyond 1e9"),
    ("an alpha as far below", {"alpha": -(10**400)}, ValueError, "alpha: expected a number in [0, 1]"),
    ("a fraction above 1", {"alpha": fractions.Fraction(4, 3)}, ValueError, "got 4/3"),
    ("a complex alpha", {"alpha": 0.5 + 0j}, TypeError, "got complex"),
    ("alphas in a list", {"alpha": [0.5, 0.5]}, TypeError, "for one weight per image convert it first: "),
    ("boolean alphas", {"alpha": ((2,), "bool")}, TypeError, f"or an array of {FLOATS} or integers, got bool"),
    ("a schedule", {"alpha": max}, TypeError, "call a schedule with the step: alpha(step)"),
    ("too many alphas", {"alpha": ((3,), "float32")}, ValueError, "broadcasts to the batch shape (2,), got (3,)"),
    (
        "alphas for pixels",
        {"alpha": ((2, 6, 5), "float32")},
        ValueError,
        "for NCHW images (N, 1) gives one per picture, (C,) per channel",
    ),
    ("alphas for more", {"alpha": ((1, 2), "float32")}, ValueError, "got (1, 2)"),
    (
        "an integer mask",
        {"mask": ((6, 5), "int32")},
        TypeError,
        f"mask: expected an array of bool, {FLOATS}, got int32",
    ),
    ("alpha where the mask goes", {"mask": 0.5}, TypeError, "a mask is an array; alpha is given as BlurSim(alpha)"),
    ("a mask in a list", {"mask": [[True]]}, TypeError, "mask: expected an array of bool"),
    ("a mask of another shape", {"mask": ((5, 6), "bool")}, ValueError, "to that of x, (2, 6, 5), got (5, 6)"),
    (
        "a mask of more axes",
        {"mask": ((1, 2, 6, 5), "bool")},
        ValueError,
        "for NCHW images (N, 1, H, W) gives one per picture",
    ),
]
TORCH = BACKENDS[1]
NAMES = [name for name, *_ in CASES]


def call(backend, arguments, function="blursim"):
    """The function of zeros, made where it runs, so that tracing and torch.device reach them."""
    dtype = lambda name: getattr(backend.arrays, name)
    made = lambda value: isinstance(value, tuple) and value and isinstance(value[-1], str)
    array = lambda value: backend.arrays.zeros(value[0], dtype=dtype(value[1])) if made(value) else value
    alpha = {"alpha": 0.5} if function == "blursim" else {}
    return getattr(backend.package, function)(**{k: array(v) for k, v in (IMAGES | alpha | arguments).items()})


def error(function):
    """Class and text of what function() raises."""
    with pytest.raises((TypeError, ValueError)) as caught:
        function()
    return caught.type, str(caught.value)


@pytest.mark.parametrize(("arguments", "kind", "text"), [case[1:] for case in CASES], ids=NAMES)
def test_bad_input_raises_the_same_error_in_both_backends(arguments, kind, text):
    """SPEC 9.1, 9.2, 9.3, 4.2"""
    found = [error(lambda b=backend: call(b, arguments)) for backend in BACKENDS]
    for name, (of, full) in zip(("jax", "torch"), found, strict=True):
        assert of is kind
        assert text in full
        assert re.fullmatch("[a-z_ ]+: expected .+, got .+", full)
        assert not re.search({"jax": "torch|tensor", "torch": "jax|static_argnames"}[name], full)
    assert len({(of, full.partition("; ")[0]) for of, full in found}) == 1


@pytest.mark.parametrize("arguments", [case[1] for case in CASES], ids=NAMES)
def test_tracing_raises_the_eager_error(default_backend, arguments):
    """SPEC 9.4: under jax.jit arrays are tracers, on torch's device "meta" they hold no values."""
    backend = default_backend

    def traced():
        if isinstance(backend, Jax):
            return jax.jit(lambda: call(backend, arguments))()
        with torch.device("meta"):
            return call(backend, arguments)

    assert error(traced) == error(lambda: call(backend, arguments))


@pytest.mark.parametrize("name", ["integer images", "unequal shapes", "a word", "alpha above 1", "an integer mask"])
def test_compiling_raises_the_eager_error(name):
    """SPEC 9.4: with fullgraph=True torch.compile wraps it in an error of its own."""
    arguments = next(case[1] for case in CASES if case[0] == name)
    run = lambda: call(TORCH, arguments)
    torch.compiler.reset()
    assert error(torch.compile(run, backend="eager")) == error(run)


@pytest.mark.parametrize("function", ["blursim_terms", "difference_maps"])
def test_every_function_raises_the_same_errors(default_backend, function):
    """SPEC 9.1, 9.2"""
    other = {"alpha"} if function == "blursim_terms" else {"alpha", "mask", "normalization", "reduction", "p", "window"}
    shared = [arguments for _, arguments, *_ in CASES if not other & set(arguments)]
    assert len(shared) > 20
    for arguments in shared:
        expected = error(lambda a=arguments: call(default_backend, a))
        assert error(lambda a=arguments: call(default_backend, a, function)) == expected


def test_good_input_needs_no_values(default_backend):
    """SPEC 9.4: no check reads an array, nor anything else."""
    loss = lambda x: default_backend.blursim(x, x, x[:, 0, 0], mask=x, reduction="none")
    result = default_backend.shaped((2, 6, 5), "float32", loss)
    assert tuple(result.shape) == (2,)
    assert default_backend.dtype(result) == "float32"


@pytest.mark.parametrize("option", ["axes", "window", "p", "sobel_size"])
def test_options_that_are_arrays_are_told_to_be_static(default_backend, option):
    """SPEC 9.1, 9.3: that is what they are under jax.jit unless they are named in static_argnames."""
    value = default_backend.array(np.array([1, 2] if option == "axes" else 4))
    in_jax = default_backend.name == "jax"
    words = "not arrays: under jax.jit name them in static_argnames" if in_jax else "not tensors"
    compiled = jax.jit if in_jax else partial(torch.compile, backend="aot_eager")
    for wrap in (lambda f: f, compiled):
        kind, text = error(lambda w=wrap: w(lambda value: call(default_backend, {option: value}))(value))
        assert kind is TypeError
        assert text.startswith(f"{option}: expected ")
        assert f"; options are Python values, {words}" in text


# What users have in place of an array of floats, made of a NumPy array of small integers.
OTHERS = {
    "list": np.ndarray.tolist,
    "PIL": lambda a: Image.fromarray(a.astype(np.uint8)),
    **{kind: lambda a, kind=kind: a.astype(kind) for kind in (">f4", ">f8", ">u2", "longdouble", "object")},
}
JAX_OTHERS = {kind: lambda a, kind=kind: jnp.asarray(a).astype(kind) for kind in ("float8_e4m3fn", "int4", "bool")}
TORCH_OTHERS = {
    "float8": lambda a: torch.tensor(a).to(torch.float8_e4m3fn),
    "bool": lambda a: torch.tensor(a).bool(),
    "NumPy, flipped twice": lambda a: np.ascontiguousarray(a[::-1], np.float32)[::-1],
    "jax": lambda a: jnp.asarray(a, "bfloat16"),
    "sparse_coo": lambda a: torch.tensor(a).float().to_sparse(),
    "sparse_csr": lambda a: torch.tensor(a).float().to_sparse_csr(),
    "mkldnn": lambda a: torch.tensor(a).float().to_mkldnn(),
    "qint8": lambda a: torch.quantize_per_tensor(torch.tensor(a).float(), 1, 0, torch.qint8),
}
TO_MEND = [
    pytest.param(backend, make, place, id=f"{backend.name}-{name}-{place}")
    for backend, others in zip(BACKENDS, (JAX_OTHERS, TORCH_OTHERS), strict=True)
    for name, make in (OTHERS | others).items()
    for place in ("x", "mask", "alpha")
    if place != "mask" or name not in ("bool", "int4")  # one is a mask, the other is told of 0 and 1
]


def advised(backend, arguments, name):
    """The argument of that name after the errors' advice was followed until there was none."""
    value = arguments[name]
    for _ in range(3):
        try:
            backend.blursim(**{**arguments, name: value})
        except TypeError as caught:
            (code,) = re.findall(r"convert it first: (.+?)(?:, divided by .*)?$", str(caught))
            value = eval(code, {"torch": torch, "jax": jax, "numpy": np, name: value})
        else:
            return value
    raise AssertionError


@pytest.mark.filterwarnings("ignore:.*(Sparse|invariant checks|quantize|TypedStorage).*")
@pytest.mark.parametrize(("backend", "make", "place"), TO_MEND)
def test_advice_makes_floats_of_what_came(backend, make, place):
    """SPEC 9.1, 9.3"""
    numbers = np.tile([[0, 1], [1, 1]], (3, 3))
    zeros = backend.array(np.zeros((6,) * (4 if place == "alpha" else 2)), "float32")
    value = advised(backend, {"x": zeros, "y": zeros, "alpha": 0.5, place: make(numbers)}, place)
    assert np.array_equal(backend.numpy(value), numbers)


def test_masked_arrays_are_told_how_to_keep_their_mask(default_backend, rng):
    """SPEC 9.1, 9.3"""
    y = rng.random((6, 5)).astype(np.float32)
    x = np.ma.masked_greater(y + (y > 0.8), 1)
    kind, text = error(lambda: default_backend.blursim(x, default_backend.array(y), 0.5))
    assert kind is TypeError
    filled, mask = re.search("got MaskedArray; fill it first: (.+), with mask=(.+)", text).groups()
    filled, mask = (eval(code, {"torch": torch, "numpy": np, "x": x}) for code in (filled, mask))
    assert filled.max() > y.max() / 2
    assert default_backend.blursim(default_backend.array(filled), default_backend.array(y), 0.5, mask=mask) == 0


@pytest.mark.parametrize("kind", INTEGERS)
def test_each_integer_type_is_told_its_own_range(default_backend, kind):
    """SPEC 9.1, 9.3: 255 for uint8, 65535 for uint16 and so on."""
    largest = np.iinfo(kind).max
    numbers = np.full((6, 5), largest, kind)
    numbers[2:4] = 0
    in_jax = default_backend.name == "jax"
    image = numbers if in_jax else torch.from_numpy(numbers)
    real = default_backend.array(np.linspace(0, 1, 30).reshape(6, 5), "float32")
    _, text = error(lambda: default_backend.blursim(image, real, 1))
    code, divisor = re.search(
        rf"got {kind}; convert it first: (.+), divided by (\S+) if it fills the range", text
    ).groups()
    scaled = default_backend.numpy(eval(f"{code} / {divisor}", {"x": image}))
    assert np.array_equal(scaled, numbers > 0)
    _, text = error(lambda: default_backend.blursim(real, real, 1, mask=image))
    codes = re.search(rf"got {kind}; a mask of 0 and 1 is (.+); one of 0 to {largest} is (.+)", text).groups()
    for mask in (eval(code, {"mask": image}) for code in codes):
        assert np.array_equal(np.asarray(mask), numbers > 0)
        assert default_backend.numpy(default_backend.blursim(real, 0 * real, 1, mask=mask)) > 0


@pytest.mark.parametrize("place", ["x", "mask", "alpha"])
def test_a_scalar_is_no_array_of_its_dtype(place):
    """SPEC 9.3: "expected bfloat16, got bfloat16" helps nobody."""
    scalar = jnp.zeros((1,), "bfloat16").__array__()[0]
    for backend in BACKENDS:
        arguments = {place: scalar, "alpha": 0.5} | ({"alpha": scalar} if place == "alpha" else {})
        kind, text = error(lambda b=backend, a=arguments: call(b, a))
        assert kind is TypeError
        assert "got bfloat16 scalar; " in text
        if place == "alpha":
            assert "a number is float(alpha)" in text
            call(backend, {"alpha": float(scalar)})


def test_what_the_texts_say_of_alpha_mends(default_backend):
    """SPEC 2.2, 9.1, 9.3"""
    x, y = (default_backend.array(np.linspace(0, end, 30, dtype=np.float32).reshape(6, 5)) for end in (1, 2))
    loss = lambda alpha: default_backend.numpy(default_backend.blursim(x, y, alpha))
    for alpha, names in (("1e-1", {"alpha": "1e-1"}), (lambda step: 0.1, {"alpha": lambda step: 0.1, "step": 3})):
        _, text = error(lambda a=alpha: loss(a))
        (code,) = re.findall(r"float\(alpha\)|alpha\(step\)", text)
        assert loss(eval(code, names)) == loss(0.1)
    assert loss(fractions.Fraction(1, 4)) == loss(np.float64(0.25)) == loss(0.25)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'alpha'"):
        default_backend.blursim(x, y)


def test_an_alpha_in_the_place_of_the_mask_is_told_its_own(rng):
    """SPEC 9.3: BlurSim(0.5)(x, y, 0.5)."""
    x, y = torch.tensor(rng.random((2, 6, 5)))
    kind, text = error(lambda: blursim_torch.BlurSim(0.5)(x, y, 0.3))
    assert kind is TypeError
    assert text.endswith("got float; a mask is an array; alpha is given as BlurSim(alpha) or blursim(x, y, alpha)")
    assert blursim_torch.BlurSim(0.3)(x, y) == blursim_torch.blursim(x, y, 0.3)


@pytest.mark.parametrize("name", ["y", "mask"])
def test_tensors_on_two_devices_are_told_to_move(name, rng):
    """SPEC 9.2, 9.3"""
    here = torch.tensor(rng.random((6, 5)))
    arguments = {"x": here, "y": here, "alpha": 0.5, name: here.to("meta")}
    kind, text = error(lambda: blursim_torch.blursim(**arguments))
    assert kind is ValueError
    assert f"{name}: expected an array on the device of x, cpu, got one on meta" in text
    assert text.endswith("move one of them first, with its method to()")
    moved = {key: value.to("meta") if isinstance(value, torch.Tensor) else value for key, value in arguments.items()}
    assert blursim_torch.blursim(**moved).device.type == "meta"


@pytest.mark.filterwarnings("ignore:.*nested tensors.*")
def test_nested_tensors_are_told_to_come_one_by_one(rng):
    """SPEC 9.1, 9.3"""
    x = torch.tensor(rng.random((6, 5)))
    kind, text = error(lambda: blursim_torch.blursim(torch.nested.nested_tensor([x, x]), x, 0.5))
    assert kind is TypeError
    assert text.endswith("got nested tensor; give each of x.unbind()")


def test_proxies_of_torch_fx_are_a_type_error():
    """SPEC 9.1: symbolic tracing sees no shapes."""
    for traced in (blursim_torch.BlurSim(0.5), lambda x, y: blursim_torch.blursim(x, y, 0.5)):
        kind, text = error(lambda t=traced: torch.fx.symbolic_trace(t))
        assert kind is TypeError
        assert "x: expected an array of" in text
        assert "got Proxy; " in text


class ListConfig(Sequence):
    """As OmegaConf's: a sequence that is neither a list nor a tuple."""

    def __init__(self, *entries):
        self.entries = entries

    def __getitem__(self, index):
        return self.entries[index]

    def __len__(self):
        return len(self.entries)


@pytest.mark.parametrize(
    "axes",
    [range(1, 3), [1, 2], np.array([1, 2]), np.array([1, 2], np.uint8), (np.int64(1), 2), ListConfig(1, 2)],
    ids=lambda axes: type(axes).__name__,
)
def test_axes_may_be_any_sequence_of_integers(default_backend, axes, rng):
    """SPEC 1.1, 9.1"""
    x, y = (default_backend.array(image, "float32") for image in rng.random((2, 3, 6, 5)))
    for function in (
        default_backend.blursim,
        lambda x, y, alpha, axes: default_backend.blursim_terms(x, y, axes=axes)[0],
    ):
        assert function(x, y, 0.5, axes=axes) == function(x, y, 0.5, axes=(-2, -1))
    maps = (default_backend.difference_maps(x, y, axes=a).edges for a in (axes, (-2, -1)))
    assert np.array_equal(*map(default_backend.numpy, maps))
    if default_backend.name == "torch":
        assert blursim_torch.BlurSim(0.5, axes=axes)(x, y) == blursim_torch.blursim(x, y, 0.5)


@pytest.mark.parametrize("axes", [np.array(1), 1, None], ids=str)
def test_axes_that_are_no_sequence_are_a_type_error_with_our_text(default_backend, axes):
    """SPEC 9.1, 9.3"""
    kind, text = error(lambda: call(default_backend, {"axes": axes}))
    assert kind is TypeError
    assert text.startswith(f"axes: expected one to three integers such as (-2, -1), got {axes!r}; ")


def test_a_symbolic_batch_can_be_exported_and_symbolic_pixels_are_told_why_not(rng):
    """SPEC 9.2, 9.3"""
    from jax import export

    exported = lambda *shape: export.export(jax.jit(lambda x, y: blursim_jax.blursim(x, y, 0.5, reduction="none")))(
        *[jax.ShapeDtypeStruct(shape, "float32")] * 2
    )
    n, h, w = export.symbolic_shape("n, h, w")
    for shape in ((n, h, w), (n, 6, w), (2, h, 5)):
        kind, text = error(lambda s=shape: exported(*s))
        assert kind is ValueError
        assert f"x: expected lengths that are numbers along axes=(-2, -1), got shape {shape}; " in text
        assert text.endswith("export one program for each image size: only batch axes may be symbolic")
    x, y = rng.random((2, 4, 6, 5)).astype(np.float32)
    for size in (1, 4):
        actual = exported(n, 6, 5).call(x[:size], y[:size])
        np.testing.assert_allclose(actual, blursim_jax.blursim(x[:size], y[:size], 0.5, reduction="none"), rtol=1e-6)
