"""PyTorch's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

import io
import os
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
from tolerances import GRADIENT_32, GRADIENT_64, VALUE_32, VALUE_64, distance
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp, vmap

from blursim_torch import BlurSim, blursim, blursim_terms, difference_maps, prepare

# The two terms and their two divisors know nothing of each other: two sets of options reach all the code.
DEFAULT = {"spectrum": "magnitude", "edges": "magnitude", "normalization": "area"}
SIGNED = {"spectrum": "complex", "edges": "vector", "normalization": "gain", "p": 1}
options = pytest.mark.parametrize("options", [DEFAULT, SIGNED], ids=["default", "signed"])
EVERY = (0, 1, 2)  # argnums of x, y and alpha
of_dynamic_shape = pytest.mark.xfail(
    torch.__version__ < (2, 7), reason="PyTorch 2.6 traces FFTs of static shapes alone"
)


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


@options
def test_both_modes_agree_with_finite_differences(options):
    x, y = leaves(*images(2, 6, 5, dtype=torch.float64))
    (alpha,) = leaves(alpha_of([0.3, 0.7]))
    mask = images(2, 6, 5, dtype=torch.float64)[1].square().requires_grad_()
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, reduction="none", **options)
    assert gradcheck(loss, (x, y, alpha, mask), check_forward_ad=True)


@options
def test_second_order_agrees_with_finite_differences(options):
    x, y, alpha = leaves(*images(5, 5, dtype=torch.float64), alpha_of(0.7))
    assert gradgradcheck(lambda *point: blursim(*point, **options), (x, y, alpha), check_fwd_over_rev=True)


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
    slope = sum((g * t).sum() for g, t in zip(gradient, along, strict=True))
    assert_close(jvp(loss, point, along), (value, slope), GRADIENT_64)


@options
def test_hessian_is_symmetric_and_the_same_by_every_composition(options):
    x, y = images(5, 5, dtype=torch.float64)
    loss = lambda pair: blursim(*pair, 0.7, **options)
    pair = torch.stack([x, y])
    expected = torch.autograd.functional.hessian(loss, pair)
    assert_close(expected.reshape(50, 50), expected.reshape(50, 50).T, GRADIENT_64)
    for composed in (hessian(loss), jacrev(grad(loss)), jacfwd(grad(loss)), jacrev(jacrev(loss))):
        assert_close(composed(pair), expected, GRADIENT_64)


def derivatives(function, x, y, alpha):
    """The loss and its gradients for x and alpha, as a training step takes them."""
    x, alpha = x.clone().requires_grad_(), alpha.clone().requires_grad_()
    loss = function(x, y, alpha)
    return (loss, *torch.autograd.grad(loss.sum(), (x, alpha)))


@pytest.fixture(scope="module")
def _compiler():
    """The compiler has said, over a function that isn't ours, what it says on first use."""
    with warnings.catch_warnings(action="ignore"):
        torch.compile(lambda x: torch.fft.rfft(x).abs().sum())(torch.ones(4, requires_grad=True)).backward()


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(
    ("dynamic", "backend", "options"),
    # The C++ of the default options takes minutes to compile for dynamic shapes: there only what goes before it.
    [
        (False, "inductor", DEFAULT),
        pytest.param(True, "aot_eager", DEFAULT, marks=of_dynamic_shape),
        pytest.param(True, "inductor", SIGNED, marks=[of_dynamic_shape, pytest.mark.slow]),
    ],
    ids=["static", "dynamic", "dynamic and signed"],
)
def test_compiled_loss_equals_the_plain_one_in_one_silent_compilation(dynamic, backend, options):
    torch._dynamo.reset()
    # Of different lengths along each axis: torch.compile takes equal ones to stay equal.
    x, y = (image.clone() for image in images(4, 3, 8, 6))
    other = [image.clone() for image in images(3, 2, 9, 7)]
    loss = lambda x, y, alpha: blursim(x, y, alpha, **options)
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend=backend)
    with warnings.catch_warnings(record=True, action="always") as warned:
        # Said of every FFT that no cache holds, and so not always in the fixture.
        warnings.filterwarnings("ignore", "Torchinductor does not support code generation for complex operators")
        actual = derivatives(compiled, x, y, alpha_of(0.7))
    assert not warned, [str(w.message) for w in warned]
    assert_close(actual, derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_32)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_close(derivatives(compiled, x, y, alpha_of(0.2)), derivatives(loss, x, y, alpha_of(0.2)), GRADIENT_32)
        # SPEC 2.3: a compiler, too, makes the same of equal images.
        assert not any(of.any() for of in derivatives(compiled, x, x + 0, alpha_of(0.2)))
        if dynamic:
            expected = derivatives(loss, *other, alpha_of(0.2))
            assert_close(derivatives(compiled, *other, alpha_of(0.2)), expected, GRADIENT_32)
        else:
            with pytest.raises(RuntimeError, match="recompil"):
                compiled(*other, alpha_of(0.2))


