"""Gradients: both backends against each other, against differences of the reference, and where no derivative exists."""

from functools import cache

import numpy as np
import pytest
import reference
from backends import BACKENDS, by_both
from images import FLAT, degenerate, every_pair, stripes
from options import EXTREMES, WINDOWED, WORDS, ids
from tolerances import CENTRAL_DIFFERENCE, GRADIENT_64, NOTHING_64, VALUE_64, distance

EVERY = [*EXTREMES, WINDOWED]
CASES = [
    ((5, 5), (-2, -1), 5),
    ((7, 7), (-2, -1), 7),
    ((2, 6, 5, 3), (-3, -2), 3),
    ((3, 9), (-1,), 5),
    ((5, 6, 5, 2), (2, 0, 1), 3),
]


def gradients(backend, arrays, alpha, mask, options):
    """Of the mean loss for x, y, alpha and mask, for each of the options."""

    def every(*arrays):
        loss = lambda x, y, alpha, mask, o: backend.blursim(x, y, alpha, mask=mask, **o)
        return [backend.grad(lambda *a, o=o: loss(*a, o), argnums=(0, 1, 2, 3))(*arrays) for o in options]

    return backend.run(every, *arrays, alpha, mask)


@by_both
@pytest.mark.parametrize(("shape", "axes", "size"), CASES)
def test_gradients_agree_and_are_those_of_the_reference(shape, axes, size, rng):
    """SPEC 7, 8.4"""
    batch = [n for i, n in enumerate(shape) if not {i, i - len(shape)} & set(axes)]
    inputs = [*rng.random((2, *shape)), rng.random(batch), rng.uniform(0.2, 1, shape)]
    # The normalization, a factor, takes turns.
    word = WORDS["normalization"][CASES.index((shape, axes, size)) % 2]
    options = [dict(o, axes=axes, sobel_size=size, normalization=word) for o in EVERY]
    found = []
    for backend in BACKENDS:
        with backend.double_precision():
            found.append(gradients(backend, inputs[:2], *inputs[2:], options))

    for jax_gradients, torch_gradients, o in zip(*found, options, strict=True):
        for which, pair in enumerate(zip(jax_gradients, torch_gradients, strict=True)):
            assert distance(*pair) < GRADIENT_64, (o, which)

            direction = rng.standard_normal(inputs[which].shape)
            direction /= np.linalg.norm(direction)
            step = 1e-5

            def along(t, which=which, direction=direction, o=o):
                moved = [a + t * direction if i == which else a for i, a in enumerate(inputs)]
                return reference.blursim(*moved[:3], mask=moved[3], **o)

            expected = (along(step) - along(-step)) / (2 * step)
            for gradient in pair:
                assert abs(np.sum(gradient * direction) - expected) < CENTRAL_DIFFERENCE * np.linalg.norm(gradient), o


@pytest.mark.parametrize(("shape", "dtype"), [((5, 5), "float64"), ((31, 9), "float32")])
def test_a_constant_image_gets_no_gradient_from_the_lengths_of_its_edges(backend, shape, dtype, rng):
    """SPEC 7.1, 7.3: exactly none, for either p and kernels of several sizes."""
    x = degenerate(shape, dtype, FLAT)
    y = rng.random(x.shape).astype(dtype)
    sizes = [size for size in (9, 5, 3) if size <= min(shape)]

    def every(x, y):
        edges = lambda x, y, p, k: backend.blursim_terms(x, y, p=p, sobel_size=k, reduction="sum").specific
        return [
            backend.grad(lambda x, y, p=p, k=k: edges(x, y, p, k))(x, y) for p, k in zip((1, 2), sizes, strict=False)
        ]

    assert not np.any(backend.run(every, x, y))


