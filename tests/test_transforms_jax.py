"""JAX's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

import importlib
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import flax.linen as linen
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax.experimental import checkify, jet
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads
from tolerances import CENTRAL_DIFFERENCE, GRADIENT_32, GRADIENT_64, NOTHING_32, VALUE_32, VALUE_64, distance

from blursim_jax import Terms, blursim, blursim_terms, difference_maps

# What the two terms do differently; as the terms know nothing of each other, the first and the last are
# all code but for the two in which each term has the other's p.
SEEN = [
    {"p": p, "spectrum": spectrum, "edges": edges}
    for p in (1, 2)
    for spectrum in ("magnitude", "complex")
    for edges in ("magnitude", "vector")
]
name_of = lambda options: "-".join(map(str, options.values()))
FEW = [SEEN[0], SEEN[7]]
every_option = pytest.mark.parametrize("options", SEEN, ids=name_of)
options = pytest.mark.parametrize(
    "options", [*FEW, *(pytest.param(other, marks=pytest.mark.slow) for other in SEEN[1:7])], ids=name_of
)
defaults = pytest.mark.parametrize(
    "options", [SEEN[0], *(pytest.param(other, marks=pytest.mark.slow) for other in SEEN[1:])], ids=name_of
)
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


@pytest.mark.parametrize(("options", "tolerance"), [(SEEN[0], "float64"), (SEEN[7], "float32")], indirect=["tolerance"])
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


def again(function, *arguments):
    """The function as a program that was stored."""
    stored = jax.export.export(jax.jit(function))(*arguments).serialize(vjp_order=2)
    return jax.export.deserialize(stored).call


@defaults
def test_exported_program_can_be_stored_and_differentiated_twice(options, float64):
    x, y = images(2, 6, 5)
    loss = lambda x, y, alpha: blursim(x, y, alpha, **options)
    stored, point = again(loss, x, y, scalar(0.7)), (x, y, scalar(0.2))
    assert_close(stored(*point), loss(*point), VALUE_64)
    assert_close(jax.grad(stored, EVERY)(*point), jax.grad(loss, EVERY)(*point), GRADIENT_64)
    second = lambda loss: jax.jit(jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x, *point[1:]), y)))(x)
    assert_close(second(stored), second(loss), GRADIENT_64)
    assert stored(x, x, scalar(0.7)) == 0


def test_exported_terms_can_be_stored_once_their_type_has_a_name():
    x, y = images(2, 6, 5)
    jax.export.register_namedtuple_serialization(Terms, serialized_name="blursim_jax.Terms")
    found, expected = again(blursim_terms, x, y)(x, y), blursim_terms(x, y)
    assert type(found) is Terms
    assert_close(found, expected, VALUE_32)


def test_exported_program_takes_any_batch_but_one_image_size():
    b, c, h, w = jax.export.symbolic_shape("b, c, h, w")
    shaped = lambda *shape: (jax.ShapeDtypeStruct(shape, jnp.float32),) * 2
    step = jax.jit(jax.value_and_grad(lambda x, y: blursim(x, y, 0.7)))
    program = jax.export.export(step)(*shaped(b, c, 6, 5))
    for shape in ((2, 3, 6, 5), (1, 1, 6, 5)):
        assert_close(program.call(*images(*shape)), step(*images(*shape)), GRADIENT_32)
    with pytest.raises(ValueError, match="only batch axes may be symbolic"):
        jax.export.export(step)(*shaped(b, c, h, w))


# All that a program may consist of. Products of matrices, convolutions and sums over windows are not among them, which
# a TPU computes in bfloat16, nor calls of anything outside of XLA, whose programs cannot be stored for every machine.
OPERATIONS = """
    abs add and broadcast_in_dim case clamp compare complex concatenate constant convert divide dynamic_slice fft
    gather imag iota maximum minimum multiply negate not optimization_barrier or pad real reduce reshape return
    reverse select sign slice sqrt subtract transpose
