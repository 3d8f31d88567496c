"""The study: photographs, degradations, formulas of the rivals, figures, resuming, tables, the guide's code."""

import dataclasses
import importlib
import itertools
import json
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from benchmarks.study import frames, losses, measure, pictures, plan, registration, report, runs, tasks, training
from blursim_jax import blursim

TASKS, LOSSES = tasks.TASKS, losses.LOSSES
CAMERA = ("camera", 100, 130)
CONTEXT = {"radius": 2, "progress": 0.5, "noise": 0.05}
COMPANION = LOSSES[f"0.1 L1 + {losses.MAGNITUDES.name}"]
REGISTRATION, FRAMES = (runs.FOLDER / f"{name}.json" for name in ("registration", "frames"))


def pair(shape=(2, 1, 48, 40), seed=0):
    return np.random.default_rng(seed).random((2, *shape), np.float32)


def torch_pair(x, y):
    torch = importlib.import_module("torch")
    return [torch.from_numpy(image) for image in (x, y)]


# Photographs and degradations


@pytest.mark.parametrize("judges", [tasks.HELD_OUT + tasks.MORE, tasks.HELD_OUT_COLOUR])
def test_no_photograph_both_trains_and_judges(judges):
    trains = tasks.TRAIN_COLOUR if judges is tasks.HELD_OUT_COLOUR else tasks.TRAIN
    lists = (trains, tasks.SELECTION, judges)
    assert len(set().union(*lists)) == sum(map(len, lists))


@pytest.mark.parametrize(
    ("name", "colour"),
    [(name, False) for name in measure.SCENES + tasks.MORE]
    + [(name, True) for name in tasks.TRAIN_COLOUR + tasks.HELD_OUT_COLOUR + tasks.SELECTION],
)
def test_photographs_are_shipped_and_large_enough(name, colour):
    image = tasks.photograph(name, colour)
    assert image.dtype == np.float32
    assert len(image) == (3 if colour else 1)
    assert 0 <= image.min() < image.max() <= 1
    assert min(image.shape[1:]) >= tasks.WHOLE + 2 * 12


def test_crop_is_blurred_with_what_lies_around_it():
    expected = ndimage.gaussian_filter(tasks.photograph("camera")[0], 2.5, truncate=4)[100:140, 130:170]
    found = TASKS["aligned"].crop(CAMERA, 40, lambda image: tasks.gaussian(image, 2.5))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    wider = TASKS["aligned"].crop(CAMERA, 40, margin=5)
    np.testing.assert_array_equal(wider, tasks.photograph("camera")[:, 95:145, 125:175])


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_disk_spreads_as_far_as_the_gaussian(sigma):
    point = np.zeros((1, 41, 41), np.float32)
    point[0, 20, 20] = 1
    at = np.arange(41) - 20
    for blur in (tasks.disk, tasks.gaussian):
        assert np.sqrt((blur(point, sigma)[0].sum(axis=0) * at**2).sum()) == pytest.approx(sigma, rel=0.1)


def test_motion_blurs_along_its_direction_alone():
    point = np.zeros((1, 31, 31), np.float32)
    point[0, 15, 15] = 1
    found = tasks.motion(point, 9, 0)[0]
    assert np.count_nonzero(found.sum(axis=1) > 1e-6) == 1
    assert found.sum(axis=0).max() == pytest.approx(1 / 9, rel=0.01)


@pytest.mark.parametrize("task", [tasks.Deblur("", shift=2), tasks.Render("", shift=2)])
def test_a_shifted_target_is_the_one_in_register_moved(task, monkeypatch):
    by = np.array([2, -1])
    monkeypatch.setattr(tasks.Task, "displacement", lambda *_: np.broadcast_to(by[:, None, None], (2, 48, 48)))
    _, found = task.pair(np.random.default_rng(0), CAMERA)
    monkeypatch.undo()
    still = dataclasses.replace(task, shift=0)
    _, expected = still.pair(np.random.default_rng(0), CAMERA)
    np.testing.assert_allclose(found[:, :-2, 1:], expected[:, 2:, :-1], atol=1e-4)


