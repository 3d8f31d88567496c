"""Precision: float32 against float64 on photographs and noise, half precision, mixed dtypes, autocast, range."""

from functools import cache

import jax
import numpy as np
import pytest
import reference
import torch
from backends import BACKENDS
from options import EXTREMES, SEEN, combinations, ids
from scipy.ndimage import gaussian_filter
from skimage import data
from tolerances import GRADIENT_32, GRADIENT_32_MEANS, VALUE_32, VALUE_64, distance

import blursim_jax
import blursim_torch


def blurred(image, sigma):
    return gaussian_filter(image, (sigma, sigma, 0)[: image.ndim])


def photograph(name):
    """One channel, in [0, 1]."""
    image = getattr(data, name)() / 255
    return image[..., 1:2] if image.ndim == 3 else image[..., None]


PAIRS = {
    "camera, blurred": lambda rng: (blurred(photograph("camera"), 1), photograph("camera")),
    "camera, noisy": lambda rng: (
        photograph("camera") + 0.01 * rng.standard_normal((512, 512, 1)),
        photograph("camera"),
    ),
    "astronaut, much blurred": lambda rng: (blurred(photograph("astronaut"), 4), photograph("astronaut")),
    "coffee, odd": lambda rng: (blurred(photograph("coffee"), 2)[:397, :499], photograph("coffee")[:397, :499]),
    "astronaut and coffee": lambda rng: (photograph("astronaut")[:397, :499], photograph("coffee")[:397, :499]),
    "noise": lambda rng: rng.random((2, 512, 512, 1)),
    "odd noise": lambda rng: rng.random((2, 97, 131, 1)),
}


def of_both_terms(backend, **options):
    """A function of x and y: both terms, and the gradients of each for x and for y."""
    terms = lambda x, y: backend.blursim_terms(x, y, axes=(-3, -2), **options)
    gradients = lambda i: backend.grad(lambda x, y: terms(x, y)[i], argnums=(0, 1))
    return lambda x, y: [terms(x, y), [*gradients(0)(x, y), *gradients(1)(x, y)]]


def terms_and_gradients(backend, x, y, **options):
    """Both terms, and the gradients of each for x and for y."""
    return backend.run(of_both_terms(backend, **options), x, y)


@cache
def of_extremes(backend):
    """Always the same function, so that JAX compiles it once for each size of image."""
    every = [of_both_terms(backend, **options) for options in EXTREMES]
    return lambda x, y: [both(x, y) for both in every]


@pytest.mark.parametrize("pair", PAIRS)
def test_float32_is_close_to_float64(backend, pair, rng):
    """SPEC 8.4, 7.1, 7.2: each of the image in its own precision, so that 8-bit values cancel where they should."""
    exact = [np.asarray(image) for image in PAIRS[pair](rng)]
    of_exact, of_rounded = (
        backend.run(of_extremes(backend), *(image.astype(dtype) for image in exact)) for dtype in ("float64", "float32")
    )
    for options, (exact_terms, exact_gradients), (terms, gradients) in zip(EXTREMES, of_exact, of_rounded, strict=True):
        assert max(map(distance, exact_terms, reference.blursim_terms(*exact, axes=(-3, -2), **options))) < VALUE_64
        assert max(map(distance, terms, exact_terms)) < VALUE_32
        tolerance = GRADIENT_32 if options["p"] == 2 else GRADIENT_32_MEANS
        assert max(map(distance, gradients, exact_gradients)) < tolerance, options


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
    """SPEC 8.1"""
    x, y, mask = rng.random((3, 5, 6))
    x, y = backend.array(x, "float32"), backend.array(y, "float32")
    loss = backend.quick(lambda x, y, a, m: backend.blursim(x, y, a, mask=m))
    assert backend.dtype(loss(x, y, backend.array(np.array(0.4)), backend.array(mask))) == "float32"


def test_without_x64_float64_becomes_float32_in_jax(rng):
    """SPEC 8.2"""
    x, y = rng.random((2, 9, 14))
    loss, gradient = jax.jit(jax.value_and_grad(blursim_jax.blursim))(x, y, 0.4)
    assert loss.dtype == gradient.dtype == np.float32
    assert distance(loss, reference.blursim(x, y, 0.4)) < VALUE_32
    assert jax.eval_shape(blursim_jax.difference_maps, x, y).spectrum.dtype == np.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", combinations("spectrum", "edges"), ids=ids)
def test_autocast_changes_nothing(options, dtype, rng):
    """SPEC 8.3"""
    x, y = (torch.tensor(image, dtype=torch.float32) for image in rng.random((2, 3, 32, 31)))

    def value_and_gradient(enabled):
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            loss = blursim_torch.blursim(x.requires_grad_(), y, 0.4, **options)
            return loss, *torch.autograd.grad(loss, x)

    for actual, expected in zip(value_and_gradient(True), value_and_gradient(False), strict=True):
        assert actual.dtype == torch.float32
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("options", EXTREMES[:2], ids=ids)
@pytest.mark.parametrize("scale", [1e-12, 1e17 / (31 * 24)])
def test_squares_have_room_in_float32(backend, options, scale, rng):
    """SPEC 8.5, 1.3"""
    x, y = rng.random((2, 31, 24, 1))
    exact_terms, exact_gradients = terms_and_gradients(backend, x, y, **options)
    terms, gradients = terms_and_gradients(backend, *(scale * np.stack([x, y])).astype(np.float32), **options)
    assert distance(terms, scale * np.array(exact_terms)) < VALUE_32
    assert max(map(distance, gradients, exact_gradients)) < GRADIENT_32