"""


@pytest.mark.parametrize(
    ("options", "rest"),
    [*((seen, {}) for seen in SEEN), *((few, {"axes": axes}) for few in FEW for axes in ((-1,), (-3, -2, -1)))],
    ids=name_of,
)
def test_lowered_for_any_machine_the_loss_and_its_gradient_are_plain_operations_and_ffts(options, rest):
    shape = jax.ShapeDtypeStruct((6, 7, 8), jnp.float32)
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, **options, **rest)
    step = jax.jit(lambda *point: (loss(*point), *jax.value_and_grad(loss, (0, 1, 3))(*point)))
    export = jax.export.export(step, platforms=("cpu", "cuda", "rocm", "tpu"))
    program = export(shape, shape, jax.ShapeDtypeStruct((), jnp.float32), shape).mlir_module()
    found = set(re.findall(r"(?:stablehlo|chlo)\.(\w+)", program))
    assert "sqrt" in found
    assert found <= set(OPERATIONS.split())
    assert not re.search(r"x(bf16|f16|f8\w*)>", program)


DEVICES = """
import pickle
import sys

import jax
import jax.export
import numpy as np
from jax.experimental import serialize_executable
from jax.sharding import PartitionSpec as P

from blursim_jax import blursim

x, y = np.random.default_rng(0).uniform(size=(2, 4, 6, 5)).astype(np.float32)
mesh = jax.make_mesh((2,), ("batch",))
images = jax.device_put((x, y), jax.NamedSharding(mesh, P("batch")))
mean = lambda x, y: jax.lax.pmean(blursim(x, y, 0.7), "batch")
whole = jax.shard_map(mean, mesh=mesh, in_specs=P("batch"), out_specs=P())
step = jax.jit(jax.value_and_grad(whole, (0, 1)))
expected = jax.jit(jax.value_and_grad(lambda x, y: blursim(x, y, 0.7), (0, 1)))(x, y)


def assert_right(actual):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(np.asarray(a) - b) <= TOLERANCE * np.linalg.norm(b)


stored = jax.export.deserialize(jax.export.export(step)(*images).serialize(vjp_order=1))
assert stored.nr_devices == 2
assert_right(jax.jit(stored.call)(*images))
exported = jax.jit(stored.call).lower(*images).compile()
for program in (step.lower(*images).compile(), exported):
    stored = pickle.loads(pickle.dumps(serialize_executable.serialize(program)))
    assert_right(serialize_executable.deserialize_and_load(*stored)(*images))
"""


@pytest.mark.slow
def test_program_for_two_devices_can_be_exported_compiled_and_stored():
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    run(DEVICES.replace("TOLERANCE", str(GRADIENT_32)), **flags)


CACHED = """
import jax
import jax.numpy as jnp
from blursim_jax import blursim

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rpartition("/")[2]))
x, y = jax.random.uniform(jax.random.key(0), (2, 6, 5))
jax.block_until_ready(x)
events.clear()
jax.jit(jax.value_and_grad(lambda x: blursim(x, y, 0.7)))(x)
print(events.count("cache_hits"), events.count("cache_misses"))
"""


@pytest.mark.slow
def test_second_process_finds_the_program_in_the_persistent_cache(tmp_path):
    counts = [run(CACHED, JAX_COMPILATION_CACHE_DIR=str(tmp_path)).split() for _ in range(2)]
    assert counts == [["0", "1"], ["1", "0"]]


def run(code, **environment):
    """What a process prints that runs the code and no warning."""
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


FAST = """
import jax
from blursim_jax import blursim

x, y = jax.random.uniform(jax.random.key(0), (2, 6, 5))
for options in OPTIONS:
    step = jax.jit(jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, **options), (0, 1)))
    for pair in ((x, y), (x, x), (0 * x, y), (0 * x + 0.5, y)):
        assert all(bool(jax.numpy.isfinite(of).all()) for of in jax.tree.leaves(step(*pair))), options