def test_breathing_turns_and_scales_about_the_centre_of_the_photograph():
    task = tasks.Deblur("", degrees=10, scale=0.1)
    rng = types.SimpleNamespace(uniform=lambda low, high, size=None: np.zeros(size) if size else high)
    angle, d = np.deg2rad(10), np.array([100 + 27, 130 + 8]) - 255.5
    there = 1.1 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ d
    np.testing.assert_allclose(task.displacement(rng, CAMERA, 41)[:, 27, 8], there - d)


def test_smooth_field_has_its_correlation_and_its_longest_vector():
    fields = np.stack([tasks.smooth_field(np.random.default_rng(seed), 60, 6, 3) for seed in range(40)])
    assert np.linalg.norm(fields, axis=1).max(axis=(1, 2)) == pytest.approx(3)
    correlation = np.corrcoef(fields[..., 6:].ravel(), fields[..., :-6].ravel())[0, 1]
    assert correlation == pytest.approx(np.exp(-36 / 72), abs=0.05)


SMALL = [name for name, task in TASKS.items() if task.network is tasks.Network and task.patch == tasks.PATCH]


@pytest.mark.parametrize("name", [name for name in SMALL if "-shift" not in name.removesuffix("-registered")[7:]])
def test_seed_fixes_all_of_a_problem_and_another_changes_it(name):
    problems = [TASKS[name].problem(seed, TASKS[name].judged_on[:1], 1) for seed in (0, 0, 1)]
    for one, same in zip(*map(jax.tree.leaves, problems[:2]), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(problems[0].targets, problems[2].targets)


@pytest.mark.parametrize(("still", "moved"), [("aligned", "shift2"), ("render-colour", "render-shift2-colour")])
def test_targets_are_moved_in_training_only(still, moved):
    one, other = (TASKS[name].problem(0, TASKS[name].judged_on[:2], 2) for name in (still, moved))
    np.testing.assert_array_equal(one.held_targets, other.held_targets)
    assert one.held_inputs.shape == other.held_inputs.shape
    assert not np.allclose(one.targets, other.targets, atol=0.01)


def test_render_keeps_the_foreground_and_blurs_the_background():
    planes, target = TASKS["render"].pair(np.random.default_rng(0), CAMERA)
    sharp, mask, half_sigma = planes
    blurred = TASKS["render"].crop(CAMERA, 48, lambda image: tasks.gaussian(image, 2 * half_sigma[0, 0]))[0]
    np.testing.assert_allclose(target[0], mask * sharp + (1 - mask) * blurred, atol=1e-6)
    assert mask.min() < 0.1 < 0.9 < mask.max()


def test_registering_brings_targets_back():
    task = TASKS["shift2"]
    still, better = dataclasses.replace(task, shift=0), []
    for seed in range(8):
        place = task.random_place(np.random.default_rng(seed), tasks.TRAIN, 64)
        task, still = (dataclasses.replace(of, patch=64) for of in (task, still))
        blurred, target = task.pair(np.random.default_rng(seed), place)
        _, expected = still.pair(np.random.default_rng(seed), place)
        found, mask = registration.register(blurred, target)
        better.append(tasks.psnr(mask * found, mask * expected) - tasks.psnr(target, expected))
        assert mask.mean() > 0.85
    assert np.median(better) > 6


def test_real_parallax_stays_within_its_bounds_and_the_right_camera_sees_it():
    task, rng = TASKS["stereo-colour"], np.random.default_rng(0)
    place = task.random_place(rng, task.train_on, 48)
    _, target, left = task.seen(rng, place, 48, 1)
    assert target.shape == left.shape == (3, 48, 48)
    assert tasks.psnr(target, left) > 15
    assert place[2] + 48 < min(task.middle + 1, 516)


def test_convolution_is_that_of_scipy():
    layer = tasks.Convolution(2, 3, tasks.nnx.Rngs(0))
    image = pair((5, 6))  # two planes
    found = layer(jnp.asarray(image.transpose(1, 2, 0))[None])[0]
    kernel = np.asarray(layer.kernel[...]).reshape(3, 3, 2, 3)
    for k in range(3):
        expected = sum(ndimage.correlate(image[i], kernel[:, :, i, k], mode="constant") for i in range(2))
        np.testing.assert_allclose(found[..., k], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["aligned", "aligned-unet", "render-shift2-colour", "render-shift2-colour-unet"])
def test_networks_start_from_their_input(name):
    task = TASKS[name]
    problem = task.problem(0, task.judged_on[:1], 1)
    for apply in (task.predict, task.result):
        found = np.moveaxis(np.asarray(apply(problem.params, problem.inputs[0])), 1, -1)
        np.testing.assert_array_equal(found, problem.inputs[0][..., : task.channels])
    if task.network is tasks.UNet:
        assert sum(leaf.size for leaf in jax.tree.leaves(problem.params)) >= 150_000


# Formulas of the rivals


def test_l1_fft_is_its_formula():
    x, y = pair()
    torch = importlib.import_module("torch")
    spectra = [torch.view_as_real(torch.fft.fft2(image)) for image in torch_pair(x, y)]
    expected = np.mean(np.abs(x - y)) + 0.1 * float(torch.nn.functional.l1_loss(*spectra))
    assert losses.l1_fft(x, y) == pytest.approx(expected, rel=1e-5)


def test_ssim_is_that_of_pytorch_msssim():
    x, y = pair((2, 3, 48, 40))
    expected = importlib.import_module("pytorch_msssim").ssim(*torch_pair(x, y), data_range=1)
    assert float(losses.ssim(x, y)) == pytest.approx(1 - float(expected), abs=1e-5)


def test_fft_of_windows_compares_the_magnitudes_of_tiles():
    x, y = pair((32, 16))
    spectra = [np.abs(np.fft.fft2(image.reshape(2, 16, 16), norm="ortho")) for image in (x, y)]
    expected = np.abs(np.subtract(*spectra)).mean()
    x, y = x[None, None], y[None, None]
    assert losses.window_fft(x, y) == pytest.approx(expected, rel=1e-5)
    anywhere = [float(losses.window_fft_anywhere(*pair(), progress=p)) for p in (0, 0.1, 0.2)]
    assert len(set(anywhere)) == 3


def squares(image, size=3):
    return np.lib.stride_tricks.sliding_window_view(image, (size, size)).reshape(-1, size * size).astype(float)


def test_sliced_wasserstein_is_scipys_in_each_window_along_each_direction():
    x, y = pair((18, 18))
    along = np.asarray(jax.random.normal(losses.a_key(0.5), (9, 16)), float)
    along /= np.linalg.norm(along, axis=0)
    of = [stats.wasserstein_distance(squares(x) @ d, squares(y) @ d) for d in along.T]
    found = losses.sliced_wasserstein(x[None, None], y[None, None], 0.5)
    assert found == pytest.approx(np.mean(of), rel=1e-4)


def test_eagle_is_its_formula():
    x, y = pair((26, 26))
    scharr = np.outer([3, 10, 3], [-1, 0, 1]) / 32
    seen = []
    for image in (x, y):
        slopes = [ndimage.correlate(image.astype(float), kernel)[1:-1, 1:-1] for kernel in (scharr, scharr.T)]
        variances = [slope.reshape(8, 3, 8, 3).var(axis=(1, 3)) for slope in slopes]
        seen.append([np.abs(np.fft.fft2(variance)) / 8 for variance in variances])
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8)))
    passed = 1 - np.exp(-(frequency**2) / (2 * 0.25**2))
    expected = np.mean(passed * np.abs(np.subtract(*seen)))
    assert losses.eagle(x[None, None], y[None, None]) == pytest.approx(expected, rel=1e-4)


