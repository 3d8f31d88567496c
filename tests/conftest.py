"""Fixtures: a backend in double precision, or in the precision that it has by default, and random numbers.

Where a framework is missing its tests are left out, and those that compare both are skipped; `make test` has both and
says so (--both), and then that is an error.
"""

import warnings

import numpy as np
import pytest
from backends import BACKENDS, MISSING
from hypothesis import settings

collect_ignore_glob = [f"*_{name}.py" for name in MISSING]

settings.register_profile("always the same", derandomize=True, database=None)
settings.register_profile("drawn at random", derandomize=False, database=None, print_blob=True)
settings.load_profile("always the same")


def pytest_addoption(parser):
    parser.addoption("--both", action="store_true", help="both frameworks must be installed")


def pytest_configure(config):
    if MISSING and config.getoption("--both"):
        raise pytest.UsageError(f"not installed: {', '.join(MISSING)}")


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
