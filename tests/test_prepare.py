"""A prepared target stands for its image (SPEC 13)."""

import numpy as np
import pytest
from backends import BACKENDS

OPTIONS = [
    {},
    {"spectrum": "complex"},
    {"edges": "vector", "sobel_size": 3},
    {"axes": (-3, -2), "sobel_size": 7},
    {"spectrum": "complex", "edges": "vector"},
]


@pytest.fixture
def images(rng):
    return rng.random((2, 3, 9, 11, 8))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_target_gives_the_loss_and_gradient_of_its_image(backend, images, rng, options, masked):
    """SPEC 13.1"""
    x, y = images
    mask = rng.random(x.shape) if masked else None

    def loss(x, y, mask):
        return backend.blursim(x, y, 0.3, mask=mask, normalization="gain", **options)

    def prepared(x, y, mask):
        return loss(x, backend.package.prepare(y, **options), mask)

    # The same operations in another program: the last bit may differ.
    np.testing.assert_allclose(backend.run(prepared, x, y, mask), backend.run(loss, x, y, mask), rtol=1e-14)
    gradient = backend.run(backend.grad(loss), x, y, mask)
    np.testing.assert_allclose(backend.run(backend.grad(prepared), x, y, mask), gradient, atol=1e-14, rtol=0)


def test_no_gradient_flows_through_a_target(backend, images):
    """SPEC 13.2"""
    x, y = images
    for options in OPTIONS:
        gradient = backend.run(
            lambda x, y, o=options: backend.grad(
                lambda y: backend.blursim(x, backend.package.prepare(y, **o), 0.3, **o) + 0 * y.sum()
            )(y),
            x,
            y,
        )
        assert not gradient.any()


@pytest.mark.parametrize(
    ("name", "value"), [("axes", (-3, -2)), ("spectrum", "complex"), ("edges", "vector"), ("sobel_size", 7)]
)
def test_target_prepared_otherwise_is_an_error_with_one_text(images, name, value):
    """SPEC 13.3"""
    texts = set()
    for backend in BACKENDS:
        x, y = (backend.array(image.astype(np.float32)) for image in images)
        with pytest.raises(ValueError, match=f"prepared with {name}=") as raised:
            backend.blursim(x, backend.package.prepare(y), 0.3, **{name: value})
        texts.add(str(raised.value))
    assert len(texts) == 1


def test_double_precision_needs_a_target_in_double_precision(backend, images):
    """SPEC 13.3"""
    x, y = images
    with pytest.raises(ValueError, match="float64 target"):
        backend.blursim(backend.array(x), backend.package.prepare(backend.array(y.astype(np.float32))), 0.3)


def test_target_can_be_an_argument_of_a_compiled_function(default_backend, images):
    """SPEC 13.1"""
    x, y = (default_backend.array(image.astype(np.float32)) for image in images)
    target = default_backend.package.prepare(y)
    compiled = default_backend.compile(lambda x, target: default_backend.blursim(x, target, 0.3))
    expected = default_backend.number(default_backend.blursim(x, y, 0.3))
    # float32: another program rounds otherwise.
    np.testing.assert_allclose(default_backend.number(compiled(x, target)), expected, rtol=1e-6)
