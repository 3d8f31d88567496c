"""PyTorch's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

import functools
import importlib
import io
import os
import subprocess
import sys
import warnings
import weakref

import pytest
import torch
from tolerances import CENTRAL_DIFFERENCE, GRADIENT_32, GRADIENT_64, VALUE_32, VALUE_64, distance
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.utils import checkpoint

from blursim_torch import BlurSim, blursim, blursim_terms, difference_maps

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


def images(*shape, dtype=torch.float32):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def alpha_of(number, dtype=torch.float64):
    return torch.tensor(number, dtype=dtype)


def leaves(*tensors):
    return [t.clone().requires_grad_() for t in tensors]


def assert_close(actual, expected, tolerance):
    """Two trees have the same dtypes and, leaf by leaf, the same values."""
    flat = torch.utils._pytree.tree_leaves
    for a, b in zip(flat(actual), flat(expected), strict=True):
        assert a.dtype == b.dtype
        assert distance(a.detach(), b.detach()) <= tolerance


def slope(loss, *inputs):
    inputs = leaves(*inputs)
    return torch.autograd.grad(loss(*inputs).sum(), inputs)


def derivatives(function, x, y, alpha):
    """The loss and its gradients for x and alpha, as a training step takes them."""
    x, alpha = x.clone().requires_grad_(), alpha.clone().requires_grad_()
    loss = function(x, y, alpha)
    return (loss, *torch.autograd.grad(loss.sum(), (x, alpha)))


def assert_nothing(loss, *gradients):
    """Exactly 0, each of them."""
    assert not loss.any()
    assert not any(gradient.any() for gradient in gradients)


def linear_at(function, *point):
    with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of every function with a constant
        return linearize(function, *point)


@options
def test_both_modes_agree_with_finite_differences(options):
    x, y = leaves(*images(2, 6, 5, dtype=torch.float64))
    (alpha,) = leaves(alpha_of([0.3, 0.7]))
    mask = images(2, 6, 5, dtype=torch.float64)[1].square().requires_grad_()
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, reduction="none", **options)
    batched = {"check_batched_grad": True, "check_batched_forward_grad": True}
    assert gradcheck(loss, (x, y, alpha, mask), check_forward_ad=True, **batched)


@options
def test_second_order_agrees_with_finite_differences(options):
    x, y, alpha = leaves(*images(5, 5, dtype=torch.float64), alpha_of(0.7))
    loss = lambda *point: blursim(*point, **options)
    assert gradgradcheck(loss, (x, y, alpha), check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize(
    "rest", [{"normalization": "area"}, {"sobel_size": 3, "axes": (-1,)}, {"axes": (0, 1)}], ids=str
)
def test_modes_and_orders_agree_with_finite_differences_for_the_other_options(rest):
    x, y = leaves(*images(*((5, 5, 1) if rest.get("axes") == (0, 1) else (1, 5, 5)), dtype=torch.float64))
    loss = lambda x, y: blursim(x, y, 0.7, reduction="sum", **rest)
    assert gradcheck(loss, (x, y), check_forward_ad=True)
    assert gradgradcheck(loss, (x, y), check_fwd_over_rev=True)


@options
def test_mapping_over_images_equals_one_call_per_image(options):
    x, y = images(2, 3, 6, 5, dtype=torch.float64)
    per_image = grad_and_value(lambda *point: blursim(*point, **options), EVERY)
    alphas = torch.full((2, 3), 0.7, dtype=torch.float64)
    gradients, values = vmap(vmap(per_image))(x, y, alphas)
    for i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3)):
        expected = per_image(x[i, j], y[i, j], alphas[i, j])
        assert_close(([g[i, j] for g in gradients], values[i, j]), ([*expected[0]], expected[1]), GRADIENT_64)


def test_mapping_over_alpha_equals_one_call_per_alpha():
    x, y = images(3, 6, 5, dtype=torch.float64)
    alphas = torch.linspace(0, 1, 3, dtype=torch.float64)
    each = torch.stack([blursim(x, y, alpha) for alpha in alphas])
    assert_close(vmap(blursim, (None, None, 0))(x, y, alphas), each, VALUE_64)
    assert_close(vmap(blursim)(x, y, alphas), blursim(x, y, alphas, reduction="none"), VALUE_64)


@options
def test_functional_transforms_equal_autograd(options):
    point = (*images(2, 6, 5, dtype=torch.float64), alpha_of(0.7))
    loss = lambda *point: blursim(*point, **options)
    value = loss(*(inputs := leaves(*point)))
    gradient = torch.autograd.grad(value, inputs)
    along = (point[1], point[0], alpha_of(0.4))
    assert_close(grad(loss, EVERY)(*point), gradient, GRADIENT_64)
    assert_close(vjp(loss, *point)[1](torch.ones_like(value)), gradient, GRADIENT_64)
    assert_close(jacrev(loss, EVERY)(*point), gradient, GRADIENT_64)
    assert_close(jacfwd(loss, EVERY)(*point), gradient, GRADIENT_64)
    assert_close(torch.autograd.functional.jacobian(loss, point), gradient, GRADIENT_64)
    forward = functools.partial(torch.autograd.functional.jacobian, vectorize=True, strategy="forward-mode")
    assert_close(forward(loss, point), gradient, GRADIENT_64)
    slope = sum((g * t).sum() for g, t in zip(gradient, along, strict=True))
    assert_close(jvp(loss, point, along), (value, slope), GRADIENT_64)
    assert_close(torch.autograd.functional.jvp(loss, point, along), (value, slope), GRADIENT_64)
    linear_value, linear = linear_at(loss, *point)
    assert_close((linear_value, linear(*along)), (value, slope), GRADIENT_64)
    with forward_ad.dual_level():
        dual = loss(*map(forward_ad.make_dual, point, along))
        assert_close(tuple(forward_ad.unpack_dual(dual)), (value, slope), GRADIENT_64)


@options
def test_directional_derivatives_of_a_batch_are_those_of_each_image(options):
    x, y = images(3, 6, 5, dtype=torch.float64)
    along = images(3, 6, 5, dtype=torch.float64)[1].square()
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    each = [jvp(lambda x, y=y: loss(x, y), (x,), (t,)) for x, y, t in zip(x, y, along, strict=True)]
    expected = tuple(map(torch.stack, zip(*each, strict=True)))
    mapped = lambda x: vmap(loss)(x, y)
    assert_close(jvp(mapped, (x,), (along,)), expected, GRADIENT_64)
    assert_close(vmap(lambda x, y, t: jvp(lambda x: loss(x, y), (x,), (t,)))(x, y, along), expected, GRADIENT_64)
    with forward_ad.dual_level():
        dual = mapped(forward_ad.make_dual(x, along))
        assert_close(tuple(forward_ad.unpack_dual(dual)), expected, GRADIENT_64)
    jacobian = jacfwd(mapped)(x)
    assert_close(torch.stack([jacobian[i, i] for i in range(3)]), slope(mapped, x)[0], GRADIENT_64)


@options
def test_second_derivatives_are_the_same_by_every_composition(options):
    x, y = images(5, 5, dtype=torch.float64)
    loss = lambda pair: blursim(*pair, 0.7, **options)
    pair, along = torch.stack([x, y]), torch.stack([y, x.square()])
    expected = torch.autograd.functional.hessian(loss, pair)
    flat = expected.reshape(50, 50)
    assert_close(flat, flat.T, GRADIENT_64)
    for composed in (hessian(loss), jacrev(grad(loss)), jacfwd(grad(loss)), jacrev(jacrev(loss)), jacfwd(jacfwd(loss))):
        assert_close(composed(pair), expected, GRADIENT_64)
    expected = (flat @ along.ravel()).reshape(pair.shape)
    products = torch.autograd.functional
    assert_close(products.hvp(loss, pair, along), (loss(pair), expected), GRADIENT_64)
    assert_close(products.vhp(loss, pair, along), (loss(pair), expected), GRADIENT_64)
    assert_close(jvp(grad(loss), (pair,), (along,))[1], expected, GRADIENT_64)
    assert_close(grad(lambda pair: jvp(loss, (pair,), (along,))[1])(pair), expected, GRADIENT_64)
    assert_close(linear_at(grad(loss), pair)[1](along), expected, GRADIENT_64)
    curvature = lambda pair: jvp(lambda pair: jvp(loss, (pair,), (along,))[1], (pair,), (along,))[1]
    assert_close(curvature(pair), (expected * along).sum(), GRADIENT_64)


@options
def test_per_image_products_with_the_hessian_are_those_of_each_image(options):
    x, y = images(3, 5, 6, dtype=torch.float64)
    product = lambda x, y, t: jvp(grad(lambda x: blursim(x, y, 0.7, **options)), (x,), (t,))[1]
    each = torch.stack([product(*image) for image in zip(x, y, y, strict=True)])
    assert_close(vmap(product)(x, y, y), each, GRADIENT_64)
    sums = lambda x: blursim(x, y, 0.7, reduction="sum", **options)
    assert_close(torch.autograd.functional.hvp(sums, x, y)[1], each, GRADIENT_64)


@options
def test_third_derivatives_in_reverse_are_the_slopes_of_the_second(options):
    x, y = images(5, 6, dtype=torch.float64)
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


@options
def test_gradient_penalty_reaches_the_weights_of_a_network(options):
    x, y = images(2, 1, 6, 5, dtype=torch.float64)
    torch.manual_seed(0)
    model = torch.nn.Conv2d(1, 1, 3, padding=1, dtype=torch.float64)

    def penalty():
        image = x.clone().requires_grad_()
        loss = blursim(model(image), y, 0.7, **options)
        return torch.autograd.grad(loss, image, create_graph=True)[0].square().sum()

    gradient = torch.autograd.grad(penalty(), model.weight)[0]
    step, weight = 1e-5, model.weight.data.clone()
    expected = torch.zeros_like(gradient)
    for i in range(9):
        around = []
        for sign in (1, -1):
            model.weight.data.ravel()[i] = weight.ravel()[i] + sign * step
            around.append(penalty().detach())
            model.weight.data.copy_(weight)
        expected.ravel()[i] = (around[0] - around[1]) / (2 * step)
    assert_close(gradient, expected, CENTRAL_DIFFERENCE)


STRIPES = torch.arange(6.0).remainder(2).expand(7, 6)
DEGENERATE = {
    "flat": (torch.full((7, 6), 0.5), STRIPES),
    "both flat": (torch.full((7, 6), 0.5), torch.full((7, 6), 0.2)),
    "nothing": (torch.zeros(7, 6), torch.zeros(7, 6)),
    "equal": (images(7, 6)[0], images(7, 6)[0]),
    "striped": (STRIPES, STRIPES.flip(-1)),
    "striped along the other axis": (STRIPES, STRIPES.new_tensor(range(7)).remainder(2)[:, None].expand(7, 6)),
    "one bright pixel": (torch.nn.functional.one_hot(torch.tensor([9]), 42).reshape(7, 6).float(), torch.zeros(7, 6)),
}


@every_option
@pytest.mark.parametrize("pair", DEGENERATE.values(), ids=DEGENERATE)
def test_anomaly_mode_finds_nothing_in_degenerate_images_to_second_order(pair, options):
    x, y = leaves(*pair)
    with torch.autograd.set_detect_anomaly(True):
        loss = blursim(x, y, 0.7, **options)
        gradients = torch.autograd.grad(loss, (x, y), create_graph=True)
        again = torch.autograd.grad(sum(g.square().sum() for g in gradients), (x, y))
    assert all(t.isfinite().all() for t in (loss, *gradients, *again))
    with torch.no_grad():
        assert torch.equal(blursim(x, y, 0.7, **options), loss)


@pytest.fixture(scope="module")
def _compiler():
    """The compiler has said, over a function that isn't ours, what it says on first use."""
    with warnings.catch_warnings(action="ignore"):
        torch.compile(lambda x: torch.fft.rfft(x).abs().sum())(torch.ones(4, requires_grad=True)).backward()