@options
def test_every_option_compiles_to_one_graph_with_and_without_gradients(options):
    torch._dynamo.reset()
    x, y = images(2, 3, 8, 6)
    loss = lambda x, y, alpha: blursim(x, y, alpha, mask=y > 0.2, sobel_size=3, reduction="none", **options)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(derivatives(compiled, x, y, alpha_of(0.7)), derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_32)
    assert_close(compiled(x, y, alpha_of(0.7)), loss(x, y, alpha_of(0.7)), VALUE_32)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_close(compiled(x, y, alpha_of(0.7)), loss(x, y, alpha_of(0.7)), VALUE_32)


@of_dynamic_shape
@pytest.mark.parametrize("strict", [False, True], ids=["nonstrict", "strict"])
def test_exported_program_runs_on_other_shapes_after_saving_and_loading(strict):
    x, y = images(2, 3, 8, 6)
    batch_and_size = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(BlurSim(0.7), (x, y), dynamic_shapes=(batch_and_size, batch_and_size), strict=strict)
    torch.export.save(program, buffer := io.BytesIO())
    buffer.seek(0)
    with warnings.catch_warnings(action="ignore"):  # of torch.frombuffer, which torch 2.11 loads with
        loaded = torch.export.load(buffer).module()
    for x, y in (images(2, 3, 8, 6), images(3, 3, 9, 7)):
        assert_close(loaded(x, y), blursim(x, y, 0.7), VALUE_32)


def test_exported_program_goes_backward_after_its_decomposition():
    x, y = (image.clone() for image in images(2, 6, 5))
    x[0], x[1] = 0.5, y[1]  # a flat image, and one equal to its target
    with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of its LeafSpec
        program = torch.export.export(BlurSim(0.7), (x, y)).run_decompositions().module()
    assert_close(slope(program, x, y), slope(BlurSim(0.7), x, y), GRADIENT_32)


@pytest.mark.parametrize("strict", [False, True], ids=["nonstrict", "strict"])
def test_exported_program_takes_a_target(strict):
    x, y = images(2, 6, 5)
    target = prepare(y)

    class Step(torch.nn.Module):
        def forward(self, x, target):
            return blursim(x, target, 0.7)

    torch.export.save(torch.export.export(Step(), (x, target), strict=strict), buffer := io.BytesIO())
    buffer.seek(0)
    with warnings.catch_warnings(action="ignore"):  # of torch.frombuffer, which torch 2.11 loads with
        loaded = torch.export.load(buffer).module()
    assert_close(loaded(x, target), blursim(x, y, 0.7), VALUE_32)


ALONE = """
import sys
import warnings

import torch

sys.modules["blursim_torch"] = None  # as where it is not installed
warnings.simplefilter("ignore")
x, y, value, gradients = torch.load("expected.pt")
program = torch.export.load("program.pt2").module()
loss = program(x, y)
loss.backward()
torch.testing.assert_close(loss, value)
for parameter, gradient in zip(program.parameters(), gradients, strict=True):
    torch.testing.assert_close(parameter.grad, gradient)
"""


@pytest.mark.parametrize("strict", [False, True], ids=["nonstrict", "strict"])
def test_exported_model_and_loss_train_where_this_package_is_missing(strict, tmp_path):
    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.criterion = torch.nn.Conv2d(3, 3, 3, padding=1), BlurSim(0.7, **DEFAULT)

        def forward(self, x, y):
            return self.criterion(self.model(x), y)

    step, (x, y) = Step(), (image.clone() for image in images(2, 3, 8, 6))
    torch.export.save(torch.export.export(step, (x, y), strict=strict), tmp_path / "program.pt2")
    loss = step(x, y)
    loss.backward()
    torch.save((x, y, loss.detach(), [p.grad for p in step.parameters()]), tmp_path / "expected.pt")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_change_the_result(dtype):
    x, y = images(2, 6, 5)
    plain = derivatives(blursim, x, y, alpha_of(0.7))
    with torch.autocast("cpu", dtype):
        cast = derivatives(blursim, x, y, alpha_of(0.7))
    assert all(map(torch.equal, cast, plain))


