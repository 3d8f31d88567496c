"""Bad input: the same class and text in both backends, eager, traced, compiled, and on arrays that hold no values."""

import fractions
import re
from collections.abc import Sequence

import jax
import numpy as np
import pytest
import torch
from backends import BACKENDS, Jax
from PIL import Image

import blursim_jax
import blursim_torch
from blursim_jax._checks import INTEGERS

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
    ("four axes", {"axes": (0, 1, 2, 3)}, ValueError, "got (0, 1, 2, 3); signals, images and volumes have so many"),
    (
        "a range of four axes",
        {"axes": range(4)},
        ValueError,
        "expected one to three integers such as (-2, -1), got range",
    ),
    ("axes in a word", {"axes": "12"}, TypeError, "got '12'"),
    ("an array of fractions as axes", {"axes": np.array([1.0, 2.0])}, TypeError, "got array([1., 2.])"),
    ("one axis number", {"axes": -1}, TypeError, "got -1"),
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
        "got 2 x 6; channels last is axes=(-3, -2); else take larger images",
    ),
    ("a thin volume", {"axes": (0, 1, 2)}, ValueError, "sobel_size=3 (5 pixels), or of a thin volume its slices"),
    (
        "channels last by mistake",
        {"x": ((2, 8, 8, 3), "float32"), "y": ((2, 8, 8, 3), "float32")},
        ValueError,
        "got 8 x 3; channels last is axes=(-3, -2)",
    ),
    ("an even kernel", {"sobel_size": 4}, ValueError, "sobel_size: expected an odd integer from 3 to 31, got 4"),
    ("a kernel of 1", {"sobel_size": 1}, ValueError, "got 1"),
    ("a kernel of 33", {"sobel_size": 33}, ValueError, "from 3 to 31, got 33; 5 is the default"),
    ("a fractional kernel", {"sobel_size": 5.0}, TypeError, "expected an odd integer from 3 to 31, got 5.0"),
    ("a boolean kernel", {"sobel_size": True}, TypeError, "got True"),
    ("a word", {"spectrum": "phase"}, ValueError, "spectrum: expected 'magnitude' or 'complex', got 'phase'"),
    ("no word", {"edges": None}, ValueError, "edges: expected 'magnitude' or 'vector', got None"),
    ("a word in capitals", {"normalization": "GAIN"}, ValueError, "expected 'area' or 'gain', got 'GAIN'"),
    ("the old word", {"normalization": "rms"}, ValueError, "normalization: expected 'area' or 'gain', got 'rms'"),
    ("another norm", {"p": 3}, ValueError, "p: expected 1 or 2, got 3; 1 is the mean, 2 the root mean square"),
    ("a norm in words", {"p": "1"}, TypeError, "p: expected 1 or 2, got '1'"),
    ("a boolean norm", {"p": True}, TypeError, "p: expected 1 or 2, got True"),
    ("no norm", {"p": float("nan")}, ValueError, "p: expected 1 or 2, got nan"),
    ("a reduction", {"reduction": "max"}, ValueError, "reduction: expected 'mean', 'sum' or 'none', got 'max'"),
    ("alpha above 1", {"alpha": 1.5}, ValueError, "alpha: expected a number in [0, 1], got 1.5; 0 is the general"),
    ("alpha below 0", {"alpha": -1}, ValueError, "got -1"),
    ("alpha not a number", {"alpha": float("nan")}, ValueError, "got nan"),
    ("boolean alpha", {"alpha": True}, TypeError, "alpha: expected a number in [0, 1] or an array of"),
    ("no alpha", {"alpha": None}, TypeError, "got NoneType; 0.3 is a good first choice"),
    ("alpha in words", {"alpha": "1e-1"}, TypeError, "got str; 0.3 is a good first choice; convert with float(alpha)"),
    ("an alpha beyond all floats", {"alpha": 10**400}, ValueError, "got one beyond 1e9"),
    ("an alpha as far below", {"alpha": -(10**400)}, ValueError, "alpha: expected a number in [0, 1]"),
    ("a fraction above 1", {"alpha": fractions.Fraction(4, 3)}, ValueError, "got 4/3"),
    ("a complex alpha", {"alpha": 0.5 + 0j}, TypeError, "got complex"),
    ("alphas in a list", {"alpha": [0.5, 0.5]}, TypeError, "an array for one weight per image"),
    ("boolean alphas", {"alpha": ((2,), "bool")}, TypeError, f"or an array of {FLOATS} or integers, got bool"),
    ("a schedule", {"alpha": max}, TypeError, "call a schedule with the step: alpha(step)"),
    ("too many alphas", {"alpha": ((3,), "float32")}, ValueError, "broadcasts to the batch shape (2,), got (3,)"),
    (
        "alphas for pixels",
        {"alpha": ((2, 6, 5), "float32")},
        ValueError,
        "of NCHW images (N, 1) is per picture, (C,) per channel",
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
        "of NCHW images (N, 1, H, W) is one per picture",
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
    of_jax, of_torch = (error(lambda b=backend: call(b, arguments)) for backend in BACKENDS)
    assert of_jax == of_torch
    assert of_jax[0] is kind
    assert text in of_jax[1]
    assert ": expected " in of_jax[1]
    assert ", got " in of_jax[1]


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
    other = {"alpha"} if function == "blursim_terms" else {"alpha", "mask", "normalization", "reduction", "p"}
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


@pytest.mark.parametrize("kind", INTEGERS)
def test_each_integer_type_is_told_its_own_range_and_the_mend_mends(backend, kind):
    """SPEC 9.1, 9.3: 255 for uint8, 65535 for uint16 and so on."""
    largest = np.iinfo(kind).max
    divisor = (
        f"{largest}.0" if kind.endswith("64") else str(largest)
    )  # JAX takes no Python int of 64 bits without a sign
    numbers = np.full((6, 5), largest, kind)
    numbers[2:4] = 0
    # PyTorch makes no tensors of a list of such numbers, but takes NumPy's.
    image = backend.array(numbers) if isinstance(backend, Jax) else torch.from_numpy(numbers)
    real = backend.array(np.linspace(0, 1, 30).reshape(6, 5), "float32")
    _, text = error(lambda: backend.blursim(image, real, 1))
    assert text.endswith(
        f"got {kind}; convert it first: to float32, divided by {divisor} if it fills the range of {kind}"
    )
    mended = (image.astype("float32") if isinstance(backend, Jax) else image.to(torch.float32)) / eval(divisor)
    assert backend.numpy(mended).max() == 1
    assert backend.numpy(backend.blursim(mended, real, 1)) > 0

    _, text = error(lambda: backend.blursim(real, real, 1, mask=image))
    assert f"got {kind}; a mask of 0 and 1 is mask " in text
    assert text.endswith(f"; one of 0 to {largest} is mask / {divisor}")
    (code,) = re.findall("mask [!>]=? 0", text)
    for mended in (eval(code, {"mask": image}), image / eval(divisor)):
        assert np.array_equal(backend.numpy(mended), numbers > 0)
        assert backend.numpy(backend.blursim(real, 0 * real, 1, mask=mended)) > 0


def test_boolean_images_are_told_to_become_float32(default_backend):
    """SPEC 9.1, 9.3"""
    image = default_backend.array(np.eye(6, 5, dtype=bool))
    _, text = error(lambda: default_backend.blursim(image, image, 0.5))
    assert text.endswith("got bool; convert it first, to float32")
    mended = image.astype("float32") if isinstance(default_backend, Jax) else image.to(torch.float32)
    assert default_backend.numpy(default_backend.blursim(mended, mended, 0.5)) == 0


def test_what_a_text_says_of_pil_images_mends(default_backend):
    """SPEC 9.1, 9.3: made an array they are uint8, of which the next text says how to go on."""
    package = "jax" if isinstance(default_backend, Jax) else "torch"
    image = Image.fromarray(np.full((6, 5), 255, np.uint8))
    kind, text = error(lambda: default_backend.blursim(image, image, 0.5))
    assert kind is TypeError
    assert "got Image; convert it first, with " in text
    codes = text.split("convert it first, with ")[1].split(" or ")
    (code,) = (code for code in codes if code.startswith(package))
    array = eval(code.replace("...", "image"), {"torch": torch, "jax": jax, "numpy": np, "image": image})
    _, text = error(lambda: default_backend.blursim(array, array, 0.5))
    assert "got uint8; convert it first: to float32, divided by 255" in text
    for given in ([[0.5] * 5] * 6, np.full((6, 5), 0.5)):
        array = eval(code.replace("...", "given"), {"torch": torch, "jax": jax, "numpy": np, "given": given})
        assert default_backend.numpy(default_backend.blursim(array, array, 0.5)) == 0


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


NOT_DENSE = {
    "sparse_coo": lambda x: x.to_sparse(),
    "sparse_csr": lambda x: x.to_sparse_csr(),
    "mkldnn": lambda x: x.to_mkldnn(),
    "nested": lambda x: torch.nested.nested_tensor([x, x]),
}


@pytest.mark.filterwarnings("ignore:.*(Sparse|nested tensors|invariant checks).*")
@pytest.mark.parametrize("layout", NOT_DENSE)
@pytest.mark.parametrize("place", ["x", "y", "mask", "alpha"])
def test_tensors_that_are_not_dense_are_told_how_to_become_so(layout, place, rng):
    """SPEC 9.1, 9.3"""
    x = torch.tensor(rng.random((6, 5)), dtype=torch.float32)
    made = NOT_DENSE[layout](x)
    kind, text = error(lambda: blursim_torch.blursim(**{"x": x, "y": x, "alpha": 0.5, place: made}))
    assert kind is TypeError
    assert f"{place}: expected " in text
    assert f"got {layout} tensor; " in text
    if place != "alpha":
        assert text.endswith("convert it first: to_dense(), or of a nested tensor each of unbind()")
        mended = made.unbind()[0] if layout == "nested" else made.to_dense()
        assert blursim_torch.blursim(**{"x": x, "y": x, "alpha": 0.5, place: mended}) == 0


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


def test_checks_of_both_backends_are_the_same_but_for_one_import():
    """SPEC 9.3"""
    texts = [
        module.__spec__.loader.get_source(module.__name__) for module in (blursim_jax._checks, blursim_torch._checks)
    ]
    assert texts[0].replace("from blursim_jax.", "from blursim_torch.", 1) == texts[1]