compilers = pytest.mark.parametrize(
    "compiler",
    ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)],
)


@every_option
def test_equal_images_have_exactly_no_loss_and_no_gradient(options):
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    for same in (images(9, 7)[0], images(2, 5, 8, dtype=torch.float64)[0]):
        point = leaves(same, same)
        for pair in (point, (point[0], point[1].mT.contiguous().mT)):
            value = loss(*pair)
            assert_nothing(value, *torch.autograd.grad(value, point))
            assert_nothing(loss(same, same.clone()))


@pytest.mark.usefixtures("_compiler")
@compilers
@defaults
def test_equal_images_have_exactly_no_loss_and_no_gradient_when_compiled(options, compiler):
    torch._dynamo.reset()
    x, same = images(2, 9, 7)[0], images(2, 9, 7)[0]
    loss = lambda x, y: blursim(x, y, 0.7, **options)

    def losses(x, y):
        """As arguments, captured, made in the program, and two names of one."""
        return torch.stack([loss(x, y), loss(x, same), loss(x / 3, y / 3), loss(y, y)])

    third = torch.compile(lambda image: image / 3, backend=compiler)
    half_compiled = lambda x, y: loss(third(x), third(y))
    for program in (torch.compile(losses, backend=compiler, fullgraph=True), half_compiled):
        point = leaves(x, same)
        value = program(*point)
        assert_nothing(value, *torch.autograd.grad(value.sum(), point))
        assert_nothing(program(x, same))


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(
    ("dynamic", "backend", "options"),
    [
        pytest.param(False, "inductor", SEEN[0]),
        pytest.param(False, "inductor", SEEN[3], marks=pytest.mark.slow),
        pytest.param(False, "inductor", SEEN[4], marks=pytest.mark.slow),
        pytest.param(False, "inductor", SEEN[7], marks=pytest.mark.slow),
        pytest.param(True, "aot_eager", SEEN[0], marks=pytest.mark.slow),
        pytest.param(True, "aot_eager", SEEN[7]),  # by Parseval without an FFT
        pytest.param(True, "inductor", SEEN[0], marks=pytest.mark.slow),
        pytest.param(True, "inductor", SEEN[3], marks=pytest.mark.slow),
    ],
    ids=lambda case: name_of(case) if isinstance(case, dict) else {True: "dynamic", False: "static"}.get(case, case),
)
def test_compiled_loss_equals_the_plain_one_in_one_silent_compilation(dynamic, backend, options):
    torch._dynamo.reset()
    # Of different lengths along each axis: torch.compile takes equal ones to stay equal.
    x, y = (image.clone() for image in images(4, 3, 8, 6, dtype=torch.float64))
    other = [image.clone() for image in images(3, 2, 9, 7, dtype=torch.float64)]
    loss = lambda x, y, alpha: blursim(x, y, alpha, **options)
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend=backend)
    with warnings.catch_warnings(record=True, action="always") as warned:
        # Said of every FFT that no cache holds, and so not always in the fixture.
        warnings.filterwarnings("ignore", "Torchinductor does not support code generation for complex operators")
        actual = derivatives(compiled, x, y, alpha_of(0.7))
    assert not warned, [str(w.message) for w in warned]
    assert_close(actual, derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_64)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_close(derivatives(compiled, x, y, alpha_of(0.2)), derivatives(loss, x, y, alpha_of(0.2)), GRADIENT_64)
        # SPEC 2.3: a compiler, too, makes the same of equal images.
        assert_nothing(*derivatives(compiled, x, x + 0, alpha_of(0.2)))
        if dynamic:
            expected = derivatives(loss, *other, alpha_of(0.2))
            assert_close(derivatives(compiled, *other, alpha_of(0.2)), expected, GRADIENT_64)
        else:
            with pytest.raises(RuntimeError, match="recompil"):
                compiled(*other, alpha_of(0.2))


