"""Bad input: the same class and text in both backends, eager, traced, compiled, and on arrays that hold no values."""

import jax
import pytest
import torch
from backends import BACKENDS, Jax

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
    ("one axis", {"x": ((6,), "float32"), "y": ((6,), "float32")}, ValueError, "at least the 2 axes that axes=(-2, -1)"),
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
    ("no axes named", {"axes": ()}, TypeError, "axes: expected one or more integers such as (-2, -1), got ()"),
    ("four axes of three", {"axes": (0, 1, 2, 3)}, ValueError, "expected at least the 4 axes that axes=(0, 1, 2, 3)"),
    ("one axis number", {"axes": -1}, TypeError, "got -1"),
    ("fractional axes", {"axes": (0.0, 1.0)}, TypeError, "got (0.0, 1.0)"),
    ("boolean axes", {"axes": (False, True)}, TypeError, "got (False, True)"),
    ("an empty batch", {"x": ((0, 6, 5), "float32"), "y": ((0, 6, 5), "float32")}, ValueError, "skip empty batches"),
    ("empty images", {"x": ((2, 6, 0), "float32"), "y": ((2, 6, 0), "float32")}, ValueError, "at least one image"),
    ("small images", {"sobel_size": 11}, ValueError, "at least 11 pixels along each of axes=(-2, -1) for sobel_size=11"),
    ("wrong axes", {"axes": (-3, -2)}, ValueError, "got 2 x 6; channels last is axes=(-3, -2); else take larger images"),
    ("a thin volume", {"axes": (0, 1, 2)}, ValueError, "sobel_size=3 (5 pixels), or of a thin volume its slices"),
    (
        "channels last by mistake",
        {"x": ((2, 8, 8, 3), "float32"), "y": ((2, 8, 8, 3), "float32")},
        ValueError,
        "got 8 x 3; channels last is axes=(-3, -2)",
    ),
    ("an even kernel", {"sobel_size": 4}, ValueError, "sobel_size: expected an odd integer >= 3, got 4"),
    ("a kernel of 1", {"sobel_size": 1}, ValueError, "got 1"),
    ("a fractional kernel", {"sobel_size": 5.0}, TypeError, "sobel_size: expected an odd integer >= 3, got 5.0"),
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
    ("no alpha", {"alpha": None}, TypeError, "got NoneType"),
    ("alpha in words", {"alpha": "0.5"}, TypeError, "got str"),
    ("boolean alphas", {"alpha": ((2,), "bool")}, TypeError, f"or an array of {FLOATS} or integers, got bool"),
    ("a schedule", {"alpha": max}, TypeError, "a schedule is called with the step: alpha(step)"),
    ("too many alphas", {"alpha": ((3,), "float32")}, ValueError, "broadcasts to the batch shape (2,), got (3,)"),
    ("alphas for pixels", {"alpha": ((2, 6, 5), "float32")}, ValueError, "of NCHW images (N, 1) is per picture, (C,) per channel"),
    ("alphas for more", {"alpha": ((1, 2), "float32")}, ValueError, "got (1, 2)"),
    (
        "an integer mask",
        {"mask": ((6, 5), "int32")},
        TypeError,
        f"mask: expected an array of bool, {FLOATS}, got int32",
    ),
    ("a mask in a list", {"mask": [[True]]}, TypeError, "mask: expected an array of bool"),
    ("a mask of another shape", {"mask": ((5, 6), "bool")}, ValueError, "to that of x, (2, 6, 5), got (5, 6)"),
    ("a mask of more axes", {"mask": ((1, 2, 6, 5), "bool")}, ValueError, "of NCHW images (N, 1, H, W) is one per picture"),
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
