"""Values: every clause of SPEC.md on every backend. Each docstring names the clauses that its test would break with."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import reference
from backends import BACKENDS
from options import WORDS, combinations
from skimage import data
from tolerances import NOTHING_64, VALUE_64, distance

COMBINATIONS = combinations(*WORDS)

packages = pytest.mark.parametrize("package", [backend.package for backend in BACKENDS], ids=lambda p: p.__name__)

# Shape of x, spatial axes, Sobel size, mask, window: every size with every mask; none to three leading axes; channels
# first and last; odd, even, prime, thin, not square, the smallest; signals, images, volumes. The reductions take turns.
CASES = [
    ((5, 5), (-2, -1), 3, "none", None),
    ((7, 6), (-1, -2), 3, "boolean", None),
    ((2, 8, 5, 3), (-3, -2), 3, "fraction", None),
    ((2, 3, 5, 8), (-2, -1), 5, "none", None),
    ((5, 6), (-2, -1), 5, "boolean", None),
    ((6, 9, 3), (-3, -2), 5, "fraction", None),
    ((7, 7), (0, 1), 7, "none", None),
    ((11, 2, 13), (2, 0), 7, "boolean", None),
    ((3, 17, 8), (-2, -1), 7, "fraction", None),
    ((2, 3, 2, 9, 11), (-2, -1), 9, "fraction", None),
    ((2, 3, 13), (-1,), 5, "fraction", None),
    ((6, 4), (0,), 3, "none", None),
    ((2, 6, 5, 7), (-3, -2, -1), 5, "fraction", None),
    ((5, 8, 6, 2), (2, 0, 1), 3, "boolean", None),
    ((17, 13), (-2, -1), 5, "none", 8),
    ((2, 8, 9, 3), (-3, -2), 3, "fraction", 8),
    ((5, 31), (-1, -2), 5, "boolean", 4),
    ((2, 101), (-1,), 5, "none", 16),
    ((2, 6, 5, 7), (-3, -2, -1), 3, "fraction", 4),
]


def masks_for(shape, rng):
    """None, boolean, and one in [0, 1] with zeros and ones in it, of an array that broadcasts."""
    fractions = np.clip(rng.uniform(-0.5, 1.5, shape[1:]), 0, 1)
    return {"none": None, "boolean": rng.random(shape) < 0.7, "fraction": fractions}


def images(rng, *shape):
    return rng.random((2, *shape))


def test_every_clause_is_named_by_the_tests_that_it_would_break():
    """SPEC.md's own promise; that they would break is for their authors to see."""
    root = Path(__file__).parents[1]
    clauses = re.findall(r"^(\d+\.\d+)\. ", (root / "SPEC.md").read_text(), re.M)
    nodes = [node for path in root.glob("tests/test_*.py") for node in ast.walk(ast.parse(path.read_text()))]
    tests = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    docstrings = "\n".join(ast.get_docstring(test) or "" for test in tests)
    named = ", ".join(re.findall(r"SPEC ([\d., ]*\d)", docstrings))
    assert clauses
    assert set(clauses) <= set(re.split(r",\s*", named))


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: "-".join(map(str, CASES[case])))
def test_every_combination_of_options_gives_the_value_of_the_reference(backend, case, rng):
    """SPEC 1.1, 2.1, 3.1, 3.2, 3.4, 3.5, 3.6, 3.7, 4.1, 4.2, 4.3, 4.4, 5.1, 5.2, 5.4, 6.1, 8.4"""
    shape, axes, size, mask, window = CASES[case]
    x, y = images(rng, *shape) - 0.3
    mask = masks_for(shape, rng)[mask]
    turn = [o for o in COMBINATIONS if o["reduction"] == WORDS["reduction"][case // 3 % 3]]
    if window:
        turn = [
            o for o in turn if o["edges"] == "magnitude" and o["normalization"] == "gain"
        ]  # the specific term is blind to it
    shared = {"axes": axes, "sobel_size": size, "window": window}
    losses = lambda x, y, mask: [backend.blursim(x, y, 0.3, mask=mask, **shared, **o) for o in turn]
    for actual, options in zip(backend.run(losses, x, y, mask), turn, strict=True):
        expected = reference.blursim(x, y, 0.3, mask=mask, **shared, **options)
        assert distance(actual, expected) < VALUE_64, options


def test_a_shift_of_an_eighth_of_a_window_costs_far_less_than_one_of_a_window(backend):
    """SPEC 3.7, 10.2"""
    picture = data.camera()[100:180, 150:230] / 255
    x, near, far = (picture[shift : shift + 64, shift : shift + 64] for shift in (0, 2, 16))
    loss = lambda x, y: backend.blursim(x, y, 0, window=16)
    assert backend.run(loss, x, near) < 0.4 * backend.run(loss, x, far)


def test_the_general_and_the_specific_term_are_those_of_the_reference(backend, rng):
    """SPEC 2.1, 2.5"""
    x, y = images(rng, 2, 3, 6, 5)
    alpha = rng.random((2, 3))
    turn = combinations("normalization", "reduction")
    every = lambda x, y: [list(backend.blursim_terms(x, y, **options)) for options in turn]
    for actual, options in zip(backend.run(every, x, y), turn, strict=True):
        expected = reference.blursim_terms(x, y, **options)
        assert max(map(distance, actual, expected)) < VALUE_64
    terms = backend.run(lambda x, y: backend.blursim_terms(x, y, reduction="none"), x, y)
    loss = backend.run(lambda x, y, alpha: backend.blursim(x, y, alpha, reduction="none"), x, y, alpha)
    assert distance((1 - alpha) * terms[0] + alpha * terms[1], loss) < VALUE_64


def test_how_images_are_batched_does_not_matter(backend, rng):
    """SPEC 1.1, 1.2"""
    x, y = images(rng, 6, 5, 8)
    loss = lambda x, y, **options: backend.blursim(x, y, 0.4, reduction="none", **options)
    alone = [backend.run(loss, *pair) for pair in zip(x, y, strict=True)]
    assert distance(backend.run(loss, x, y), alone) < VALUE_64
    assert distance(backend.run(loss, *(a.reshape(2, 3, 5, 8) for a in (x, y))), np.reshape(alone, (2, 3))) < VALUE_64
    last = [np.moveaxis(a.reshape(2, 3, 5, 8), 1, -1) for a in (x, y)]
    assert distance(backend.run(lambda x, y: loss(x, y, axes=(-3, -2)), *last), np.reshape(alone, (2, 3))) < VALUE_64
    mean = lambda x, y: backend.blursim(x, y, 0.4)
    halves = [backend.run(mean, x[part], y[part]) for part in (slice(3), slice(3, 6))]
    assert distance(backend.run(mean, x, y), np.mean(halves)) < VALUE_64


def test_alpha_may_be_a_number_a_scalar_or_one_per_image(backend, rng):
    """SPEC 2.2"""
    x, y = images(rng, 2, 3, 5, 6)
    loss = lambda x, y, alpha: backend.blursim(x, y, alpha, reduction="none")
    numbers = (0, 1, 0.25, np.float64(0.25), np.float32(0.25))
    arrays = [rng.random(shape) for shape in ((), (1,), (3,), (2, 1), (2, 3))]
    losses = backend.run(lambda x, y, *arrays: [loss(x, y, alpha) for alpha in (*numbers, *arrays)], x, y, *arrays)
    for actual, alpha in zip(losses, (*numbers, *arrays), strict=True):
        assert distance(actual, reference.blursim(x, y, alpha, reduction="none")) < VALUE_64
    general, specific = reference.blursim_terms(x, y)
    assert distance([losses[0].mean(), losses[1].mean()], [general, specific]) < VALUE_64


def test_values_of_an_alpha_array_are_not_checked(backend, rng):
    """SPEC 2.2, 9.4"""
    x, y = images(rng, 5, 6)
    actual = backend.run(lambda x, y, alpha: backend.blursim(x, y, alpha), x, y, np.array(1.5))
    assert distance(actual, reference.blursim(x, y, 1.5)) < VALUE_64


def test_dc_keeps_its_sign(backend):
    """SPEC 3.3"""
    dark, light = np.full((6, 5), -0.5), np.full((6, 5), 0.5)
    general = lambda x, y: [backend.blursim_terms(x, y, p=p).general for p in (1, 2)]
    assert backend.run(general, dark, light) == pytest.approx([1 / np.sqrt(30), 1], rel=VALUE_64)


def test_gain_is_independent_of_the_image_size_and_area_is_not(backend, rng):
    """SPEC 5.2, 10.4"""
    large = images(rng, 256, 256)
    small = large[:, :64, :64]
    terms = lambda pair, word: backend.run(lambda x, y: backend.blursim_terms(x, y, normalization=word), *pair)
    assert np.allclose(np.divide(terms(large, "gain"), terms(small, "gain")), 1, rtol=0.05)
    assert np.allclose(np.divide(terms(large, "area"), terms(small, "area")), [1, 1 / 4], rtol=0.05)


def test_a_mask_mixes_the_images_and_one_of_ones_changes_nothing(backend, rng):
    """SPEC 6.1, 6.4"""
    x, y = images(rng, 2, 3, 6, 5)
    ones = [np.ones((6, 5), bool), np.ones((6, 5))]
    masks = [*(rng.random(shape) for shape in ((6, 5), (2, 1, 6, 1), (2, 3, 6, 5), ())), *ones]
    losses = backend.run(lambda x, y, *masks: [backend.blursim(x, y, 0.4, mask=mask) for mask in masks], x, y, *masks)
    for actual, mask in zip(losses, masks, strict=True):
        assert distance(actual, reference.blursim(y + mask * (x - y), y, 0.4)) < VALUE_64


def test_the_spectral_magnitude_is_blind_to_shifts_and_point_reflection_and_the_edges_are_not(backend, rng):
    """SPEC 10.2"""
    x = rng.random((7, 6))
    terms = lambda x, y: backend.blursim_terms(x, y)
    for moved in (np.roll(x, (2, 3), (0, 1)), x[::-1, ::-1], np.roll(x[::-1, ::-1], (1, 1), (0, 1))):
        general, specific = backend.run(terms, x, moved)
        assert general < NOTHING_64
        assert specific > 0.02


@pytest.mark.parametrize(
    ("shape", "axes", "size"),
    [
        ((6, 5), (-2, -1), 5),
        ((2, 7, 5, 3), (-3, -2), 3),
        ((2, 8, 6), (2, 1), 3),
        ((3, 8), (-1,), 5),
        ((7, 5, 6), (-3, -2, -1), 3),
        ((6, 6, 5, 2), (0, 1, 2), 5),
    ],
)
def test_the_maps_are_those_of_the_reference_and_their_norms_are_the_terms(backend, shape, axes, size, rng):
    """SPEC 11.1, 11.2, 11.3"""
    x, y = images(rng, *shape)
    every = [dict(o, axes=axes, sobel_size=size) for o in combinations("spectrum", "edges")]
    found = backend.run(lambda x, y: [backend.difference_maps(x, y, **options) for options in every], x, y)
    for maps, options in zip(found, every, strict=True):
        for actual, expected in zip(maps, reference.difference_maps(x, y, **options), strict=True):
            assert distance(actual, expected) < VALUE_64
        norms = {
            1: [np.mean(np.abs(m), axis=axes) for m in maps],
            2: [np.sqrt(np.mean(m**2, axis=axes)) for m in maps],
        }
        for p in (1, 2):
            assert distance(norms[p], reference.blursim_terms(x, y, reduction="none", p=p, **options)) < VALUE_64


def test_dc_is_in_the_centre_of_the_spectrum_map(backend):
    """SPEC 11.2"""
    for shape in ((7, 8), (9,), (5, 6, 7)):
        axes = tuple(range(len(shape)))
        spectrum = backend.run(
            lambda x, axes=axes: backend.difference_maps(0 * x, x, axes=axes).spectrum, np.ones(shape)
        )
        assert spectrum[tuple(n // 2 for n in shape)] == pytest.approx(-np.sqrt(np.prod(shape)))
        assert np.abs(spectrum).sum() == pytest.approx(np.sqrt(np.prod(shape)))


def test_the_defaults_are_those_of_the_definition_and_alpha_has_none(backend, rng):
    """SPEC 2.1, 3.6, 5.2, 12.1"""
    x, y = images(rng, 3, 6, 7)
    options = {
        "axes": (-2, -1),
        "spectrum": "magnitude",
        "window": None,
        "edges": "magnitude",
        "p": 1,
        "normalization": "gain",
        "sobel_size": 5,
        "reduction": "mean",
    }
    losses = backend.run(lambda x, y: [backend.blursim(x, y, 0.3), backend.blursim(x, y, 0.3, **options)], x, y)
    assert losses[0] == losses[1]
    with pytest.raises(TypeError, match="alpha"):
        backend.run(lambda x, y: backend.blursim(x, y), x, y)


@packages
def test_the_examples_in_docstrings_run(package):
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    results = [doctest.testmod(module) for module in modules]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 9
