"""Precision: float32 against float64 on photographs and noise, half precision, mixed dtypes, autocast, range."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import reference
from backends import BACKENDS
from options import EXTREMES, SEEN, WINDOWED
from scipy.ndimage import gaussian_filter
from skimage import data
from tolerances import (
    GRADIENT_32,
    GRADIENT_32_ABOVE,
    GRADIENT_32_FLAT,
    GRADIENT_32_MEANS,
    VALUE_32,
    VALUE_64,
    distance,
)

EXACT = BACKENDS[-1]  # what computes in float64: PyTorch, which compiles nothing, where it is installed
EVERY = [*EXTREMES, WINDOWED]


def blurred(image, sigma):
    return gaussian_filter(image, sigma)


def photograph(name):
    """300 x 384 pixels of one channel, in [0, 1]."""
    image = getattr(data, name)()
    return (image[..., 1] if image.ndim == 3 else image)[:300, :384] / 255


PHOTOGRAPHS = {
    "camera, blurred": lambda rng: (blurred(photograph("camera"), 1), photograph("camera")),
    "camera, noisy": lambda rng: (photograph("camera") + 0.01 * rng.standard_normal((300, 384)), photograph("camera")),
    "camera, a little noisy": lambda rng: (
        photograph("camera") + 1e-3 * rng.standard_normal((300, 384)),
        photograph("camera"),
    ),
    "astronaut, much blurred": lambda rng: (blurred(photograph("astronaut"), 4), photograph("astronaut")),
    "clock, shifted": lambda rng: (photograph("clock")[2:, 2:], photograph("clock")[1:-1, :-2]),
    "moon, noisy": lambda rng: (photograph("moon") + 0.01 * rng.standard_normal((300, 384)), photograph("moon")),
    "astronaut and coffee": lambda rng: (photograph("astronaut"), photograph("coffee")),
}
# Images, spatial axes, Sobel size, mask.
NOISE = {
    "images": lambda rng: (rng.random((2, 300, 384)), (-2, -1), 3, None),
    "odd": lambda rng: (rng.random((2, 97, 131)), (-2, -1), 5, None),
    "thin": lambda rng: (rng.random((2, 5, 2000)), (-2, -1), 5, None),
    "wide kernel": lambda rng: (rng.random((2, 300, 384)), (-2, -1), 31, None),
    "signals": lambda rng: (rng.random((2, 20011)), (-1,), 15, None),
    "volumes": lambda rng: (rng.random((2, 40, 44, 36)), (-3, -2, -1), 5, np.clip(rng.normal(0.5, 1, (44, 36)), 0, 1)),
    "within a box": lambda rng: (rng.random((2, 128, 128)), (-2, -1), 5, np.pad(np.ones((16, 16), bool), 56)),
}
# JAX compiles for each shape and size; it has a few of them in `make test`.
SELDOM = ("odd", "wide kernel", "signals", "volumes", "within a box", "clock, shifted", "one bright pixel")
EACH = lambda names: [
    pytest.param(
        backend,
        name,
        marks=[pytest.mark.slow] * (backend.name == "jax" and name in SELDOM),
        id=f"{backend.name}-{name}",
    )
    for backend, name in product(BACKENDS, names)
]


@cache
def terms_and_gradients(backend, **options):
    """A function of x, y and mask, always the same: with EVERY option both terms, and each's gradients."""

    def every(x, y, mask):
        terms = lambda o: lambda x, y: backend.blursim_terms(x, y, mask=mask, **options, **o)
        gradients = lambda o, i: backend.grad(lambda x, y: terms(o)(x, y)[i], argnums=(0, 1))(x, y)
        return [(terms(o)(x, y), [gradients(o, 0), gradients(o, 1)]) for o in EVERY]

    return every