def test_amse_is_mse_of_images_whose_spectra_are_proportional_ring_by_ring():
    _, y = pair((2, 1, 32, 32))
    assert losses.amse(0.8 * y, y) == pytest.approx(float(losses.mse(0.8 * y, y)), rel=1e-4)
    assert losses.amse(np.roll(y, 1, -1), y) > losses.amse(0.9 * y, y)


def test_facls_amplitudes_are_the_squares_of_what_the_magnitudes_differ_by():
    x, y = pair()
    expected = np.mean(np.subtract(*(np.abs(np.fft.fft2(image, norm="ortho")) for image in (x, y))) ** 2)
    assert losses.amplitudes(x, y) == pytest.approx(expected, rel=1e-4)


def test_shift_search_finds_each_images_own_shift():
    wide = pair((2, 1, 40, 40))[0]
    x = wide[..., 4:36, 4:36]
    y = np.stack([wide[0, :, 2:34, 5:37], wide[1, :, 4:36, 3:35]])
    assert losses.l1_best_shift(x, y, 2) == pytest.approx(0, abs=1e-7)
    assert losses.l1_best_shift(x, y, 1) > 0.1


def test_shift_search_of_pixels_takes_the_least_of_the_box_around_each():
    x, y = pair((9, 8))
    found = np.full((3, 3, 9, 8), np.inf)
    for i, j, down, across in np.ndindex(9, 8, 3, 3):
        box = [(a, b) for a in range(i - 2, i + 3) for b in range(j - 2, j + 3) if 0 <= a < 9 and 0 <= b < 8]
        there = [(a, b, a + down - 1, b + across - 1) for a, b in box]
        errors = [abs(x[a, b] - y[c, d]) for a, b, c, d in there if 0 <= c < 9 and 0 <= d < 8]
        found[down, across, i, j] = np.mean(errors) if errors else np.inf
    expected = found.min(axis=(0, 1)).mean()
    assert losses.l1_best_shift_of_pixels(x[None, None], y[None, None], 1, 5) == pytest.approx(expected, rel=1e-4)


