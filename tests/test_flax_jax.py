"""Flax's networks train through the loss with an alpha that decays, compiled once."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilations import compilations
from flax import nnx
from flax.training.train_state import TrainState

from blursim_jax import blursim

STEPS = 5


def images():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(2, 2, 8, 8, 1)))


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
def test_nnx_training_with_decaying_alpha_compiles_once(dtype):
    x, y = images()
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
def test_linen_training_with_decaying_alpha_compiles_once(dtype):
    x, y = images()
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
