"""A program for two devices is exported, compiled and stored, and read again is right."""

import pickle

import jax
import jax.export
import numpy as np
from jax.experimental import serialize_executable
from jax.sharding import PartitionSpec as P
from tolerances import GRADIENT_32, distance

from blursim_jax import blursim

x, y = np.random.default_rng(0).uniform(size=(2, 4, 6, 5)).astype(np.float32)
mesh = jax.make_mesh((2,), ("batch",))
images = jax.device_put((x, y), jax.NamedSharding(mesh, P("batch")))
mean = lambda x, y: jax.lax.pmean(blursim(x, y, 0.7), "batch")
whole = jax.shard_map(mean, mesh=mesh, in_specs=P("batch"), out_specs=P())
step = jax.jit(jax.value_and_grad(whole, (0, 1)))
expected = jax.jit(jax.value_and_grad(lambda x, y: blursim(x, y, 0.7), (0, 1)))(x, y)


def assert_right(actual):
    for pair in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert distance(*pair) <= GRADIENT_32


stored = jax.export.deserialize(jax.export.export(step)(*images).serialize(vjp_order=1))
assert stored.nr_devices == 2
assert_right(jax.jit(stored.call)(*images))
exported = jax.jit(stored.call).lower(*images).compile()
for program in (step.lower(*images).compile(), exported):
    written = pickle.loads(pickle.dumps(serialize_executable.serialize(program)))
    assert_right(serialize_executable.deserialize_and_load(*written)(*images))