def test_an_affine_map_of_colours_is_forgiven():
    _, y = pair((2, 3, 24, 24))
    mix = np.array([[0.8, 0.1, 0], [0, 0.9, 0.2], [0.1, 0, 0.7]], np.float32)
    x = np.einsum("ij,njhw->nihw", mix, y) + 0.05
    assert losses.after_colours(x, y, losses.L1) < 0.01 < losses.l1(x, y)


def test_without_noise_the_loss_above_it_is_blursim():
    x, y = pair()
    for alpha in (0, 0.3):
        expected = float(blursim(x, y, alpha, p=1, normalization="gain"))
        assert losses.above_noise(x, y, 0, alpha) == pytest.approx(expected, rel=1e-4)


def test_above_the_noise_a_noisy_target_pulls_less():
    clean = TASKS["aligned"].crop(CAMERA, 128)[None]
    noisy = clean + 0.05 * np.random.default_rng(0).standard_normal((64, 1, 128, 128), np.float32)
    pull = lambda noise: float((jax.grad(losses.above_noise)(jnp.repeat(clean, 64, 0), noisy, noise) * clean).sum())
    assert abs(pull(0.05)) < 0.5 * abs(pull(0))


@pytest.mark.parametrize("name", [name for name in LOSSES if name in plan.NAMED])
def test_gradient_of_every_loss_is_finite_also_for_equal_images(name):
    x, y = pair((1, 3, 32, 32))
    gradient = jax.jit(jax.grad(lambda x, y: LOSSES[name](x, y, **CONTEXT)))
    assert np.isfinite(gradient(x, y)).all()
    assert np.isfinite(gradient(y, y)).all()


def test_names_say_what_is_called():
    x, y = pair()
    expected = blursim(x, y, 0.5, spectrum="complex", edges="magnitude", p=2, sobel_size=5, normalization="area")
    loss = losses.ours("complex", 2, "0.9->0.1", normalization="area")
    assert loss.name == "BlurSim complex/magnitude p=2 k=5 area 0.9->0.1"
    assert loss(x, y, progress=0.5) == pytest.approx(float(expected), rel=1e-6)
    mix = LOSSES["L1 + 3 BlurSim magnitude p=1 0"]
    assert mix(x, y, **CONTEXT) == pytest.approx(float(losses.l1(x, y) + 3 * blursim(x, y, 0, p=1)), rel=1e-6)
    assert len(losses.OPTIONS) == 2 * 2 * 2 * 2 * 5


# Figures


def scene():
    return TASKS["aligned"].crop(CAMERA, 64)


def test_figures_of_a_perfect_result():
    found = tasks.figures(scene(), scene(), 0 * scene())
    assert found["psnr"] == found["smooth"] == found["textured"] == 120
    assert found["ssim"] == found["sharpness"] == pytest.approx(1)
    assert found["power"] == pytest.approx([1] * 4)
    assert found["bands"] == [0] * 4
    assert found["tint"] == found["coarse"] == found["collapsed"] == 0


def test_psnr_is_that_of_skimage():
    skimage_psnr = importlib.import_module("skimage.metrics").peak_signal_noise_ratio
    x, y = pair((3, 64, 64))
    inner = (..., slice(8, -8), slice(8, -8))
    assert tasks.figures(x, y, y)["psnr"] == pytest.approx(skimage_psnr(y[inner], x[inner], data_range=1), rel=1e-5)


