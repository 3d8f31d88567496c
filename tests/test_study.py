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

from benchmarks.study import (
    figures,
    frames,
    losses,
    networks,
    photographs,
    pictures,
    plan,
    registration,
    report,
    results,
    scenes,
    training,
)
from benchmarks.study.tasks import TASKS, Task
from blursim_jax import blursim

LOSSES = losses.LOSSES
CAMERA = ("camera", 100, 130)
CONTEXT = {"radius": 2, "progress": 0.5}


def pair(shape=(2, 1, 48, 40), seed=0):
    return np.random.default_rng(seed).random((2, *shape), np.float32)


def torch_pair(x, y):
    torch = importlib.import_module("torch")
    return [torch.from_numpy(image) for image in (x, y)]


# Photographs and degradations


@pytest.mark.parametrize("task", [TASKS["aligned"], TASKS["aligned-colour"]])
def test_no_photograph_both_trains_and_judges(task):
    lists = (task.train_on, photographs.SELECTION, task.judged_on)
    assert len(set().union(*lists)) == sum(map(len, lists))


@pytest.mark.parametrize(
    ("name", "colour"),
    [(name, False) for name in photographs.TRAIN + photographs.SELECTION + TASKS["aligned"].judged_on]
    + [(name, True) for name in photographs.TRAIN_COLOUR + photographs.SELECTION + photographs.HELD_OUT_COLOUR],
)
def test_photographs_are_shipped_and_large_enough(name, colour):
    image = photographs.photograph(name, colour)
    assert image.dtype == np.float32
    assert len(image) == (3 if colour else 1)
    assert 0 <= image.min() < image.max() <= 1
    assert min(image.shape[1:]) >= scenes.WHOLE + 2 * 12


def test_crop_is_blurred_with_what_lies_around_it():
    expected = ndimage.gaussian_filter(photographs.photograph("camera")[0], 2.5, truncate=4)[100:140, 130:170]
    found = scenes.crop(CAMERA, 40, blur=lambda image: scenes.gaussian(image, 2.5))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    wider = scenes.crop(CAMERA, 40, margin=5)
    np.testing.assert_array_equal(wider, photographs.photograph("camera")[:, 95:145, 125:175])


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_disk_spreads_as_far_as_the_gaussian(sigma):
    point = np.zeros((1, 41, 41), np.float32)
    point[0, 20, 20] = 1
    at = np.arange(41) - 20
    for blur in (scenes.disk, scenes.gaussian):
        assert np.sqrt((blur(point, sigma)[0].sum(axis=0) * at**2).sum()) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("scene", ["sharpen", "render"])
def test_a_shifted_target_is_the_aligned_one_moved(scene, monkeypatch):
    by, task = np.array([2, -1]), Task(scene=scene, shift=2)
    make_pair = scenes.SCENES[scene][1]
    monkeypatch.setattr(scenes, "displacement", lambda *_: np.broadcast_to(by[:, None, None], (2, 48, 48)))
    _, found = make_pair(task, np.random.default_rng(0), CAMERA)
    monkeypatch.undo()
    _, expected = make_pair(dataclasses.replace(task, shift=0), np.random.default_rng(0), CAMERA)
    np.testing.assert_allclose(found[:, :-2, 1:], expected[:, 2:, :-1], atol=1e-4)


def test_breathing_turns_and_scales_about_the_centre_of_the_photograph():
    task = Task(degrees=10, scale=0.1)
    rng = types.SimpleNamespace(uniform=lambda low, high, size=None: np.zeros(size) if size else high)
    angle, d = np.deg2rad(10), np.array([100 + 27, 130 + 8]) - 255.5
    there = 1.1 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ d
    np.testing.assert_allclose(scenes.displacement(task, rng, CAMERA)[:, 27, 8], there - d)


