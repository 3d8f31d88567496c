"""Fixtures: a backend in double precision, or in the precision that it has by default, and random numbers."""

import warnings

import numpy as np
import pytest
from backends import BACKENDS


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