def test_blur_lowers_the_power_of_high_bands_and_noise_raises_it():
    target = scene()
    target[..., :32] = 0.5
    soft = tasks.figures(tasks.gaussian(target, 2), target, target)
    assert soft["power"][0] > soft["power"][1] > soft["power"][3]
    assert soft["textured"] < soft["smooth"]
    noisy = target + 0.05 * np.random.default_rng(0).standard_normal(target.shape, np.float32)
    found = tasks.figures(noisy, target, target)
    assert found["power"][3] > 1.5
    assert found["smooth"] == pytest.approx(-20 * np.log10(0.05), abs=1)


def test_tint_is_of_one_channel_and_coarse_of_a_stain():
    target = np.repeat(scene(), 3, axis=0) / 2
    tinted = target + np.array([0.03, 0, 0], np.float32)[:, None, None]
    assert tasks.figures(tinted, target, target)["tint"] == pytest.approx(0.03, rel=1e-3)
    ripples = target + 0.03 * (np.indices((64, 64)).sum(axis=0) % 2 - 0.5)
    assert tasks.figures(ripples, target, target)["coarse"] < 0.001
    assert tasks.figures(tinted, target, target)["coarse"] > 0.01


@pytest.mark.parametrize("bad", [lambda x: 2 * x.mean() - x, lambda x: x * np.nan, lambda x: 0 * x])
def test_negative_nan_and_black_count_as_collapsed(bad):
    assert tasks.figures(bad(scene()), scene(), tasks.gaussian(scene(), 1))["collapsed"]


