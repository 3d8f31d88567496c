"""The torch module is the function with alpha in an attribute, and its schedules are optax's."""

import copy
import io
import pickle

import numpy as np
import optax
import pytest
import torch
from tolerances import GRADIENT_64, VALUE_64, distance
from torch._dynamo.testing import CompileCounterWithBackend

from blursim_torch import BlurSim, blursim, cosine_decay_schedule, linear_schedule

OPTIONS = {
    "axes": (-3, -2),
    "spectrum": "complex",
    "window": 4,
    "edges": "vector",
    "p": 2,
    "normalization": "area",
    "sobel_size": 3,
    "reduction": "none",
}


def images(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 8, 7, 3, generator=generator, dtype=torch.float64).to(dtype)


def channels_first(dtype=torch.float32):
    return images(dtype).movedim(-1, -3).unbind()


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["default", "every option"])
def test_module_equals_the_function(options):
    x, y = images() if options else channels_first()
    assert torch.equal(BlurSim(0.7, **options)(x, y), blursim(x, y, 0.7, **options))
    mask = x > 0.3
    assert torch.equal(BlurSim(0.7, **options)(x, y, mask), blursim(x, y, 0.7, mask=mask, **options))


def test_alpha_has_no_default():
    with pytest.raises(TypeError, match="'alpha'"):
        BlurSim()


def replicated(module):
    """What nn.DataParallel runs: copies of the modules' dictionaries, made anew on every call."""
    replica = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        replica._modules[name] = replicated(child)
    return replica


def to_meta_and_back(module):
    return module.to("meta").to_empty(device="cpu")


def loaded(module):
    torch.save(module, buffer := io.BytesIO())
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


