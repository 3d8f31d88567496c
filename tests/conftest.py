"""Fixtures: a backend in double precision, or in the precision that it has by default, and random numbers.

Where a framework is missing, what needs the other alone is run. `make test` says --complete: there that is an error.
"""

import ast
import re
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from backends import BACKENDS, MISSING
from hypothesis import settings

settings.register_profile("always the same", derandomize=True, database=None)
settings.register_profile("drawn at random", derandomize=False, database=None, print_blob=True)
settings.load_profile("always the same")


def pytest_addoption(parser):
    parser.addoption("--complete", action="store_true", help="a missing package is an error, not less to test")


def pytest_configure(config):
    if MISSING and config.getoption("--complete"):
        raise pytest.UsageError(f"not installed: {', '.join(MISSING)}")


def pytest_ignore_collect(collection_path, config):
    """Where a framework is missing, the files for both and those that import what is not installed."""
    if not MISSING or collection_path.suffix != ".py":
        return None
    alone = "definition|golden|gradients|laws|numerics|reference|.*_" + "|.*_".join(b.name for b in BACKENDS)
    nodes = ast.parse(collection_path.read_text()).body
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    installed = all(find_spec(name.partition(".")[0]) for name in names)
    return None if re.fullmatch(f"test_({alone})", collection_path.stem) and installed else True


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request):
    """Each backend in turn, with float64."""
    with request.param.double_precision():
        yield request.param


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def default_backend(request):
    """Each backend in turn, as it is when nobody configures it: jax has no float64."""
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def _compiler():
    """PyTorch's compiler has said, over a function that isn't ours, what it says on first use."""
    import torch

    with warnings.catch_warnings(action="ignore"):
        torch.compile(lambda x: torch.fft.rfft(x).abs().sum())(torch.ones(4, requires_grad=True)).backward()
