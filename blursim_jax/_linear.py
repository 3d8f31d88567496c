"""Linear maps whose transposes are known, so that derivatives of every order cost what the maps cost.

Without it JAX would transpose a real FFT as a complex one, and mirrored borders as sums into scattered places.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

Map = Callable[..., tuple[Array, ...]]


def transposes(forward: Map, backward: Map, constants: int = 0) -> tuple[Map, Map]:
    """Two maps of real arrays, each declared to be the transpose of the other.

    Both take arrays, leading axes of which are batch axes, and static keywords; both give a tuple of arrays. The last
    of what the first one gives may be no linear maps of x but constants: nothing is differentiated through them.
    """
    there, back = _LinearMap(forward, constants), _LinearMap(backward)
    there.transpose, back.transpose = back, there
    return there, back


class _LinearMap:
    """A function as a JAX primitive: its value, type and code, its derivative, transpose and batches."""

    transpose: "_LinearMap"

    def __init__(self, function: Map, constants: int = 0) -> None:
        self.function, self.constants = function, constants
        self.primitive = primitive = Primitive(function.__name__.strip("_"))
        primitive.multiple_results = True
        primitive.def_impl(lambda *arrays, jaxpr, static: jax.jit(jaxpr_as_fun(jaxpr))(*arrays))
        primitive.def_abstract_eval(lambda *_, jaxpr, static: jaxpr.out_avals)
        code = lambda *arrays, jaxpr, static: jaxpr_as_fun(jaxpr)(*arrays)
        mlir.register_lowering(primitive, mlir.lower_fun(code, multiple_results=True))
        ad.primitive_jvps[primitive] = self._derivative
        ad.primitive_transposes[primitive] = self._transposed
        batching.primitive_batchers[primitive] = self._batched

    def __call__(self, *arrays: Array, **static: Any) -> tuple[Array, ...]:
        jaxpr = jax.make_jaxpr(partial(self.function, **static))(*arrays)
        return tuple(self.primitive.bind(*arrays, jaxpr=jaxpr, static=tuple(static.items())))

    def _derivative(self, arrays: Any, tangents: Any, *, jaxpr: Any, static: Any) -> Any:
        results = self(*arrays, **dict(static))
        along = self(*map(ad.instantiate_zeros, tangents), **dict(static))
        linear = len(results) - self.constants
        return results, [*along[:linear], *map(jnp.zeros_like, results[linear:])]

    def _transposed(self, cotangents: Any, *arrays: Any, jaxpr: Any, static: Any) -> Any:
        linear = len(cotangents) - self.constants
        results = self.transpose(*map(ad.instantiate_zeros, cotangents[:linear]), **dict(static))
        return results[: len(arrays)]

    def _batched(self, arrays: Any, axes: Any, *, jaxpr: Any, static: Any) -> Any:
        size = next(array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None)
        arrays = [batching.bdim_at_front(array, axis, size) for array, axis in zip(arrays, axes, strict=True)]
        results = self(*arrays, **dict(static))
        return results, [0] * len(results)