"""


def test_unsafe_fast_math_of_xla_leaves_gradients_finite():
    flags = "--xla_cpu_enable_fast_math=true --xla_cpu_fast_math_honor_nans=false --xla_cpu_fast_math_honor_infs=false"
    run(FAST.replace("OPTIONS", str(FEW)), XLA_FLAGS=flags)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@every_option
def test_equal_images_have_exactly_no_loss_and_no_gradient_in_any_program(options, x64):
    with jax.enable_x64(x64):
        same = images(9, 7)[0]
        both = jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, **options), (0, 1))
        # As arguments, captured, or made in the program: by an exact operation, as XLA may round two others apart.
        step = lambda x, y: (both(x, y), both(x, same), both(np.asarray(same), y), both(x / 2, y / 2))
        found = jax.jit(step)(same + 0, same)
        assert not any(leaf.any() for leaf in jax.tree.leaves(found))


@options
def test_equal_images_have_exactly_no_loss_and_no_gradient_under_transforms(options):
    same = images(9, 7)[0]
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    both = jax.value_and_grad(loss, (0, 1))
    step = lambda x: (
        jax.vmap(both, (0, None))(jnp.stack([x, x]), same),
        jax.lax.map(lambda x: jax.checkpoint(both)(x, same), x[None]),
        jax.jvp(lambda x: loss(x, same), (x,), (x,)),
    )
    for found in (jax.jit(step)(same + 0), both(same + 0, same)):
        assert not any(leaf.any() for leaf in jax.tree.leaves(found))


@pytest.mark.slow
def test_captured_target_compiles_in_seconds():
    x, y = (image.astype(jnp.float32) for image in images(16, 3, 512, 512))
    step = jax.jit(lambda x: jax.value_and_grad(blursim)(x, y, 0.5))
    began = time.monotonic()
    step.lower(x).compile()
    assert time.monotonic() - began < 10  # 2 s by itself; 26 s where XLA computes the target's half on its own


def ffts(function, *arguments):
    """How many FFTs the compiled program computes."""
    return len(re.findall(r"= .* fft\(", jax.jit(function).lower(*arguments).compile().as_text()))


@pytest.mark.parametrize(
    ("options", "counts"),
    # Of the loss alone; with the gradient for x, for y, for both.
    [(SEEN[0], (2, 3, 3, 4)), (SEEN[2], (1, 2, 2, 2)), (SEEN[4], (2, 3, 3, 4)), (SEEN[6], (0, 0, 0, 0))],
    ids=lambda case: name_of(case) if isinstance(case, dict) else "",
)
def test_image_that_needs_no_gradient_costs_no_fft(options, counts):
    x, y = images(9, 7)
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    programs = [loss, *(jax.value_and_grad(loss, argnums) for argnums in (0, 1, (0, 1)))]
    assert tuple(ffts(program, x, y) for program in programs) == counts
    captured = lambda x: jax.value_and_grad(loss)(x, y)
    assert ffts(captured, x) == counts[1]


@pytest.mark.parametrize(("term", "count"), [("general", 2), ("specific", 0)])
def test_unused_term_costs_a_jitted_program_nothing(term, count):
    assert ffts(lambda x, y: getattr(blursim_terms(x, y), term), *images(9, 7)) == count


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: blursim(x, y, 0.7),
        lambda x, y: blursim(x, y, 0.7, axes=(-3, -2), mask=x, reduction="none"),
        blursim_terms,
        difference_maps,
    ],
    ids=["loss", "masked", "terms", "maps"],
)
def test_call_that_is_not_jitted_compiles_one_program(call):
    x, y = images(7, 6, 5)
    jax.clear_caches()
    with compilations() as compiled:
        call(x, y)
    assert len(compiled) == 1


@pytest.mark.slow
@every_option
def test_both_modes_agree_with_finite_differences_to_second_order(options, float64):
    x, y = images(6, 5)
    loss = lambda x, y, alpha: blursim(x, y, alpha, **options)
    check_grads(jax.jit(loss), (x, y, scalar(0.7)), order=2, atol=CENTRAL_DIFFERENCE, rtol=CENTRAL_DIFFERENCE)


@defaults
def test_third_derivative_is_the_slope_of_the_second(options, float64):
    x, y = images(5, 6)
    loss = lambda t: blursim(x + t * y**2, y, 0.7, **options)
    second = jax.jit(jax.grad(jax.grad(loss)))
    third = jax.jit(jax.grad(jax.grad(jax.grad(loss))))
    step = 1e-5
    expected = (second(scalar(step)) - second(scalar(-step))) / (2 * step)
    assert_close(third(scalar(0.0)), expected, CENTRAL_DIFFERENCE)
    assert_close(jax.jit(jax.jacfwd(jax.jacfwd(loss)))(scalar(0.0)), second(scalar(0.0)), GRADIENT_64)


@options
def test_linearized_and_transposed_loss_has_the_slope_of_its_gradient(options, float64):
    x, y = images(2, 6, 5)
    loss = lambda x: blursim(x, y, 0.7, reduction="none", **options)
    value, linear = jax.linearize(loss, x)
    _, pull = jax.vjp(loss, x)
    (gradient,) = pull(jnp.ones_like(value))
    assert_close(linear(y), jnp.sum(gradient * y, (-2, -1)), GRADIENT_64)
    (transposed,) = jax.linear_transpose(linear, x)(jnp.ones_like(value))
    assert_close(transposed, gradient, GRADIENT_64)


STRIPES = np.arange(6.0) % 2 * np.ones((7, 1))
SPOT = np.eye(1, 42, 9).reshape(7, 6)
DEGENERATE = {
    "flat": (np.full((7, 6), 0.5), STRIPES),
    "both flat": (np.full((7, 6), 0.5), np.full((7, 6), 0.2)),
    "nothing": (np.zeros((7, 6)), np.zeros((7, 6))),
    "equal": (np.random.default_rng(0).uniform(size=(7, 6)),) * 2,
    "striped": (STRIPES, STRIPES[:, ::-1].copy()),
    "one bright pixel": (SPOT, np.zeros((7, 6))),
}


@every_option
def test_no_nan_and_no_infinity_arises_in_degenerate_images_to_second_order(options):
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    gradient = jax.grad(loss, (0, 1))
    again = lambda x, y: jax.grad(lambda *pair: sum(jnp.sum(g * g) for g in gradient(*pair)), (0, 1))(x, y)
    step = jax.jit(lambda x, y: (loss(x, y), gradient(x, y), again(x, y)))
    with jax.debug_nans(True), jax.debug_infs(True):
        for pair in DEGENERATE.values():
            found = step(*(jnp.asarray(image, jnp.float32) for image in pair))
            assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@defaults
def test_debugging_modes_leave_the_loss_what_it_is(options):
    x, y = images(6, 5)
    step = jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, **options))
    expected = jax.jit(step)(x, y)
    with jax.debug_nans(True), jax.debug_infs(True), jax.checking_leaks():
        assert_close(step(x, y), expected, GRADIENT_32)
        for pair in ((x, x), (jnp.zeros_like(x), y)):
            step(*pair)
    checked = jax.jit(checkify.checkify(step, errors=checkify.all_checks))
    for pair in ((x, y), (x, x), (jnp.zeros_like(x), y)):
        error, found = checked(*pair)
        error.throw()
        assert all(jnp.allclose(a, b, atol=NOTHING_32) for a, b in zip(found, step(*pair), strict=True))


@defaults
def test_loss_is_the_same_with_jit_disabled(options):
    x, y = images(6, 5)
    step = jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, **options))
    expected = jax.jit(step)(x, y)
    with jax.disable_jit():
        assert_close(step(x, y), expected, GRADIENT_32)
        assert not any(leaf.any() for leaf in jax.tree.leaves(step(x, x)))


def test_debugging_modes_find_a_nan_of_the_users():
    x, y = images(6, 5)
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        blursim(x.at[0, 0].set(jnp.nan), y, 0.7)


def test_taylor_mode_is_refused_in_words():
    x, y = images(6, 5)
    with pytest.raises(TypeError, match=r"jax.experimental.jet .*: nest jax.jvp instead"):
        jet.jet(lambda x: blursim(x, y, 0.7), (x,), ((y, y),))


def test_package_can_be_reloaded_and_imported_again(monkeypatch):
    x, y = images(6, 5)
    expected = jax.grad(blursim)(x, y, 0.7)
    ours = [name for name in sys.modules if name.partition(".")[0] == "blursim_jax"]
    for name in sorted(ours, reverse=True):
        importlib.reload(sys.modules[name])
    assert_close(jax.grad(sys.modules["blursim_jax"].blursim)(x, y, 0.7), expected, GRADIENT_32)
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    package = importlib.import_module("blursim_jax")
    assert package.blursim is not blursim
    assert_close(jax.grad(package.blursim)(x, y, 0.7), expected, GRADIENT_32)


def test_parameters_of_nnx_are_images_and_weights():
    x, y = images(2, 6, 5)
    assert blursim(nnx.Param(x), nnx.Param(y), nnx.Param(scalar(0.7))) == blursim(x, y, 0.7)
