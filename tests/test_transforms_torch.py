"""PyTorch's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

import functools
import importlib
import io
import sys
import warnings

import pytest
import torch
from images import degenerate, every_pair
from options import FEW, SEEN, WINDOWED, ids, parametrize
from tolerances import CENTRAL_DIFFERENCE, GRADIENT_32, GRADIENT_64, VALUE_32, VALUE_64, distance
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.utils.checkpoint import checkpoint

from blursim_torch import BlurSim, blursim, blursim_terms, difference_maps

few_options = parametrize(FEW)
default_option = parametrize(FEW[:1])
functional = torch.autograd.functional
EVERY = (0, 1, 2)  # argnums of x, y and alpha


def images(*shape, dtype=torch.float64):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def alpha_of(number):
    return torch.tensor(number, dtype=torch.float64)


def leaves(*tensors):
    return [t.clone().requires_grad_() for t in tensors]


def assert_close(actual, expected, tolerance):
    """Two trees have the same dtypes and, leaf by leaf, the same values."""
    flat = torch.utils._pytree.tree_leaves
    for a, b in zip(flat(actual), flat(expected), strict=True):
        assert a.dtype == b.dtype
        assert distance(a.detach(), b.detach()) <= tolerance


def assert_nothing(loss, *gradients):
    """Exactly 0, each of them."""
    assert not loss.any()
    assert not any(gradient.any() for gradient in gradients)


def value_and_slope(loss, *inputs):
    inputs = leaves(*inputs)
    value = loss(*inputs)
    value.sum().backward()
    return value, *(image.grad for image in inputs)


def slope(loss, *inputs):
    return value_and_slope(loss, *inputs)[1:]


def derivatives(function, x, y, alpha):
    """The loss and its gradients for x and alpha, as a training step takes them."""
    x, alpha = leaves(x, alpha)
    loss = function(x, y, alpha)
    return (loss, *torch.autograd.grad(loss.sum(), (x, alpha)))


def linear_at(function, *point):
    with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of every function with a constant
        return linearize(function, *point)


@parametrize([SEEN[0], WINDOWED])
def test_both_modes_agree_with_finite_differences(options):
    x, y, alpha = leaves(*images(2, 6, 5), alpha_of([0.3, 0.7]))
    mask = images(2, 6, 5)[1].square().requires_grad_()
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, reduction="none", **options)
    batched = {"check_batched_grad": True, "check_batched_forward_grad": True}
    assert gradcheck(loss, (x, y, alpha, mask), check_forward_ad=True, **batched)


@parametrize([SEEN[0], WINDOWED])
def test_second_order_agrees_with_finite_differences(options):
    x, y, alpha = leaves(*images(5, 5), alpha_of(0.7))
    loss = lambda *point: blursim(*point, **options)
    assert gradgradcheck(loss, (x, y, alpha), check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize(
    ("rest", "shape"),
    [
        ({"normalization": "area"}, (1, 5, 5)),
        ({"sobel_size": 3, "axes": (-1,)}, (1, 5, 5)),
        ({"axes": (0, 1)}, (5, 5, 1)),
        ({"window": 4, "axes": (-1,), "p": 2}, (1, 9)),
    ],
    ids=str,
)
def test_modes_and_orders_agree_with_finite_differences_for_the_other_options(rest, shape):
    x, y = leaves(*images(*shape))
    loss = lambda x, y: blursim(x, y, 0.7, reduction="sum", **rest)
    assert gradcheck(loss, (x, y), check_forward_ad=True)
    assert gradgradcheck(loss, (x, y), check_fwd_over_rev=True)


def dual(loss, point, along):
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(loss(*map(forward_ad.make_dual, point, along))))


forward_jacobian = functools.partial(functional.jacobian, vectorize=True, strategy="forward-mode")
GRADIENTS = {
    "grad": lambda loss, point: grad(loss, EVERY)(*point),
    "vjp": lambda loss, point: vjp(loss, *point)[1](torch.ones((), dtype=torch.float64)),
    "jacrev": lambda loss, point: jacrev(loss, EVERY)(*point),
    "jacfwd": lambda loss, point: jacfwd(loss, EVERY)(*point),
    "jacobian": functional.jacobian,
    "jacobian, forward": forward_jacobian,
}
SLOPES = {
    "jvp": jvp,
    "functional.jvp": functional.jvp,
    "linearize": lambda loss, point, along: (lambda value, linear: (value, linear(*along)))(*linear_at(loss, *point)),
    "dual numbers": dual,
}


@few_options
def test_functional_transforms_equal_autograd(options):
    point, along = (*images(2, 6, 5), alpha_of(0.7)), (*images(2, 6, 5).flip(0), alpha_of(0.4))
    loss = lambda *point: blursim(*point, **options)
    value, gradient = loss(*point), slope(loss, *point)
    for found in GRADIENTS.values():
        assert_close(found(loss, point), gradient, GRADIENT_64)
    expected = value, sum((g * t).sum() for g, t in zip(gradient, along, strict=True))
    for found in SLOPES.values():
        assert_close(found(loss, point, along), expected, GRADIENT_64)


HESSIANS = {
    "hessian": hessian,
    "jacrev of grad": lambda loss: jacrev(grad(loss)),
    "jacfwd of grad": lambda loss: jacfwd(grad(loss)),
    "jacrev of jacrev": lambda loss: jacrev(jacrev(loss)),
    "jacfwd of jacfwd": lambda loss: jacfwd(jacfwd(loss)),
}
PRODUCTS = {
    "hvp": lambda loss, pair, along: functional.hvp(loss, pair, along)[1],
    "vhp": lambda loss, pair, along: functional.vhp(loss, pair, along)[1],
    "jvp of grad": lambda loss, pair, along: jvp(grad(loss), (pair,), (along,))[1],
    "grad of jvp": lambda loss, pair, along: grad(lambda pair: jvp(loss, (pair,), (along,))[1])(pair),
    "linearized grad": lambda loss, pair, along: linear_at(grad(loss), pair)[1](along),
}


@few_options
def test_second_derivatives_are_the_same_by_every_composition(options):
    pair, along = images(5, 5), images(5, 5).flip(0).square()
    loss = lambda pair: blursim(*pair, 0.7, **options)
    expected = functional.hessian(loss, pair)
    flat = expected.reshape(50, 50)
    assert_close(flat, flat.T, GRADIENT_64)
    for composed in HESSIANS.values():
        assert_close(composed(loss)(pair), expected, GRADIENT_64)
    product = (flat @ along.ravel()).reshape(pair.shape)
    for found in PRODUCTS.values():
        assert_close(found(loss, pair, along), product, GRADIENT_64)
    curvature = lambda pair: jvp(lambda pair: jvp(loss, (pair,), (along,))[1], (pair,), (along,))[1]
    assert_close(curvature(pair), (product * along).sum(), GRADIENT_64)


@few_options
def test_mapping_equals_one_call_per_image_in_either_mode_and_to_second_order(options):
    x, y, along = *images(3, 5, 6), images(3, 5, 6)[1].square()
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    per_image = {
        "gradients": grad_and_value(loss, (0, 1)),
        "slope": lambda x, y: jvp(lambda x: loss(x, y), (x,), (y,)),
        "product": lambda x, y: jvp(grad(lambda x: loss(x, y)), (x,), (y,))[1],
    }
    for function in per_image.values():
        each = [function(*pair) for pair in zip(x, y, strict=True)]
        expected = torch.utils._pytree.tree_map(lambda *leaves: torch.stack(leaves), *each)
        assert_close(vmap(function)(x, y), expected, GRADIENT_64)
    mapped = lambda x: vmap(loss)(x, y)
    expected = tuple(
        torch.stack(parts)
        for parts in zip(
            *(jvp(lambda x, y=y: loss(x, y), (x,), (t,)) for x, y, t in zip(x, y, along, strict=True)), strict=True
        )
    )
    assert_close(jvp(mapped, (x,), (along,)), expected, GRADIENT_64)
    assert_close(dual(mapped, (x,), (along,)), expected, GRADIENT_64)
    jacobian = jacfwd(mapped)(x)
    assert_close(torch.stack([jacobian[i, i] for i in range(3)]), slope(mapped, x)[0], GRADIENT_64)


def test_mapping_over_alpha_equals_one_call_per_alpha():
    x, y = images(3, 6, 5)
    alphas = torch.linspace(0, 1, 3, dtype=torch.float64)
    each = torch.stack([blursim(x, y, alpha) for alpha in alphas])
    assert_close(vmap(blursim, (None, None, 0))(x, y, alphas), each, VALUE_64)
    assert_close(vmap(blursim)(x, y, alphas), blursim(x, y, alphas, reduction="none"), VALUE_64)


# One, two and three spatial axes, and between them all words and both p.
VARIED = {
    "1d": ({"axes": (-1,), "p": 2, "normalization": "area"}, (3, 9)),
    "2d": ({"axes": (-2, -1)}, (3, 6, 7)),
    "nhwc": ({"axes": (-3, -2), "p": 1, "spectrum": "complex"}, (3, 6, 7, 2)),
    "vectors": ({"axes": (-2, -1), "edges": "vector", "spectrum": "complex", "p": 2}, (3, 6, 7)),
    "3d": ({"axes": (-3, -2, -1), "edges": "vector", "p": 1, "sobel_size": 3}, (3, 5, 6, 7)),
    "windows": ({"axes": (-3, -2), "window": 4}, (3, 6, 7, 2)),
}


@pytest.mark.parametrize(("options", "shape"), VARIED.values(), ids=VARIED)
def test_mapping_then_going_backward_equals_the_batch(options, shape):
    x, y = images(*shape)
    loss = lambda x, y: blursim(x, y, 0.7, reduction="none", **options)
    assert_close(slope(vmap(loss), x, y), slope(loss, x, y), GRADIENT_64)
    repeated = lambda x, y: loss(*torch.broadcast_tensors(x, y))
    for mapped_over, pair in (((None, 0), (x[0], y)), ((0, None), (x, y[0]))):
        mapped = vmap(loss, mapped_over)
        assert_close(mapped(*pair), repeated(*pair), VALUE_64)
        assert_close(slope(mapped, *pair), slope(repeated, *pair), GRADIENT_64)


@few_options
def test_third_derivatives_in_reverse_are_the_slopes_of_the_second(options):
    x, y = images(5, 6)
    along = y.square()

    def product(x):
        """The Hessian times `along`."""
        (gradient,) = torch.autograd.grad(blursim(x, y, 0.7, **options), x, create_graph=True)
        return torch.autograd.grad((gradient * along).sum(), x, create_graph=True)[0]

    (point,) = leaves(x)
    (third,) = torch.autograd.grad((product(point) * along).sum(), point)
    step = 1e-5
    around = [product(*leaves(x + sign * step * along)).detach() for sign in (1, -1)]
    assert_close(third, (around[0] - around[1]) / (2 * step), CENTRAL_DIFFERENCE)


@few_options
def test_gradient_penalty_reaches_the_weights_of_a_network(options):
    x, y = images(2, 1, 6, 5)
    torch.manual_seed(0)
    weight = torch.rand(1, 1, 3, 3, dtype=torch.float64)
    loss = lambda weight, image: blursim(torch.nn.functional.conv2d(image, weight, padding=1), y, 0.7, **options)

    def penalty(weight):
        (image,) = leaves(x)
        return torch.autograd.grad(loss(weight, image), image, create_graph=True)[0].square().sum()

    functional_penalty = lambda weight: grad(lambda image: loss(weight, image))(x).square().sum()
    assert_close(slope(penalty, weight)[0], grad(functional_penalty)(weight), GRADIENT_64)


def saved(hooks):
    """A loss whose saved tensors go through such hooks."""

    def program(loss, *_):
        def run(*pair):
            with hooks():
                return loss(*pair)

        return run

    return program


def exported(loss, *pair, strict=False, decomposed=False):
    with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of its LeafSpec, and of torch.frombuffer
        program = torch.export.export(loss, pair, strict=strict)
        torch.export.save(program.run_decompositions() if decomposed else program, buffer := io.BytesIO())
        buffer.seek(0)
        return torch.export.load(buffer).module()


def traced(loss, *pair):
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(loss, pair), buffer := io.BytesIO())
        buffer.seek(0)
        return torch.jit.load(buffer)


def compiled(loss, *_, backend="aot_eager"):
    torch._dynamo.reset()
    return torch.compile(loss, fullgraph=True, backend=backend)


# What a training script may put around the loss: a program made of the loss and a pair to trace it with.
PROGRAMS = {
    "checkpoint": lambda loss, *_: lambda *pair: checkpoint(loss, *pair, use_reentrant=False),
    "reentrant checkpoint": lambda loss, *_: lambda *pair: checkpoint(loss, *pair, use_reentrant=True),
    "saved on the CPU": saved(torch.autograd.graph.save_on_cpu),
    "saved by NumPy": saved(
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(force=True), torch.from_numpy)
    ),
    "mapped": lambda loss, *_: lambda *pair: vmap(loss)(*pair).mean(),
    "autocast": lambda loss, *_: torch.autocast("cpu", torch.bfloat16)(loss.forward),
    "compiled": compiled,
    "compiled by Inductor": functools.partial(compiled, backend="inductor"),
    "exported": exported,
    "exported strictly": functools.partial(exported, strict=True),
    "exported and decomposed": functools.partial(exported, decomposed=True),
    "traced": traced,
}
SELDOM = ("compiled by Inductor",)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.slow] * (way in SELDOM)) for way in PROGRAMS])
@few_options
def test_value_and_gradients_are_the_same_in_every_program_and_of_equal_images_exactly_zero(way, options):
    """SPEC 2.3, 7.2, 8.3"""
    x, y = (image.clone() for image in images(3, 6, 5))
    x[0], x[1] = 0.5, y[1]  # a flat image, and one equal to its target
    loss = BlurSim(0.7, **options)
    program = PROGRAMS[way](loss, x, y)
    for pair in ((x, y), (y.square(), x)):
        assert_close(value_and_slope(program, *pair), value_and_slope(loss, *pair), GRADIENT_64)
    for same in (x, y):
        assert_nothing(*value_and_slope(program, same, same))


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@default_option
def test_equal_images_have_exactly_no_loss_and_no_gradient_when_compiled(options, compiler):
    torch._dynamo.reset()
    x, same = images(2, 9, 7, dtype=torch.float32)[0], images(2, 9, 7, dtype=torch.float32)[0]
    loss = lambda x, y: blursim(x, y, 0.7, **options)

    def losses(x, y):
        """As arguments, captured, made in the program, and two names of one."""
        return torch.stack([loss(x, y), loss(x, same), loss(x / 3, y / 3), loss(y, y)])

    third = torch.compile(lambda image: image / 3, backend=compiler)
    half_compiled = lambda x, y: loss(third(x), third(y))
    for program in (torch.compile(losses, backend=compiler, fullgraph=True), half_compiled):
        assert_nothing(program(x, same), *value_and_slope(program, x, same))


@parametrize([*SEEN, WINDOWED])
def test_anomaly_mode_finds_nothing_in_degenerate_images_to_second_order(options):
    x, y = (torch.from_numpy(side).requires_grad_() for side in every_pair(degenerate((7, 6), "float32")))
    with torch.autograd.set_detect_anomaly(True):
        loss = blursim(x, y, 0.7, **options)
        gradients = torch.autograd.grad(loss, (x, y), create_graph=True)
        again = torch.autograd.grad(sum(g.square().sum() for g in gradients), (x, y))
    assert all(t.isfinite().all() for t in (loss, *gradients, *again))
    with torch.no_grad():
        assert torch.equal(blursim(x, y, 0.7, **options), loss)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(
    ("dynamic", "backend", "options"),
    [
        pytest.param(False, "inductor", SEEN[0]),
        pytest.param(True, "aot_eager", SEEN[7]),  # by Parseval without an FFT
        *(pytest.param(False, "inductor", options, marks=pytest.mark.slow) for options in (SEEN[3], SEEN[7], WINDOWED)),
        # Not windows: where the last one ends makes a program of its own for each remainder of the size.
        *(pytest.param(True, "inductor", options, marks=pytest.mark.slow) for options in (SEEN[0], SEEN[3])),
    ],
    ids=lambda case: ids(case) if isinstance(case, dict) else {True: "dynamic", False: "static"}.get(case, case),
)
def test_compiled_loss_equals_the_plain_one_in_one_silent_compilation(dynamic, backend, options):
    torch._dynamo.reset()
    # Of different lengths along each axis: torch.compile takes equal ones to stay equal.
    x, y = (image.clone() for image in images(4, 3, 8, 6))
    other = [image.clone() for image in images(3, 2, 9, 7)]
    loss = lambda x, y, alpha: blursim(x, y, alpha, **options)
    program = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend=backend)
    with warnings.catch_warnings(record=True, action="always") as warned:
        # Said of every FFT that no cache holds, and so not always in the fixture.
        warnings.filterwarnings("ignore", "Torchinductor does not support code generation for complex operators")
        actual = derivatives(program, x, y, alpha_of(0.7))
    assert not warned, [str(w.message) for w in warned]
    assert_close(actual, derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_64)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_close(derivatives(program, x, y, alpha_of(0.2)), derivatives(loss, x, y, alpha_of(0.2)), GRADIENT_64)
        assert_nothing(*derivatives(program, x, x + 0, alpha_of(0.2)))
        if dynamic:
            expected = derivatives(loss, *other, alpha_of(0.2))
            assert_close(derivatives(program, *other, alpha_of(0.2)), expected, GRADIENT_64)
        else:
            with pytest.raises(RuntimeError, match="recompil"):
                program(*other, alpha_of(0.2))


@pytest.mark.usefixtures("_compiler")
@few_options
def test_every_option_compiles_to_one_graph_with_and_without_gradients(options):
    torch._dynamo.reset()
    x, y = images(2, 3, 8, 6)
    loss = lambda x, y, alpha: blursim(x, y, alpha, mask=y > 0.2, sobel_size=3, reduction="none", **options)
    program = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(derivatives(program, x, y, alpha_of(0.7)), derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_64)
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            assert_close(program(x, y, alpha_of(0.7)), loss(x, y, alpha_of(0.7)), VALUE_64)


@pytest.mark.usefixtures("_compiler")
@few_options
def test_compiled_derivatives_of_both_modes_and_orders_equal_the_plain_ones(options):
    torch._dynamo.reset()
    x, y = (image.clone() for image in images(2, 5, 5))
    loss = lambda x: blursim(x, y, 0.7, **options)
    single = lambda x: blursim(x, y[0], 0.7, **options)
    along = lambda x, t: (jvp(loss, (x,), (t,)), grad(lambda x: (grad(loss)(x) * t).sum())(x), vmap(grad(single))(x))
    assert_close(torch.compile(along, fullgraph=True, backend="aot_eager")(x, y), along(x, y), GRADIENT_64)
    assert_close(torch.compile(hessian(single), backend="aot_eager")(x[0]), hessian(single)(x[0]), GRADIENT_64)


@pytest.mark.usefixtures("_compiler")
def test_number_that_changes_compiles_twice_and_then_never_again():
    torch._dynamo.reset()
    x, y = images(6, 5)
    programs = CompileCounterWithBackend("aot_eager")
    program = torch.compile(blursim, fullgraph=True, backend=programs)
    for alpha in (0.9, 0.8, 0.7, 0.55, 0.3, 0.1):
        losses = [lambda x, y, f=f, alpha=alpha: f(x, y, alpha) for f in (program, blursim)]
        assert_close(*(value_and_slope(loss, x, y) for loss in losses), GRADIENT_64)
    assert programs.frame_count == 2


@pytest.mark.usefixtures("_compiler")
@default_option
def test_eager_loss_goes_backward_through_compiled_autograd(options):
    torch._dynamo.reset()
    x, y = images(2, 6, 5)
    (point,) = leaves(x)
    loss = blursim(point, y, 0.7, **options)
    with torch._dynamo.config.patch(compiled_autograd=True), warnings.catch_warnings(action="ignore"):
        torch.compile(lambda: loss.backward(), backend="aot_eager")()
    assert_close(point.grad, slope(lambda x: blursim(x, y, 0.7, **options), x)[0], GRADIENT_64)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(("term", "transforms"), [("general", True), ("specific", False)])
def test_unused_term_costs_a_compiled_program_nothing(term, transforms):
    torch._dynamo.reset()
    programs = []

    def backend(graph, example):
        from functorch.compile import make_boxed_func

        programs.append(graph.code)
        return make_boxed_func(graph.forward)

    aot = torch._dynamo.backends.common.aot_autograd(fw_compiler=backend)
    x, y = images(6, 5)
    torch.compile(lambda x, y: getattr(blursim_terms(x, y), term), fullgraph=True, backend=aot)(x, y)
    assert ["fft" in code for code in programs] == [transforms]


def test_root_mean_square_of_complex_differences_computes_no_fft():
    """SPEC 3.4"""
    (x,), y = leaves(images(6, 5)[0]), images(6, 5)[1]

    def operations(spectrum):
        with torch.profiler.profile(acc_events=True) as profile:
            blursim(x, y, 0.8, spectrum=spectrum, p=2).backward()
        return " ".join(event.key for event in profile.key_averages())

    assert "fft" in operations("magnitude")
    assert "fft" not in operations("complex")


@pytest.mark.parametrize("strict", [pytest.param(False, marks=pytest.mark.slow), True], ids=["nonstrict", "strict"])
def test_exported_program_runs_on_other_shapes_after_saving_and_loading(strict):
    x, y = images(2, 3, 8, 6, dtype=torch.float32)
    batch_and_size = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(BlurSim(0.7), (x, y), dynamic_shapes=(batch_and_size, batch_and_size), strict=strict)
    torch.export.save(program, buffer := io.BytesIO())
    buffer.seek(0)
    with warnings.catch_warnings(action="ignore"):  # of torch.frombuffer, which torch 2.11 loads with
        loaded = torch.export.load(buffer).module()
    for shape in ((2, 3, 8, 6), (3, 3, 9, 7)):
        x, y = images(*shape, dtype=torch.float32)
        assert_close(loaded(x, y), blursim(x, y, 0.7), VALUE_32)
        assert_close(slope(loaded, x, y), slope(BlurSim(0.7), x, y), GRADIENT_32)


def test_memory_format_does_not_matter():
    x, y = images(2, 3, 6, 5)
    expected = derivatives(blursim, x, y, alpha_of(0.7))
    channels_last = x.contiguous(memory_format=torch.channels_last)
    strided = torch.zeros(2, 3, 12, 10, dtype=x.dtype)[..., ::2, ::2].copy_(x)
    for same in (channels_last, strided, x.mT.contiguous().mT):
        assert not same.is_contiguous()
        assert_close(derivatives(blursim, same, y, alpha_of(0.7)), expected, GRADIENT_64)
    nhwc = [image.movedim(-3, -1).contiguous() for image in (x, y)]
    assert_close(blursim(*nhwc, 0.7, axes=(-3, -2)), expected[0], VALUE_64)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("function", [blursim_terms, difference_maps])
def test_terms_and_maps_take_the_same_transforms(function):
    x, y = images(3, 6, 5)
    expected = function(x, y) if function is difference_maps else function(x, y, reduction="none")
    assert_close(vmap(function)(x, y), expected, VALUE_64)
    with torch.inference_mode():
        assert_close(function(x, y), function(*images(3, 6, 5)), VALUE_64)
    program = torch.compile(lambda x, y: function(x, y), fullgraph=True, backend="aot_eager")
    assert_close(program(x, y), function(x, y), VALUE_64)
    loss = lambda x, y: sum((array**3).sum() for array in function(x, y))
    assert_close(slope(torch.compile(loss, backend="aot_eager"), x, y), slope(loss, x, y), GRADIENT_64)
    assert_close(grad(loss, (0, 1))(x, y), slope(loss, x, y), GRADIENT_64)


def test_shapes_are_known_without_data():
    for where in (FakeTensorMode(), torch.device("meta")):
        with where:
            x, y = torch.empty(2, 4, 3, 6, 5)
            loss, gradient, _ = derivatives(lambda *args: blursim(*args, reduction="none"), x, y, torch.empty(4, 3))
        assert (loss.shape, gradient.shape) == ((4, 3), x.shape)


def test_private_name_of_pytorchs_is_there_and_says_who_watches():
    active = torch._C._are_functorch_transforms_active
    seen = []
    watch = lambda x: (seen.append(active()), x.sum())[1]
    vmap(watch)(torch.ones(2, 2)), grad(watch)(torch.ones(2)), jvp(watch, (torch.ones(2),), (torch.ones(2),))
    assert seen == [True] * 3
    assert not active()


@default_option
def test_without_the_private_name_the_formulas_are_differentiated(options, monkeypatch):
    ours = [name for name in sys.modules if name.partition(".")[0] == "blursim_torch"]
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(torch._C, "_are_functorch_transforms_active")
    package = importlib.import_module("blursim_torch")
    x, y = images(2, 6, 5)
    with_name = lambda x, y: blursim(x, y, 0.7, reduction="none", **options)
    without = lambda x, y: package.blursim(x, y, 0.7, reduction="none", **options)
    monkeypatch.undo()
    nodes = [str(loss(*leaves(x, y)).grad_fn) for loss in (with_name, without)]
    assert ["_Blend" in node for node in nodes] == [True, False]
    assert_close(without(x, y), with_name(x, y), VALUE_64)
    assert_close(slope(without, x, y), slope(with_name, x, y), GRADIENT_64)
    assert_close(vmap(without)(x, y), with_name(x, y), VALUE_64)
    sums = lambda loss: lambda x: loss(x, y).sum()
    assert_close(*(functional.hvp(sums(loss), x, y) for loss in (without, with_name)), GRADIENT_64)
    assert_nothing(without(x, x), *slope(lambda x: without(x, x + 0), x))
