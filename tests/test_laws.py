"""Laws of the definition, on images, masks and options that Hypothesis draws.

PyTorch sees any shape and option; JAX, which compiles each anew, a few of them on many images. The draws are always the
same, so that failures stay, but for `--hypothesis-profile "drawn at random"`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import reference
from backends import BACKENDS, Jax
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from options import WORDS
from tolerances import CENTRAL_DIFFERENCE_DRAWN, NOTHING_64, VALUE_64

LENGTHS = st.sampled_from([5, 6, 7, 8, 9, 11, 13, 16, 17, 31])  # even, odd, prime, small and thin
EXAMPLES = {"torch": 60, "jax": 20}


@dataclass(frozen=True)
class Program:
    """What JAX compiles for: an image's shape with its batch axis, the spatial axes, and the options."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    spectrum: str
    edges: str
    p: int
    normalization: str
    sobel_size: int
    window: int | None = None

    @property
    def options(self):
        names = ("axes", "spectrum", "edges", "p", "normalization", "sobel_size", "window")
        return {name: getattr(self, name) for name in names}

    @property
    def pixels(self):
        return np.prod([self.shape[axis] for axis in self.axes])


@st.composite
def programs(draw):
    """Any."""
    axes = draw(st.integers(1, 3))
    lengths = draw(st.lists(LENGTHS, min_size=axes, max_size=axes))
    if axes == 3:
        lengths = [min(length, 9) for length in lengths]
    size = draw(st.sampled_from([k for k in (3, 5, 7, 9) if k <= max(5, min(lengths))]))
    words = {name: draw(st.sampled_from(WORDS[name])) for name in ("spectrum", "edges", "p", "normalization")}
    window = draw(st.sampled_from([None, *(w for w in (4, 8, 16) if w <= min(lengths))]))
    batch_last = draw(st.booleans())
    shape = (*lengths, 2) if batch_last else (2, *lengths)
    named = tuple(range(-axes - batch_last, -batch_last)) if batch_last else tuple(range(-axes, 0))
    return Program(shape, tuple(draw(st.permutations(named))), sobel_size=size, window=window, **words)


COMPILED = [
    Program((2, 7, 6), (-2, -1), "magnitude", "magnitude", 1, "gain", 5),
    Program((5, 13, 2), (0, 1), "magnitude", "magnitude", 2, "area", 3),
    Program((2, 17), (-1,), "complex", "vector", 1, "area", 7),
    Program((2, 5, 6, 7), (3, 1, 2), "magnitude", "vector", 2, "gain", 5),
    Program((2, 5, 5), (-1, -2), "complex", "magnitude", 1, "gain", 3),
    Program((2, 9, 11), (-2, -1), "magnitude", "magnitude", 2, "gain", 3, 8),
]


def seeds():
    return st.integers(0, 2**32).map(np.random.default_rng)


@st.composite
def images(draw, shape):
    """Noise, or few levels, whose differences and Sobel sums are often exactly zero, or flat, or nearly black."""
    rng = draw(seeds())
    make = {
        "noise": lambda: rng.standard_normal(shape),
        "levels": lambda: rng.integers(-1, 2, shape).astype(np.float64),
        "flat": lambda: np.full(shape, rng.standard_normal()),
        "lights in the dark": lambda: np.where(rng.random(shape) < 0.05, 1.0, 0.0),
    }
    return make[draw(st.sampled_from(list(make)))]()


SCALES = st.sampled_from([1.0, 255.0, -1.0, 1e-3, 1e60, 1e-60])
LAYOUTS = st.sampled_from(["rows first", "columns first", "every other", "backwards"])


@st.composite
def masks(draw, shape):
    """Boolean or in [0, 1], with zeros and ones in it."""
    rng = draw(seeds())
    mask = np.clip(rng.uniform(-0.5, 1.5, shape), 0, 1)
    return mask > 0.5 if draw(st.booleans()) else mask


def laid(backend, array, layout):
    """The array, laid out in memory in that way, as the backend takes it."""
    if layout == "columns first":
        array = np.asfortranarray(array)
    elif layout == "every other":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        array = wide[..., ::2]
    elif layout == "backwards" and isinstance(backend, Jax):  # PyTorch has no such tensors
        array = np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    return array if isinstance(backend, Jax) else backend.arrays.from_numpy(array)


