"""Fixed numbers: the golden values, and the loss as it was published."""

import json
from itertools import product

import cv2
import golden
import numpy as np
import pytest
import reference
from backends import BACKENDS
from tolerances import CENTRAL_DIFFERENCE, GOLDEN, PUBLISHED, VALUE_64, distance

EXPECTED = json.loads(golden.FILE.read_text())
EXACT = BACKENDS[-1]  # PyTorch, which compiles nothing, where it is installed
SELDOM = (1, 2, 4, 6, 7)  # of JAX, which compiles each case on its own


@pytest.mark.parametrize(
    ("backend", "shape"),
    [
        pytest.param(
            backend,
            shape,
            id=f"{backend.name}-{shape}",
            marks=[pytest.mark.slow] * (backend.name == "jax" and shape in SELDOM),
        )
        for backend, shape in product(BACKENDS, range(len(golden.SHAPES)))
    ],
)
def test_losses_and_gradients_are_those_of_the_golden_table(backend, shape):
    """SPEC 8.7"""
    for name, row in golden.computed(backend, shape).items():
        np.testing.assert_allclose(row, EXPECTED[name], rtol=GOLDEN, atol=0, err_msg=name)


def test_the_golden_table_is_that_of_the_reference():
    """SPEC 8.7: what the definition says, and not only what a release computed."""
    every = {name: case for shape in range(len(golden.SHAPES)) for name, case in golden.cases(shape).items()}
    assert list(every) == list(EXPECTED)
    step = 1e-5
    for name, (x, y, mask, options) in every.items():
        loss = lambda x, y, m=mask, o=options: reference.blursim(x, y, 0.3, mask=m, **o)
        value, *norms = EXPECTED[name]
        assert distance(loss(x, y), value) < VALUE_64, name
        # Along the gradient that a backend finds the reference grows by the gradient's norm.
        gradient = EXACT.grad(lambda x, y, m, o=options: EXACT.blursim(x, y, 0.3, mask=m, **o), argnums=(0, 1))
        with EXACT.double_precision():
            for_x, for_y = (step * g / np.linalg.norm(g) for g in EXACT.run(gradient, x, y, mask))
        slopes = [(loss(x + for_x, y) - loss(x - for_x, y)), (loss(x, y + for_y) - loss(x, y - for_y))]
        assert distance(slopes, 2 * step * np.array(norms)) < CENTRAL_DIFFERENCE, name


def grey(shape):
    """An image of 8-bit grey: rings and bars, made by a formula."""
    down, across = np.indices(shape, np.float64)
    rings = np.sin(0.02 * ((down - 130) ** 2 + (across - 310) ** 2) ** 0.6)
    bars = np.sign(np.sin(0.13 * across + 0.05 * down))
    return np.round(127.5 + 80 * rings + 40 * bars).astype(np.uint8)


AS_PUBLISHED = {"spectrum": "complex", "p": 2, "normalization": "area"}
IMAGE = grey((512, 512))
OTHERS = {
    "blurred 3 x 3": (cv2.GaussianBlur(IMAGE, (3, 3), 0), 1.6480),
    "turned": (np.ascontiguousarray(IMAGE.T), 21.4063),
}


@pytest.mark.parametrize("other", OTHERS)
def test_as_published_is_the_loss_of_opencv_s_arithmetic(backend, other):
    """SPEC 5.5, 3.4, 5.2: norms of pixels and Sobel lengths of 8-bit grey, over root N and over N."""
    image, (changed, figure) = IMAGE, OTHERS[other]
    assert image.min() < 10
    assert image.max() > 245
    length = lambda a: np.hypot(*(cv2.Sobel(a, cv2.CV_64F, dx, 1 - dx, ksize=5) for dx in (0, 1)))
    pixels = np.linalg.norm(image.astype(float) - changed) / 512
    edges = np.linalg.norm(length(image) - length(changed)) / 512**2
    loss = backend.run(
        lambda x, y: backend.blursim(x, y, 0.8, **AS_PUBLISHED), image.astype(np.float64), changed.astype(np.float64)
    )
    assert loss == pytest.approx(0.2 * pixels + 0.8 * edges, rel=VALUE_64)
    assert loss == pytest.approx(figure, abs=PUBLISHED)