# Training


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two seeds and the choice of the rate, of two tasks, in the least time."""
    path = tmp_path_factory.mktemp("study") / "training.jsonl"
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "CHUNK", 2)
    patch.setattr(tasks, "WHOLE", 112)
    patch.setitem(TASKS, "looked at", dataclasses.replace(TASKS["shift2-registered"], looks=(0.5, 1)))
    words = ["--seeds=2", "--steps=4", f"--output={path}", "--losses", "L1", "L1, best shift"]
    options = training.parse(["--tasks", "aligned", "looked at", *words])
    training.run(options)
    yield options
    patch.undo()


@pytest.mark.slow
def test_runs_are_kept_resumed_and_reported(results, monkeypatch, tmp_path):
    found = runs.lines(results.output)
    sessions = {record["session"]: record for record in found if "machine" in record}
    records = [record for record in found if "task" in record]
    # "looked at" takes the rates of "aligned".
    assert len(records) == 2 * 3 + 2 * 2 * 2
    for record in records:
        assert sessions[record["session"]]["versions"]["jax"] == jax.__version__
        assert np.isfinite(record["figures"]["psnr"])
        assert len(record["each"]["psnr"]) == 2 * (2 if record["choosing"] else 9)
        if record["task"] == "looked at":
            assert record["curve"]["steps"] == [2, 4]
            assert record["curve"]["psnr"][-1] == pytest.approx(record["figures"]["psnr"], rel=1e-3)
    choosing = [r for r in records if r["choosing"] and r["loss"] == "L1"]
    best = max(choosing, key=lambda record: record["figures"]["ssim"])["rate"]
    assert {r["rate"] for r in records if not r["choosing"] and r["loss"] == "L1"} == {best}

    asked = []
    real = training.trainer
    monkeypatch.setattr(training, "trainer", lambda *cell: asked.append(cell[:2]) or real(*cell))
    training.run(results)
    assert asked == []
    kept = results.output.read_text().splitlines()
    lost = next(i for i, line in enumerate(kept) if json.loads(line).get("seed") == training.FIRST + 1)
    results.output.write_text("\n".join([*kept[:lost], *kept[lost + 1 :], '{"task": "cut sho']))
    training.run(results)
    of = json.loads(kept[lost])
    assert asked == [(of["task"], of["loss"])]
    cells = runs.by_cell(results.output)
    assert cells[of["task"], of["loss"]][of["seed"]]["figures"] == of["figures"]
    assert "| L1, best shift |" in runs.gains(cells, ["aligned", "looked at"])
    assert "step 4" in report.curves(cells, "looked at")


def test_a_run_judged_on_fewer_photographs_is_to_be_done_again(tmp_path):
    record = {"task": "aligned", "loss": "L1", "seed": 10, "rate": 1, "choosing": False, "steps": 400}
    for judged, done in ((8, 0), (18, 1)):
        runs.append(tmp_path / "of.jsonl", {**record, "each": {"psnr": [20] * judged}})
        assert len(training.finished(tmp_path / "of.jsonl")) == done


def test_shards_share_the_plan_and_every_word_of_it_is_known():
    whole, *parts = (training.cells(training.parse(of)) for of in ([], ["--shard=1/2"], ["--shard=2/2"]))
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert {task for task, *_ in whole} <= set(TASKS)
    assert set(LOSSES) >= plan.NAMED
    pairs = [{cell[:2] for cell in part} for part in parts]
    assert not pairs[0] & pairs[1]
    for task, loss, _ in whole:
        of, same = training.rates_of(task, loss)
        assert training.rates_of(of, same) == (of, same)


def test_a_cell_outside_of_the_plan_can_be_asked_for():
    options = training.parse(["--tasks", "aligned-160", "--losses", "AMSE", "--seeds=2"])
    assert training.cells(options) == [("aligned-160", "AMSE", 2)]


@pytest.mark.parametrize(
    "words", [["--shard=0/2"], ["--shard=3/2"], ["--steps=31"], ["--tasks", "warp"], ["--losses", "huber"]]
)
def test_senseless_options_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        training.parse(words)
    assert "error" in capsys.readouterr().err


# Statistics, tables and the guide


def test_interval_is_that_of_scipy():
    values = [1.0, 2.5, 2.0, 4.0, 3.0]
    mean, half = runs.interval(values)
    assert (mean - half, mean + half) == pytest.approx(stats.t.interval(0.95, 4, np.mean(values), stats.sem(values)))
    assert runs.plus_minus(runs.interval([2.0]), 1) == "2.0"
    assert runs.plus_minus(runs.interval([]), 1) == ""


def test_gains_are_paired_by_seed_and_over_photographs_of_those_that_all_runs_have():
    of = {"L1": [20, 30], "MSE": [19, 29]}
    run = lambda psnr, each: {"figures": {"psnr": psnr, "ssim": 0.8}, "each": {"psnr": each}}
    cells = {("aligned", "L1"): {0: run(20, [17, 20, 2, 2]), 1: run(30, [27, 20, 2, 2])}}
    cells["aligned", "MSE"] = {0: run(19, [18, 20, 1, 2, 3, 4]), 1: run(29, [28, 20, 1, 2, 3, 4])}
    assert runs.paired(cells, ("aligned", "MSE"), ("aligned", "L1")) == (-1, 0)
    assert runs.over_photographs(cells, ("aligned", "MSE"), ("aligned", "L1")) == runs.interval([0.5, -0.5])
    rows = runs.gains(cells, ["aligned"], list(of)).splitlines()[2:]
    assert rows == ["| L1 | 25.00 ± 63.53<br>0.800 |", "| MSE | -1.00 ± 0.00<br>0.800 |"]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.COMPLEX, '`blursim(x, y, 0.3, spectrum="complex")`'),
        (losses.MIX, "L1 + `blursim(x, y, 0)`"),
        (losses.PUBLISHED_MAGNITUDES, '`blursim(x, y, 0.9 to 0.1, p=2, normalization="area")`'),
        (losses.L1_FFT, "L1 + FFT"),
    ],
)
def test_a_table_names_a_loss_as_a_reader_would_write_it(loss, expected):
    assert runs.call(loss) == expected


def test_what_report_writes_is_what_the_results_say(tmp_path):
    """Run `python -m benchmarks.study.report` when this fails."""
    cells = runs.by_cell()
    for path, blocks in ((pictures.GUIDE, report.blocks(cells)), (report.README, report.lead(cells))):
        page = tmp_path / path.name
        page.write_text(path.read_text())
        report.fill(page, blocks)
        assert page.read_text() == path.read_text()
    for name, make in report.pages(cells).items():
        assert (report.TABLES / f"{name}.md").read_text() == make()


def test_the_guide_registers_a_real_pair_and_its_mask_keeps_out_what_only_one_camera_sees():
    register = pictures.guide_code()["register"]
    blurred, right = pictures.real_pair()
    registered, mask = register(right, blurred)
    away = lambda image: tasks.psnr(mask * tasks.gaussian(image, 1.5), mask * blurred)
    assert 0.7 < mask.mean() < 1
    assert away(registered) > away(right) + 3


def test_what_the_guide_says_in_words_holds():
    cells = runs.by_cell()
    psnr = lambda task, loss, figure="psnr": runs.figure_of(cells, task, loss.name, figure)[0]
    over = lambda task, loss, rival=losses.L1: runs.paired(cells, (task, loss.name), (task, rival.name))[0]
    unet = ("render-shift2-unet", "render-shift2-colour-unet")
    blurred = ("render-shift2", "render-shift2-colour", *unet)
    for task in ("aligned-unet", "shift2-unet-registered", "breathing-unet-registered"):
        assert abs(over(task, losses.COMPLEX, losses.L1_FFT)) < 0.1  # "on U-Nets, L1 + FFT is level"
    registering = lambda task: runs.paired(
        cells, (f"{task}-registered", losses.COMPLEX.name), (task, losses.MAGNITUDES.name)
    )[0]
    for task in blurred:  # "registering adds 0.5 to 0.8 dB for shifts of 2 px, -0.5 after 6,000 steps"
        assert 0.45 < registering(task) < 0.85
    assert registering("render-shift2-long") == pytest.approx(-0.5, abs=0.1)
    for task in ("render-parallax", "render-stereo-colour"):  # "and 2.5 or more with warps and parallax"
        assert 2.45 < registering(task) < 2.8

    course = lambda loss: [run["curve"]["psnr"] for run in cells["render-shift2-long", loss.name].values()]
    lead = np.mean(course(losses.MAGNITUDES), axis=0) - np.mean(course(losses.L1), axis=0)
    assert lead[[0, -1]] == pytest.approx([4, 12], abs=0.5)  # "from 4 dB after 300 steps to 12 after 6,000"
    for task in blurred[:3]:  # "adding L1 with weight 1 ... costs about half of the gain"
        assert 0.3 < over(task, losses.MIX) / over(task, losses.MAGNITUDES) < 0.65
    agree = [of["pixels where both flows agree"] for of in json.loads(REGISTRATION.read_text()).values()]
    assert (round(min(agree), 1), round(max(agree), 1)) == (0.6, 0.8)  # "60 to 80 % of small patches"
    trusted = {of["registration"]["trusted"] for of in json.loads(FRAMES.read_text())}
    assert (round(min(trusted), 2), round(max(trusted), 2)) == (0.75, 0.81)  # "75 to 81 % of real frames"

    assert over("render-parallax", losses.WINDOWS, losses.MAGNITUDES) == pytest.approx(1, abs=0.1)
    assert -0.9 < over("render-stereo-colour", losses.MAGNITUDES) < 0  # "L1 was level", within the interval
    assert over("render-stereo-colour", losses.SEARCH_PIXELS) == pytest.approx(0.9, abs=0.1)
    gained = psnr("render-stereo-colour-registered", losses.COMPLEX) - psnr("render-stereo-colour", losses.L1)
    assert gained == pytest.approx(2, abs=0.1)  # "and registering 2"
    assert abs(over("shift2", losses.SEARCH, losses.MIX)) < 0.15  # "L1 at the best whole shift is as good"
    for task in ("shift2-unet", "shift2-noisy5"):  # "with the U-Net or noise 0.2 to 0.4 dB better"
        assert 0.15 < over(task, losses.SEARCH, losses.MIX) < 0.45
    nothing = runs.untouched()["aligned-noisy5"]["psnr"]
    assert psnr("aligned-noisy5", losses.MAGNITUDES) < nothing  # "a small network ended below its input"
    curves = [run["curve"] for run in cells["shift2-unet", losses.MAGNITUDES.name].values()]
    curve = np.mean([of["psnr"] for of in curves], axis=0)  # "peaked after 400 to 1,000 ..., then fell back"
    assert curves[0]["steps"][np.argmax(curve)] in (400, 1000)
    assert abs(over("shift2-unet", losses.MAGNITUDES)) < 0.2
    for task in blurred:
        cleaner = psnr(task, losses.MAGNITUDES, "smooth") - psnr(task, losses.L1, "smooth")
        assert 4 <= round(cleaner) <= 8  # "4 to 8 dB cleaner"
        drift = [psnr(task, loss, "coarse") for loss in (losses.MAGNITUDES, losses.L1)]
        assert (drift[0] < drift[1]) is (task in unet)  # "a small network drifts more ..., a U-Net doesn't"
        assert psnr(task, losses.MAGNITUDES, "tint") < 1.1 / 255  # "a grey level at 2 px"
    for task in blurred[:2]:  # "0.1 L1 halves it, for about 1 dB"
        assert psnr(task, COMPANION, "coarse") < 0.6 * psnr(task, losses.MAGNITUDES, "coarse")
        assert 0.7 < over(task, losses.MAGNITUDES, COMPANION) < 1.4


def test_no_line_of_the_guide_is_too_much():
    assert len(pictures.GUIDE.read_text().splitlines()) <= 120


# Real frames and the loss as a measure


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two scenes of two frames, each sharp in another half of the rows, the second out of register."""
    folder = tmp_path_factory.mktemp("frames")
    for name in ("astronaut", "coffee"):
        image = tasks.photograph(name, True)[:, :384, :512]
        upper = np.arange(image.shape[1])[:, None] < 192
        (folder / name).mkdir()
        for i, sharp in enumerate((upper, ~upper)):
            frame = np.where(sharp, image, tasks.gaussian(image, 1.5))
            frame = ndimage.shift(frame, (0, 1.5 * i, 2 * i), mode="nearest")
            levels = (255 * np.moveaxis(frame, 0, -1).clip(0, 1)).astype(np.uint8)
            Image.fromarray(levels).save(folder / name / f"{i}.png")
    return folder