def test_squares_below_the_smallest_normal_number_count_as_zero(backend):
    """SPEC 7.1, 8.5: |X| at DC is 25 pixels, 0.75e-19 and 1.5e-19, of which the smallest normal square is 1.08e-19."""
    ones = np.ones((5, 5), np.float32)
    loss = lambda x: backend.blursim(x, 0 * x, 0)
    both = lambda x: [loss(x), backend.grad(loss)(x)]
    value, gradient = backend.run(both, np.float32(3e-21) * ones)
    assert value == 0
    assert not gradient.any()
    value, gradient = backend.run(both, np.float32(6e-21) * ones)
    assert distance(value, 6e-21) < VALUE_32
    assert distance(gradient, ones / 25) < GRADIENT_32


def test_lengths_whose_squares_underflow_count_as_zero(backend):
    """SPEC 8.5: gx is 128 times the slope, of y 0.64e-19: its square is below the smallest normal number."""
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    x, y = np.float32(1e-20) * ramp, np.float32(5e-22) * ramp
    value, without = backend.run(lambda x, y: [backend.blursim(x, y, 1), backend.blursim(x, 0 * y, 1)], x, y)
    assert value == without > 0


def test_magnitudes_that_underflow_give_no_gradient(backend, rng):
    """SPEC 7.1, 8.5"""
    x, y = (1e-25 * rng.random((2, 7, 6, 1))).astype(np.float32)
    for options in EXTREMES[:2]:
        terms, gradients = terms_and_gradients(backend, x, y, **options)
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


@pytest.mark.parametrize("bright", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("p", [1, 2])
def test_one_bright_pixel_leaves_the_edge_gradient_elsewhere(backend, bright, p, rng):
    """SPEC 7.1: what lies under the kernel decides which Sobel vector is rounding."""
    x, y = rng.random((2, 64, 64)).astype(np.float32)
    x[20, 30] = bright
    edges = lambda x, y: backend.blursim_terms(x, y, p=p).specific
    exact = backend.run(backend.grad(edges), *map(np.float64, (x, y)))
    gradient = backend.run(backend.grad(edges), x, y)
    near = np.zeros((64, 64), bool)
    near[15:26, 25:36] = True
    assert np.abs(exact[~near]).max() > 0
    assert distance(gradient[~near], exact[~near]) < 1e-3  # the norm has the rounding of the bright pixel in it


@pytest.mark.parametrize("size", [3, 9, 11, 33, 35, 39, 67, 127])
def test_kernels_of_every_size_are_right_in_float32(default_backend, size):
    """SPEC 4.1, 7.1, 8.4: a wide kernel leaves little of noise; of a photograph there is something left.

    Both backends are compared with PyTorch in float64.
    """
    x, y = photograph("camera")[100:228, 100:228, 0], blurred(photograph("camera"), 3)[100:228, 100:228, 0]
    x, y = x.astype(np.float32), y.astype(np.float32)
    words = ("gain",) if size > 63 else ("gain", "area")  # beyond, "area" itself is above float32

    def values_and_gradients(backend, *images):
        term = lambda word: lambda x, y: backend.blursim_terms(x, y, sobel_size=size, normalization=word).specific
        every = [(term(word), backend.grad(term(word))) for word in words]
        return backend.run(lambda x, y: [[of(x, y) for of in both] for both in every], *images)

    exact = values_and_gradients(BACKENDS[1], x.astype(np.float64), y.astype(np.float64))
    for (value, gradient), (exact_value, exact_gradient) in zip(
        values_and_gradients(default_backend, x, y), exact, strict=True
    ):
        assert distance(value, exact_value) < 1e-4  # differences of lengths that 126 steps of averaging made alike
        assert distance(gradient, exact_gradient) < 1e-2


@pytest.mark.parametrize("p", [1, 2])
def test_scale_of_a_large_kernel_overflows_nothing_that_fits(default_backend, p):
    """SPEC 5.1, 7.3: sqrt(N) times the value is above float32, and of equal images it is 0 with its gradient."""
    down, across = np.indices((99, 99), np.float32) / 50
    edges = lambda size: lambda x, y: default_backend.blursim_terms(x, y, p=p, sobel_size=size).specific
    exact = BACKENDS[1].run(
        lambda x, y: BACKENDS[1].blursim_terms(x, y, p=p, sobel_size=69).specific, *map(np.float64, (down, across**2))
    )
    assert distance(default_backend.run(edges(69), down, across**2), exact) < VALUE_32
    value, gradient = default_backend.run(lambda x: [edges(99)(x, x), default_backend.grad(edges(99))(x, x)], down)
    assert value == 0
    assert not gradient.any()


def test_equal_values_are_equal_whatever_their_strides(rng):
    """SPEC 2.3"""
    x = torch.tensor(rng.random((3, 31, 24)), dtype=torch.float32)
    turned = x.mT.contiguous().mT
    assert turned.stride() != x.stride()
    for options in SEEN:
        leaf = turned.clone(memory_format=torch.preserve_format).requires_grad_()
        assert leaf.stride() == turned.stride()
        loss = blursim_torch.blursim(leaf, x, 0.4, **options)
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert loss == 0
        assert not gradient.any()


@pytest.mark.parametrize("zero_or_one", [0, 1, 0.0, 1.0])
def test_alpha_0_or_1_computes_one_term(default_backend, zero_or_one, rng):
    """SPEC 2.2: the other one, infinite, would make it NaN."""
    x, y = rng.random((2, 6, 7)).astype(np.float32)
    big = 1e18  # of which the DFT overflows when squared, and the Sobel vectors over their gain do not
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