@cache
def terms(backend, program):
    """General and specific term of each image, as one compiled function where that helps."""
    options = program.options
    return backend.quick(lambda x, y, mask: backend.blursim_terms(x, y, mask=mask, reduction="none", **options))


@cache
def gradients(backend, program):
    """Of the loss for x and y."""
    loss = lambda x, y, mask: backend.blursim(x, y, 0.4, mask=mask, reduction="sum", **program.options)
    return backend.quick(backend.grad(loss, argnums=(0, 1)))


def law(**drawn):
    """Makes a test of a function of backend, program and what else is drawn for the program's shape."""

    def test_of(function):
        @pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
        def test(backend):
            @settings(
                max_examples=EXAMPLES[backend.name],
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(data=st.data())
            def every(data):
                program = data.draw(st.sampled_from(COMPILED) if isinstance(backend, Jax) else programs())
                found = {name: data.draw(make(program.shape), name) for name, make in drawn.items()}
                function(backend, program, **found)

            with backend.double_precision():
                every()

        test.__name__ = test.__qualname__ = function.__name__
        test.__doc__ = function.__doc__
        return test

    return test_of


def computed(backend, program, x, y, mask=None, layout="rows first"):
    x, y = (laid(backend, image, layout) for image in (x, y))
    mask = mask if mask is None else laid(backend, mask, "rows first")
    return np.array(backend.numpy(terms(backend, program)(x, y, mask)))


def size(program, *arrays):
    """What rounding is relative to: the root mean square of the images, in the unit of the larger term."""
    unit = max(1, reference.gain(program.sobel_size, len(program.axes)) / np.sqrt(program.pixels))
    return max(np.sqrt(np.mean(a**2)) for a in arrays) * (unit if program.normalization == "area" else 1)


@law(x=images, y=images, mask=lambda shape: st.none() | masks(shape), scale=lambda _: SCALES, layout=lambda _: LAYOUTS)
def test_terms_are_those_of_the_reference(backend, program, x, y, mask, scale, layout):
    """SPEC 1.1, 1.2, 1.3, 3.1, 3.5, 4.1, 5.1, 5.2, 6.1, 8.4"""
    x, y = scale * x, scale * y
    expected = reference.blursim_terms(x, y, mask=mask, reduction="none", **program.options)
    actual = computed(backend, program, x, y, mask, layout)
    assert np.abs(actual - expected).max() <= VALUE_64 * size(program, x, y)


@law(
    noises=lambda shape: seeds().map(lambda rng: rng.standard_normal((4, *shape))),
    mask=lambda shape: st.none() | masks(shape),
    scale=lambda _: SCALES,
)
def test_gradients_are_central_differences_of_the_reference(backend, program, noises, mask, scale):
    """SPEC 7, 1.3: the gradient is the same in any unit. Of noise, where a derivative exists."""
    x, y, *ways = noises
    step = 1e-6

    def along(t):
        moved = (image + t * way for image, way in zip((x, y), ways, strict=True))
        return reference.blursim(*moved, 0.4, mask=mask, reduction="sum", **program.options)

    expected = (along(step) - along(-step)) / (2 * step)
    arrays = (laid(backend, scale * x, "rows first"), laid(backend, scale * y, "rows first"))
    found = backend.numpy(gradients(backend, program)(*arrays, None if mask is None else laid(backend, mask, "")))
    slope = sum(np.sum(gradient * way) for gradient, way in zip(found, ways, strict=True)) * np.sign(scale)
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in found) * sum(np.sum(way**2) for way in ways))
    assert abs(slope - expected) <= CENTRAL_DIFFERENCE_DRAWN * norm


@law(x=images, y=images, factor=lambda _: st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3))
def test_terms_are_proportional_to_intensity(backend, program, x, y, factor):
    """SPEC 1.3"""
    unit, scaled = computed(backend, program, x, y), computed(backend, program, factor * x, factor * y)
    assert np.abs(scaled - abs(factor) * unit).max() <= VALUE_64 * abs(factor) * size(program, x, y)


@law(x=images, y=images, mask=lambda shape: st.none() | masks(shape), scale=lambda _: SCALES, layout=lambda _: LAYOUTS)
def test_equal_images_have_no_loss_and_others_no_negative_one(backend, program, x, y, mask, scale, layout):
    """SPEC 2.3, 7.2: nor a gradient; whatever their strides."""
    x, y = scale * x, scale * y
    assert computed(backend, program, x, y, mask).min() >= 0
    assert not np.any(computed(backend, program, x, x.copy(), mask, layout))
    given_mask = None if mask is None else laid(backend, mask, "")
    found = gradients(backend, program)(laid(backend, x, layout), laid(backend, x.copy(), "rows first"), given_mask)
    assert not np.any(backend.numpy(found))


