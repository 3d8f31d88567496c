"""The benchmarks' parts, without timing: statistics, tables, and that every contestant computes what its name says."""

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import contestants
import numpy as np
import peers
import pytest
import report
import speed
import startup

ROOT = Path(__file__).parents[1]

SHAPE = (3, 36, 33)
ENTER = {"jax": contestants.of_jax, "torch": contestants.of_torch}


@pytest.fixture(params=ENTER)
def entrants(request):
    """Name -> contestant, of one framework."""
    return {each.name: each for each in ENTER[request.param](SHAPE, "float32", "cpu", ["jax", "eager"], "batches")}


def blursim_of(entrants):
    backend = "jax" if entrants["blursim"].backend == "jax" else "torch"
    package = importlib.import_module(f"blursim_{backend}")
    to = np.asarray if backend == "jax" else importlib.import_module("torch").from_numpy
    return lambda *images, **options: float(package.blursim(*map(to, images), **{"alpha": contestants.ALPHA} | options))


def test_floor_is_the_transforms_of_both_images_and_one_back(entrants):
    x, y = contestants.images(SHAPE)
    X, Y = map(np.asarray, entrants["FFT floor"].forward())
    np.testing.assert_allclose(X, np.fft.rfft2(x), atol=1e-4)
    np.testing.assert_allclose(Y, np.fft.rfft2(y), atol=1e-4)
    back, Y = map(np.asarray, entrants["FFT floor"].backward())
    np.testing.assert_allclose(back, x, atol=1e-5)
    np.testing.assert_allclose(Y, np.fft.rfft2(y), atol=1e-4)


def test_every_blursim_contestant_is_blursim_with_its_options(entrants):
    loss = blursim_of(entrants)
    variants = contestants.DEFAULT | contestants.OTHERS
    assert len(variants) == 6
    for name, options in variants.items():
        assert name == ", ".join(
            ["blursim", *(f"{word}={value!r}".replace("'", '"') for word, value in options.items())]
        )
        assert float(entrants[name].forward()) == pytest.approx(loss(*contestants.images(SHAPE), **options), rel=1e-5)


def test_backward_gives_the_loss_and_the_gradient_for_x(entrants):
    x, y = contestants.images(SHAPE)
    loss = blursim_of(entrants)
    value, gradient = entrants["blursim"].backward()
    gradient = np.asarray(gradient)
    step = 1e-2 * gradient / np.abs(gradient).max()
    assert float(value.detach() if hasattr(value, "detach") else value) == pytest.approx(loss(x, y), rel=1e-5)
    assert np.vdot(np.asarray(gradient), 2 * step) == pytest.approx(loss(x + step, y) - loss(x - step, y), rel=0.05)


def test_trivial_comparison_is_the_mean_squared_error(entrants):
    x, y = contestants.images(SHAPE)
    assert float(entrants["mean squared error"].forward()) == pytest.approx(np.mean((x - y) ** 2), rel=1e-5)


def test_peers_stand_beside_our_default_in_eager_pytorch():
    found = contestants.of_torch(SHAPE, "float32", "cpu", ["eager"], "peers")
    assert [each.name for each in found] == ["FFT floor", "blursim", *peers.LOSSES, "published BlurSim"]
    assert {each.backend for each in found} == {"torch", "torch eager", "numpy"}


def test_peers_of_volumes_take_three_axes():
    shape = (2, 12, 13, 14)
    floor, *found = contestants.of_torch(shape, "float32", "cpu", ["eager"], "volume-peers")
    assert floor.forward()[0].shape == (2, 12, 13, 8)
    assert [each.name for each in found] == ["blursim", *peers.VOLUME_LOSSES]
    for each in found:
        value, gradient = each.backward()
        assert value > 0, each.name
        assert gradient.shape == shape, each.name


def test_memory_is_counted_in_images(entrants):
    counted = {name: entrant.memory() for name, entrant in entrants.items() if entrant.memory}
    assert counted.keys() == {"mean squared error", *contestants.DEFAULT, *contestants.OTHERS}
    assert all(0 <= images < 100 for images in counted.values())


def test_eager_pytorch_keeps_one_image_and_a_number_for_each():
    found = {e.name: e for e in contestants.of_torch(SHAPE, "float32", "cpu", ["eager"], "batches")}
    assert found["mean squared error"].memory() == 0
    for name in contestants.DEFAULT | contestants.OTHERS:
        assert found[name].memory() == pytest.approx(1, abs=0.02)


