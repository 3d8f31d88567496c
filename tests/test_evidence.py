"""The parts of the evidence: photographs, degradations, formulas of the peers, figures, statistics, resuming."""

import base64
import dataclasses
import importlib
import io
import itertools
import json
import re

import evidence
import jax
import jax.numpy as jnp
import losses
import measure
import numpy as np
import pytest
import tasks
import training
from PIL import Image
from scipy import ndimage, stats

from blursim_jax import blursim, blursim_terms

SHAPE = (2, 48, 40)
KEYS = {"task", "loss", "seed", "rate", "choosing", "steps", "figures", "each", "curve", "seconds", "session"}


def pair(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random((2, *shape), np.float32)


def torch_pair(x, y):
    torch = importlib.import_module("torch")
    return [torch.from_numpy(image)[:, None] for image in (x, y)]


# Photographs and degradations


def test_no_photograph_both_trains_and_judges():
    lists = (tasks.TRAIN, tasks.SELECTION, tasks.HELD_OUT, tasks.MORE)
    assert len(set().union(*lists)) == sum(map(len, lists))
    assert len(tasks.TRAIN) >= 6
    assert len(tasks.HELD_OUT + tasks.MORE) >= 9


@pytest.mark.parametrize("name", measure.SCENES + tasks.MORE)
def test_photographs_are_shipped_grey_and_large_enough(name):
    image = tasks.photograph(name)
    assert image.dtype == np.float32
    assert image.ndim == 2
    assert 0 <= image.min() < image.max() <= 1
    assert min(image.shape) >= tasks.WHOLE + 2 * tasks.MARGIN


def test_crop_is_blurred_with_what_lies_around_it():
    place, size = ("camera", 100, 130), 40
    expected = ndimage.gaussian_filter(tasks.photograph("camera"), 2.5, truncate=4)[100:140, 130:170]
    np.testing.assert_allclose(tasks.crop(place, size, 2.5), expected, atol=1e-6)
    np.testing.assert_array_equal(tasks.crop(place, size), tasks.photograph("camera")[100:140, 130:170])


def test_moved_by_nothing_is_the_crop():
    place = ("camera", 100, 130)
    np.testing.assert_allclose(tasks.moved(place, 40, np.zeros(2), 0, 1), tasks.crop(place, 40), atol=1e-5)


def test_whole_shift_is_another_crop():
    found = tasks.moved(("camera", 100, 130), 40, np.array([2, -1]), 0, 1)
    np.testing.assert_allclose(found, tasks.crop(("camera", 102, 129), 40), atol=1e-5)


def test_subpixel_shift_is_that_of_scipy():
    image = tasks.photograph("camera")
    expected = ndimage.shift(image, (-0.3, 1.6), order=3, mode="mirror")[100:140, 130:170]
    found = tasks.moved(("camera", 100, 130), 40, np.array([0.3, -1.6]), 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_turn_and_scale_keep_the_centre_of_the_photograph():
    place, size, degrees, scale = ("camera", 100, 130), 41, 10, 1.1
    found = tasks.moved(place, size, np.zeros(2), degrees, scale)
    angle, d = np.deg2rad(degrees), np.array([100 + 27, 130 + 8]) - 255.5
    there = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ d
    where = 255.5 + there
    expected = ndimage.map_coordinates(tasks.photograph("camera"), where[:, None], order=3, mode="mirror")
    assert found[27, 8] == pytest.approx(expected[0], abs=1e-4)


def test_breathing_moves_patches_away_from_the_centre_and_a_patch_as_a_whole():
    task, place = tasks.TASKS["breathing"], ("camera", 20, 20)
    scaled = tasks.moved(place, task.patch, np.zeros(2), scale=1 + task.scale)
    by = task.scale * (np.array(place[1:]) + (task.patch - 1) / 2 - 255.5)
    shifted = tasks.moved(place, task.patch, by)
    assert np.linalg.norm(by) > 4
    assert np.abs(scaled - shifted).mean() < np.abs(scaled - tasks.crop(place, task.patch)).mean() / 3


def test_displaced_by_one_vector_is_a_shift():
    place, shift = ("camera", 100, 130), np.array([1.4, -0.6])
    found = tasks.displaced(place, np.broadcast_to(shift[:, None, None], (2, 40, 40)))
    np.testing.assert_allclose(found, tasks.moved(place, 40, shift), atol=1e-5)


def test_smooth_field_has_its_correlation_and_its_longest_vector():
    fields = np.stack([tasks.smooth_field(np.random.default_rng(seed), 60, 6, 3) for seed in range(40)])
    assert np.linalg.norm(fields, axis=1).max(axis=(1, 2)) == pytest.approx(3)
    for apart in (3, 6):
        correlation = np.corrcoef(fields[..., apart:].ravel(), fields[..., :-apart].ravel())[0, 1]
        assert correlation == pytest.approx(np.exp(-(apart**2) / 72), abs=0.05)


@pytest.mark.parametrize("name", [name for name in tasks.TASKS if not name.endswith(("-160", "-unet"))])
def test_seed_fixes_all_of_a_problem_and_another_changes_it(name):
    problems = [tasks.TASKS[name].problem(seed, tasks.HELD_OUT[:2], 2) for seed in (0, 0, 1)]
    for one, same in zip(*map(jax.tree.leaves, problems[:2]), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(problems[0].targets, problems[2].targets)


def test_targets_are_moved_in_training_only():
    aligned, shifted = (tasks.TASKS[name].problem(0, tasks.HELD_OUT, 2) for name in ("aligned", "shift2"))
    np.testing.assert_array_equal(aligned.held_targets, shifted.held_targets)
    np.testing.assert_array_equal(aligned.inputs, shifted.inputs)
    assert not np.allclose(aligned.targets, shifted.targets, atol=0.01)
    np.testing.assert_array_equal(aligned.held_targets[0], tasks.crop(tasks.centre("camera", tasks.WHOLE), tasks.WHOLE))


def test_render_keeps_the_foreground_and_blurs_the_background():
    planes, target = tasks.Render().pair(np.random.default_rng(0), ("camera", 100, 100))
    sharp, mask, half_sigma = np.moveaxis(planes, -1, 0)
    blurred = tasks.crop(("camera", 100, 100), tasks.PATCH, 2 * half_sigma[0, 0])
    np.testing.assert_allclose(target, mask * sharp + (1 - mask) * blurred, atol=1e-6)
    assert mask.min() < 0.1
    assert mask.max() > 0.9


def test_fit_blurs_as_scipy_does_and_starts_from_four():
    task = tasks.Fit()
    image = pair((1, 128, 128))[0]
    expected = ndimage.gaussian_filter(image[0], task.sigma)
    np.testing.assert_allclose(task.predict(image, image)[0], expected, atol=1e-5)
    problem = task.problem(0, tasks.HELD_OUT, 1)
    measured, noise, grey, other = np.split(np.asarray(problem.params), 4)
    np.testing.assert_array_equal(measured, problem.untouched[:4])
    np.testing.assert_array_equal(other[1], problem.held_targets[0])
    assert (grey == 0.5).all()
    assert abs(noise.mean() - 0.5) < 0.01


def test_convolution_is_that_of_scipy():
    layer = tasks.Convolution(2, 3, tasks.nnx.Rngs(0))
    image = pair((5, 6))[:, None]  # two planes
    found = layer(jnp.asarray(image.transpose(1, 2, 3, 0)))[0]
    kernel = np.asarray(layer.kernel[...]).reshape(3, 3, 2, 3)
    for k in range(3):
        expected = sum(ndimage.correlate(image[i, 0], kernel[:, :, i, k], mode="constant") for i in range(2))
        np.testing.assert_allclose(found[..., k], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["aligned", "aligned-unet"])
def test_network_with_a_skip_connection_starts_from_its_input(name):
    problem = tasks.TASKS[name].problem(0, tasks.HELD_OUT, 1)
    for apply in (tasks.TASKS[name].predict, tasks.TASKS[name].result):
        np.testing.assert_array_equal(apply(problem.params, problem.inputs[0]), problem.inputs[0, ..., 0])


def test_unet_has_its_weights_and_an_output_for_each_pixel_of_its_own():
    params = tasks.TASKS["aligned-unet"].problem(0, tasks.HELD_OUT[:1], 1).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) >= 150_000
    corner = jnp.zeros((1, 16, 16, 1)).at[0, 0, 1].set(1)
    moved = jax.tree.map(lambda leaf: leaf + 0.01, params)
    found = tasks.TASKS["aligned-unet"].predict(moved, corner) - tasks.TASKS["aligned-unet"].predict(moved, 0 * corner)
    assert abs(found[0, 0, 1]) > 0.9
    assert abs(found[0, 15, 15]) < abs(found[0, 0, 1])


# Formulas of the peers


def test_charbonnier_and_l1_fft_are_their_formulas():
    x, y = pair()
    assert losses.charbonnier(x, y) == pytest.approx(np.mean(np.sqrt((x - y) ** 2 + 1e-6)), rel=1e-5)
    torch = importlib.import_module("torch")
    spectra = [torch.view_as_real(torch.fft.fft2(image)) for image in torch_pair(x, y)]
    expected = np.mean(np.abs(x - y)) + 0.1 * float(torch.nn.functional.l1_loss(*spectra))
    assert losses.l1_fft(x, y) == pytest.approx(expected, rel=1e-5)


def test_ssim_is_that_of_pytorch_msssim_and_of_kornia():
    x, y = pair()
    found = float(losses.ssim(x, y))
    msssim = importlib.import_module("pytorch_msssim").ssim(*torch_pair(x, y), data_range=1)
    assert found == pytest.approx(1 - float(msssim), abs=1e-5)
    ssim_loss = importlib.import_module("kornia").losses.ssim_loss
    assert found == pytest.approx(2 * float(ssim_loss(*torch_pair(x, y), 11, padding="valid")), abs=1e-5)


def test_focal_frequency_loss_and_its_gradient_are_those_of_the_package():
    x, y = pair()
    left, right = torch_pair(x, y)
    left.requires_grad_()
    expected = importlib.import_module("focal_frequency_loss").FocalFrequencyLoss()(left, right)
    expected.backward()
    found, gradient = jax.value_and_grad(losses.focal_frequency)(x, y)
    assert float(found) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, left.grad[:, 0], atol=1e-9, rtol=1e-4)


def test_ms_ssim_l1_is_its_paper_sum_with_windows_cut_at_the_border():
    x, y = pair((1, 40, 36))[:, 0]
    taken = lambda image, sigma: ndimage.gaussian_filter(image.astype(float), sigma, mode="constant", truncate=30)
    mean = lambda image, sigma: taken(image, sigma) / taken(np.ones_like(image), sigma)
    similarity = 1
    for sigma in (0.5, 1, 2, 4, 8):
        mx, my = mean(x, sigma), mean(y, sigma)
        covariance = mean(x.astype(float) * y, sigma) - mx * my
        variances = mean(x.astype(float) ** 2, sigma) - mx**2 + mean(y.astype(float) ** 2, sigma) - my**2
        similarity *= (2 * covariance + 0.03**2) / (variances + 0.03**2)
    similarity *= (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
    expected = np.mean(0.84 * (1 - similarity) + 0.16 * mean(np.abs(x - y), 8))
    assert losses.ms_ssim_l1(x[None], y[None]) == pytest.approx(expected, rel=1e-4)


def test_fft_of_windows_compares_the_magnitudes_of_tiles():
    x, y = pair((1, 32, 16))[:, 0]
    spectra = [np.abs(np.fft.fft2(image.reshape(2, 16, 16), norm="ortho")) for image in (x, y)]
    assert losses.window_fft(x[None], y[None]) == pytest.approx(np.abs(np.subtract(*spectra)).mean(), rel=1e-5)


def squares(image, size=5):
    return np.lib.stride_tricks.sliding_window_view(image, (size, size)).reshape(-1, size * size).astype(float)


def test_contextual_loss_is_its_paper_sum():
    x, y = pair((1, 12, 11))[:, 0]
    u, v = squares(x), squares(y)
    u, v = ((w - v.mean(axis=0)) / np.linalg.norm(w - v.mean(axis=0), axis=1)[:, None] for w in (u, v))
    distances = 1 - u @ v.T
    weights = np.exp((1 - distances / (distances.min(axis=1)[:, None] + 1e-5)) / 0.5)
    similarity = weights / weights.sum(axis=1)[:, None]
    expected = -np.log(similarity.max(axis=0).mean())
    assert losses.contextual(x[None], y[None]) == pytest.approx(expected, rel=1e-4)


def test_sliced_wasserstein_is_scipys_along_each_direction():
    x, y = pair((1, 12, 11))[:, 0]
    along = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(0), 2**19), (25, 16)), float)
    along /= np.linalg.norm(along, axis=0)
    of = [stats.wasserstein_distance(squares(x) @ d, squares(y) @ d) for d in along.T]
    assert losses.sliced_wasserstein(x[None], y[None], 0.5) == pytest.approx(np.mean(of), rel=1e-4)
    assert losses.sliced_wasserstein(x[None], y[None], 0.6) != losses.sliced_wasserstein(x[None], y[None], 0.5)