def compared(backend, x, y, mask=None, **options):
    """With EVERY option: the terms in float32 and float64, then each term's gradients in both, of the same images."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    mask = mask if mask is None or mask.dtype == bool else mask.astype(np.float32)
    found = backend.run(terms_and_gradients(backend, **options), x, y, mask)
    with EXACT.double_precision():
        exact = EXACT.run(terms_and_gradients(EXACT, **options), *(a.astype(np.float64) for a in (x, y)), mask)
    return x, y, mask, zip(EVERY, found, exact, strict=True)


@pytest.mark.parametrize(("default_backend", "pair"), EACH(PHOTOGRAPHS), indirect=["default_backend"])
def test_float32_is_close_to_float64_on_photographs(default_backend, pair, rng):
    """SPEC 8.4"""
    x, y, _, found = compared(default_backend, *PHOTOGRAPHS[pair](rng))
    for options, (terms, gradients), (exact_terms, exact_gradients) in found:
        assert max(map(distance, exact_terms, reference.blursim_terms(x, y, **options))) < VALUE_64
        assert max(map(distance, terms, exact_terms)) < VALUE_32, options
        off = max(map(distance, gradients, exact_gradients))
        linear = options.get("p") == 2 and options["spectrum"] == "complex"
        assert off < (GRADIENT_32 if linear else GRADIENT_32_FLAT[options.get("p", 1)]), options


@pytest.mark.parametrize(("default_backend", "kind"), EACH(NOISE), indirect=["default_backend"])
def test_float32_is_close_to_float64_on_noise(default_backend, kind, rng):
    """SPEC 8.4: images, thin ones, long signals, volumes, wide kernels and masks."""
    (x, y), axes, size, mask = NOISE[kind](rng)
    options = {"axes": axes, "sobel_size": size}
    x, y, mask, found = compared(default_backend, x, y, mask, **options)
    for seen, (terms, gradients), (exact_terms, exact_gradients) in found:
        assert max(map(distance, terms, exact_terms)) < VALUE_32, seen
        tolerance = GRADIENT_32 if seen.get("p") == 2 else GRADIENT_32_MEANS
        assert max(map(distance, gradients, exact_gradients)) < tolerance, seen


# Two images in [0, 1], to which a constant is added in float32.
ABOVE = {
    "noise": lambda rng: rng.random((2, 97, 131)),
    "photograph": lambda rng: (blurred(photograph("camera"), 1), photograph("camera")),
    "one bright pixel": lambda rng: np.where(np.arange(64 * 48).reshape(64, 48) == 500, 100, rng.random((2, 64, 48))),
}


@pytest.mark.parametrize(("constant", "tolerance"), [(1e3, 2e-6), (1e4, 1e-5), (1e5, 1e-4)], ids=str)
@pytest.mark.parametrize(("default_backend", "pair"), EACH(ABOVE), indirect=["default_backend"])
def test_constant_under_both_images_costs_float32_few_digits(default_backend, pair, constant, tolerance, rng):
    """SPEC 8.4: but for the general term of windows, which see a constant."""
    *_, found = compared(default_backend, *(constant + image for image in ABOVE[pair](rng)))
    for seen, (terms, gradients), (exact_terms, exact_gradients) in found:
        blind = slice(1 if seen == WINDOWED else 0, None)
        assert max(map(distance, terms[blind], exact_terms[blind])) < tolerance, seen
        assert max(map(distance, gradients[blind], exact_gradients[blind])) < GRADIENT_32_ABOVE, seen


@pytest.mark.parametrize("constant", [0, 1e4])
def test_float32_keeps_every_exact_promise(default_backend, constant, rng):
    """SPEC 2.3, 2.4, 6.2, 7.2, 8.6: symmetry, zeros, masks, and images with NaN, above a constant too."""
    x, y = (constant + rng.random((2, 4, 9, 14))).astype(np.float32)
    mask = rng.random((9, 14)) < 0.6
    options = [*SEEN, WINDOWED]
    loss = lambda x, y, o, **mask: default_backend.blursim(x, y, 0.4, reduction="none", **mask, **o)
    gradient = lambda x, y, o: default_backend.grad(lambda x, y: loss(x, y, o).sum(), argnums=(0, 1))(x, y)
    every = lambda x, y: [[loss(x, y, o), *gradient(x, y, o)] for o in options]
    masked = lambda x, y, mask: [loss(x, y, o, mask=mask) for o in options]
    spoilt, hidden = x.copy(), x.copy()
    spoilt[1, 3, 5], hidden[2, ~mask] = np.nan, np.nan
    run = default_backend.run
    forth, back, equal, with_nan = (run(every, *pair) for pair in ((x, y), (y, x), (x, x.copy()), (spoilt, y)))
    for there, again, none, wrong in zip(forth, back, equal, with_nan, strict=True):
        assert np.array_equal(there[0], again[0])
        assert there[0].min() > 0
        assert not any(np.any(found) for found in none)
        assert np.isnan(wrong[0][1])
        for found, right in zip(wrong, there, strict=True):
            assert np.array_equal(np.delete(found, 1, 0), np.delete(right, 1, 0))
    assert np.array_equal(run(masked, hidden, y, mask), run(masked, x, y, mask))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_the_float32_result_of_the_same_image(backend, dtype, rng):
    """SPEC 8.1, 7.5: at 1024 x 1024, where DC is ten times what float16 holds."""
    x, y = (backend.array(image, dtype) for image in rng.random((2, 1024, 1024)))
    wide = [backend.array(backend.numpy(image), "float32") for image in (x, y)]
    # Scaled, as in training with float16: of 10^6 pixels each has a gradient near the smallest float16.
    loss = lambda x, y: 1024 * backend.blursim(x, y, 0.4)
    both = backend.quick(lambda x, y: [loss(x, y), *backend.grad(loss, argnums=(0, 1))(x, y)])
    (value, *gradients), (expected_value, *expected_gradients) = both(x, y), both(*wide)
    assert backend.dtype(value) == "float32"
    assert distance(backend.numpy(value), backend.numpy(expected_value)) < VALUE_32
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        rounded = backend.numpy(backend.array(backend.numpy(expected), dtype))
        assert distance(backend.numpy(gradient), rounded) < GRADIENT_32


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float16", "bfloat16"), ("float32", "float64")])
def test_the_wider_dtype_counts(backend, dtypes, rng):
    """SPEC 8.1"""
    images = [backend.array(image, dtype) for image, dtype in zip(rng.random((2, 9, 14)), dtypes, strict=True)]
    mask = backend.array(rng.random((9, 14)), "float16")
    alpha = backend.array(np.array(0.4), "bfloat16")
    exact = [backend.numpy(a) for a in (*images, alpha)]
    computed = "float64" if "float64" in dtypes else "float32"
    tolerance = {"float32": VALUE_32, "float64": VALUE_64}[computed]
    for x, y, a, b in ((*images, *exact[:2]), (*images[::-1], *exact[1::-1])):
        loss = backend.quick(lambda x, y: backend.blursim(x, y, alpha, mask=mask))(x, y)
        assert backend.dtype(loss) == computed
        assert distance(backend.numpy(loss), reference.blursim(a, b, exact[2], mask=backend.numpy(mask))) < tolerance


def test_an_alpha_or_mask_of_float64_does_not_widen_the_computation(backend, rng):
    """SPEC 8.1: arrays, for PyTorch's scalars of float64 widen nothing anyhow."""
    x, y, mask = (backend.array(array, "float32") for array in rng.random((3, 2, 5, 6)))
    alpha = backend.array(np.array([0.4, 0.6]), "float32")
    wide = lambda array: backend.array(backend.numpy(array))
    loss = backend.quick(lambda x, y, a, m: backend.blursim(x, y, a, mask=m, reduction="none"))
    for a, m in ((wide(alpha), mask), (alpha, wide(mask))):
        assert backend.dtype(loss(x, y, a, m)) == "float32"