WAYS = {
    "as it is": lambda module: module,
    "cast to bfloat16": lambda module: module.bfloat16(),
    "cast to float64": lambda module: module.double(),
    "cast and back": lambda module: module.half().float(),
    "copied": copy.deepcopy,
    "pickled": lambda module: pickle.loads(pickle.dumps(module)),
    "saved": loaded,
    "replicated": replicated,
    "to meta and back": to_meta_and_back,
    "made on meta": lambda module: module,
    "made in inference mode": lambda module: module,
    "frozen": lambda module: module.eval().requires_grad_(False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_alpha_stays_the_number_that_was_given(way, dtype):
    x, y = channels_first(dtype)
    where = {"made on meta": torch.device("meta"), "made in inference mode": torch.inference_mode()}
    with where.get(way, torch.no_grad()):
        module = torch.nn.Sequential(BlurSim(0.9))
    criterion = WAYS[way](module)[0]
    assert criterion.alpha == 0.9
    assert type(criterion.alpha) is float
    assert torch.equal(criterion(x, y), blursim(x, y, 0.9))
    criterion.alpha -= 0.1
    assert torch.equal(criterion(x, y), blursim(x, y, 0.9 - 0.1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_alpha_stays_what_it_is_under_another_default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        x, y = channels_first(torch.float64)
        assert torch.equal(BlurSim(0.9)(x, y), blursim(x, y, 0.9))
        found = BlurSim(0.9)(x.bfloat16(), y.bfloat16())
    finally:
        torch.set_default_dtype(before)
    assert found.dtype == torch.float32
    assert torch.equal(found, blursim(x.bfloat16(), y.bfloat16(), 0.9))


def test_float64_images_have_the_alpha_of_float64():
    """That 0.9 was float32's once made the loss of float64 images wrong by 1e-8."""
    x, y = channels_first(torch.float64)
    general, specific = blursim(x, y, 0), blursim(x, y, 1)
    assert distance(BlurSim(0.9)(x, y), (1 - 0.9) * general + 0.9 * specific) <= VALUE_64


def test_module_inside_data_parallel_takes_a_batch_in_parts():
    x, y = channels_first(torch.float64)
    criterion = BlurSim(0.3)
    criterion.alpha = 0.6
    replicas = [replicated(criterion) for _ in range(2)]
    parts = [replica(*pair) for replica, *pair in zip(replicas, x, y, strict=True)]
    assert distance(torch.stack(parts).mean(), blursim(x, y, 0.6)) <= VALUE_64


def test_alpha_belongs_to_the_step_and_not_to_the_checkpoint():
    criterion = BlurSim(0.7)
    assert not criterion.state_dict()
    assert not list(criterion.parameters())
    assert not list(criterion.buffers())
    criterion.load_state_dict({}, strict=True)
    assert criterion.alpha == 0.7


class Scheduled(BlurSim):
    """A user's, that sets alpha and options before there is a module."""

    def __init__(self, start):
        self.alpha = start
        super().__init__(self.alpha, p=2)


def test_subclass_may_set_alpha_before_there_is_a_module():
    x, y = channels_first()
    assert torch.equal(Scheduled(0.7)(x, y), blursim(x, y, 0.7, p=2))


def test_alpha_set_between_forward_and_backward_counts_from_the_next_forward():
    (x, y), criterion = channels_first(), BlurSim(0.7)
    x = x.clone().requires_grad_()
    loss = criterion(x, y)
    criterion.alpha = 0.2
    assert torch.equal(*(torch.autograd.grad(value, x)[0] for value in (loss, blursim(x, y, 0.7))))


def test_alpha_can_be_one_per_image():
    (x, y), criterion = images(), BlurSim(0.7, axes=(-3, -2))
    criterion.alpha = torch.tensor([0, 0.5, 1])
    assert torch.equal(criterion(x, y), blursim(x, y, torch.tensor([0, 0.5, 1]), axes=(-3, -2)))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_number_outside_its_range_is_refused_by_the_next_call(wrong):
    (x, y), criterion = channels_first(), BlurSim(0.7)
    with pytest.raises(ValueError, match=r"alpha: expected a number in \[0, 1\]"):
        BlurSim(wrong)
    criterion.alpha = wrong
    with pytest.raises(ValueError, match=r"alpha: expected a number in \[0, 1\]"):
        criterion(x, y)


def test_parameter_as_alpha_is_moved_saved_and_learned():
    x, y = channels_first(torch.float64)
    criterion = BlurSim(torch.nn.Parameter(torch.tensor(0.5)))
    assert list(criterion.state_dict()) == ["alpha"]
    criterion.double()
    criterion(x, y).backward()
    assert distance(criterion.alpha.grad, blursim(x, y, 1) - blursim(x, y, 0)) <= GRADIENT_64


def test_alpha_of_functional_call_and_of_stacked_modules():
    x, y = channels_first(torch.float64)
    alphas = (0.2, 0.5, 0.9)
    modules = [BlurSim(torch.nn.Parameter(torch.tensor(alpha, dtype=torch.float64))) for alpha in alphas]
    expected = torch.stack([blursim(x, y, alpha) for alpha in alphas])
    call = lambda parameters: torch.func.functional_call(modules[0], parameters, (x, y))
    for alpha, value in zip(alphas, expected, strict=True):
        assert distance(call({"alpha": torch.tensor(alpha, dtype=torch.float64)}), value) <= VALUE_64
    parameters, _ = torch.func.stack_module_state(modules)
    assert distance(torch.func.vmap(call)(parameters).detach(), expected) <= VALUE_64
    gradient = torch.func.grad(lambda parameters: torch.func.vmap(call)(parameters).sum())(parameters)["alpha"]
    assert distance(gradient, (blursim(x, y, 1) - blursim(x, y, 0)).expand(3)) <= GRADIENT_64


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_alpha_that_changes_every_step_compiles_twice():
    torch._dynamo.reset()
    (x, y), schedule = channels_first(), linear_schedule(0.9, 0.1, 6)
    model, criterion = torch.nn.Conv2d(3, 3, 3, padding=1), BlurSim(0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    programs = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=programs)
    def loss_of(x, y):
        return criterion(model(x), y)

    for step in range(6):
        criterion.alpha = schedule(step)
        loss = loss_of(x, y)
        torch.testing.assert_close(loss, blursim(model(x), y, schedule(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert programs.frame_count == 2


def test_alpha_set_inside_a_compiled_step_compiles_twice():
    torch._dynamo.reset()
    (x, y), criterion = channels_first(), BlurSim(0.9)
    programs = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=programs)
    def step(x, y, alpha):
        criterion.alpha = alpha
        return criterion(x, y)

    for alpha in (0.9, 0.7, 0.5, 0.3):
        torch.testing.assert_close(step(x, y, alpha), blursim(x, y, alpha))
        assert criterion.alpha == alpha
    assert programs.frame_count == 2


def test_tensor_as_alpha_compiles_once():
    torch._dynamo.reset()
    (x, y), criterion = channels_first(), BlurSim(0.9)
    programs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(criterion, fullgraph=True, backend=programs)
    for alpha in (0.9, 0.7, 0.5):
        criterion.alpha = torch.tensor(alpha)
        torch.testing.assert_close(compiled(x, y), blursim(x, y, alpha))
    assert programs.frame_count == 1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_equal_and_independent(duplicate):
    x, y = images()
    criterion = BlurSim(0.7, **OPTIONS)
    twin = duplicate(criterion)
    assert torch.equal(twin(x, y), criterion(x, y))
    twin.alpha = 0.1
    assert criterion.alpha == 0.7


def test_repr_shows_alpha_and_every_option():
    assert repr(BlurSim(0.25, **OPTIONS)) == (
        "BlurSim(alpha=0.25, axes=(-3, -2), spectrum='complex', window=4, edges='vector', "
        "p=2, normalization='area', sobel_size=3, reduction='none')"
    )


@pytest.mark.parametrize("run", [lambda module: module, torch.compile(backend="aot_eager")], ids=["eager", "compiled"])
def test_options_that_are_set_later_count_from_the_next_call(run):
    torch._dynamo.reset()
    (x, y), criterion = images(), BlurSim(0.7, axes=(1, 2))
    loss = run(lambda: criterion(x, y))
    torch.testing.assert_close(loss(), blursim(x, y, 0.7, axes=(1, 2)))
    for option, value in OPTIONS.items():
        setattr(criterion, option, value)
    torch.testing.assert_close(loss(), blursim(x, y, 0.7, **OPTIONS))
    assert repr(criterion) == repr(BlurSim(0.7, **OPTIONS))


def test_a_wrong_option_that_is_set_later_is_refused_by_the_next_call():
    (x, y), criterion = channels_first(), BlurSim(0.7)
    for option, wrong in {"reduction": "max", "window": 5, "sobel_size": 4, "axes": (0, 0), "p": 3}.items():
        before = getattr(criterion, option)
        setattr(criterion, option, wrong)
        with pytest.raises(ValueError, match=f"^{option}: expected "):
            criterion(x, y)
        setattr(criterion, option, before)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"alpha": 1.5}, ValueError),
        ({"alpha": "0.5"}, TypeError),
        ({"spectrum": "phase"}, ValueError),
        ({"edges": "canny"}, ValueError),
        ({"normalization": "l1"}, ValueError),
        ({"p": 3}, ValueError),
        ({"reduction": "max"}, ValueError),
        ({"window": 5}, ValueError),
        ({"sobel_size": 4}, ValueError),
        ({"sobel_size": 5.0}, TypeError),
        ({"axes": -1}, TypeError),
    ],
    ids=str,
)
def test_options_are_checked_when_the_module_is_made(wrong, error):
    (name,) = wrong
    with pytest.raises(error, match=f"^{name}: expected"):
        BlurSim(**{"alpha": 0.3, **wrong})


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        BlurSim(0.9, (-2, -1))


def assert_equals_optax(ours, optax_schedule):
    # optax computes in float32
    for step in (0, 1, 2, 3, 5, 9, 10, 11, 50):
        np.testing.assert_allclose(ours(step), optax_schedule(step), rtol=1e-6, atol=1e-7)
        assert isinstance(ours(step), float)


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize("steps", [1, 7, 10, 0, -1])
@pytest.mark.filterwarnings("ignore")
def test_linear_schedule_equals_optax(steps, begin):
    arguments = {"init_value": 0.9, "end_value": 0.1, "transition_steps": steps, "transition_begin": begin}
    assert_equals_optax(linear_schedule(**arguments), optax.linear_schedule(**arguments))
    assert_equals_optax(linear_schedule(*arguments.values()), optax.linear_schedule(*arguments.values()))


def test_linear_schedule_reads_a_negative_begin_as_zero_as_optax_does():
    assert_equals_optax(linear_schedule(0.9, 0.1, 5, -2), optax.linear_schedule(0.9, 0.1, 5, -2))


@pytest.mark.parametrize("alpha", [0.0, 0.25])
@pytest.mark.parametrize("exponent", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("steps", [1, 7, 10])
def test_cosine_decay_schedule_equals_optax(steps, exponent, alpha):
    arguments = {"init_value": 0.9, "decay_steps": steps, "alpha": alpha, "exponent": exponent}
    assert_equals_optax(cosine_decay_schedule(**arguments), optax.cosine_decay_schedule(**arguments))
    assert_equals_optax(cosine_decay_schedule(*arguments.values()), optax.cosine_decay_schedule(*arguments.values()))


@pytest.mark.parametrize("steps", [0, -1])
def test_cosine_decay_over_no_steps_is_an_error_as_in_optax(steps):
    for make in (cosine_decay_schedule, optax.cosine_decay_schedule):
        with pytest.raises(ValueError, match="positive"):
            make(0.9, steps)


def test_schedule_at_both_ends_is_exact():
    for schedule in (linear_schedule(0.9, 0.1, 10), cosine_decay_schedule(0.9, 10, 1 / 9)):
        assert schedule(0) == 0.9
        assert abs(schedule(10) - 0.1) <= VALUE_64
        BlurSim(schedule(10)).alpha = schedule(0)