def test_shift_search_finds_each_images_own_shift():
    wide = pair((2, 40, 40))[0]
    x = wide[:, 4:36, 4:36]
    y = np.stack([wide[0, 2:34, 5:37], wide[1, 4:36, 3:35]])
    assert losses.l1_best_shift(x, y, 2) == pytest.approx(0, abs=1e-7)
    assert losses.l1_best_shift(x, y, 1) > 0.1


def test_shift_search_differentiates_the_best():
    x, y = pair((1, 16, 16))
    inner = lambda x: jnp.abs(x[:, 1:-1, 1:-1, None] - windows).mean((0, 1, 2)).min()
    windows = jnp.stack([y[:, i : i + 14, j : j + 14] for i in range(3) for j in range(3)], axis=-1)
    found = jax.value_and_grad(losses.l1_best_shift)(x, y, 1)
    for one, other in zip(found, jax.value_and_grad(inner)(x), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("radius", [0, 2])
def test_search_of_tiles_takes_the_least_of_each_tile_over_the_pixels_that_have_a_partner(radius):
    x, y = pair((1, 32, 32))
    least = []
    for top, left in itertools.product((0, 16), repeat=2):
        found = []
        for down, across in itertools.product(range(-radius, radius + 1), repeat=2):
            rows, columns = np.meshgrid(range(top, top + 16), range(left, left + 16), indexing="ij")
            there = (rows + down, columns + across)
            inside = (np.minimum(*there) >= 0) & (np.maximum(*there) < 32)
            partners = y[0][there[0][inside], there[1][inside]]
            found.append(np.abs(x[0][rows[inside], columns[inside]] - partners).mean())
        least.append(min(found))
    assert losses.l1_best_shift_of_tiles(x, y, radius) == pytest.approx(np.mean(least), rel=1e-5)


@pytest.mark.parametrize("name", losses.SEARCHES)
def test_radius_of_a_search_is_as_its_name_says(name):
    x, y = pair((1, 32, 32))
    radius = {"half": 1, "twice": 4}.get(name.split()[-3], 2)
    search = losses.l1_best_shift_of_tiles if name == losses.TILES else losses.l1_best_shift
    assert losses.make(name, 2)(x, y, 0) == search(x, y, radius)


@pytest.mark.parametrize(
    ("name", "weight"), [("L1 + BlurSim magnitude p=1 0", 1), ("L1 + 3 BlurSim magnitude p=1 0", 3)]
)
def test_a_mix_is_the_weighted_sum_of_its_parts(name, weight):
    x, y = pair()
    expected = float(losses.l1(x, y) + weight * blursim(x, y, 0, p=1))
    assert losses.make(name, 2)(x, y, 0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", [*losses.PEERS, losses.SLICED, *losses.SEARCHES, *losses.MIXED, losses.TRAP])
def test_gradient_of_every_peer_is_finite_also_for_equal_images(name):
    x, y = pair((1, 16, 16))
    gradient = jax.jit(jax.grad(losses.make(name, 2)))
    if name != losses.TRAP:
        assert np.isfinite(gradient(y, y, 0.5)).all()
    assert np.isfinite(gradient(x, y, 0.5)).all()


@pytest.mark.parametrize(("name", "start", "end"), [("0.9->0.1", 0.9, 0.1), ("0.5", 0.5, 0.5)])
def test_alpha_takes_its_course(name, start, end):
    x, y = pair()
    loss = losses.make(f"BlurSim complex/vector p=1 k=3 gain {name}", 2)
    for progress in (0, 0.25, 1):
        alpha = start + progress * (end - start)
        options = {"spectrum": "complex", "edges": "vector", "p": 1, "sobel_size": 3, "normalization": "gain"}
        expected = blursim(x, y, alpha, **options)
        assert loss(x, y, progress) == pytest.approx(float(expected), rel=1e-5)


def test_trap_is_blursim_but_for_the_sign_of_the_mean():
    x, y = pair()
    trap = losses.make(losses.TRAP, 2)
    assert trap(x, y, 0) == pytest.approx(float(blursim(x, y, 0.9)), rel=1e-5)
    assert trap(-y, y, 0) == pytest.approx(0, abs=1e-5)
    assert blursim(-y, y, 0.9) > 0.05


def test_main_options_are_in_the_grid():
    assert set(losses.BEST) <= set(losses.GRID)
    assert set(losses.MAIN) <= set(losses.CALLS)
    assert len(losses.GRID) == 2 * 2 * (1 + 2 * 2 * 4)
    assert len(losses.FIRST_GRID) == 40


def test_alpha_0_is_the_spectrum_alone():
    x, y = pair()
    expected = float(blursim_terms(x, y, p=1).general)
    assert losses.make("BlurSim magnitude p=1 0", 2)(x, y, 0) == pytest.approx(expected, rel=1e-5)


# Figures


def scene():
    return tasks.crop(("camera", 100, 100), 64)


def test_figures_of_a_perfect_result():
    found = tasks.figures(scene(), scene(), 0 * scene())
    assert found["psnr"] == 120
    assert found["ssim"] == found["sharpness"] == pytest.approx(1)
    assert found["edges"] == 0
    assert found["bands"] == [0] * 4
    assert found["power"] == pytest.approx([1] * 4)
    assert found["smooth"] == found["textured"] == 120
    assert not found["collapsed"]


def test_psnr_is_that_of_skimage():
    skimage_psnr = importlib.import_module("skimage.metrics").peak_signal_noise_ratio
    x, y = pair((64, 64))
    inner = (slice(tasks.BORDER, -tasks.BORDER),) * 2
    assert tasks.figures(x, y, y)["psnr"] == pytest.approx(skimage_psnr(y[inner], x[inner], data_range=1), rel=1e-5)


def test_blur_lowers_sharpness_and_the_high_bands_most():
    found = tasks.figures(ndimage.gaussian_filter(scene(), 2), scene(), scene())
    assert found["sharpness"] < 0.5
    assert found["bands"][0] < found["bands"][1] < found["bands"][3] <= 1
    assert found["power"][0] > found["power"][1] > found["power"][3]
    assert found["textured"] < found["smooth"]


def test_noise_raises_the_power_of_the_high_bands_and_hurts_where_nothing_varies():
    target = scene()
    target[:, :32] = 0.5
    output = target + 0.05 * np.random.default_rng(0).standard_normal(target.shape, np.float32)
    found = tasks.figures(output, target, target)
    assert found["power"][3] > 2
    assert found["smooth"] == pytest.approx(-20 * np.log10(0.05), abs=1)


def test_a_drift_lowers_psnr_but_not_that_of_the_best_shift():
    found = tasks.figures(np.roll(scene(), (3, -2), (0, 1)), scene(), scene())
    assert found["psnr_shifted"] == 120
    assert found["psnr"] < 30


@pytest.mark.parametrize("bad", [lambda x: 2 * x.mean() - x, lambda x: x * np.nan, lambda x: 0 * x])
def test_negative_nan_and_black_count_as_collapsed(bad):
    assert tasks.figures(bad(scene()), scene(), ndimage.gaussian_filter(scene(), 1))["collapsed"]


# Training


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two seeds and the choice of the rate, of two tasks, in the least time."""
    path = tmp_path_factory.mktemp("evidence") / "training.jsonl"
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "CHUNK", 2)
    patch.setattr(tasks, "WHOLE", 112)
    words = ["--seeds=2", "--steps=2", f"--output={path}", "--losses", "L1", training.QUICK[-1]]
    options = training.parse(["--tasks", "shift2", "fit", *words])
    training.run(options)
    yield options
    patch.undo()


@pytest.mark.slow
def test_each_run_is_kept_with_its_session(results):
    found = evidence.lines(results.output)
    sessions = {record["session"]: record for record in found if "machine" in record}
    records = [record for record in found if "task" in record]
    assert len(records) == 2 * 2 * (3 + 2)
    judged = {(r["task"], len(r["each"]["psnr"])) for r in records if not r["choosing"]}
    assert judged == {("shift2", 2 * len(tasks.HELD_OUT + tasks.MORE)), ("fit", 4 * len(tasks.HELD_OUT))}
    for record in records:
        assert record.keys() >= KEYS
        assert sessions[record["session"]]["versions"]["jax"] == jax.__version__
        assert np.isfinite(record["figures"]["psnr"])
        assert np.isfinite(record["curve"]["loss"]).all()
    assert {record["reference"] for record in found if "reference" in record} == {"shift2", "fit"}


def test_a_curve_has_all_figures_at_its_steps_and_ends_with_those_of_the_run(monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 2)
    monkeypatch.setattr(tasks, "WHOLE", 112)
    monkeypatch.setitem(tasks.TASKS, "looked at", dataclasses.replace(tasks.TASKS["aligned"], looks=(0.5, 1)))
    (found,) = training.trainer("looked at", "L1", 4)([(0, 1e-3)], tasks.HELD_OUT)
    curve = found["curve"]
    assert curve["steps"] == [2, 4]
    assert {name: np.shape(curve[name]) for name in training.LOOKED_AT} == {
        **dict.fromkeys(training.LOOKED_AT, (2,)),
        "power": (2, len(tasks.BANDS) - 1),
    }
    for name in ("psnr", "ssim", "smooth", "textured"):
        assert curve[name][-1] == pytest.approx(found["figures"][name], rel=1e-3)


def test_rates_are_shared_within_a_task_alone():
    of = training.rate_from
    assert of("shift2", "L1") == ("shift2", "L1")
    assert of("shift2-160", "L1") == ("shift2", "L1")
    assert of("breathing-unet", "L1 + FFT") == ("shift2-unet", "L1")
    assert of("breathing-unet", "SSIM") == ("shift2-unet", "L1")
    for loss in losses.BEST:
        assert of("aligned", loss) == ("aligned", loss)
    for loss, options in losses.GRID.items():
        task, other = of("aligned", loss)
        assert task == "aligned"
        assert all(losses.CALLS[other][name] == options[name] for name in ("spectrum", "p"))
        assert of(task, other) == (task, other)


@pytest.mark.slow
def test_the_rate_is_chosen_on_a_seed_and_photographs_of_its_own(results):
    records = [record for record in evidence.lines(results.output) if record.get("task") == "shift2"]
    choosing = [r for r in records if r["choosing"] and r["loss"] == "L1"]
    assert {record["seed"] for record in choosing} == {training.CHOOSING}
    assert [len(record["each"]["psnr"]) for record in choosing] == [2 * len(tasks.SELECTION)] * 3
    best = max(choosing, key=lambda record: record["figures"]["ssim"])["rate"]
    assert {r["rate"] for r in records if not r["choosing"] and r["loss"] == "L1"} == {best}


@pytest.mark.slow
def test_figures_are_means_over_the_first_photographs(results):
    record = next(r for r in evidence.lines(results.output) if r.get("task") == "shift2" and not r["choosing"])
    first = record["each"]["psnr"][: 2 * len(tasks.HELD_OUT)]
    assert record["figures"]["psnr"] == pytest.approx(np.mean(first), abs=0.01)


@pytest.mark.slow
def test_a_run_judged_on_fewer_photographs_is_to_be_done_again(results):
    records = [r for r in evidence.lines(results.output) if "task" in r]
    path = results.output.with_name("old.jsonl")
    for record in records:
        judged = 2 * len(tasks.TASKS[record["task"]].photographs)  # at two blurs
        record["each"]["psnr"] = record["each"]["psnr"][: judged - 2]
        training.append(path, record)
    done = training.finished(path, results.steps).values()
    assert {r["task"] for r in done if not r["choosing"]} == set()
    assert len([r for r in done if r["choosing"]]) == len([r for r in records if r["choosing"]])
    assert len(evidence.runs(path)) == len(evidence.runs(results.output))


@pytest.mark.slow
def test_a_finished_run_is_not_repeated_and_a_lost_one_is(results, monkeypatch, tmp_path):
    asked = []
    real = training.trainer

    def trainer(*cell):
        train = real(*cell)
        return lambda runs, names: asked.append((cell[:2], runs)) or train(runs, names)

    monkeypatch.setattr(training, "trainer", trainer)
    training.run(results)
    assert asked == []
    kept = results.output.read_text().splitlines()
    seed = training.FIRST + 1
    lost = next(i for i, line in enumerate(kept) if json.loads(line).get("seed") == seed)
    results.output.write_text("\n".join([*kept[:lost], *kept[lost + 1 :], '{"task": "cut sho']))
    training.run(results)
    of = json.loads(kept[lost])
    assert asked == [((of["task"], of["loss"]), [(seed, of["rate"])])]
    again = evidence.runs(results.output)[of["task"], of["loss"]][seed]
    assert again["figures"] == of["figures"]


@pytest.mark.slow
def test_side_by_side_is_one_after_the_other(results):
    train = training.trainer("shift2", "L1", 2)
    runs = [(0, 1e-3), (1, 3e-3)]
    together = train(runs, tasks.HELD_OUT)
    for run, found in zip(runs, together, strict=True):
        (alone,) = train([run], tasks.HELD_OUT)
        assert found["figures"]["psnr"] == pytest.approx(alone["figures"]["psnr"], rel=1e-3)


def test_shards_share_the_work():
    words = ([], ["--shard=1/3"], ["--shard=2/3"], ["--shard=3/3"])
    whole, *parts = (training.cells(training.parse(of)) for of in words)
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert len(set(whole)) == len(whole)
    pairs = [{cell[:2] for cell in part} for part in parts]
    assert sum(map(len, pairs)) == len(set().union(*pairs))


def test_plan_has_known_words_alone_and_every_task_and_loss():
    planned = list(training.plan())
    assert {name for name, *_ in planned} == set(tasks.TASKS)
    assert {loss for _, loss, _ in planned} <= set(losses.NAMES)
    assert {loss for _, loss, _ in planned} >= {*losses.PEERS, losses.SLICED, *losses.SEARCHES, *losses.GRID}
    asked = {}
    for *cell, seeds in training.cells(training.parse([])):
        assert seeds > asked.get(tuple(cell), 0)
        asked[tuple(cell)] = seeds
    assert asked == {cell: max(seeds for *of, seeds in planned if tuple(of) == cell) for cell in asked}


def test_a_cell_outside_of_the_plan_can_be_asked_for():
    options = training.parse(["--tasks", "fit", "--losses", losses.SLICED, "--seeds=2"])
    assert training.cells(options) == [("fit", losses.SLICED, 2)]


def test_the_unets_rate_is_chosen_in_short_trainings(monkeypatch):
    asked = []
    figures = {"figures": {"ssim": 0.5}, "each": {"psnr": []}}
    monkeypatch.setattr(
        training, "trainer", lambda *cell: lambda runs, names: asked.append(cell) or [figures] * len(runs)
    )
    options = training.parse([])
    options.side_by_side = 1
    records = list(training.cell("aligned-unet", "MSE", 2, {}, options))
    assert [record["steps"] for record in records] == [training.SHORT] * 3 + [2000] * 2
    assert asked == [("aligned-unet", record["loss"], record["steps"]) for record in records]
    assert [record["loss"] for record in records] == ["L1"] * 3 + ["MSE"] * 2


@pytest.mark.parametrize(
    "words", [["--shard=0/2"], ["--shard=3/2"], ["--steps=31"], ["--tasks", "warp"], ["--losses", "huber"]]
)
def test_senseless_options_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        training.parse(words)
    assert "error" in capsys.readouterr().err


def test_picture_of_a_piece_survives():
    image = pair((8, 8))[0]
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(training.png(image)))))
    np.testing.assert_allclose(back / 255, image, atol=0.003)


def test_rounding_keeps_json_valid():
    assert training.short([1.23456, np.nan, np.inf]) == [1.235, None, None]


# Statistics and tables


def test_interval_is_that_of_scipy():
    values = [1.0, 2.5, 2.0, 4.0, 3.0]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    mean, half = evidence.interval(values)
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_interval_of_one_value_has_no_width():
    assert evidence.plus_minus(evidence.interval([2.0]), 1) == "2.0"
    assert evidence.plus_minus(evidence.interval([]), 1) == ""


def made_up(psnrs, task="shift2"):
    figures = {"ssim": 0.8, "psnr_shifted": 1, "sharpness": 1, "edges": 0, "bands": [0] * 4, "collapsed": 0}
    return {
        (task, loss): {
            seed: {"figures": {"psnr": psnr, **figures}, "each": {"psnr": [psnr - 1, 22, None, 9]}, "rate": 0.01}
            for seed, psnr in enumerate(of)
        }
        for loss, of in psnrs.items()
    }


def test_of_a_seed_that_was_run_again_the_later_run_counts(tmp_path):
    of = [{"task": "shift2", "loss": "SSIM", "seed": 10, "rate": r, "choosing": c} for r, c in ((3, 0), (1, 0), (5, 1))]
    path = tmp_path / "training.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in of))
    assert evidence.runs(path) == {("shift2", "SSIM"): {10: of[1]}}


def test_differences_are_paired_by_seed():
    cells = made_up(
        {"L1": [20, 30, 25], "MSE": [19, 29, 24], "L1, best shift": [40, 40], f"{evidence.BLURSIM} 0.1": [41, 41]}
    )
    assert evidence.best_rival(cells, "shift2") == "L1"
    assert evidence.paired(cells, "shift2", "MSE", "L1") == (-1, 0)
    assert evidence.paired(cells, "shift2", "L1, best shift", "L1")[0] == 15
    assert "| MSE | 24.00 ± 12.42 | -1.00 ± 0.00 |  | 0 of 4 |" in evidence.task_table(cells, "shift2")
    assert evidence.images_above(cells, "shift2", "L1, best shift", "MSE") == "1 of 4"


def test_the_guide_has_differences_from_l1_seed_by_seed():
    cells = made_up({"L1": [20, 30], "MSE": [19, 29], "SSIM": [21, 31]})
    found = evidence.guide_table(cells, ["shift2", "aligned"], ["L1", "MSE", "SSIM"]).splitlines()[2:]
    assert [row.split(" | ")[1] for row in found] == [
        "25.00 ± 63.53<br>0.800",
        "-1.00 ± 0.00<br>0.800",
        "+1.00 ± 0.00<br>0.800",
    ]


def test_grid_has_the_courses_of_alpha_across():
    names = [losses.named("complex", "vector", 1, alpha, 3)[0] for alpha in evidence.ALPHAS]
    cells = made_up({name: [20 + i] * 2 for i, name in enumerate(names[:4])})
    last = evidence.grid_table(cells, "shift2").splitlines()[-1]
    of = " | ".join(f"{20 + i}.00 ± 0.00" for i in range(4))
    assert last == f"| complex/vector p=1 k=3 gain | {of} |  |  |  |"


def test_interval_over_photographs_is_of_those_that_all_runs_have():
    cells = made_up({"L1": [20, 30], "MSE": [19, 29]})
    for seed, record in cells["shift2", "MSE"].items():
        record["each"]["psnr"] = [18 + 10 * seed, 20, 1, 2, 3, 4]
    for seed, record in cells["shift2", "L1"].items():
        record["each"]["psnr"] = [17 + 10 * seed, 20, 2, 2]
    assert evidence.by_image(cells, "shift2", "MSE", "L1").tolist() == [1, 0, -1, 0]
    expected = evidence.interval([0.5, -0.5])
    assert evidence.over_photographs(cells, "shift2", "MSE", "L1") == expected


def test_curves_stand_beside_what_was_lost_since_the_best(tmp_path):
    curve = {"steps": [10, 20], "psnr": [27.5, 27], "ssim": [0.8, 0.7], "smooth": [30, 30], "textured": [22, 21]}
    curve |= {"power": [[1, 1], [1, 2]], "psnr_seen": [28, 29]}
    cells = {("aligned-unet", "L1"): {10: {"curve": curve, "figures": {}}}}
    last = evidence.curve_table(cells, "aligned-unet").splitlines()[-1]
    assert last == "| L1 | 27.50<br>0.800 | 27.00<br>0.700 | -0.50 | 0.00 | 0.00 | -1.00 | 1.00 2.00 | 1 |"
    evidence.draw_curves(cells, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()


def test_words_of_the_report_are_those_of_the_benchmark():
    assert set(evidence.ABOUT) == set(tasks.TASKS)
    assert tuple(losses.ALPHAS) == evidence.ALPHAS
    assert set(evidence.SHOWN) <= set(losses.NAMES)
    assert set(evidence.DRAWN_OF) <= set(evidence.SHOWN)
    assert set(evidence.CURVES) <= set(losses.NAMES)
    assert len(evidence.CURVES) <= 10, "Matplotlib's colours come again"
    for across, of in evidence.GUIDE.values():
        assert set(across) <= set(tasks.TASKS)
        assert set(of) <= set(losses.NAMES)


@pytest.mark.slow
def test_tables_and_pictures_are_made_from_the_results(results, tmp_path):
    found, cells = evidence.lines(results.output), evidence.runs(results.output)
    page = tmp_path / "page.md"
    page.write_text("before <!-- evidence summary: start --><!-- evidence summary: end --> after")
    evidence.fill(page, {"summary": lambda: evidence.summary_table(cells), "absent": lambda: "never"})
    assert "| L1 |" in page.read_text()
    assert "from another photograph" in evidence.by_start(cells)
    assert jax.__version__ in evidence.heading(found)
    evidence.draw_differences(cells, tmp_path / "1.png")
    evidence.draw_alphas(cells, tmp_path / "2.png")
    evidence.draw_pieces(found, tmp_path / "3.png")
    for i in range(1, 4):
        assert (tmp_path / f"{i}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", ["benchmarks/README.md", "docs/choosing.md"])
def test_markers_come_in_pairs(page):
    markers = re.findall(r"<!-- evidence (.*): (start|end) -->", (evidence.ROOT / page).read_text())
    assert markers[::2] == [(name, "start") for name, _ in markers[::2]]
    assert markers[1::2] == [(name, "end") for name, _ in markers[::2]]


# As a measure


def test_pairs_are_of_one_crop_or_of_different_photographs():
    same, different = measure.pairs(np.random.default_rng(0), 4 * measure.CROPS)
    assert (same[:, 0] == same[:, 2]).all()
    assert (same[:, 1] != same[:, 3]).all()
    assert (different[:, 0] // measure.CROPS != different[:, 2] // measure.CROPS).all()


def test_auc_is_the_share_of_pairs_in_order():
    low, high = np.array([1, 2, 5]), np.array([3, 4])
    assert measure.auc(low, high) == pytest.approx(4 / 6)


def test_measures_are_those_of_their_names():
    x, y = pair((1, 32, 32))
    found = measure.distances(x, y)
    assert found["MSE"][0] == pytest.approx(np.mean((x - y) ** 2), rel=1e-5)
    assert found["SSIM"][0] == pytest.approx(float(losses.ssim(x, y)), rel=1e-5)
    expected = float(blursim(x, y, 0.1, edges="vector"))
    assert found["BlurSim magnitude/vector 0.1"][0] == pytest.approx(expected, rel=1e-5)
