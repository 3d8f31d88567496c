"""Troubleshooting has every error, and the pages' snippets and calls run and print what is shown."""

import ast
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from pages import anchors, code_and_printed, links

import blursim_jax
import blursim_torch

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROWS_OF_ERRORS = re.findall(
    r"^\| `(\w.*?: expected .*?)` \|", (DOCS / "troubleshooting.md").read_text(), flags=re.MULTILINE
)


def expectations():
    """A pattern of how each error in the source begins, up to what was received; anything may fill a gap."""
    for path in ROOT.glob("blursim*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values]
                expected, received, _ = "".join(parts).partition(re.escape(", got"))
                if received and re.escape(": expected ") in expected:
                    yield expected


def test_troubleshooting_has_every_error():
    patterns = set(expectations())
    assert len(patterns) > 10
    assert not [pattern for pattern in patterns if not any(re.fullmatch(pattern, row) for row in ROWS_OF_ERRORS)]
    assert not [row for row in ROWS_OF_ERRORS if not any(re.fullmatch(pattern, row) for pattern in patterns)]


@pytest.mark.parametrize("framework", ["JAX", "PyTorch"])
@pytest.mark.parametrize("page", ["troubleshooting.md", "volumes.md"])
def test_snippets_run_and_print_what_is_shown(page, framework, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code, shown in code_and_printed((DOCS / page).read_text(), framework):
        exec(code, names)
        assert capsys.readouterr().out == shown


# (the call there, the call here) of each row whose last cell is a call.
TABLE = (DOCS / "migrating.md").read_text()
ROWS = re.findall(r"^\| .*?\| (.*?) \| `(blursim.*?|BlurSim.*?)` \|$", TABLE, flags=re.MULTILINE)


def layout(call):
    if "axes=(-3, -2, -1)" in call:
        return (2, 1, 12, 12, 12)
    if "axes=(-1,)" in call:
        return (2, 1, 4096)
    return (2, 32, 32, 3) if "axes=(-3, -2)" in call else (2, 3, 32, 32)


@pytest.mark.parametrize(("there", "here"), ROWS)
def test_the_call_here_gives_what_the_page_says(there, here):
    x, y = np.random.default_rng(0).random((2, *layout(here)), np.float32)
    mask = np.float32(x[:1, ..., :1] > 0.5)
    in_jax = layout(here)[-1] == 3
    package = blursim_jax if in_jax else blursim_torch
    x, y, mask = map(jax.numpy.asarray if in_jax else torch.from_numpy, (x, y, mask))
    value = eval(here, vars(package) | {"x": x, "y": y, "m": mask})
    for number in value if isinstance(value, tuple) else [value]:
        assert tuple(number.shape) == ((2,) if 'reduction="none"' in here else ())
        assert 0 < float(number.sum()) < np.inf


def test_every_library_of_the_page_has_a_row():
    assert len(ROWS) == 13


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_of_the_pages_lead_to_files_and_headings(page):
    text = (DOCS / page).read_text()
    for path, anchor in links(text):
        target = Path(os.path.normpath(DOCS / path)) if path else DOCS / page
        assert target.is_file(), path
        # The API's anchors are made when the site is built.
        assert not anchor or page == "api.md" or anchor in anchors(target.read_text()), f"{path}#{anchor}"
