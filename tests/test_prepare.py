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
    both = lambda f: backend.run(lambda x, y, mask: [f(x, y, mask), backend.grad(f)(x, y, mask)], x, y, mask)
    (expected, gradient), (actual, of_prepared) = both(loss), both(prepared)
    np.testing.assert_allclose(actual, expected, rtol=1e-14)
    np.testing.assert_allclose(of_prepared, gradient, atol=1e-14, rtol=0)


@pytest.mark.parametrize("p", [1, 2])
def test_target_does_not_depend_on_p(backend, images, p):
    """SPEC 13.1: nor does the gradient, in which what p = 1 takes for rounding is that of y itself."""
    x, y = images
    loss = lambda o: lambda x, y: backend.blursim(x, y, 0.3, p=p, **o)
    prepared = lambda o: lambda x, y: loss(o)(x, backend.package.prepare(y, **o))
    every = lambda of: backend.run(lambda x, y: [backend.grad(of(o))(x, y) for o in OPTIONS], x, y)
    for actual, expected in zip(every(prepared), every(loss), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-14, rtol=0)


def sliced(backend, target, index):
    """The target, of whose arrays each is so indexed."""
    part = lambda array: None if array is None else array[index]
    return backend.package.Target(part(target.image), part(target.spectrum), part(target.edges), target.options)


def test_slice_of_a_target_is_the_target_of_the_slice(default_backend, rng):
    """SPEC 13.4"""
    x, y = (default_backend.array(image.astype(np.float32)) for image in rng.random((2, 4, 9, 8, 3)))
    options = {"axes": (-3, -2), "reduction": "none"}
    target = default_backend.package.prepare(y, axes=(-3, -2))
    for index in (0, slice(1, 3)):
        part = default_backend.blursim(x[index], sliced(default_backend, target, index), 0.3, **options)
        whole = default_backend.blursim(x[index], y[index], 0.3, **options)
        np.testing.assert_allclose(default_backend.number(part), default_backend.number(whole), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"spectrum": "complex"}, {"edges": "vector"}])
def test_slice_along_other_axes_is_an_error(default_backend, options, rng):
    """SPEC 13.4: also of a cube, whose axes lengths do not tell apart."""
    x, y = (default_backend.array(image.astype(np.float32)) for image in rng.random((2, 8, 8, 8, 8)))
    target = default_backend.package.prepare(y, axes=(-3, -2), **options)
    for index in ((..., 0), (slice(None), slice(6)), (slice(None), slice(None), slice(6))):
        with pytest.raises(ValueError, match="y: expected a target"):
            default_backend.blursim(x[index], sliced(default_backend, target, index), 0.3, axes=(-3, -2), **options)


def test_target_has_memory_of_its_own(default_backend, rng):
    """SPEC 13.2"""
    y = rng.random((9, 8)).astype(np.float32)
    given = y if default_backend.name == "jax" else default_backend.arrays.from_numpy(y)
    target = default_backend.package.prepare(given)
    before = default_backend.number(target.image).copy()
    y[:] = 0
    assert np.array_equal(default_backend.number(target.image), before)
    assert target == target


def test_equal_axes_spelled_differently_are_equal(default_backend, images):
    """SPEC 1.1, 13.3"""
    x, y = (default_backend.array(image.astype(np.float32)) for image in images)
    target = default_backend.package.prepare(y, axes=(1, 2))
    assert default_backend.blursim(x, target, 0.3, axes=(-3, 2)) == default_backend.blursim(
        x, target, 0.3, axes=(1, -2)
    )


def test_no_gradient_flows_through_a_target(backend, images):
    """SPEC 13.2"""
    x, y = images
    loss = lambda o: lambda x, y: backend.blursim(x, backend.package.prepare(y, **o), 0.3, **o) + 0 * y.sum()
    gradients = backend.run(lambda x, y: [backend.grad(loss(o), argnums=1)(x, y) for o in OPTIONS], x, y)
    assert not np.any(gradients)


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
