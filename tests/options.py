"""The words of the options (SPEC 12), and every combination of them."""

from itertools import product

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
    return "-".join(map(str, options.values()))


# What the two terms do differently; the first is the default, and per p the last has vectors in both.
SEEN = combinations("p", "spectrum", "edges")
# Magnitudes in both terms, vectors in both, for each p: as the terms know nothing of each other, all the code.
EXTREMES = [SEEN[0], SEEN[3], SEEN[4], SEEN[7]]