@pytest.mark.usefixtures("_compiler")
@options
def test_every_option_compiles_to_one_graph_with_and_without_gradients(options):
    torch._dynamo.reset()
    x, y = images(2, 3, 8, 6, dtype=torch.float64)
    loss = lambda x, y, alpha: blursim(x, y, alpha, mask=y > 0.2, sobel_size=3, reduction="none", **options)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(derivatives(compiled, x, y, alpha_of(0.7)), derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_64)
    assert_close(compiled(x, y, alpha_of(0.7)), loss(x, y, alpha_of(0.7)), VALUE_64)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_close(compiled(x, y, alpha_of(0.7)), loss(x, y, alpha_of(0.7)), VALUE_64)


@pytest.mark.usefixtures("_compiler")
def test_number_that_changes_compiles_twice_and_then_never_again():
    torch._dynamo.reset()
    x, y = images(6, 5, dtype=torch.float64)
    programs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(blursim, fullgraph=True, backend=programs)
    for alpha in (0.9, 0.8, 0.7, 0.55, 0.3, 0.1):
        assert_close(
            derivatives(lambda x, y, _, a=alpha: compiled(x, y, a) + 0 * _, x, y, alpha_of(0.0))[:2],
            derivatives(lambda x, y, _, a=alpha: blursim(x, y, a) + 0 * _, x, y, alpha_of(0.0))[:2],
            GRADIENT_64,
        )
    assert programs.frame_count == 2