@pytest.mark.parametrize("p", [1, 2])
def test_the_spectrum_of_a_black_image_has_a_gradient_at_dc_alone(backend, p, rng):
    """SPEC 7.1, 3.3: DC, being linear, is exempt; the other magnitudes are zero, and so is their gradient."""
    x, y = np.zeros((6, 7)), rng.random((6, 7))
    general = lambda x, y: backend.blursim_terms(x, y, p=p).general
    Y = np.abs(np.fft.fft2(y, norm="ortho"))
    # d = -|Y|; dX / dx is 1 / sqrt(N) at every pixel.
    expected = -1 / 42 if p == 1 else -Y[0, 0] / np.linalg.norm(Y) / np.sqrt(42)
    gradient = backend.run(backend.grad(general), x, y)
    assert distance(gradient, np.full((6, 7), expected / np.sqrt(42))) < GRADIENT_64


@pytest.mark.parametrize("size", [3, 5, 7])
def test_the_edge_gradient_takes_no_part_from_pixels_without_an_edge(backend, size, rng):
    """SPEC 7.1: by hand, summing over the pixels of x where the Sobel vector is not 0."""
    x, y = stripes(9, 8), rng.random((9, 8))
    x = np.where(np.arange(9)[:, None] < 5, x, 0.5)
    gy, gx = reference.sobel(x, size)
    length = np.hypot(gx, gy)
    edge = length > NOTHING_64
    assert 0 < edge.sum() < edge.size
    d = reference.edge_difference(x, y, "magnitude", size)
    # dM_2 / dx = sum of d d|grad x| / dx, over N M_2; a mean square has ||d|| = sqrt(N) M_2.
    weight = np.where(edge, d / np.where(edge, length, 1), 0) / np.linalg.norm(d) / np.sqrt(x.size)
    expected = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        impulse = np.zeros(x.shape)
        impulse[i] = 1
        hy, hx = reference.sobel(impulse, size)
        expected[i] = np.sum(weight * (gx * hx + gy * hy))
    specific = lambda x, y: backend.blursim_terms(x, y, p=2, sobel_size=size).specific
    assert distance(backend.run(backend.grad(specific), x, y), expected) < GRADIENT_64


@cache
def to_second_order(backend, seen):
    """A function of x, y, v and w, always the same: both gradients, and Hessian-vector products of all blocks."""

    def every(x, y, v, w):
        gradient = backend.grad(lambda x, y: backend.blursim(x, y, 0.4, **EVERY[seen]), argnums=(0, 1))

        def slope(x, y):
            for_x, for_y = gradient(x, y)
            return (for_x * v).sum() + (for_y * w).sum()

        return [*gradient(x, y), *backend.grad(slope, argnums=(0, 1))(x, y)]

    return every


every_option = pytest.mark.parametrize("seen", range(len(EVERY)), ids=list(map(ids, EVERY)))


@every_option
@pytest.mark.parametrize(
    ("shape", "dtype"), [pytest.param((7, 5), "float64", marks=pytest.mark.slow), ((8, 6), "float32")]
)
def test_gradients_are_finite_and_of_equal_images_zero_to_second_order(backend, seen, shape, dtype, rng):
    """SPEC 7.2, 7.3, 7.4: degenerate, faint, bright images and one of noise, each against each other."""
    noise = rng.random(shape)
    faint = np.sqrt(np.finfo(dtype).tiny) * noise
    several = np.stack([noise, 1e4 * noise, 0.1 * faint, 1e4 * faint]).astype(dtype)
    x, y = every_pair(np.concatenate([degenerate(shape, dtype), several]))
    equal = np.all(x == y, (-2, -1))
    assert equal.sum() == np.sqrt(len(x))
    v, w = rng.standard_normal((2, *x.shape)).astype(x.dtype)
    for actual in backend.run(to_second_order(backend, seen), x, y, v, w):
        assert np.isfinite(actual).all()
        assert not actual[equal].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_finite_where_magnitudes_are_hardly_large_enough_to_count(backend, dtype, rng):
    """SPEC 7.3: their squares are about the smallest normal number, those of the other image a million."""
    faint = np.sqrt(np.finfo(dtype).tiny)
    patterns = [*degenerate((7, 5), "float64"), rng.standard_normal((7, 5))]
    x = np.stack([scale * faint * image for scale in (0.3, 1, 3, 10) for image in patterns]).astype(dtype)
    y = (1e3 * rng.standard_normal(x.shape)).astype(dtype)
    gradient = lambda o: backend.grad(lambda x, y: backend.blursim(x, y, 0.4, **o), argnums=(0, 1))
    every = lambda x, y: [gradient(o)(x, y) for o in EVERY]
    for actual in backend.run(every, np.concatenate([x, y]), np.concatenate([y, x])):
        assert np.isfinite(actual).all()


