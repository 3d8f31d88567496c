"""Fixtures: a backend in double precision, or in the precision that it has by default, and random numbers.

Where a package is missing, such as a framework, the files that import it are left out and what compares both frameworks
is skipped. `make test` leaves out nothing (--complete): there it is an error.
"""

import ast
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
    """A file that imports what is missing."""
    if collection_path.suffix == ".py" and not config.getoption("--complete"):
        nodes = ast.parse(collection_path.read_text()).body
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
        packages = {name.partition(".")[0].removeprefix("blursim_") for name in names}
        return True if any(find_spec(package) is None for package in packages) else None
    return None


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
