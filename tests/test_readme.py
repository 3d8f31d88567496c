"""The README's snippets run and print what it shows, and its links lead somewhere."""

import re
from pathlib import Path

import numpy as np
import pytest
from pages import anchors, code_and_printed, links

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("backend", ["JAX", "PyTorch"])
def test_snippets_run_and_print_what_is_shown(backend, capsys):
    names: dict = {}
    snippets = code_and_printed(README, backend)
    assert len(snippets) == 2
    for code, shown in snippets:
        exec(code, names)
        assert capsys.readouterr().out == shown
    gradient = np.asarray(names["gradient"] if backend == "JAX" else names["x"].grad)
    assert gradient.shape == names["y"].shape
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)


def test_links_lead_to_files_and_headings():
    for path, anchor in links(README):
        assert (ROOT / path).is_file(), path
        assert not anchor or anchor in anchors((ROOT / path).read_text()), f"{path}#{anchor}"


def test_the_demo_is_the_example_that_makes_the_picture():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo: .*\n\t.*\bpython examples/train_refocus_flax\.py$", makefile, flags=re.MULTILINE)
    assert "`make demo`" in README
    assert "`make test`" in README