def test_large_kernels_of_a_known_loss_are_counted_with_what_they_read_and_write():
    found = {e.name: e for e in contestants.of_torch(SHAPE, "float32", "cpu", ["eager"], "batches")}
    forward, backward, size = found["mean squared error"].kernels()
    assert (forward, backward) == (1, 1)
    assert size == pytest.approx(5 * 4, rel=0.01)  # reads x and y twice, writes a gradient: five float32


def test_published_arithmetic_is_blursim_of_complex_spectra():
    import torch

    import blursim_torch

    x, y = np.random.default_rng(0).random((2, 3, 2, 20, 31))
    options = {"spectrum": "complex", "p": 2, "normalization": "area"}
    expected = blursim_torch.blursim(torch.from_numpy(x), torch.from_numpy(y), 0.8, **options)
    assert peers.published(x, y, 0.8) == pytest.approx(float(expected), rel=1e-12)


def peer(name):
    package, make = peers.LOSSES[name]
    return importlib.import_module("torch"), make(importlib.import_module(package))


def test_focal_frequency_loss_weighs_each_bin_by_its_own_distance():
    torch, loss = peer("focal-frequency-loss")
    x, y = np.random.default_rng(0).random((2, *SHAPE))
    distance = np.abs(np.fft.fft2(x, norm="ortho") - np.fft.fft2(y, norm="ortho"))
    expected = np.mean(distance**3 / distance.max((-2, -1), keepdims=True))
    assert float(loss(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "scale"), [("kornia SSIM", 0.5), ("pytorch-msssim SSIM", 1)])
def test_ssim_of_flat_images_is_the_comparison_of_their_means(name, scale):
    torch, loss = peer(name)
    a, b = 0.3, 0.6
    expected = scale * (1 - (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4))
    assert float(loss(torch.full(SHAPE, a), torch.full(SHAPE, b))) == pytest.approx(expected, rel=1e-3)


def test_naive_loss_of_the_startup_is_blursim_in_both_frameworks():
    import jax
    import torch

    import blursim_jax

    x, y = np.random.default_rng(0).random((2, *startup.SHAPES[0]), np.float32)
    expected = pytest.approx(float(blursim_jax.blursim(x, y, startup.ALPHA)), rel=1e-4)
    assert float(startup.naive_in_jax(jax, x, y)) == expected
    assert float(startup.naive_in_torch(torch, *map(torch.from_numpy, (x, y)))) == expected


def test_contestants_take_turns_after_warming_up():
    order = []
    runs = [lambda letter=letter: order.append(letter) for letter in "ABC"]
    times = speed.take_turns(runs, lambda _: None, rounds=4, clock=itertools.count().__next__)
    assert "".join(order) == "AAABBBCCC" + 4 * "ABC"
    assert times == [[1] * 4] * 3


def test_calls_back_to_back_share_one_timing():
    times = speed.take_turns([lambda: None], lambda _: None, rounds=2, calls=10, clock=itertools.count().__next__)
    assert times == [[0.1, 0.1]]


def test_long_contests_stop_early():
    clock = itertools.count().__next__
    (times,) = speed.take_turns([lambda: None], lambda _: None, rounds=20, patience=0, clock=clock)
    assert len(times) == speed.LEAST_ROUNDS


def test_failure_of_a_contestant_is_recorded_and_the_others_run():
    def fails():
        raise RuntimeError("no such FFT\nand more")

    assert speed.take_turns([fails, None, list], lambda _: None, 2)[:2] == ["RuntimeError: no such FFT", None]


def test_summary_holds_median_and_quartiles():
    assert speed.summary([5, 1, 2, 4, 3]) == {"median": 3, "quartiles": [2, 4], "least": 1, "rounds": 5}


def test_ratios_are_to_the_first():
    found = speed.against_floor([{"median": 2}, "failed", None, {"median": 3}])
    assert found == [{"median": 2, "ratio": 1}, "failed", None, {"median": 3, "ratio": 1.5}]


