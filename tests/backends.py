"""Both backends behind one face: functions of their own arrays, run on NumPy arrays, so that one suite fits both.

A test writes `backend.run(lambda x, y: backend.blursim(x, y, 0.8), x, y)`; NumPy goes in and float64 NumPy
comes out (exactly: it holds every value of the narrower dtypes). What a lambda touches is the backend's own.
"""

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest


class Backend:
    """What both have in common; Jax and Torch below say how each does the rest."""

    name: str
    package: ModuleType
    arrays: ModuleType  # jax.numpy or torch

    def __init__(self):
        self.package = import_module(f"blursim_{self.name}")
        self.blursim = self.package.blursim
        self.blursim_terms = self.package.blursim_terms
        self.difference_maps = self.package.difference_maps

    def run(self, function, *arrays):
        """function of the backend's arrays, on NumPy arrays (None stays None)."""
        return self.numpy(self.quick(function)(*map(self.array, arrays)))

    def quick(self, function):
        """function, so changed that a test, which calls it once, does not wait."""
        return function

    def numpy(self, value):
        """The same value, list or tuple in NumPy float64."""
        return [self.numpy(v) for v in value] if isinstance(value, (list, tuple)) else self.number(value)

    def dtype(self, array) -> str:
        return str(array.dtype).removeprefix("torch.")

    def double_precision(self) -> AbstractContextManager[Any]:
        """Inside it float64 exists."""
        return nullcontext()


class Jax(Backend):
    name = "jax"

    def __init__(self):
        super().__init__()
        self.framework, self.arrays = import_module("jax"), import_module("jax.numpy")
        self.grad = self.framework.grad
        if not hasattr(self.framework, "enable_x64"):  # the oldest releases have these names elsewhere
            self.framework.enable_x64 = import_module("jax.experimental").enable_x64
            monitoring = import_module("jax._src.monitoring")
            self.framework.monitoring.unregister_event_duration_listener = (
                monitoring._unregister_event_duration_listener_by_callback
            )

    def quick(self, function):
        return self.framework.jit(function)  # one compilation instead of one per operation

    def array(self, array, dtype=None):
        return array if array is None else self.arrays.asarray(array, dtype)

    def number(self, array):
        return np.asarray(array).astype(np.float64)

    def double_precision(self):
        return self.framework.enable_x64(True)

    def shaped(self, shape, dtype, function):
        """function, traced on an array that has a shape and a dtype but no values."""
        return self.framework.eval_shape(function, self.framework.ShapeDtypeStruct(shape, dtype))


class Torch(Backend):
    name = "torch"

    def __init__(self):
        super().__init__()
        self.framework = self.arrays = import_module("torch")

    def grad(self, function, argnums=0):
        """As jax.grad, by plain autograd; can be nested."""

        def gradient(*arrays):
            fresh = lambda a: a if a is None or a.requires_grad else a.clone().requires_grad_(a.is_floating_point())
            arrays = list(map(fresh, arrays))
            wanted = [arrays[i] for i in ((argnums,) if isinstance(argnums, int) else argnums)]
            how = {"create_graph": True, "materialize_grads": True}
            found = self.framework.autograd.grad(function(*arrays), wanted, **how)
            return found[0] if isinstance(argnums, int) else found

        return gradient

    def array(self, array, dtype=None):
        return (
            array if array is None else self.arrays.tensor(np.array(array), dtype=dtype and getattr(self.arrays, dtype))
        )

    def number(self, array):
        return array.detach().double().numpy()

    def shaped(self, shape, dtype, function):
        return function(self.arrays.empty(shape, dtype=getattr(self.arrays, dtype), device="meta"))


FRAMEWORKS = {"jax": Jax, "torch": Torch}
BACKENDS = [backend() for name, backend in FRAMEWORKS.items() if find_spec(name)]
MISSING = FRAMEWORKS.keys() - {backend.name for backend in BACKENDS}
# Skips where one framework is tested alone. `make test` can't skip it: by --complete a missing framework is an error.
by_both = pytest.mark.skipif(bool(MISSING), reason="compares the frameworks with each other, and one is missing")