@pytest.mark.parametrize("scale", [1e-12, 1e17 / (31 * 24)])
def test_squares_have_room_in_float32(default_backend, scale, rng):
    """SPEC 8.5, 1.3"""
    x, y = rng.random((2, 31, 24)).astype(np.float32)
    function = terms_and_gradients(default_backend)
    for (terms, gradients), (scaled_terms, scaled_gradients) in zip(
        default_backend.run(function, x, y, None),
        default_backend.run(function, np.float32(scale) * x, np.float32(scale) * y, None),
        strict=True,
    ):
        assert distance(scaled_terms, scale * np.array(terms)) < VALUE_32
        assert max(map(distance, scaled_gradients, gradients)) < GRADIENT_32_MEANS


def test_squares_below_the_smallest_normal_number_count_as_zero(backend):
    """SPEC 7.1, 8.5: d at DC is 5 pixels, 0.75e-19 and 1.5e-19; the square of 1.08e-19 is the smallest normal one."""
    ones = np.ones((5, 5), np.float32)
    loss = lambda x: backend.blursim(x, 0 * x, 0)
    both = lambda x: [loss(x), backend.grad(loss)(x)]
    value, gradient = backend.run(both, np.float32(1.5e-20) * ones)
    assert value == 0
    assert not gradient.any()
    value, gradient = backend.run(both, np.float32(3e-20) * ones)
    assert distance(value, 3e-20 / 5) < VALUE_32
    assert distance(gradient, ones / 125) < GRADIENT_32