def test_frames_are_registered_and_the_sharper_half_is_found(scenes):
    (name, of), _ = frames.scenes(scenes, "*", 1)
    first, second = frames.pairs_of(name, of, 0)
    inner = (..., slice(16, -16), slice(16, -16))
    soft = lambda image: tasks.gaussian(image, 3)[inner] * first.mask[inner]
    assert tasks.psnr(soft(first.registered), soft(first.frame)) > tasks.psnr(soft(first.other), soft(first.frame)) + 5
    assert first.sharper[0, 220:].mean() > 0.1 > -0.1 > first.sharper[0, :160].mean()
    assert {top >= 160 for top, _ in frames.places_of(first, "sharpen")} == {True}
    assert {top < 160 for top, _ in frames.places_of(second, "sharpen")} == {True}


@pytest.mark.slow
def test_frames_train_and_what_is_done_is_kept(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 2)
    monkeypatch.setattr(frames, "LOSSES_OF", {False: (losses.L1,), True: (losses.COMPLEX,)})
    monkeypatch.setattr("sys.argv", ["frames", str(scenes), "--steps=2", f"--output={tmp_path / 'frames.json'}"])
    frames.main()
    (found,) = json.loads((tmp_path / "frames.json").read_text())
    assert len(found["rows"]) == 2 * 3
    monkeypatch.setattr(frames, "result", None)
    frames.main()
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    assert re.search(r"### refocus: \d+ tiles", report.frames_page())


def test_measures_are_those_of_their_names_and_pairs_of_one_crop_or_of_different_photographs():
    same, different = measure.pairs(np.random.default_rng(0), 4 * measure.CROPS)
    assert (same[:, 0] == same[:, 2]).all()
    assert (different[:, 0] // measure.CROPS != different[:, 2] // measure.CROPS).all()
    assert measure.auc(np.array([1, 2, 5]), np.array([3, 4])) == pytest.approx(4 / 6)
    x, y = pair((1, 32, 32))
    found = measure.distances(x, y)
    assert found["MSE"][0] == pytest.approx(np.mean((x - y) ** 2), rel=1e-5)
    expected = float(blursim(x, y, 0.1, edges="vector", p=2, normalization="area"))
    assert found["BlurSim magnitude/vector 0.1"][0] == pytest.approx(expected, rel=1e-5)


def test_nothing_of_the_study_names_this_machine():
    for path in runs.FOLDER.parent.rglob("*.*"):
        if path.suffix in (".py", ".md", ".json", ".jsonl"):
            assert not re.search(r"/(work|tmp|home|root)/", path.read_text()), path