@pytest.mark.usefixtures("_compiler")
@options
def test_eager_loss_goes_backward_through_compiled_autograd(options):
    torch._dynamo.reset()
    x, y = images(2, 6, 5, dtype=torch.float64)
    (point,) = leaves(x)
    loss = blursim(point, y, 0.7, **options)
    with torch._dynamo.config.patch(compiled_autograd=True), warnings.catch_warnings(action="ignore"):
        torch.compile(lambda: loss.backward(), backend="aot_eager")()
    assert_close(point.grad, slope(lambda x: blursim(x, y, 0.7, **options), x)[0], GRADIENT_64)


@pytest.mark.parametrize("strict", [pytest.param(False, marks=pytest.mark.slow), True], ids=["nonstrict", "strict"])
def test_exported_program_runs_on_other_shapes_after_saving_and_loading(strict):
    x, y = images(2, 3, 8, 6)
    batch_and_size = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(BlurSim(0.7), (x, y), dynamic_shapes=(batch_and_size, batch_and_size), strict=strict)
    loaded = loaded_again(program).module()
    for x, y in (images(2, 3, 8, 6), images(3, 3, 9, 7)):
        assert_close(loaded(x, y), blursim(x, y, 0.7), VALUE_32)
        assert_close(slope(loaded, x, y), slope(BlurSim(0.7), x, y), GRADIENT_32)