@law(x=images, y=images, scale=lambda _: SCALES)
def test_terms_are_exactly_symmetric(backend, program, x, y, scale):
    """SPEC 2.4"""
    x, y = scale * x, scale * y
    assert np.array_equal(computed(backend, program, x, y), computed(backend, program, y, x))


@law(x=images, y=images)
def test_area_is_gain_times_the_gain_of_the_kernel_over_root_area(backend, program, x, y):
    """SPEC 5.2, 5.3, 10.4"""
    other = {"area": "gain", "gain": "area"}[program.normalization]
    both = {
        program.normalization: computed(backend, program, x, y),
        other: reference.blursim_terms(x, y, reduction="none", **{**program.options, "normalization": other}),
    }
    factor = reference.gain(program.sobel_size, len(program.axes)) / np.sqrt(program.pixels)
    for expected, actual in ((both["gain"][0], both["area"][0]), (factor * both["gain"][1], both["area"][1])):
        assert np.abs(actual - expected).max() <= VALUE_64 * max(1, factor) * max(np.abs(x).max(), np.abs(y).max())


@law(x=images, y=images, mask=masks, outside=lambda _: st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
def test_what_is_outside_the_mask_does_not_count(backend, program, x, y, mask, outside):
    """SPEC 6.2, 6.3"""
    hidden = np.where(mask == 0, outside, x)
    assert np.array_equal(computed(backend, program, hidden, y, mask), computed(backend, program, x, y, mask))
    assert not np.any(computed(backend, program, np.where(mask == 0, outside, y), y, mask))


@law(x=images, constant=lambda _: st.floats(-10, 10))
def test_edges_are_blind_to_constants(backend, program, x, constant):
    """SPEC 10.3"""
    _, specific = computed(backend, program, x, x + constant)
    assert np.abs(specific).max() <= NOTHING_64 * size(program, x, x + constant)


@law(x=images)
def test_magnitudes_are_blind_to_contrast_inversion_and_nothing_else_is(backend, program, x):
    """SPEC 10.1"""
    inverse = 2 * x.mean(program.axes, keepdims=True) - x
    general, specific = computed(backend, program, x, inverse)
    contrast = x.std()
    assume(contrast > 0.1)
    whole_magnitudes = program.spectrum == "magnitude" and program.window is None
    for term, blind in ((general, whole_magnitudes), (specific, program.edges == "magnitude")):
        if blind:
            assert np.abs(term).max() <= NOTHING_64 * size(program, x)
        else:
            assert term.max() > 1e-4 * contrast


@law(x=images, steps=lambda shape: st.tuples(*(st.integers(-n, n) for n in shape)), mirrored=lambda _: st.booleans())
def test_magnitudes_of_the_spectrum_are_blind_to_circular_shifts_and_point_reflection(
    backend, program, x, steps, mirrored
):
    """SPEC 10.2"""
    assume(program.spectrum == "magnitude" and program.window is None)
    moved = np.roll(x, [steps[axis] for axis in program.axes], program.axes)
    moved = np.flip(moved, program.axes).copy() if mirrored else moved
    general, _ = computed(backend, program, x, moved)
    assert np.abs(general).max() <= NOTHING_64 * size(program, x)


@pytest.mark.parametrize("p", [1, 2])
def test_magnitudes_learn_the_power_of_the_targets_noise(backend, p, rng):
    """SPEC 10.5: against noisy targets noise of its own is better than none, but not where complex numbers are seen."""
    down, across = np.indices((32, 40)) / 8
    clean = np.broadcast_to(np.sin(down) * np.cos(across), (20, 32, 40))
    noisy, other = clean + 0.1 * rng.standard_normal((2, *clean.shape))
    general = lambda x, y: [backend.blursim(x, y, 0, p=p, spectrum=word) for word in WORDS["spectrum"]]
    (without, seen_without), (with_noise, seen_with) = (backend.run(general, x, noisy) for x in (clean, other))
    assert with_noise < 0.9 * without
    assert seen_with > 1.1 * seen_without