def test_mixed_precision_step_takes_a_bfloat16_prediction():
    x, y = images(2, 1, 8, 8)
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
    x, y = images(2, 3, 6, 5)
    expected = derivatives(blursim, x, y, alpha_of(0.7))
    channels_last = x.contiguous(memory_format=torch.channels_last)
    strided = torch.rand(2, 3, 12, 10)[..., ::2, ::2].copy_(x)
    for same in (channels_last, strided, x.mT.contiguous().mT):
        assert not same.is_contiguous()
        assert_close(derivatives(blursim, same, y, alpha_of(0.7)), expected, GRADIENT_32)
    nhwc = [image.movedim(-3, -1).contiguous() for image in (x, y)]
    assert_close(blursim(*nhwc, 0.7, axes=(-3, -2)), expected[0], VALUE_32)


@pytest.mark.parametrize("function", [blursim_terms, difference_maps])
def test_terms_and_maps_take_the_same_transforms(function):
    x, y = images(3, 6, 5)
    expected = function(x, y) if function is difference_maps else function(x, y, reduction="none")
    assert_close(vmap(function)(x, y), expected, VALUE_32)
    with torch.inference_mode():
        assert_close(function(x, y), function(*images(3, 6, 5)), VALUE_32)
    compiled = torch.compile(lambda x, y: function(x, y), fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, y), function(x, y), VALUE_32)


def test_shapes_are_known_without_data():
    for where in (FakeTensorMode(), torch.device("meta")):
        with where:
            x, y = torch.empty(2, 4, 3, 6, 5)
            loss, gradient, _ = derivatives(lambda *args: blursim(*args, reduction="none"), x, y, torch.empty(4, 3))
        assert (loss.shape, gradient.shape) == ((4, 3), x.shape)


# One, two and three spatial axes, and between them all words and both p.
VARIED = [
    ({"axes": (-1,), "p": 1}, (3, 9)),
    ({"axes": (-2, -1)}, (3, 6, 7)),
    ({"axes": (-3, -2), "p": 1, "spectrum": "complex", "normalization": "gain"}, (3, 6, 7, 2)),
    ({"axes": (-2, -1), "edges": "vector", "spectrum": "complex"}, (3, 6, 7)),
    ({"axes": (-3, -2, -1), "edges": "vector", "p": 1, "sobel_size": 3}, (3, 5, 6, 7)),
]
varied = pytest.mark.parametrize(("options", "shape"), VARIED, ids=["1d", "2d", "nhwc", "signed", "3d"])


def slope(loss, *inputs):
    inputs = leaves(*inputs)
    return torch.autograd.grad(loss(*inputs).sum(), inputs)


@varied
def test_mapping_then_going_backward_equals_the_batch(options, shape):
    x, y = images(*shape, dtype=torch.float64)
    axes = {**options, "reduction": "none"}
    loss = lambda x, y: blursim(x, y, 0.7, **axes)
    assert_close(slope(vmap(loss), x, y), slope(loss, x, y), GRADIENT_64)
    over_y = vmap(loss, (None, 0))
    repeated = lambda x, y: loss(x.expand_as(y), y)
    assert_close(over_y(x[0], y), repeated(x[0], y), VALUE_64)
    assert_close(slope(over_y, x[0], y), slope(repeated, x[0], y), GRADIENT_64)


@varied
def test_checkpoint_leaves_the_gradient_what_it_is(options, shape):
    x, y = images(*shape, dtype=torch.float64)
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    kept = lambda x, y: torch.utils.checkpoint.checkpoint(loss, x, y, use_reentrant=False)
    assert all(map(torch.equal, slope(kept, x, y), slope(loss, x, y)))


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