def loaded_again(program):
    torch.export.save(program, buffer := io.BytesIO())
    buffer.seek(0)
    with warnings.catch_warnings(action="ignore"):  # of torch.frombuffer, which torch 2.11 loads with
        return torch.export.load(buffer)


@pytest.mark.parametrize("decomposed", [False, True], ids=["", "decomposed"])
@pytest.mark.parametrize("strict", [False, True], ids=["nonstrict", "strict"])
@options
def test_exported_program_is_differentiated_afterwards(options, strict, decomposed):
    x, y = (image.clone() for image in images(3, 6, 5, dtype=torch.float64))
    x[0], x[1] = 0.5, y[1]  # a flat image, and one equal to its target
    criterion = BlurSim(0.7, **options)
    with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of its LeafSpec
        program = torch.export.export(criterion, (x, y), strict=strict)
        program = loaded_again(program.run_decompositions() if decomposed else program).module()
    assert_close(program(x, y), criterion(x, y), VALUE_64)
    assert_close(slope(program, x, y), slope(criterion, x, y), GRADIENT_64)
    (gradient,) = slope(lambda x: program(x, x + 0), x)
    assert_nothing(program(x, x), gradient)


ALONE = """
import sys
import warnings

import torch

sys.modules["blursim_torch"] = None  # as where it is not installed
warnings.simplefilter("ignore")
x, y, value, gradients = torch.load("expected.pt")
for name in ("program.pt2", "trace.pt"):
    program = torch.jit.load(name) if name == "trace.pt" else torch.export.load(name).module()
    loss = program(x, y)
    loss.backward()
    torch.testing.assert_close(loss, value)
    for parameter, gradient in zip(program.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
"""


