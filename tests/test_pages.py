"""The page of trouble has every error, and the pages' snippets and calls run and print what is shown."""

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
TROUBLE = (DOCS / "trouble.md").read_text()


def raised():
    """(class, pattern of the text) of each error that the source raises; anything may stand for what is filled in."""
    for path in (
        path for package in (blursim_jax, blursim_torch) for path in Path(package.__file__).parent.glob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
                continue
            text = node.exc.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            if node.exc.func.id in ("TypeError", "ValueError"):
                pattern = "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".*" for p in parts)
                yield node.exc.func.id, pattern


def described():
    """(class, text) of each error on the page of trouble."""
    spans = re.findall(r"`((?:Type|Value)Error: [^`]+)`", TROUBLE)
    return [tuple(re.sub(r"\s+", " ", span).split(": ", 1)) for span in spans]


@pytest.mark.parametrize(("kind", "pattern"), sorted(set(raised())))
def test_the_page_of_trouble_has_every_error(kind, pattern):
    assert any(kind == named and re.fullmatch(pattern, text) for named, text in described()), f"{kind}: {pattern}"


@pytest.mark.parametrize(("kind", "text"), described())
def test_every_error_on_the_page_of_trouble_is_raised_somewhere(kind, text):
    assert any(kind == raised_kind and re.fullmatch(pattern, text) for raised_kind, pattern in raised())


@pytest.mark.parametrize("framework", ["JAX", "PyTorch"])
@pytest.mark.parametrize("page", ["trouble.md"])
def test_snippets_run_and_print_what_is_shown(page, framework, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code, shown in code_and_printed((DOCS / page).read_text(), framework):
        exec(code, names)
        assert capsys.readouterr().out == shown


# (the call there, the call here) of each row whose last cell is a call.
TABLE = (DOCS / "come_from.md").read_text()
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
    assert len(ROWS) == 12


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_of_the_pages_lead_to_files_and_headings(page):
    text = (DOCS / page).read_text()
    for path, anchor in links(text):
        target = Path(os.path.normpath(DOCS / path)) if path else DOCS / page
        assert target.is_file(), path
        # The API's anchors are made when the site is built.
        assert not anchor or page == "api.md" or anchor in anchors(target.read_text()), f"{path}#{anchor}"
