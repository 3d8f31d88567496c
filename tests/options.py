"""The words of the options (SPEC 12), every combination of them, and the few that are all of the code."""

from itertools import product

import pytest

WORDS = {
    "spectrum": ("magnitude", "complex"),
    "edges": ("magnitude", "vector"),
    "p": (1, 2),
    "normalization": ("gain", "area"),
    "reduction": ("mean", "sum", "none"),
}


def combinations(*names):
    """Every choice of words for the options of these names, the last name's changing fastest."""
    return [dict(zip(names, words, strict=True)) for words in product(*(WORDS[name] for name in names))]


def ids(options):
    return "-".join(f"window={word}" if name == "window" else str(word) for name, word in options.items())


# What the two terms do differently; the first is the default, and per p the last has vectors in both.
SEEN = combinations("p", "spectrum", "edges")
# Magnitudes in both terms, vectors in both, for each p: as the terms know nothing of each other, all the code.
EXTREMES = [SEEN[0], SEEN[3], SEEN[4], SEEN[7]]
WINDOWED = {"window": 4}
FEW = [SEEN[0], SEEN[7], WINDOWED]


def parametrize(soon):
    """A test for each of the options, of which those that come soon are in the default run."""
    seldom = [pytest.param(options, marks=pytest.mark.slow) for options in [*SEEN, WINDOWED] if options not in soon]
    return pytest.mark.parametrize("options", [*soon, *seldom], ids=ids)
