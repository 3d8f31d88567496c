"""The README's examples run as they stand, and its links lead somewhere."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_each_backend_has_an_example():
    assert [re.findall(r"from (blursim_\w+) import", code) for code in EXAMPLES] == [["blursim_jax"], ["blursim_torch"]]


@pytest.mark.parametrize("code", EXAMPLES, ids=("jax", "torch"))
def test_example_runs_and_gives_a_gradient(code):
    names: dict = {}
    exec(code, names)
    gradient = np.asarray(names["gradient"] if "gradient" in names else names["prediction"].grad)
    assert names["loss"] > 0
    assert gradient.shape == names["target"].shape
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)


def test_links_lead_to_files_and_headings():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).is_file(), target
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), flags=re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings], target
