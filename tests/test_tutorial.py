"""The tutorial's lines run in their order, in a short training, and print what the page says they print."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import skimage

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
PRINTED = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
PICTURES = re.findall(r"!\[.*\]\((.*)\)", PAGE)


def test_tutorial_runs_prints_and_draws_what_the_page_shows(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict = {}
    printed = []
    for code in CODE:
        exec(code.replace("STEPS = 600", "STEPS = 3"), names)
        printed.append(capsys.readouterr().out)
    plt.close("all")
    assert names["STEPS"] == 3
    assert set(PRINTED) <= set(printed)
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted(PICTURES)
    assert all(skimage.io.imread(path).std() > 0 for path in PICTURES)