def test_lengths_whose_squares_underflow_count_as_zero(backend):
    """SPEC 8.5: the slope of y is 0.9e-19, whose square is below the smallest normal number."""
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    x, y = np.float32(1e-18) * ramp, np.float32(0.9e-19) * ramp
    value, without = backend.run(lambda x, y: [backend.blursim(x, y, 1), backend.blursim(x, 0 * y, 1)], x, y)
    assert without > 0
    assert distance(value, without) < VALUE_32  # a constant is subtracted from both images, another one in each call


def test_magnitudes_that_underflow_give_no_gradient(default_backend, rng):
    """SPEC 7.1, 8.5"""
    x, y = (1e-25 * rng.random((2, 31, 24))).astype(np.float32)
    for terms, gradients in default_backend.run(terms_and_gradients(default_backend), x, y, None):
        assert not np.any(terms)
        assert not np.any(gradients)


@pytest.mark.parametrize("axes", [(-1,), (-2, -1), (-3, -2, -1)])
def test_nan_or_infinity_is_that_of_its_image_and_of_no_other(backend, axes, rng):
    """SPEC 6.2, 8.6"""
    shape = (5, 6, 7)[-len(axes) :]
    x, y = rng.random((2, 4, *shape)).astype(np.float32)
    wrong = x.copy()
    wrong[1].flat[8 % wrong[1].size] = np.nan
    wrong[2].flat[3] = np.inf
    wrong[3] = np.nan
    terms = lambda x, y, o: backend.blursim_terms(x, y, axes=axes, reduction="none", **o)
    total = lambda x, y, o: sum(term.sum() for term in terms(x, y, o))
    both = lambda x, y: [[terms(x, y, o), backend.grad(lambda x, y, o=o: total(x, y, o))(x, y)] for o in SEEN]
    for options, (terms_of_x, gradient), (terms_of_wrong, gradient_of_wrong) in zip(
        SEEN, backend.run(both, x, y), backend.run(both, wrong, y), strict=True
    ):
        for right, term in zip(terms_of_x, terms_of_wrong, strict=True):
            assert not np.isfinite(term[1:]).any(), options
            assert np.isnan(term[[1, 3]]).all()
            assert right[0] == term[0]
        assert np.array_equal(gradient[0], gradient_of_wrong[0])
    # On either side, and as a loss.
    losses = backend.run(lambda x, y: [backend.blursim(y, x, 0.5, axes=axes, **o) for o in SEEN], wrong, y)
    assert not np.isfinite(losses).any()


