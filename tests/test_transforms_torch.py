"""PyTorch's transforms, alone and composed, leave the loss what it is, and a changing alpha never recompiles it."""

import io
import warnings

import pytest
import torch
from tolerances import GRADIENT_32, GRADIENT_64, VALUE_32, VALUE_64, distance
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp, vmap

from blursim_torch import BlurSim, _distance, blursim, blursim_terms, difference_maps

# The two terms and their two divisors know nothing of each other: two sets of words reach all the code.
DEFAULT = {"spectrum": "magnitude", "edges": "magnitude", "normalization": "area"}
SIGNED = {"spectrum": "complex", "edges": "vector", "normalization": "rms"}
options = pytest.mark.parametrize("options", [DEFAULT, SIGNED], ids=["default", "signed"])
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


@options
def test_both_modes_agree_with_finite_differences(options):
    x, y = leaves(*images(2, 4, 3, dtype=torch.float64))
    (alpha,) = leaves(alpha_of([0.3, 0.7]))
    mask = images(2, 4, 3, dtype=torch.float64)[1].square().requires_grad_()
    loss = lambda x, y, alpha, mask: blursim(x, y, alpha, mask=mask, reduction="none", **options)
    assert gradcheck(loss, (x, y, alpha, mask), check_forward_ad=True)


@options
def test_second_order_agrees_with_finite_differences(options):
    x, y, alpha = leaves(*images(4, 3, dtype=torch.float64), alpha_of(0.7))
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


@pytest.mark.parametrize("y_too", [False, True])
@options
def test_large_batches_worked_on_in_parts_give_the_same(options, y_too, monkeypatch):
    x, y = images(5, 3, 16, 9, dtype=torch.float64)
    over = (EVERY if y_too else (0, 2), None)

    def results():
        loss = lambda *point: blursim(*point, reduction="none", **options)
        summed = lambda *point: blursim(*point, **options)
        point = (x, y, alpha_of(0.7))
        mapped = vmap(grad(summed, over[0]), (0, 0, over[1]))(*point)
        return loss(*point), grad(summed, over[0])(*point), jvp(lambda x: loss(x, *point[1:]), (x,), (y,)), mapped

    at_once = results()
    parts = []
    monkeypatch.setattr(_distance, "PART", 2 * 3 * 16 * 9)
    monkeypatch.setattr(torch, "cat", lambda *args, cat=torch.cat: parts.append(args) or cat(*args))
    assert_close(results(), at_once, 0)
    assert [len(part) for part in parts[0][0]] == [2, 2, 1]


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
    x, y = images(5, 4, dtype=torch.float64)
    loss = lambda pair: blursim(*pair, 0.7, **options)
    pair = torch.stack([x, y])
    expected = torch.autograd.functional.hessian(loss, pair)
    assert_close(expected.reshape(40, 40), expected.reshape(40, 40).T, GRADIENT_64)
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
        torch.compile(lambda x: x + 1)(torch.ones(2))


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(
    ("dynamic", "backend", "options"),
    # The C++ of the default options takes minutes to compile for dynamic shapes: there only what goes before it.
    [(False, "inductor", DEFAULT), (True, "aot_eager", DEFAULT), (True, "inductor", SIGNED)],
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
        actual = derivatives(compiled, x, y, alpha_of(0.7))
    assert not warned
    assert_close(actual, derivatives(loss, x, y, alpha_of(0.7)), GRADIENT_32)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_close(derivatives(compiled, x, y, alpha_of(0.2)), derivatives(loss, x, y, alpha_of(0.2)), GRADIENT_32)
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