def made_up_results():
    def times(median, spread=1.0):
        return {
            "median": median,
            "quartiles": [median, median * spread],
            "least": median,
            "rounds": 15,
            "ratio": median,
        }

    def row(section, shape, name, forward, backward, memory=None):
        where = {"section": section, "shape": shape, "dtype": "float32", "backend": "jax", "name": name}
        found = {
            "memory": memory,
            "kernels": (3, 4, 99.6) if name == "blursim" else None,
            "keeps_memory": section in ("sides", "odd"),
        }
        return {**where, "forward": forward, "backward": backward, **found}

    return {
        "machine": {"cpu": "Some CPU", "cores": 4, "memory_gib": 8, "gpu": None, "system": "Linux"},
        "versions": {"jax": "1.2.3", "torch": "4.5.6"},
        "commit": "0123456789abcdef",
        "modified": False,
        "date": "2030-01-02",
        "options": {"dtypes": ["float32"], "threads": 2, "rounds": 15, "backends": ["jax"]},
        "measurements": [
            row("batches", [2, 8, 8], "FFT floor", times(0.0125, 1.1), times(0.02)),
            row("batches", [2, 8, 8], "blursim", times(1.234), times(12.34), 2.5),
            row("batches", [2, 8, 8], "other", "RuntimeError: no", None),
            row("sides", [1, 128, 128], "FFT floor", times(1), times(1)),
            row("sides", [1, 128, 128], "blursim", times(1.5), times(2)),
            row("odd", [1, 81, 100], "blursim", times(1.6), "ValueError: no"),
        ],
    }


def test_table_holds_ratios_losses_and_failures():
    assert report.tables(made_up_results(), ["batches"]).splitlines() == [
        "Some CPU, 4 cores, 2 threads; jax 1.2.3; 2030-01-02, commit 0123456789ab; medians of 15 rounds.",
        "",
        "Batches, float32: times the FFT floor, forward / forward + backward",
        "",
        "| backend | loss | (2, 8, 8) | memory / x | kernels | bytes / pixel |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| jax | FFT floor | 12.5 ms / 20 ms |  |  |  |",
        "| jax | blursim | 1.23 / 12 | 2.5 | 3 + 4 | 100 |",
        "| jax | other | fails / none |  |  |  |",
    ]


def test_busy_machine_is_told():
    results = made_up_results()
    results["measurements"][0]["forward"]["quartiles"] = [1, 1.3]
    assert "busy: in 1 of 4 contests" in report.heading(results)


def test_table_goes_between_the_markers_and_nowhere_else():
    page = f"before\n{report.START}\nold\n{report.END}\nafter\n"
    new = report.insert(page, "new")
    assert new == f"before\n{report.START}\nnew\n{report.END}\nafter\n"
    assert report.insert(new, "new") == new


def test_the_readme_shows_the_results():
    results = [json.loads(path.read_text()) for path in sorted((ROOT / "benchmarks" / "results").glob("*.json"))]
    assert report.in_short(results) in report.README.read_text()


@pytest.mark.parametrize("page", ["", report.START, report.END, f"{report.END} {report.START}"])
def test_page_without_both_markers_is_refused(page):
    with pytest.raises(ValueError, match="put them in"):
        report.insert(page, "new")


def test_plot_is_drawn(tmp_path):
    report.plot([made_up_results()], tmp_path / "ratio.png")
    assert (tmp_path / "ratio.png").read_bytes().startswith(b"\x89PNG")
    assert report.series([made_up_results()], "backward") == {("jax", "sides"): ([128], [2])}


def test_results_on_disk_have_the_schema_of_a_new_run(tmp_path):
    words = ["--backends=jax", "--sections=batches", "--shapes=2x32x32", "--rounds=2", "--threads=1", "--output"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), *words, str(tmp_path / "new.json")]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    new = (tmp_path / "new.json").read_text()
    for text in [new, *(path.read_text() for path in (ROOT / "benchmarks" / "results").glob("*.json"))]:
        results = json.loads(text)
        assert results.keys() == made_up_results().keys()
        assert results["machine"].keys() == made_up_results()["machine"].keys()
        assert re.fullmatch("[0-9a-f]{40}", results["commit"])
        assert not re.search(r'"[^"]*/(home|tmp|root|Users)/', text)
        for row in results["measurements"]:
            assert row.keys() == made_up_results()["measurements"][0].keys()
            for times in (row["forward"], row["backward"]):
                assert times is None or isinstance(times, str) or times["ratio"] > 0
            assert row["name"] != report.FLOOR or row["forward"]["ratio"] == row["backward"]["ratio"] == 1
        assert report.tables(results)