@by_both
@every_option
def test_second_derivatives_agree_and_are_differences_of_the_gradient(seen, rng):
    """SPEC 7.4"""
    x, y, v, w = rng.random((4, 2, 7, 6))
    step, found = 1e-5, []
    for backend in BACKENDS:
        with backend.double_precision():
            derivatives = lambda x, y, b=backend: b.run(to_second_order(b, seen), x, y, v, w)
            ahead, behind = (derivatives(x + t * v, y + t * w)[:2] for t in (step, -step))
            found.append(derivatives(x, y)[2:])
        assert distance(found[-1], np.subtract(ahead, behind) / (2 * step)) < CENTRAL_DIFFERENCE
    assert distance(*found) < GRADIENT_64


def test_where_the_mask_is_zero_the_gradients_are(backend, rng):
    """SPEC 6.2"""
    x, y = rng.random((2, 2, 6, 7))
    mask = np.clip(rng.uniform(-0.5, 1, (2, 6, 7)), 0, 1)
    x[mask == 0] = np.nan
    gradient = backend.grad(lambda x, y, mask: backend.blursim(x, y, 0.4, mask=mask), argnums=(0, 1, 2))
    for_x, for_y, for_mask = backend.run(gradient, x, y, mask)
    assert np.array_equal(for_x[mask == 0], np.zeros_like(for_x[mask == 0]))
    assert np.array_equal(for_mask[mask == 0], np.zeros_like(for_mask[mask == 0]))
    assert np.isfinite([for_x, for_y, for_mask]).all()
    assert np.all(for_x[mask > 0])


def test_the_gradient_for_alpha_is_the_difference_of_the_terms(backend, rng):
    """SPEC 2.1, 7"""
    x, y = rng.random((2, 3, 6, 7))
    gradient = backend.grad(lambda x, y, alpha: backend.blursim(x, y, alpha, reduction="sum"), argnums=2)
    general, specific = reference.blursim_terms(x, y, reduction="none")
    assert distance(backend.run(gradient, x, y, np.full(3, 0.4)), specific - general) < VALUE_64


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_an_upstream_gradient_scales_each_image(backend, reduction, rng):
    """SPEC 5.4, 7"""
    x, y = rng.random((2, 3, 6, 7))
    weights = np.array([0.0, 2.0, -1.0]) if reduction == "none" else np.array(3.0)
    loss = lambda x, y, w: (w * backend.blursim(x, y, 0.4, reduction=reduction)).sum()
    one = backend.grad(lambda x, y: backend.blursim(x, y, 0.4, reduction="sum"))
    scale = {"mean": 1, "sum": 3, "none": weights[..., None, None]}[reduction]
    assert distance(backend.run(backend.grad(loss), x, y, weights), scale * backend.run(one, x, y)) < GRADIENT_64


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float16", "bfloat16"), ("float32", "float64")])
def test_a_gradient_has_the_dtype_of_its_array(backend, dtypes, rng):
    """SPEC 7.5"""
    x, y = (backend.array(a, dtype) for a, dtype in zip(rng.random((2, 6, 7)), dtypes, strict=True))
    alpha, mask = backend.array(np.array(0.4), "float16"), backend.array(rng.random((6, 7)), "bfloat16")
    loss = lambda x, y, alpha, mask: backend.blursim(x, y, alpha, mask=mask)
    found = backend.quick(backend.grad(loss, argnums=(0, 1, 2, 3)))(x, y, alpha, mask)
    assert [backend.dtype(gradient) for gradient in found] == [*dtypes, "float16", "bfloat16"]
