"""JAX's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

import re
import time
from contextlib import ExitStack

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from images import degenerate, every_pair
from jax.experimental import checkify, jet
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads
from options import FEW, SEEN, WINDOWED, ids, parametrize
from tolerances import CENTRAL_DIFFERENCE, GRADIENT_32, GRADIENT_64, NOTHING_32, VALUE_32, distance

from blursim_jax import Terms, blursim, blursim_terms, difference_maps

few_options = parametrize(FEW)
default_option = parametrize(FEW[:1])
EVERY = (0, 1, 2)  # argnums of x, y and alpha


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


def assert_nothing(tree):
    """Exactly 0, each leaf."""
    assert not any(leaf.any() for leaf in jax.tree.leaves(tree))


def scanned(loss):
    """One image after the other, each formed again when its gradient is."""

    def total(x, y, alpha):
        add = jax.checkpoint(lambda total, pair: (total + loss(*pair, alpha), None))
        return jax.lax.scan(add, scalar(0), (x, y))[0] / len(x)

    return total


def stored(loss, *arguments):
    """The loss as a program that was exported, stored and read again."""
    program = jax.export.export(jax.jit(loss))(*arguments).serialize(vjp_order=2)
    return jax.export.deserialize(program).call


# A program made of the loss; its value and gradient are jitted.
PROGRAMS = {
    "as it is": lambda loss: loss,
    "checkpoint": jax.checkpoint,
    "mapped": lambda loss: (
        lambda x, y, alpha: jax.vmap(jax.vmap(loss, (0, 0, None)), (0, 0, None))(x[None], y[None], alpha).mean()
    ),
    "scanned": scanned,
    "stored": lambda loss: stored(loss, *images(3, 6, 5), scalar(0.7)),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@default_option
def test_value_and_gradients_are_the_same_in_every_program_and_of_equal_images_exactly_zero(program, options, float64):
    """SPEC 2.3, 7.2"""
    x, y = images(3, 6, 5)
    x, alpha = x.at[1].set(y[1]), scalar(0.7)
    loss = lambda x, y, alpha: blursim(x, y, alpha, **options)
    step = jax.jit(jax.value_and_grad(program(loss), EVERY))
    assert_close(step(x, y, alpha), jax.value_and_grad(loss, EVERY)(x, y, alpha), GRADIENT_64)
    assert_nothing(step(y + 0, y, alpha))


MODES = {
    "debugging": lambda: (jax.debug_nans(True), jax.debug_infs(True), jax.checking_leaks()),
    "not jitted": lambda: (jax.disable_jit(),),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@default_option
def test_value_and_gradients_are_the_same_in_every_mode(mode, options):
    x, y = images(6, 5)
    step = jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, **options))
    expected = jax.jit(step)(x, y)
    with ExitStack() as stack:
        for context in mode():
            stack.enter_context(context)
        assert_close(step(x, y), expected, GRADIENT_32)
        assert_nothing(step(x, x))


@default_option
def test_checks_that_are_added_to_the_program_find_nothing(options):
    x, y = images(6, 5)
    step = jax.value_and_grad(lambda x, y: blursim(x, y, 0.7, **options))
    checked = jax.jit(checkify.checkify(step, errors=checkify.all_checks))
    for pair in ((x, y), (x, x), (jnp.zeros_like(x), y)):
        error, found = checked(*pair)
        error.throw()
        assert all(jnp.allclose(a, b, atol=NOTHING_32) for a, b in zip(found, step(*pair), strict=True))


GRADIENTS = {
    "jacfwd": lambda loss, point: jax.jacfwd(loss, (0, 1, 2, 3))(*point),
    "jacrev": lambda loss, point: jax.jacrev(loss, (0, 1, 2, 3))(*point),
    "vjp": lambda loss, point: jax.vjp(loss, *point)[1](scalar(1)),
    "transposed": lambda loss, point: jax.linear_transpose(jax.linearize(loss, *point)[1], *point)(scalar(1)),
}
SLOPES = {
    "jvp": lambda loss, point, along: jax.jvp(loss, point, along),
    "linearize": lambda loss, point, along: (lambda value, linear: (value, linear(*along)))(
        *jax.linearize(loss, *point)
    ),
}


@few_options
def test_functional_transforms_equal_the_gradient(options, float64):
    (x, y), alpha = images(2, 6, 5), scalar(0.7)
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, **options)
    point, along = (x, y, alpha, x**2), (y, x**2, scalar(0.4), x)
    gradient = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*point)
    expected = loss(*point), sum(jnp.vdot(g, t) for g, t in zip(gradient, along, strict=True))
    found = jax.jit(lambda *point: [transform(loss, point) for transform in GRADIENTS.values()])(*point)
    assert_close(found, [gradient] * len(found), GRADIENT_64)
    found = jax.jit(lambda *point: [transform(loss, point, along) for transform in SLOPES.values()])(*point)
    assert_close(found, [expected] * len(found), GRADIENT_64)


@few_options
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


@pytest.mark.slow
@parametrize([*SEEN, WINDOWED])
def test_both_modes_agree_with_finite_differences_to_second_order(options, float64):
    """SPEC 7, 7.4: with a mask and one alpha per image."""
    x, y = images(2, 6, 5)
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, **options)
    point = x, y, jnp.asarray([0.2, 0.7]), (x + y) / 2
    check_grads(jax.jit(loss), point, order=2, atol=CENTRAL_DIFFERENCE, rtol=CENTRAL_DIFFERENCE)


@default_option
def test_third_derivative_is_the_slope_of_the_second(options, float64):
    x, y = images(5, 6)
    loss = lambda t: blursim(x + t * y**2, y, 0.7, **options)
    second = jax.jit(jax.grad(jax.grad(loss)))
    third = jax.jit(jax.grad(jax.grad(jax.grad(loss))))
    step = 1e-5
    expected = (second(scalar(step)) - second(scalar(-step))) / (2 * step)
    assert_close(third(scalar(0.0)), expected, CENTRAL_DIFFERENCE)
    assert_close(jax.jit(jax.jacfwd(jax.jacfwd(loss)))(scalar(0.0)), second(scalar(0.0)), GRADIENT_64)


def test_terms_and_maps_are_the_same_jitted(tolerance):
    x, y = images(2, 6, 5)
    for function in (blursim_terms, difference_maps):
        assert_close(jax.jit(function)(x, y), function(x, y), tolerance)


def test_mapping_over_alpha_equals_one_call_per_alpha(tolerance):
    x, y = images(3, 6, 5)
    alphas = jnp.linspace(0, 1, 3)
    step = jax.jit(blursim, static_argnames="reduction")
    each = jnp.stack([step(x, y, alpha) for alpha in alphas])
    assert_close(jax.jit(jax.vmap(blursim, (None, None, 0)))(x, y, alphas), each, tolerance)
    assert_close(jax.jit(jax.vmap(blursim))(x, y, alphas), step(x, y, alphas, reduction="none"), tolerance)


@pytest.mark.parametrize(
    ("options", "x64"),
    [*((options, False) for options in (*SEEN, WINDOWED)), *((options, True) for options in FEW)],
    ids=lambda case: ids(case) if isinstance(case, dict) else {True: "float64", False: "float32"}[case],
)
def test_equal_images_have_exactly_no_loss_and_no_derivative_wherever_they_come_from(options, x64):
    """SPEC 2.3, 7.2, 7.4: XLA computes a constant of the program by itself, and would round it otherwise."""
    with jax.enable_x64(x64):
        same = images(17, 30)[0]
        loss = lambda x, y: blursim(x, y, 0.7, **options)
        both = jax.value_and_grad(loss, (0, 1))
        # As arguments, captured, or made in the program: by an exact operation, as XLA may round two others apart.
        step = lambda x, y: [
            both(x, y),
            both(x, same),
            both(np.asarray(same), y),
            both(x / 2, y / 2),
            jax.vmap(both, (0, None))(jnp.stack([x, x]), same),
            jax.jvp(jax.grad(lambda x: loss(x, same)), (x,), (jnp.cos(x),)),
        ]
        assert_nothing(jax.jit(step)(same + 0, same))


@parametrize([*SEEN, WINDOWED])
def test_no_nan_and_no_infinity_arises_in_degenerate_images_to_second_order(options):
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    gradient = jax.grad(loss, (0, 1))
    again = lambda x, y: jax.grad(lambda *pair: sum(jnp.sum(g * g) for g in gradient(*pair)), (0, 1))(x, y)
    step = jax.jit(lambda x, y: (loss(x, y), gradient(x, y), again(x, y)))
    with jax.debug_nans(True), jax.debug_infs(True):
        found = step(*map(jnp.asarray, every_pair(degenerate((7, 6), "float32"))))
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_debugging_modes_find_a_nan_of_the_users():
    x, y = images(6, 5)
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        blursim(x.at[0, 0].set(jnp.nan), y, 0.7)


def test_without_x64_float64_becomes_float32():
    """SPEC 8.2"""
    x, y = np.random.default_rng(0).random((2, 9, 14))
    loss, gradient = jax.jit(jax.value_and_grad(blursim))(x, y, 0.4)
    assert loss.dtype == gradient.dtype == np.float32
    assert jax.eval_shape(difference_maps, x, y).spectrum.dtype == np.float32


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


@pytest.mark.parametrize(
    ("call", "programs"),
    [
        (lambda x, y: blursim(x, y, 0.7), 1),
        (lambda x, y: blursim(x, y, 0.7, axes=(-3, -2), mask=x, reduction="none"), 1),
        (blursim_terms, 2),
        (difference_maps, 1),
    ],
    ids=["loss", "masked", "terms", "maps"],
)
def test_call_that_is_not_jitted_compiles_one_program_and_one_for_each_term(call, programs):
    x, y = images(7, 6, 5)
    jax.clear_caches()
    with compilations() as compiled:
        call(x, y)
    assert len(compiled) == programs


def test_donated_images_give_their_memory_to_the_result():
    x, y = images(2, 6, 5)
    descend = lambda x, y: x - 0.1 * jax.grad(blursim)(x, y, 0.7)
    kept, donated = jax.jit(descend)(x, y), jax.jit(descend, donate_argnums=0)(x, y)
    assert x.is_deleted()
    np.testing.assert_array_equal(donated, kept)


def test_exported_terms_can_be_stored_once_their_type_has_a_name():
    x, y = images(2, 6, 5)
    jax.export.register_namedtuple_serialization(Terms, serialized_name="blursim_jax.Terms")
    found, expected = stored(blursim_terms, x, y)(x, y), blursim_terms(x, y)
    assert type(found) is Terms
    assert_close(found, expected, VALUE_32)


def test_exported_program_can_be_differentiated_twice(float64):
    x, y = images(2, 6, 5)
    second = lambda loss: jax.jit(jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x, y, scalar(0.7)), y)))(x)
    assert_close(second(stored(blursim, x, y, scalar(0.7))), second(blursim), GRADIENT_64)


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
    "options",
    [*SEEN, WINDOWED, *({**few, "axes": axes} for few in FEW for axes in ((-1,), (-3, -2, -1)))],
    ids=ids,
)
def test_lowered_for_any_machine_the_loss_and_its_gradient_are_plain_operations_and_ffts(options):
    shape = jax.ShapeDtypeStruct((6, 7, 8), jnp.float32)
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, **options)
    step = jax.jit(lambda *point: (loss(*point), *jax.value_and_grad(loss, (0, 1, 3))(*point)))
    export = jax.export.export(step, platforms=("cpu", "cuda", "rocm", "tpu"))
    program = export(shape, shape, jax.ShapeDtypeStruct((), jnp.float32), shape).mlir_module()
    found = set(re.findall(r"(?:stablehlo|chlo)\.(\w+)", program))
    assert "sqrt" in found
    assert found <= set(OPERATIONS.split())
    assert not re.search(r"x(bf16|f16|f8\w*)>", program)


def ffts(function, *arguments):
    """How many FFTs the compiled program computes."""
    return len(re.findall(r"= .* fft\(", jax.jit(function).lower(*arguments).compile().as_text()))


@pytest.mark.parametrize(
    ("options", "counts"),
    # Of the loss alone; with the gradient for x, for y, for both.
    [
        (SEEN[0], (2, 3, 3, 4)),
        (SEEN[2], (1, 2, 2, 2)),
        (SEEN[4], (2, 3, 3, 4)),
        (SEEN[6], (0, 0, 0, 0)),
        (WINDOWED, (2, 3, 3, 4)),
    ],
    ids=lambda case: ids(case) if isinstance(case, dict) else "",
)
def test_image_that_needs_no_gradient_costs_no_fft(options, counts):
    """SPEC 3.4"""
    x, y = images(9, 7)
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    programs = [loss, *(jax.value_and_grad(loss, argnums) for argnums in (0, 1, (0, 1)))]
    assert tuple(ffts(program, x, y) for program in programs) == counts
    assert ffts(lambda x: jax.value_and_grad(loss)(x, y), x) == counts[1]


@pytest.mark.parametrize(("term", "count"), [("general", 2), ("specific", 0)])
def test_unused_term_costs_a_jitted_program_nothing(term, count):
    assert ffts(lambda x, y: getattr(blursim_terms(x, y), term), *images(9, 7)) == count


@pytest.mark.slow
def test_captured_target_compiles_in_seconds():
    x, y = (image.astype(jnp.float32) for image in images(16, 3, 512, 512))
    step = jax.jit(lambda x: jax.value_and_grad(blursim)(x, y, 0.5))
    began = time.monotonic()
    step.lower(x).compile()
    assert time.monotonic() - began < 10  # 2 s by itself; 26 s where XLA computes the target's half on its own


def test_taylor_mode_is_refused_in_words():
    x, y = images(6, 5)
    with pytest.raises(TypeError, match=r"jax.experimental.jet .*: nest jax.jvp instead"):
        jet.jet(lambda x: blursim(x, y, 0.7), (x,), ((y, y),))