def test_exported_or_traced_model_and_loss_train_where_this_package_is_missing(tmp_path):
    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.criterion = torch.nn.Conv2d(3, 3, 3, padding=1), BlurSim(0.7)

        def forward(self, x, y):
            return self.criterion(self.model(x), y)

    step, (x, y) = Step(), (image.clone() for image in images(2, 3, 8, 6))
    # Strictly: what autograd.Function does is then seen by another part of PyTorch.
    torch.export.save(torch.export.export(step, (x, y), strict=True), tmp_path / "program.pt2")
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(step, (x, y)), tmp_path / "trace.pt")
    loss = step(x, y)
    loss.backward()
    torch.save((x, y, loss.detach(), [p.grad for p in step.parameters()]), tmp_path / "expected.pt")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)


@options
@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated
def test_traced_loss_is_right_after_saving_and_loading(options):
    x, y = images(2, 6, 5, dtype=torch.float64)
    criterion = BlurSim(0.7, **options)
    torch.jit.save(torch.jit.trace(criterion, (x, y)), buffer := io.BytesIO())
    buffer.seek(0)
    traced = torch.jit.load(buffer)
    other = [image.clone() for image in images(2, 6, 5, dtype=torch.float64).square()]
    for pair in ((x, y), other):
        assert_close(traced(*pair), criterion(*pair), VALUE_64)
        assert_close(slope(traced, *pair), slope(criterion, *pair), GRADIENT_64)
    assert_nothing(traced(x, x), *slope(lambda x: traced(x, x + 0), x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_change_the_result(dtype):
    x, y = images(2, 6, 5)
    plain = derivatives(blursim, x, y, alpha_of(0.7))
    with torch.autocast("cpu", dtype):
        cast = derivatives(blursim, x, y, alpha_of(0.7))
    assert all(map(torch.equal, cast, plain))


def test_mixed_precision_step_takes_a_bfloat16_prediction():
    x, y = images(2, 1, 8, 8)
    torch.manual_seed(0)
    model = torch.nn.Conv2d(1, 1, 3, padding=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        with torch.autocast("cpu", torch.bfloat16):
            prediction = model(x)
            loss = blursim(prediction, y, 0.7)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert prediction.dtype == torch.bfloat16
    assert loss.dtype == model.weight.grad.dtype == torch.float32
    assert losses[-1] < losses[0]
    assert_close(loss, blursim(prediction.float(), y, 0.7), VALUE_32)


def test_memory_format_does_not_matter():
    x, y = images(2, 3, 6, 5, dtype=torch.float64)
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
    x, y = images(3, 6, 5, dtype=torch.float64)
    expected = function(x, y) if function is difference_maps else function(x, y, reduction="none")
    assert_close(vmap(function)(x, y), expected, VALUE_64)
    with torch.inference_mode():
        assert_close(function(x, y), function(*images(3, 6, 5, dtype=torch.float64)), VALUE_64)
    compiled = torch.compile(lambda x, y: function(x, y), fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, y), function(x, y), VALUE_64)
    loss = lambda x, y: sum((array**3).sum() for array in function(x, y))
    assert_close(slope(torch.compile(loss, backend="aot_eager"), x, y), slope(loss, x, y), GRADIENT_64)
    assert_close(grad(loss, (0, 1))(x, y), slope(loss, x, y), GRADIENT_64)


def test_shapes_are_known_without_data():
    for where in (FakeTensorMode(), torch.device("meta")):
        with where:
            x, y = torch.empty(2, 4, 3, 6, 5)
            loss, gradient, _ = derivatives(lambda *args: blursim(*args, reduction="none"), x, y, torch.empty(4, 3))
        assert (loss.shape, gradient.shape) == ((4, 3), x.shape)


# One, two and three spatial axes, and between them all words and both p.
VARIED = [
    ({"axes": (-1,), "p": 2, "normalization": "area"}, (3, 9)),
    ({"axes": (-2, -1)}, (3, 6, 7)),
    ({"axes": (-3, -2), "p": 1, "spectrum": "complex"}, (3, 6, 7, 2)),
    ({"axes": (-2, -1), "edges": "vector", "spectrum": "complex", "p": 2}, (3, 6, 7)),
    ({"axes": (-3, -2, -1), "edges": "vector", "p": 1, "sobel_size": 3}, (3, 5, 6, 7)),
]
varied = pytest.mark.parametrize(("options", "shape"), VARIED, ids=["1d", "2d", "nhwc", "vectors", "3d"])


@varied
def test_mapping_then_going_backward_equals_the_batch(options, shape):
    x, y = images(*shape, dtype=torch.float64)
    loss = lambda x, y: blursim(x, y, 0.7, reduction="none", **options)
    assert_close(slope(vmap(loss), x, y), slope(loss, x, y), GRADIENT_64)
    repeated = lambda x, y: loss(*torch.broadcast_tensors(x, y))
    for mapped_over, pair in (((None, 0), (x[0], y)), ((0, None), (x, y[0]))):
        mapped = vmap(loss, mapped_over)
        assert_close(mapped(*pair), repeated(*pair), VALUE_64)
        assert_close(slope(mapped, *pair), slope(repeated, *pair), GRADIENT_64)


@varied
def test_checkpoints_and_hooks_leave_the_gradient_what_it_is(options, shape):
    x, y = images(*shape, dtype=torch.float64)
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    expected = slope(loss, x, y)
    chosen = functools.partial(
        checkpoint.create_selective_checkpoint_contexts,
        lambda _, op, *args, **kwargs: (
            checkpoint.CheckpointPolicy.MUST_SAVE if "fft" in str(op) else checkpoint.CheckpointPolicy.PREFER_RECOMPUTE
        ),
    )
    for how in ({}, {"context_fn": chosen}):
        kept = lambda x, y, how=how: checkpoint.checkpoint(loss, x, y, use_reentrant=False, **how)
        assert all(map(torch.equal, slope(kept, x, y), expected))
    point = leaves(x, y)
    checkpoint.checkpoint(loss, *point, use_reentrant=True).backward()
    assert all(map(torch.equal, [image.grad for image in point], expected))
    to_numpy = torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(force=True), torch.from_numpy)
    for hooks in (torch.autograd.graph.save_on_cpu(), to_numpy):
        with hooks:
            assert all(map(torch.equal, slope(loss, x, y), expected))


@pytest.mark.parametrize(("wanted", "images_kept"), [("x", 2), ("y", 2), ("xy", 4)])
@every_option
def test_autograd_keeps_one_gradient_for_each_term_and_image(options, wanted, images_kept):
    x, y = images(2, 3, 32, 24)
    x, y = (image.clone().requires_grad_(name in wanted) for name, image in (("x", x), ("y", y)))
    kept = weakref.WeakValueDictionary()

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in (x.data_ptr(), y.data_ptr()):
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = blursim(x, y, 0.7, **options)
    assert sum(storage.nbytes() for storage in kept.values()) < (images_kept + 0.1) * x.nbytes
    loss.backward()


@varied
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("every_pixel", [False, True])
def test_bad_pixel_reaches_the_loss_of_its_image_and_no_other(options, shape, bad, every_pixel):
    x, y = images(*shape, dtype=torch.float64)
    spoiled = x.clone()
    spoiled[1].flatten()[None if every_pixel else 3] = bad
    if options["axes"] == (-3, -2):
        spoiled[1, ..., 1] = bad  # of both channels
        spoiled[1, 0, 0, 0] = bad
    for alpha in (0, 0.5, 1):
        loss = lambda x, alpha=alpha: blursim(x, y, alpha, reduction="none", **options)
        assert not loss(spoiled)[1].isfinite().any()
        others = [0, 2]
        assert torch.equal(loss(spoiled)[others], loss(x)[others])
        assert torch.equal(slope(loss, spoiled)[0][others], slope(loss, x)[0][others])


@pytest.mark.usefixtures("_compiler")
@options
def test_compiled_derivatives_of_both_modes_and_orders_equal_the_plain_ones(options):
    torch._dynamo.reset()
    x, y = (image.clone() for image in images(2, 5, 5, dtype=torch.float64))
    loss = lambda x: blursim(x, y, 0.7, **options)
    single = lambda x: blursim(x, y[0], 0.7, **options)
    along = lambda x, t: (jvp(loss, (x,), (t,)), grad(lambda x: (grad(loss)(x) * t).sum())(x), vmap(grad(single))(x))
    compiled = torch.compile(along, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, y), along(x, y), GRADIENT_64)
    assert_close(torch.compile(hessian(single), backend="aot_eager")(x[0]), hessian(single)(x[0]), GRADIENT_64)


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