@pytest.mark.parametrize("bright", [1e4, 1e6])
@pytest.mark.parametrize("place", [(0, 0), (20, 30), (32, 32), (63, 63)])
def test_one_bright_pixel_leaves_the_edge_gradient_elsewhere(backend, place, bright, rng):
    """SPEC 7.1, 8.4: only what lies under the kernel is rounded to its size, wherever the pixel."""
    x, y = rng.random((2, 64, 64)).astype(np.float32)
    x[place], y[place] = bright, bright / 2
    edges = lambda p: backend.grad(lambda x, y: backend.blursim_terms(x, y, p=p).specific)
    both = lambda x, y: [edges(1)(x, y), edges(2)(x, y)]
    away = np.abs(np.indices((64, 64)) - np.array(place)[:, None, None]).max(0) > 5
    for actual, exact in zip(backend.run(both, x, y), backend.run(both, *map(np.float64, (x, y))), strict=True):
        assert np.abs(exact[away]).max() > 0
        assert distance(actual[away], exact[away]) < GRADIENT_32


@pytest.mark.parametrize("size", [3, 9, 17, 31])
def test_kernels_of_every_size_are_right_in_float32(default_backend, size):
    """SPEC 4.1, 5.2, 8.4: of a photograph a wide kernel leaves something."""
    x, y = (image[100:228, 100:228] for image in (photograph("camera"), blurred(photograph("camera"), 3)))
    x, y = x.astype(np.float32), y.astype(np.float32)

    def values_and_gradient(backend, *images):
        term = lambda **o: lambda x, y: backend.blursim_terms(x, y, sobel_size=size, p=2, **o).specific
        vectors = term(edges="vector", normalization="area")
        return backend.run(lambda x, y: [term()(x, y), vectors(x, y), backend.grad(vectors)(x, y)], *images)

    with EXACT.double_precision():
        exact = values_and_gradient(EXACT, x.astype(np.float64), y.astype(np.float64))
    for actual, expected in zip(values_and_gradient(default_backend, x, y), exact, strict=True):
        assert distance(actual, expected) < VALUE_32


def test_sums_of_the_largest_kernel_stay_within_float32(default_backend, rng):
    """SPEC 4.1, 5.2, 8.5: of volumes they are 2^89 times the pixels, of which 1e10 leave room."""
    x, y = rng.random((2, 31, 32, 33)).astype(np.float32)
    edges = lambda x, y: default_backend.blursim_terms(x, y, axes=(0, 1, 2), sobel_size=31).specific
    unit, large = default_backend.run(lambda x, y: [edges(x, y), edges(1e10 * x, 1e10 * y)], x, y)
    assert distance(large, 1e10 * unit) < VALUE_32


@pytest.mark.parametrize("zero_or_one", [0, 1, 0.0, 1.0])
def test_alpha_0_or_1_computes_one_term(default_backend, zero_or_one, rng):
    """SPEC 2.2: the other one, infinite, would make it NaN."""
    x, y = rng.random((2, 6, 7)).astype(np.float32)
    big = 1e19  # whose DFT, at DC 6.5 times as much, overflows when squared, and the Sobel vectors do not
    value = default_backend.run(lambda x, y: default_backend.blursim(big * x, big * y, zero_or_one), x, y)
    other = default_backend.run(lambda x, y: default_backend.blursim_terms(big * x, big * y), x, y)
    assert np.array_equal(value, other[int(zero_or_one)])


def test_integer_alphas_are_weights(default_backend, rng):
    """SPEC 2.2"""
    x, y = rng.random((2, 2, 6, 7)).astype(np.float32)
    loss = lambda x, y, alpha: default_backend.blursim(x, y, alpha, reduction="none")
    general, specific = reference.blursim_terms(x, y, reduction="none")
    actual = default_backend.run(loss, x, y, np.array([0, 1]))
    assert distance(actual, [general[0], specific[1]]) < VALUE_32
