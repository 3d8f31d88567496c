"""JAX's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

from contextlib import contextmanager

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax.flatten_util import ravel_pytree
from tolerances import CENTRAL_DIFFERENCE, GRADIENT_32, GRADIENT_64, distance

from blursim_jax import blursim, blursim_terms, difference_maps, prepare

# The two terms and their two divisors know nothing of each other: two sets of words reach all the code.
DEFAULT = {"spectrum": "magnitude", "edges": "magnitude", "normalization": "area"}
SIGNED = {"spectrum": "complex", "edges": "vector", "normalization": "gain"}
options = pytest.mark.parametrize("options", [DEFAULT, SIGNED], ids=["default", "signed"])
EVERY = (0, 1, 2)  # argnums of x, y and alpha
STEPS = 5


@pytest.fixture(autouse=True)
def _strict():
    """Nothing here is promoted but by hand."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def tolerance(request):
    """Each precision in turn: with x64 off and on."""
    with jax.enable_x64(request.param == "float64"):
        yield {"float32": GRADIENT_32, "float64": GRADIENT_64}[request.param]


def images(*shape):
    return jnp.asarray(np.random.default_rng(0).uniform(size=(2, *shape)))


def scalar(number):
    return jnp.asarray(number, jnp.result_type(float))


def assert_close(actual, expected, tolerance):
    """Two trees have the same dtypes and, leaf by leaf, the same values."""
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        assert a.dtype == b.dtype
        assert distance(a, b) <= tolerance


@contextmanager
def compilations():
    """A list that grows by one with every program that XLA compiles."""
    compiled = []

    def listen(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)


def test_jit_equals_the_plain_call(tolerance):
    x, y = images(2, 6, 5)
    for function in (lambda x, y: blursim(x, y, 0.7), blursim_terms, difference_maps):
        assert_close(jax.jit(function)(x, y), function(x, y), tolerance)


@pytest.mark.parametrize(("options", "tolerance"), [(DEFAULT, "float64"), (SIGNED, "float32")], indirect=["tolerance"])
def test_mapping_over_images_equals_one_call_per_image(options, tolerance):
    x, y = images(2, 3, 6, 5)
    per_image = jax.value_and_grad(lambda x, y, alpha: blursim(x, y, alpha, **options), EVERY)
    step = jax.jit(per_image)
    rows = [[step(x[i, j], y[i, j], scalar(0.7)) for j in range(3)] for i in range(2)]
    stack = lambda *trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    expected = stack(*(stack(*row) for row in rows))
    alphas = jnp.full((2, 3), 0.7)
    assert_close(jax.jit(jax.vmap(jax.vmap(per_image)))(x, y, alphas), expected, tolerance)
    nested = jax.vmap(lambda *row: jax.lax.map(lambda image: step(*image), row))
    assert_close(jax.jit(nested)(x, y, alphas), expected, tolerance)


def test_mapping_over_alpha_equals_one_call_per_alpha(tolerance):
    x, y = images(3, 6, 5)
    alphas = jnp.linspace(0, 1, 3)
    step = jax.jit(blursim, static_argnames="reduction")
    each = jnp.stack([step(x, y, alpha) for alpha in alphas])
    assert_close(jax.jit(jax.vmap(blursim, (None, None, 0)))(x, y, alphas), each, tolerance)
    assert_close(jax.jit(jax.vmap(blursim))(x, y, alphas), step(x, y, alphas, reduction="none"), tolerance)


def test_scan_and_checkpoint_keep_value_and_gradient(tolerance):
    x, y = images(4, 6, 5)

    def scanned(x, y, alpha):
        add = jax.checkpoint(lambda total, pair: (total + blursim(*pair, alpha), None))
        return jax.lax.scan(add, scalar(0), (x, y))[0]

    total = lambda x, y, alpha: blursim(x, y, alpha, reduction="sum")
    expected = jax.jit(jax.value_and_grad(total, EVERY))(x, y, scalar(0.7))
    assert_close(jax.jit(jax.value_and_grad(jax.checkpoint(scanned), EVERY))(x, y, scalar(0.7)), expected, tolerance)


def test_channels_last_equals_channels_first_under_transforms(tolerance):
    x, y = images(2, 3, 6, 5)
    last = lambda image: jnp.moveaxis(image, -3, -1)
    nchw = jax.vmap(jax.value_and_grad(lambda x, y: blursim(x, y, 0.7)))
    nhwc = jax.vmap(jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, axes=(-3, -2))))
    value, gradient = jax.jit(nchw)(x, y)
    assert_close(jax.jit(nhwc)(last(x), last(y)), (value, last(gradient)), tolerance)


@options
def test_forward_mode_equals_reverse_mode(options, float64):
    x, y, mask = images(2, 6, 5)[0], images(2, 6, 5)[1], images(2, 6, 5)[0] ** 2
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, **options)
    point, along = (x, y, scalar(0.7), mask), (y, mask, scalar(0.4), x)
    gradient = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*point)
    value, slope = jax.jit(lambda *point: jax.jvp(loss, point, along))(*point)
    assert_close(value, jax.jit(loss)(*point), GRADIENT_64)
    assert_close(slope, sum(jnp.vdot(g, t) for g, t in zip(gradient, along, strict=True)), GRADIENT_64)
    assert_close(jax.jit(jax.jacfwd(loss, (0, 1, 2, 3)))(*point), gradient, GRADIENT_64)


