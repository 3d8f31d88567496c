"""The torch module is the function with alpha in a buffer, and its schedules are optax's."""

import copy
import pickle

import numpy as np
import optax
import pytest
import torch
from tolerances import VALUE_64

from blursim_torch import BlurSim, blursim, cosine_decay_schedule, linear_schedule, prepare

OPTIONS = {
    "axes": (-3, -2),
    "spectrum": "complex",
    "edges": "vector",
    "p": 1,
    "normalization": "gain",
    "sobel_size": 3,
    "reduction": "none",
}


def images():
    return torch.rand(2, 2, 8, 7, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["default", "every option"])
def test_module_equals_the_function(options):
    x, y = images() if options else images().movedim(-1, -3)
    assert torch.equal(BlurSim(0.7, **options)(x, y), blursim(x, y, torch.tensor(0.7), **options))
    mask = x > 0.3
    assert torch.equal(BlurSim(0.7, **options)(x, y, mask), blursim(x, y, torch.tensor(0.7), mask=mask, **options))


def test_alpha_belongs_to_the_step_and_not_to_the_checkpoint():
    assert not BlurSim(0.7).state_dict()


def test_module_made_on_meta_comes_alive_through_reset_parameters():
    with torch.device("meta"):
        criterion = BlurSim(0.7)
    assert "alpha=<on meta>" in repr(criterion)
    criterion.to_empty(device="cpu").reset_parameters()
    assert criterion.alpha == torch.tensor(0.7)


def test_alpha_set_between_forward_and_backward_counts_from_the_next_forward():
    (x, y), criterion = images().movedim(-1, -3).unbind(), BlurSim(0.7)
    x.requires_grad_()
    loss = criterion(x, y)
    criterion.alpha = 0.2
    assert torch.equal(*(torch.autograd.grad(of, x)[0] for of in (loss, blursim(x, y, torch.tensor(0.7)))))


def test_alpha_can_be_one_per_image():
    (x, y), criterion = images(), BlurSim(0.7, axes=(-3, -2))
    criterion.alpha = torch.tensor([0, 0.5, 1])
    assert torch.equal(criterion(x, y), blursim(x, y, torch.tensor([0, 0.5, 1]), axes=(-3, -2)))
    assert "alpha=[0.0, 0.5, 1.0]" in repr(criterion)


@pytest.mark.parametrize("wrong", [torch.tensor(1.5), torch.tensor([0.5, torch.nan])], ids=str)
def test_tensor_outside_its_range_is_refused_like_a_number(wrong):
    criterion = BlurSim(0.7)
    for set_alpha in (BlurSim, lambda alpha: setattr(criterion, "alpha", alpha)):
        with pytest.raises(ValueError, match=r"alpha: expected a number in \[0, 1\]"):
            set_alpha(wrong)
    assert criterion.alpha == torch.tensor(0.7)


def test_parameter_as_alpha_is_told_how_to_learn_it():
    criterion = BlurSim(0.7)
    for set_alpha in (BlurSim, lambda alpha: setattr(criterion, "alpha", alpha)):
        with pytest.raises(TypeError, match=r"to learn alpha call blursim\(x, y, torch.sigmoid"):
            set_alpha(torch.nn.Parameter(torch.tensor(0.5)))


def test_module_takes_a_prepared_target():
    x, y = images()
    options = {name: OPTIONS[name] for name in ("axes", "spectrum", "edges", "sobel_size")}
    assert torch.equal(BlurSim(0.7, **OPTIONS)(x, prepare(y, **options)), BlurSim(0.7, **OPTIONS)(x, y))


def test_alpha_moves_with_the_module_and_is_not_trained():
    criterion = BlurSim(0.7)
    assert not list(criterion.parameters())
    assert criterion.double().alpha.dtype == torch.float64
    assert criterion.to("meta").alpha.device.type == "meta"


def test_alpha_is_set_in_place_and_checked():
    criterion = BlurSim()
    buffer = criterion.alpha
    criterion.alpha = 0.3
    assert criterion.alpha is buffer
    assert buffer == torch.tensor(0.3)
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"alpha: expected a number in \[0, 1\]"):
            criterion.alpha = wrong
    assert buffer == torch.tensor(0.3)


def test_alpha_made_in_inference_mode_can_be_set_outside_of_it():
    with torch.inference_mode():
        criterion = BlurSim(0.7)
    criterion.alpha = 0.3
    assert criterion.alpha == torch.tensor(0.3)
    assert not criterion.alpha.is_inference()


def test_alpha_changed_during_compiled_training_does_not_recompile():
    torch._dynamo.reset()
    (x, y), schedule = images().movedim(-1, -3), linear_schedule(0.9, 0.1, 3)
    model, criterion = torch.nn.Conv2d(3, 3, 3, padding=1), BlurSim()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss_of(x, y):
        return criterion(model(x), y)

    for step in range(4):
        criterion.alpha = schedule(step)
        with torch.compiler.set_stance("fail_on_recompile" if step else "default"):
            loss = loss_of(x, y)
        torch.testing.assert_close(loss, blursim(model(x), y, schedule(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_alpha_set_inside_a_compiled_step_recompiles_once_at_most():
    torch._dynamo.reset()
    (x, y), criterion = images().movedim(-1, -3), BlurSim()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(x, y, alpha):
        criterion.alpha = alpha
        return criterion(x, y)

    for i, alpha in enumerate((0.9, 0.7, 0.5, 0.3)):
        with torch.compiler.set_stance("fail_on_recompile" if i > 1 else "default"):
            torch.testing.assert_close(step(x, y, alpha), blursim(x, y, alpha))
        assert criterion.alpha == torch.tensor(alpha)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_equal_and_independent(duplicate):
    x, y = images()
    criterion = BlurSim(0.7, **OPTIONS)
    twin = duplicate(criterion)
    assert torch.equal(twin(x, y), criterion(x, y))
    twin.alpha = 0.1
    assert criterion.alpha == torch.tensor(0.7)


def test_repr_shows_alpha_and_every_option():
    assert repr(BlurSim(0.25, **OPTIONS)) == (
        "BlurSim(alpha=0.25, axes=(-3, -2), spectrum='complex', edges='vector', "
        "p=1, normalization='gain', sobel_size=3, reduction='none')"
    )


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
        ({"sobel_size": 4}, ValueError),
        ({"sobel_size": 5.0}, TypeError),
        ({"axes": -1}, TypeError),
    ],
    ids=str,
)
def test_options_are_checked_when_the_module_is_made(wrong, error):
    (name,) = wrong
    with pytest.raises(error, match=f"^{name}: expected"):
        BlurSim(**wrong)


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
        BlurSim().alpha = schedule(10)