def test_smooth_field_has_its_correlation_and_its_longest_vector():
    fields = np.stack([scenes.smooth_field(np.random.default_rng(seed), 60, 3, 6) for seed in range(40)])
    assert np.linalg.norm(fields, axis=1).max(axis=(1, 2)) == pytest.approx(3)
    correlation = np.corrcoef(fields[..., 6:].ravel(), fields[..., :-6].ravel())[0, 1]
    assert correlation == pytest.approx(np.exp(-36 / 72), abs=0.05)


@pytest.mark.parametrize("name", ["shift2-registered", "render-breathing", "render-parallax", "render-stereo-colour"])
def test_seed_fixes_all_of_a_problem_and_another_changes_it(name):
    problems = [scenes.make_problem(TASKS[name], seed, TASKS[name].judged_on[:1], 1) for seed in (0, 0, 1)]
    for one, same in zip(*map(jax.tree.leaves, problems[:2]), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(problems[0].targets, problems[2].targets)


@pytest.mark.parametrize(("still", "moved"), [("aligned", "shift2"), ("render-colour", "render-shift2-colour")])
def test_targets_are_misaligned_in_training_only(still, moved):
    one, other = (scenes.make_problem(TASKS[name], 0, TASKS[name].judged_on[:2], 2) for name in (still, moved))
    np.testing.assert_array_equal(one.held_targets, other.held_targets)
    assert one.held_inputs.shape == other.held_inputs.shape
    assert not np.allclose(one.targets, other.targets, atol=0.01)


def test_render_keeps_the_foreground_and_blurs_the_background():
    planes, target = scenes.render_pair(TASKS["render"], np.random.default_rng(0), CAMERA)
    sharp, mask, half_sigma = planes
    blurred = scenes.crop(CAMERA, 48, blur=lambda image: scenes.gaussian(image, 2 * half_sigma[0, 0]))[0]
    np.testing.assert_allclose(target[0], mask * sharp + (1 - mask) * blurred, atol=1e-6)
    assert mask.min() < 0.1 < 0.9 < mask.max()


def test_registering_brings_targets_back():
    task = dataclasses.replace(TASKS["shift2"], patch=64)
    aligned, better = dataclasses.replace(task, shift=0), []
    for seed in range(8):
        place = scenes.random_place(task, np.random.default_rng(seed), task.train_on, 64)
        blurred, target = scenes.sharpen_pair(task, np.random.default_rng(seed), place)
        _, expected = scenes.sharpen_pair(aligned, np.random.default_rng(seed), place)
        found, mask = registration.register(blurred, target)
        better.append(figures.psnr(mask * found, mask * expected) - figures.psnr(target, expected))
        assert mask.mean() > 0.85
    assert np.median(better) > 6


def test_real_parallax_stays_within_its_bounds_and_the_right_camera_sees_it():
    task, rng = TASKS["stereo-colour"], np.random.default_rng(0)
    place = scenes.stereo_place(task, rng, task.train_on, 48)
    _, target, left = scenes.stereo_views(task, rng, place, 48, 1)
    assert target.shape == left.shape == (3, 48, 48)
    assert figures.psnr(target, left) > 15
    assert place[2] + 48 < min(scenes.MIDDLE + 1, 516)


def test_convolution_is_that_of_scipy():
    layer = networks.Convolution(2, 3, networks.nnx.Rngs(0))
    image = pair((5, 6))  # two planes
    found = layer(jnp.asarray(image.transpose(1, 2, 0))[None])[0]
    kernel = np.asarray(layer.kernel[...]).reshape(3, 3, 2, 3)
    for k in range(3):
        expected = sum(ndimage.correlate(image[i], kernel[:, :, i, k], mode="constant") for i in range(2))
        np.testing.assert_allclose(found[..., k], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["aligned", "aligned-unet", "render-shift2-colour", "render-shift2-colour-unet"])
def test_networks_start_from_their_input(name):
    task = TASKS[name]
    problem = scenes.make_problem(task, 0, task.judged_on[:1], 1)
    for apply in (task.predict, task.predict_singly):
        found = np.moveaxis(np.asarray(apply(problem.params, problem.inputs[0])), 1, -1)
        np.testing.assert_array_equal(found, problem.inputs[0][..., : task.channels])
    if task.network is networks.UNet:
        assert sum(leaf.size for leaf in jax.tree.leaves(problem.params)) >= 150_000


# Formulas of the rivals


def test_l1_fft_is_its_formula():
    x, y = pair()
    torch = importlib.import_module("torch")
    spectra = [torch.view_as_real(torch.fft.fft2(image)) for image in torch_pair(x, y)]
    expected = np.mean(np.abs(x - y)) + 0.1 * float(torch.nn.functional.l1_loss(*spectra))
    assert losses.l1_fft(x, y) == pytest.approx(expected, rel=1e-5)


def test_square_windows_compare_the_magnitudes_of_tiles():
    x, y = pair((32, 16))
    spectra = [np.abs(np.fft.fft2(image.reshape(2, 16, 16), norm="ortho")) for image in (x, y)]
    expected = np.abs(np.subtract(*spectra)).mean()
    assert losses.square_windows(x[None, None], y[None, None]) == pytest.approx(expected, rel=1e-5)


def test_square_windows_at_random_offsets_lie_elsewhere_at_each_step():
    x, y = pair((1, 1, 48, 48))
    places = [np.s_[:, :, i : i + 32, j : j + 32] for i, j in np.ndindex(16, 16)]
    every = [float(losses.square_windows(x[place], y[place])) for place in places]
    found = [float(losses.square_windows_at_random_offsets(x, y, step / 400)) for step in range(3)]
    assert len(set(found)) == 3
    assert all(min(abs(value - other) for other in every) < 1e-6 for value in found)


def test_shift_search_finds_each_images_own_shift():
    wide = pair((2, 1, 40, 40))[0]
    x = wide[..., 4:36, 4:36]
    y = np.stack([wide[0, :, 2:34, 5:37], wide[1, :, 4:36, 3:35]])
    assert losses.l1_best_shift(x, y, 2) == pytest.approx(0, abs=1e-7)
    assert losses.l1_best_shift(x, y, 1) > 0.1


def test_shift_search_per_pixel_takes_the_least_of_the_box_around_each():
    x, y = pair((9, 8))
    found = np.full((3, 3, 9, 8), np.inf)
    for i, j, down, across in np.ndindex(9, 8, 3, 3):
        box = [(a, b) for a in range(i - 2, i + 3) for b in range(j - 2, j + 3) if 0 <= a < 9 and 0 <= b < 8]
        there = [(a, b, a + down - 1, b + across - 1) for a, b in box]
        errors = [abs(x[a, b] - y[c, d]) for a, b, c, d in there if 0 <= c < 9 and 0 <= d < 8]
        found[down, across, i, j] = np.mean(errors) if errors else np.inf
    expected = found.min(axis=(0, 1)).mean()
    assert losses.l1_best_shift_per_pixel(x[None, None], y[None, None], 1, 5) == pytest.approx(expected, rel=1e-4)


RIVALS = (losses.L1, losses.L1_FFT, losses.SEARCH, losses.SEARCH_PER_PIXEL, losses.SQUARE, losses.AT_RANDOM, losses.MIX)


@pytest.mark.parametrize("loss", RIVALS, ids=lambda loss: loss.name)
def test_gradient_of_every_rival_is_finite_also_for_equal_images(loss):
    x, y = pair((1, 3, 32, 32))
    gradient = jax.jit(jax.grad(lambda x, y: loss(x, y, **CONTEXT)))
    assert np.isfinite(gradient(x, y)).all()
    assert np.isfinite(gradient(y, y)).all()


def test_names_say_what_is_called():
    x, y = pair()
    expected = blursim(x, y, 0.5, spectrum="complex", p=2, normalization="area")
    loss = losses.PUBLISHED
    assert loss.name == 'blursim(x, y, 0.9 to 0.1, spectrum="complex", p=2, normalization="area")'
    assert loss(x, y, progress=0.5) == pytest.approx(float(expected), rel=1e-6)
    for loss in (losses.ADVISED, losses.COMPLEX):
        assert float(loss(x, y)) == float(eval(loss.name, {"blursim": blursim, "x": x, "y": y}))
    mix = LOSSES["0.1 L1 + blursim(x, y, 0)"]
    assert mix(x, y, **CONTEXT) == pytest.approx(float(0.1 * losses.l1(x, y) + blursim(x, y, 0)), rel=1e-6)


# Figures


def scene():
    return scenes.crop(CAMERA, 64)


def test_figures_of_a_perfect_result():
    found = figures.figures(scene(), scene(), 0 * scene())
    assert found["psnr"] == found["smooth"] == found["textured"] == 120
    assert found["ssim"] == pytest.approx(1)
    assert found["power"] == pytest.approx([1] * 4)
    assert found["tint"] == found["coarse"] == found["collapsed"] == 0


def test_psnr_is_that_of_skimage():
    skimage_psnr = importlib.import_module("skimage.metrics").peak_signal_noise_ratio
    x, y = pair((3, 64, 64))
    inner = (..., slice(8, -8), slice(8, -8))
    assert figures.figures(x, y, y)["psnr"] == pytest.approx(skimage_psnr(y[inner], x[inner], data_range=1), rel=1e-5)


def test_blur_lowers_the_power_of_high_bands_and_noise_raises_it():
    target = scene()
    target[..., :32] = 0.5
    soft = figures.figures(scenes.gaussian(target, 2), target, target)
    assert soft["power"][0] > soft["power"][1] > soft["power"][3]
    assert soft["textured"] < soft["smooth"]
    noisy = target + 0.05 * np.random.default_rng(0).standard_normal(target.shape, np.float32)
    found = figures.figures(noisy, target, target)
    assert found["power"][3] > 1.5
    assert found["smooth"] == pytest.approx(-20 * np.log10(0.05), abs=1)


def test_tint_is_of_one_channel_and_coarse_of_a_stain():
    target = np.repeat(scene(), 3, axis=0) / 2
    tinted = target + np.array([0.03, 0, 0], np.float32)[:, None, None]
    assert figures.figures(tinted, target, target)["tint"] == pytest.approx(0.03, rel=1e-3)
    ripples = target + 0.03 * (np.indices((64, 64)).sum(axis=0) % 2 - 0.5)
    assert figures.figures(ripples, target, target)["coarse"] < 0.001
    assert figures.figures(tinted, target, target)["coarse"] > 0.01


@pytest.mark.parametrize("bad", [lambda x: 2 * x.mean() - x, lambda x: x * np.nan, lambda x: 0 * x])
def test_negative_nan_and_black_count_as_collapsed(bad):
    assert figures.figures(bad(scene()), scene(), scenes.gaussian(scene(), 1))["collapsed"]


# Training


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two seeds and the choice of the rate, of two tasks, in the least time."""
    output = tmp_path_factory.mktemp("study") / "training.jsonl"
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "CHUNK", 2)
    patch.setattr(training, "SHORT", 4)
    patch.setattr(scenes, "WHOLE", 112)
    patch.setitem(TASKS, "aligned", dataclasses.replace(TASKS["aligned"], steps=4))
    patch.setitem(TASKS, "looked at", dataclasses.replace(TASKS["shift2-registered"], steps=4, looks=(0.5, 1)))
    cells = [(task, loss, 2) for task in ("aligned", "looked at") for loss in ("L1", "L1, best shift")]
    training.run(cells, output)
    yield cells, output
    patch.undo()


@pytest.mark.slow
def test_runs_are_kept_resumed_and_reported(made, monkeypatch):
    planned, output = made
    found = results.lines(output)
    sessions = {record["session"]: record for record in found if "machine" in record}
    records, trials = ([r for r in found if key in r] for key in ("seed", "trials"))
    assert len(records) == 2 * 2 * 2
    assert len(trials) == 2  # "looked at" takes the rates of "aligned"
    for record in records:
        assert sessions[record["session"]]["versions"]["jax"] == jax.__version__
        assert np.isfinite(record["psnr"])
        assert len(record["each"]) == 2 * 9
        best = next(trial["trials"] for trial in trials if trial["loss"] == record["loss"])
        assert best[f"{record['rate']:g}"] == max(best.values())
        if record["task"] == "looked at":
            assert record["curve"]["steps"] == [2, 4]
            assert record["curve"]["psnr"][-1] == pytest.approx(record["psnr"], rel=1e-3)

    asked = []
    real = training.trainer
    monkeypatch.setattr(training, "trainer", lambda *cell: asked.append(cell[:2]) or real(*cell))
    training.run(planned, output)
    assert asked == []
    kept = output.read_text().splitlines()
    lost = next(i for i, line in enumerate(kept) if json.loads(line).get("seed") == training.FIRST + 1)
    output.write_text("\n".join([*kept[:lost], *kept[lost + 1 :], '{"task": "cut sho']))
    training.run(planned, output)
    of = json.loads(kept[lost])
    assert asked == [(of["task"], of["loss"])]
    cells = results.by_cell(output)
    assert cells[of["task"], of["loss"]][of["seed"]]["psnr"] == of["psnr"]
    assert "| L1, best shift |" in results.gains(cells, ["aligned", "looked at"])
    assert "step 4" in report.curves(cells, "looked at")


def test_shards_share_the_plan_and_every_word_of_it_is_known():
    whole, *parts = (training.parse(of).cells for of in ([], ["--shard=1/2"], ["--shard=2/2"]))
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    rows = [(task, loss.name) for words, of, _ in plan.PLAN for task in words.split() for loss in of]
    assert len(rows) == len(set(rows)) == len(whole)
    assert {task for task, _ in rows} <= set(TASKS)
    assert {loss for _, loss in rows} <= set(LOSSES)
    for row in rows:
        source = training.rates_of(*row)
        assert training.rates_of(*source) == source
        assert LOSSES[source[1]].options.get("window", 0) <= TASKS[source[0]].patch


def test_a_cell_outside_the_plan_can_be_asked_for():
    options = training.parse(["--tasks", "aligned-160", "--losses", "MSE", "--seeds=2"])
    assert options.cells == [("aligned-160", "MSE", 2)]


@pytest.mark.parametrize("words", [["--shard=0/2"], ["--shard=3/2"], ["--tasks", "warp"], ["--losses", "huber"]])
def test_senseless_options_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        training.parse(words)
    assert "error" in capsys.readouterr().err


# Statistics, tables and the guide


def test_interval_is_that_of_scipy():
    values = [1.0, 2.5, 2.0, 4.0, 3.0]
    mean, half = results.interval(values)
    assert (mean - half, mean + half) == pytest.approx(stats.t.interval(0.95, 4, np.mean(values), stats.sem(values)))
    assert results.plus_minus(results.interval([2.0]), 1) == "2.0"
    assert results.plus_minus(results.interval([]), 1) == ""


def test_gains_are_paired_by_seed_and_over_photographs_of_those_that_all_runs_have():
    run = lambda psnr, each: {"psnr": psnr, "ssim": 0.8, "each": each}
    cells = {("aligned", "L1"): {0: run(20, [17, 20, 2, 2]), 1: run(30, [27, 20, 2, 2])}}
    cells["aligned", "MSE"] = {0: run(19, [18, 20, 1, 2, 3, 4]), 1: run(29, [28, 20, 1, 2, 3, 4])}
    assert results.paired(cells, ("aligned", "MSE"), ("aligned", "L1")) == (-1, 0)
    assert results.over_photographs(cells, ("aligned", "MSE"), ("aligned", "L1")) == results.interval([0.5, -0.5])
    rows = results.gains(cells, ["aligned"]).splitlines()[2:]
    assert rows == ["| L1 | 25.00 ± 63.53<br>0.800 |", "| MSE | -1.00 ± 0.00<br>0.800 |"]


def test_a_gain_whose_interval_reaches_below_zero_is_level_in_words():
    assert [
        report.verdict(gain) for gain in ((0.5, 0.2), (0.1, 0.2), (-0.3, 0.1), (0.4, np.nan), (np.nan, np.nan))
    ] == [
        "+0.5 ± 0.2",
        "level (+0.1 ± 0.2)",
        "level (-0.3 ± 0.1)",
        "+0.4",
        "",
    ]


def test_what_report_writes_is_what_the_results_say(tmp_path):
    """Run `python -m benchmarks.study.report` when this fails."""
    cells = results.by_cell()
    readme = {"in short": lambda: report.in_short(cells)}
    for path, blocks in ((pictures.GUIDE, report.guide_blocks(cells)), (report.README, readme)):
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
    away = lambda image: figures.psnr(mask * scenes.gaussian(image, 1.5), mask * blurred)
    assert 0.7 < mask.mean() < 1
    assert away(registered) > away(right) + 3


# Real frames


@pytest.fixture(scope="module")
def two_scenes(tmp_path_factory):
    """Two scenes of two frames, each sharp in another half of the rows, the second misaligned."""
    folder = tmp_path_factory.mktemp("frames")
    for name in ("astronaut", "coffee"):
        image = photographs.photograph(name, True)[:, :384, :512]
        upper = np.arange(image.shape[1])[:, None] < 192
        (folder / name).mkdir()
        for i, sharp in enumerate((upper, ~upper)):
            frame = np.where(sharp, image, scenes.gaussian(image, 1.5))
            frame = ndimage.shift(frame, (0, 1.5 * i, 2 * i), mode="nearest")
            levels = (255 * np.moveaxis(frame, 0, -1).clip(0, 1)).astype(np.uint8)
            Image.fromarray(levels).save(folder / name / f"{i}.png")
    return folder


def test_frames_are_registered_and_the_sharper_half_is_found(two_scenes):
    (name, of), _ = frames.scenes(two_scenes, "*", 1)
    first, second = frames.pairs_of(name, of, 0)
    inner = (..., slice(16, -16), slice(16, -16))
    soft = lambda image: scenes.gaussian(image, 3)[inner] * first.mask[inner]
    assert (
        figures.psnr(soft(first.registered), soft(first.frame)) > figures.psnr(soft(first.other), soft(first.frame)) + 5
    )
    assert first.sharper[0, 220:].mean() > 0.1 > -0.1 > first.sharper[0, :160].mean()
    assert {top >= 160 for top, _ in frames.places_of(first, "sharpen")} == {True}
    assert {top < 160 for top, _ in frames.places_of(second, "sharpen")} == {True}


@pytest.mark.slow
def test_frames_train_and_what_is_done_is_kept(two_scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 2)
    monkeypatch.setattr(frames, "LOSSES_OF", {False: (losses.L1,), True: (losses.COMPLEX,)})
    monkeypatch.setattr("sys.argv", ["frames", str(two_scenes), "--steps=2", f"--output={tmp_path / 'frames.json'}"])
    frames.main()
    (found,) = json.loads((tmp_path / "frames.json").read_text())
    assert len(found["rows"]) == 2 * 3
    monkeypatch.setattr(frames, "result", None)
    frames.main()
    monkeypatch.setattr(report, "FRAMES", json.loads((tmp_path / "frames.json").read_text()))
    assert re.search(r"### refocus: \d+ tiles", report.frames_page())


def test_nothing_of_the_study_names_this_machine():
    for path in results.FOLDER.parent.rglob("*.*"):
        if path.suffix in (".py", ".md", ".json", ".jsonl"):
            assert not re.search(r"/(work|tmp|home|root)/", path.read_text()), path