def test_private_name_of_pytorchs_is_there_and_says_who_watches():
    active = torch._C._are_functorch_transforms_active
    seen = []
    watch = lambda x: (seen.append(active()), x.sum())[1]
    vmap(watch)(torch.ones(2, 2)), grad(watch)(torch.ones(2)), jvp(watch, (torch.ones(2),), (torch.ones(2),))
    assert seen == [True] * 3
    assert not active()


@options
def test_without_the_private_name_the_formulas_are_differentiated(options, monkeypatch):
    ours = [name for name in sys.modules if name.partition(".")[0] == "blursim_torch"]
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(torch._C, "_are_functorch_transforms_active")
    package = importlib.import_module("blursim_torch")
    assert package.blursim is not blursim
    x, y = images(2, 6, 5, dtype=torch.float64)
    with_name = lambda x, y: blursim(x, y, 0.7, reduction="none", **options)
    without = lambda x, y: package.blursim(x, y, 0.7, reduction="none", **options)
    assert "Distance" not in str(without(*leaves(x, y)).grad_fn.next_functions)
    monkeypatch.undo()
    assert_close(without(x, y), with_name(x, y), VALUE_64)
    assert_close(slope(without, x, y), slope(with_name, x, y), GRADIENT_64)
    assert_close(vmap(without)(x, y), with_name(x, y), VALUE_64)
    sums = lambda loss: lambda x: loss(x, y).sum()
    products = [torch.autograd.functional.hvp(sums(loss), x, y) for loss in (without, with_name)]
    assert_close(*products, GRADIENT_64)
    assert_nothing(without(x, x), *slope(lambda x: without(x, x + 0), x))
    assert_nothing(*slope(lambda x: without(torch.full_like(x, 0.5), x), torch.full_like(x, 0.5)))
