"""The examples do what they say, in few steps."""

import sys

import _deblur
import _pictures
import compare_images
import numpy as np
import pytest
import skimage
import train_deblur_flax
import train_deblur_torch

from blursim_jax import blursim


def run(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def printed_losses(capsys):
    return [float(line[45:].split()[0]) for line in capsys.readouterr().out.splitlines() if "|" in line]


def test_no_photograph_is_both_trained_on_and_held_out():
    assert not set(_deblur.TRAIN) & set(_deblur.HELD_OUT)


def test_photographs_are_grey_float32_from_0_to_1():
    for name in (*_deblur.TRAIN, *_deblur.HELD_OUT):
        image = _deblur.photograph(name)
        assert image.ndim == 2, name
        assert image.dtype == np.float32, name
        assert 0 <= image.min() < image.max() <= 1, name
        assert np.ptp(image) > 0.5, name


def test_batches_are_blurred_crops_with_noise_and_repeat_with_the_seed():
    blurred, sharp = next(_deblur.batches(np.random.default_rng(0)))
    assert blurred.shape == sharp.shape == (8, 64, 64)
    assert blurred.dtype == sharp.dtype == np.float32
    assert blurred.std() < sharp.std()
    np.testing.assert_array_equal(blurred, next(_deblur.batches(np.random.default_rng(0)))[0])


@pytest.mark.parametrize("module", [train_deblur_flax, train_deblur_torch], ids=["flax", "torch"])
def test_training_prints_the_table_and_draws_the_picture(module, monkeypatch, capsys, tmp_path):
    path = tmp_path / "new" / "result.png"
    run(monkeypatch, module, "--steps", 2, "--output", path)
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*_deblur.HELD_OUT, "mean", "PSNR", "SSIM", "general", "specific"))
    assert skimage.io.imread(path).std() > 0


def test_compared_files_give_the_loss_of_blursim(monkeypatch, capsys, tmp_path):
    x, y = np.random.default_rng(0).integers(256, size=(2, 40, 50), dtype=np.uint8)
    for name, image in (("x.png", x), ("y.png", y)):
        skimage.io.imsave(tmp_path / name, image, check_contrast=False)
    expected = float(blursim(np.float32(x), np.float32(y), 0.3))
    for backend in ("jax", "torch"):
        options = ["--alpha", 0.3, "--backend", backend, "--output", tmp_path / f"{backend}.png"]
        run(monkeypatch, compare_images, tmp_path / "x.png", tmp_path / "y.png", *options)
        assert printed_losses(capsys) == pytest.approx([expected], rel=1e-5)
        assert (tmp_path / f"{backend}.png").is_file()


def test_a_blur_of_the_scene_is_nearer_than_another_scene(monkeypatch, capsys, tmp_path):
    run(monkeypatch, compare_images, "--output", tmp_path / "x.png")
    losses = printed_losses(capsys)
    assert len(losses) == 4
    assert losses[0] < min(losses[1:])


def test_images_of_unequal_size_are_refused_in_words(monkeypatch, capsys, tmp_path):
    for name, width in (("x.png", 40), ("y.png", 41)):
        skimage.io.imsave(tmp_path / name, np.zeros((40, width), np.uint8), check_contrast=False)
    with pytest.raises(SystemExit):
        run(monkeypatch, compare_images, tmp_path / "x.png", tmp_path / "y.png")
    assert "expected equal shapes" in capsys.readouterr().err


def test_colour_and_alpha_channel_are_read_as_grey(tmp_path):
    grey = np.full((8, 8), 51, np.uint8)
    for channels in (None, 3, 4):
        path = tmp_path / f"{channels}.png"
        skimage.io.imsave(path, grey if channels is None else np.stack([grey] * channels, -1), check_contrast=False)
        np.testing.assert_allclose(compare_images.read(path), np.full((8, 8), 0.2), rtol=1e-6)


def test_pictures_of_zero_maps_can_be_drawn(tmp_path):
    zeros = np.zeros((8, 8))
    _pictures.grid(tmp_path / "x.png", [("a", "image"), ("b", "spectrum"), ("c", "edges")], {"row": [zeros] * 3})
    assert (tmp_path / "x.png").is_file()