@varied
def test_equal_images_of_another_memory_order_are_exactly_equal(options, shape):
    x, _ = images(*shape)
    turned = x.transpose(0, -1).contiguous().transpose(0, -1)
    assert not turned.is_contiguous()
    loss = lambda x, y: blursim(x, y, 0.7, **options)
    assert loss(turned, x) == 0
    assert not any(gradient.any() for gradient in slope(loss, turned, x))


@pytest.mark.usefixtures("_compiler")
@options
def test_compiled_derivatives_of_both_modes_and_orders_equal_the_plain_ones(options):
    x, y = (image.clone() for image in images(2, 5, 5, dtype=torch.float64))
    loss = lambda x: blursim(x, y, 0.7, **options)
    single = lambda x: blursim(x, y[0], 0.7, **options)
    along = lambda x, t: (jvp(loss, (x,), (t,)), grad(lambda x: (grad(loss)(x) * t).sum())(x), vmap(grad(single))(x))
    compiled = torch.compile(along, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x, y), along(x, y), GRADIENT_64)
    assert_close(torch.compile(hessian(single), backend="aot_eager")(x[0]), hessian(single)(x[0]), GRADIENT_64)


@pytest.mark.usefixtures("_compiler")
def test_compiled_maps_go_backward():
    x, y = images(6, 5, dtype=torch.float64)
    loss = lambda x, y: sum((of**3).sum() for of in difference_maps(x, y))
    assert_close(slope(torch.compile(loss, backend="aot_eager"), x, y), slope(loss, x, y), GRADIENT_64)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(("term", "transforms"), [("general", True), ("specific", False)])
def test_unused_term_costs_a_compiled_program_nothing(term, transforms):
    programs = []

    def backend(graph, example):
        from functorch.compile import make_boxed_func

        programs.append(graph.code)
        return make_boxed_func(graph.forward)

    aot = torch._dynamo.backends.common.aot_autograd(fw_compiler=backend)
    x, y = images(6, 5)
    torch.compile(lambda x, y: getattr(blursim_terms(x, y), term), fullgraph=True, backend=aot)(x, y)
    assert ["fft" in code for code in programs] == [transforms]


def test_target_takes_the_transforms_of_a_tensor():
    x, y = images(4, 3, 6, 7)
    target, loss = prepare(y), lambda x, y: blursim(x, y, 0.7)
    assert_close(vmap(loss)(x, target), vmap(loss)(x, y), VALUE_32)
    assert loss(x[1:3, 0], target[1:3, 0]) == loss(x[1:3, 0], y[1:3, 0])
    assert (target == target, target == prepare(y)) == (True, False)
    y.zero_()
    assert target.image.any()


@pytest.mark.parametrize("index", [(..., 0), (slice(None), slice(0, 6)), (slice(None), [0] * 8), (0, 0)], ids=str)
def test_target_indexed_along_other_than_leading_batch_axes_is_an_error(index):
    with pytest.raises(ValueError, match="prepare the indexed image"):
        prepare(images(2, 8, 6, 3)[0], axes=(-3, -2))[index]


def test_target_can_be_stored_moved_and_collated():
    x, y = images(4, 3, 6, 7)
    target, loss = prepare(y), lambda x, y: blursim(x, y, 0.7)
    torch.save(target, buffer := io.BytesIO())
    buffer.seek(0)
    assert loss(x, torch.load(buffer, weights_only=True)) == loss(x, target)
    assert loss(x, pickle.loads(pickle.dumps(target))) == loss(x, target)
    assert target.to("meta").edges.device.type == "meta"
    (batch,) = torch.utils.data.DataLoader([prepare(image) for image in y], batch_size=4)
    assert loss(x, batch) == loss(x, target)


@pytest.mark.parametrize("masked", [False, True])
@varied
def test_no_gradient_flows_into_a_target(options, shape, masked):
    x, y = images(*shape, dtype=torch.float64)
    y.requires_grad_()
    known = {name: value for name, value in options.items() if name not in ("p", "normalization")}
    target = prepare(y, **known)
    for of in (target.image, target.spectrum, target.edges):
        if of is not None:
            assert not of.requires_grad
            of.requires_grad_()
    x.requires_grad_()
    blursim(x, target, 0.7, mask=y > 0.3 if masked else None, **options).backward()
    assert x.grad.any()
    assert all(of is None or of.grad is None for of in (y, target.image, target.spectrum, target.edges))
