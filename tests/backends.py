"""Both backends behind one face: functions of their own arrays, run on NumPy arrays, so that one suite fits both.

A test writes `backend.run(lambda x, y: backend.blursim(x, y, 0.8), x, y)`; NumPy goes in and float64 NumPy
comes out (exactly: it holds every value of the narrower dtypes). What a lambda touches is the backend's own.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import blursim_jax
import blursim_torch

if not hasattr(jax, "enable_x64"):  # the oldest releases of JAX have these names elsewhere
    from jax._src.monitoring import _unregister_event_duration_listener_by_callback
    from jax.experimental import enable_x64

    jax.enable_x64 = enable_x64
    jax.monitoring.unregister_event_duration_listener = _unregister_event_duration_listener_by_callback


class Backend:
    """What both have in common; Jax and Torch below say how each does the rest."""

    name: str
    package: ModuleType
    arrays: ModuleType  # jnp or torch

    def __init__(self):
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
    name, package, arrays = "jax", blursim_jax, jnp
    compile = staticmethod(jax.jit)
    grad = staticmethod(jax.grad)

    def quick(self, function):
        return jax.jit(function)  # one compilation instead of one per operation

    def array(self, array, dtype=None):
        return array if array is None else jnp.asarray(array, dtype)

    def number(self, array):
        return np.asarray(array).astype(np.float64)

    def double_precision(self):
        return jax.enable_x64(True)

    def shaped(self, shape, dtype, function):
        """function, traced on an array that has a shape and a dtype but no values."""
        return jax.eval_shape(function, jax.ShapeDtypeStruct(shape, dtype))


class Torch(Backend):
    name, package, arrays = "torch", blursim_torch, torch
    compile = staticmethod(partial(torch.compile, backend="aot_eager"))  # all but the making of C++

    @staticmethod
    def grad(function, argnums=0):
        """As jax.grad, by plain autograd; can be nested."""

        def gradient(*arrays):
            fresh = lambda a: a if a is None or a.requires_grad else a.clone().requires_grad_(a.is_floating_point())
            arrays = list(map(fresh, arrays))
            wanted = [arrays[i] for i in ((argnums,) if isinstance(argnums, int) else argnums)]
            found = torch.autograd.grad(function(*arrays), wanted, create_graph=True, materialize_grads=True)
            return found[0] if isinstance(argnums, int) else found

        return gradient

    def array(self, array, dtype=None):
        return array if array is None else torch.tensor(np.array(array), dtype=dtype and getattr(torch, dtype))

    def number(self, array):
        return array.detach().double().numpy()

    def shaped(self, shape, dtype, function):
        return function(torch.empty(shape, dtype=getattr(torch, dtype), device="meta"))


BACKENDS = [Jax(), Torch()]
