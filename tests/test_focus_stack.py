"""The benchmark on a focus stack, on one made up: three frames of photographs, breathing, each sharp elsewhere."""

import json

import evidence
import focus_stack
import numpy as np
import pytest
import tasks
import training
from PIL import Image
from scipy import ndimage

SCALE = 1.008  # from frame to frame
SHIFT = (1.5, -2)
REGISTERED = next(iter(focus_stack.REGISTERED))


def seen(image, frame):
    """The photograph through the lens at the frame's focus: c + SCALE^frame (d - c) + frame * SHIFT."""
    centre = (np.array(image.shape) - 1) / 2
    offset = centre + frame * np.array(SHIFT) - SCALE**frame * centre
    return ndimage.affine_transform(image, np.full(2, SCALE**frame), offset, order=3, mode="mirror")


@pytest.fixture(scope="module")
def frames():
    """Frame i is sharp in the i-th third of the rows."""
    image = np.concatenate([tasks.photograph("camera"), tasks.photograph("ascent")], axis=1)
    thirds = np.arange(image.shape[0])[:, None] * 3 // image.shape[0]
    blurred = lambda i: np.where(thirds == i, image, ndimage.gaussian_filter(image, 2))
    return np.stack([seen(blurred(i), i) for i in range(3)]).astype(np.float32)


@pytest.fixture(scope="module")
def links(frames):
    return [focus_stack.similarity(frames[i], frames[i + 1]) for i in range(2)]


def test_shift_leads_from_the_one_to_the_other():
    image = focus_stack.band(tasks.photograph("camera"))
    found = focus_stack.shift(image[100:228, 100:228], image[103:231, 96:224])
    assert found == pytest.approx([-3, 4], abs=0.2)


def test_similarity_is_that_of_the_breathing(links):
    for link in links:
        assert link.scale == pytest.approx(1 / SCALE, abs=1e-3)
        assert np.rad2deg(link.rotation) == pytest.approx(0, abs=0.05)


def test_pairs_lead_from_a_neighbour_to_the_sharpest_frame(frames):
    found = focus_stack.pairs(frames, 64, 0, 900)
    assert len(found) > 20
    rows = np.array([pair.top + 32 for pair in found]) * 3 / 512
    sharp = np.array([pair.sharp for pair in found])
    near_a_border = np.abs(rows - rows.round()) < 0.25
    assert (sharp == rows.astype(int))[~near_a_border].mean() > 0.9
    assert {abs(pair.sharp - pair.blurred) for pair in found} == {1}
    assert all(pair.left + 64 <= 900 for pair in found)


def test_registered_target_is_where_the_input_shows_it(frames, links):
    pairs = focus_stack.pairs(frames, focus_stack.JUDGED, 0, 1000)
    judged = focus_stack.judged(frames, links, pairs)
    assert len(judged.inputs) > 0.7 * len(pairs)
    as_they_come = np.stack([focus_stack.crop(frames[pair.sharp], pair, focus_stack.JUDGED) for pair in pairs])
    inputs = np.stack([focus_stack.crop(frames[pair.blurred], pair, focus_stack.JUDGED) for pair in pairs])
    distance = lambda x, y: np.abs(focus_stack.band(x) - focus_stack.band(y)).mean()
    assert distance(judged.inputs, judged.targets) < 0.6 * distance(inputs, as_they_come)


@pytest.mark.slow
def test_a_finished_loss_is_kept_and_not_repeated(frames, tmp_path, monkeypatch):
    for i, frame in enumerate(frames):
        Image.fromarray((frame.clip(0, 1) * 255).astype(np.uint8)).save(tmp_path / f"frame{i}.png")
    monkeypatch.setattr(training, "CHUNK", 2)
    monkeypatch.setattr(tasks, "UNet", tasks.Network)
    monkeypatch.setattr(focus_stack, "RATES", (1e-3,))
    trained = []
    trainer = {"L1": focus_stack.trainer, REGISTERED: lambda *_: lambda seed, rate, inputs: inputs}
    monkeypatch.setattr(focus_stack, "trainer", lambda name, *rest: trained.append(name) or trainer[name](name, *rest))
    path = tmp_path / "results.json"
    words = [str(tmp_path), "--frames=*.png", "--steps=2", f"--output={path}", "--losses", "L1"]
    for more in ([], [REGISTERED]):
        monkeypatch.setattr("sys.argv", ["focus_stack.py", *words, *more])
        focus_stack.main()
    assert trained == ["L1", REGISTERED]
    results = json.loads(path.read_text())
    assert [row["loss"] for row in results["rows"]] == [focus_stack.UNTOUCHED, "L1", REGISTERED]
    assert results["tiles"] > 0
    assert "| L1, registered first |" in evidence.stack_table(results)