@options
def test_hessian_is_symmetric_and_the_slope_of_the_gradient(options, float64):
    x, y = images(5, 6)
    point, unravel = ravel_pytree((x, y, scalar(0.7)))
    loss = lambda point: blursim(*unravel(point), **options)
    hessian = jax.jit(jax.hessian(loss))(point)
    assert_close(hessian, hessian.T, GRADIENT_64)
    step = 1e-5
    gradients = jax.jit(jax.vmap(jax.grad(loss)))
    around = lambda step: gradients(jnp.broadcast_to(point, hessian.shape) + step * jnp.eye(point.size))
    assert_close(hessian, (around(step) - around(-step)) / (2 * step), CENTRAL_DIFFERENCE)


@options
def test_identical_images_give_no_nan_to_second_order(options):
    x = images(5, 6)[0]
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    with jax.debug_nans(True):
        value, gradient = jax.jit(jax.value_and_grad(loss))(x, x)
        hessian = jax.jit(jax.hessian(loss))(x, x)
    assert value == 0
    assert not gradient.any()
    assert jnp.isfinite(hessian).all()


def test_no_alpha_compiles_a_second_time():
    x, y = images(2, 6, 5)
    plain = lambda x, y, alpha: blursim(x, y, alpha)
    for step in (plain, jax.jit(plain), jax.jit(jax.value_and_grad(plain, argnums=EVERY))):
        for alphas in ((0.2, 0.5, 0.9), [scalar(a) for a in (0.2, 0.5, 0.9)], list(jnp.eye(2))):
            step(x, y, alphas[0])
            with compilations() as compiled:
                for alpha in alphas[1:]:
                    step(x, y, alpha)
            assert not compiled


def test_compilations_are_counted():
    with compilations() as compiled:
        jax.jit(lambda x: x + 1)(0)
    assert compiled


def test_donated_images_give_their_memory_to_the_result():
    x, y = images(2, 6, 5)
    descend = lambda x, y: x - 0.1 * jax.grad(blursim)(x, y, 0.7)
    kept, donated = jax.jit(descend)(x, y), jax.jit(descend, donate_argnums=0)(x, y)
    assert x.is_deleted()
    np.testing.assert_array_equal(donated, kept)


def assert_trains_in_one_compilation(step, loss):
    """step() takes one training step and reports its loss and its alpha; loss() is that of one constant alpha."""
    before, reports = loss(), [step()]
    with compilations() as compiled:
        reports += [step() for _ in range(STEPS - 1)]
    assert not compiled
    losses, alphas = map(jnp.stack, zip(*reports, strict=True))
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(alphas, np.linspace(0.9, 0.1, STEPS), rtol=1e-6)
    assert loss() < before


alpha_at = optax.linear_schedule(0.9, 0.1, STEPS - 1)
model_dtypes = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "mixed"])


@model_dtypes
@jax.numpy_dtype_promotion("standard")  # optax and flax rely on it
def test_nnx_training_with_decaying_alpha_compiles_once(dtype):
    x, y = images(2, 8, 8, 1)
    model = nnx.Conv(1, 1, (3, 3), dtype=dtype, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)

    def loss(model, alpha):
        output = model(x)
        assert output.dtype == dtype
        return blursim(output, y, alpha, axes=(-3, -2))

    @nnx.jit
    def step(model, optimizer):
        alpha = alpha_at(optimizer.step[...])
        value, gradients = nnx.value_and_grad(loss)(model, alpha)
        optimizer.update(model, gradients)
        return value, alpha

    assert_trains_in_one_compilation(lambda: step(model, optimizer), lambda: loss(model, 0.5))


@model_dtypes
@jax.numpy_dtype_promotion("standard")
def test_linen_training_with_decaying_alpha_compiles_once(dtype):
    x, y = images(2, 8, 8, 1)
    model = linen.Conv(1, (3, 3), dtype=dtype)
    state = TrainState.create(apply_fn=model.apply, params=model.init(jax.random.key(0), x), tx=optax.adam(0.01))

    def loss(params, alpha):
        output = model.apply(params, x)
        assert output.dtype == dtype
        return blursim(output, y, alpha, axes=(-3, -2))

    @jax.jit
    def update(state):
        alpha = alpha_at(state.step)
        value, gradients = jax.value_and_grad(loss)(state.params, alpha)
        return state.apply_gradients(grads=gradients), (value, alpha)

    def step():
        nonlocal state
        state, report = update(state)
        return report

    assert_trains_in_one_compilation(step, lambda: loss(state.params, 0.5))


def test_exported_programs_of_targets_terms_and_maps_can_be_stored():
    x, y = images(2, 6, 5)
    target, loss = prepare(y), lambda x, y: blursim(x, y, 0.7)

    def again(function, *arguments):
        stored = jax.export.export(jax.jit(function))(*arguments).serialize(vjp_order=1)
        return jax.export.deserialize(stored).call

    assert_close(again(loss, x, target)(x, target), loss(x, y), GRADIENT_32)
    assert_close(jax.grad(again(loss, x, target))(x, target), jax.grad(loss)(x, y), GRADIENT_32)
    for function in (blursim_terms, difference_maps):
        found, expected = again(function, x, y)(x, y), function(x, y)
        assert type(found) is type(expected)
        assert_close(found, expected, GRADIENT_32)


def test_parameters_of_nnx_are_images_and_weights():
    x, y = images(2, 6, 5)
    assert blursim(nnx.Param(x), nnx.Param(y), nnx.Param(scalar(0.7))) == blursim(x, y, 0.7)
