"""On eight devices: a batch in shard_map, batches that XLA cuts by itself, or what travels then."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from tolerances import GRADIENT_32_MEANS, distance

from blursim_jax import blursim, difference_maps

x, y = np.random.default_rng(0).uniform(size=(2, 16, 3, 16, 8)).astype(np.float32)
loss = lambda x, y: blursim(x, y, 0.7)
both = lambda loss: jax.jit(lambda x, y: jax.value_and_grad(loss, argnums=(0, 1))(x, y))


def assert_same(actual, expected):
    for pair in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert distance(*pair) <= GRADIENT_32_MEANS


def assert_only_numbers_travel(program):
    sent = re.findall(r" = (.*) (all-[\w-]+|reduce-scatter[\w-]*|collective-[\w-]+)\(", program.as_text())
    assert sent, "a mean over devices needs something sent"
    numbers = r"\(?(f32\[\],? ?)+\)?"
    assert all(how.startswith("all-reduce") and re.fullmatch(numbers, what) for what, how in sent), sent


def sharded():
    """In shard_map: the value and gradients of one device, and only numbers travel."""
    expected = both(loss)(x, y)
    mean = lambda x, y: jax.lax.pmean(loss(x, y), "batch")
    step = lambda x, y: jax.value_and_grad(mean, argnums=(0, 1))(x, y)
    cut = P("batch")
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("batch",), axis_types=(kind,))
        spread = jax.NamedSharding(mesh, cut)
        # The gradient of the mean outside, and that of each device's part inside.
        outside = both(jax.shard_map(mean, mesh=mesh, in_specs=cut, out_specs=P()))
        inside = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=cut, out_specs=(P(), (cut, cut))))
        with jax.set_mesh(mesh):
            images = jax.device_put((x, y), spread)
            for function in (outside, inside):
                program = function.lower(*images).compile()
                value, gradients = program(*images)
                assert_same((value, gradients), expected)
                assert all(g.sharding.is_equivalent_to(spread, g.ndim) for g in gradients)
                assert_only_numbers_travel(program)


def gathered():
    """Without shard_map images travel, which has to be noticed."""
    spread = jax.NamedSharding(jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,)), P("batch"))
    assert_only_numbers_travel(both(loss).lower(*jax.device_put((x, y), spread)).compile())


def automatic():
    """Without shard_map: the numbers of one device, whatever XLA sends."""
    masked = lambda x, y: blursim(x, y, jnp.full((16, 1), 0.7), mask=jnp.ones((16, 8), bool))
    windowed = lambda x, y: blursim(x, y, 0.7, window=4)
    second = jax.jit(lambda x, y: jax.jvp(jax.grad(lambda x: loss(x, y)), (x,), (y,))[1])
    functions = (both(loss), both(masked), both(windowed), second, jax.jit(difference_maps))
    expected = [jax.device_get(function(x, y)) for function in functions]
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("batch",), axis_types=(kind,))
        square = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
        with jax.set_mesh(mesh):
            # Bound to no mesh; jitted and not.
            assert_same(both(loss)(jnp.asarray(x), jnp.asarray(y)), expected[0])
            assert_same(loss(jnp.asarray(x), jnp.asarray(y)), expected[0][0])
            # A batch in parts; images in parts are not supported.
            images = jax.device_put((x, y), jax.NamedSharding(mesh, P("batch")))
            for function, value in zip(functions, expected, strict=True):
                assert_same(function(*images), value)
        with jax.set_mesh(square):
            mean = lambda x, y: jax.lax.pmean(loss(x, y), "a")
            partly = jax.shard_map(mean, mesh=square, axis_names={"a"}, in_specs=P("a"), out_specs=P())
            # Manual over one axis of the mesh; the other one cuts nothing, or the batch.
            cuts = P("a"), P(("a", "b"))
            for cut in cuts if kind is AxisType.Auto else cuts[:1]:
                assert_same(both(partly)(*jax.device_put((x, y), jax.NamedSharding(square, cut))), expected[0])


{"sharded": sharded, "gathered": gathered, "automatic": automatic}[sys.argv[1]]()
