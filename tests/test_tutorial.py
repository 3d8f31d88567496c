"""The tutorial runs in either framework, and prints and draws what the page shows."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage
from pages import code_and_printed

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
PICTURES = re.findall(r"!\[.*\]\((.*)\)", PAGE)
frameworks = pytest.mark.parametrize("framework", ["JAX", "PyTorch"])


@frameworks
def test_tutorial_runs_prints_and_draws_what_the_page_shows(framework, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict = {}
    pieces = code_and_printed(PAGE, framework)
    for code, shown in pieces:
        exec(code.replace("STEPS = 400", "STEPS = 3"), names)
        if "STEPS" not in names:
            assert capsys.readouterr().out == shown
    plt.close("all")
    assert names["STEPS"] == 3
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted(PICTURES)
    assert all(skimage.io.imread(path).std() > 0 for path in PICTURES)


@pytest.mark.slow
@frameworks
def test_training_ends_where_the_page_says(framework, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict = {}
    for code, shown in code_and_printed(PAGE, framework):
        exec(code, names)
        numbers = [np.float64(re.findall(r"\d+\.?\d*", text)) for text in (capsys.readouterr().out, shown)]
        # The rounding of another machine sends the training another way.
        np.testing.assert_allclose(*numbers, rtol=0.1, atol=1e-3)
    plt.close("all")
