"""A batch spread over devices or processes has the loss and gradients of one; in a shard_map no image travels."""

import os
import subprocess
import sys

import pytest
import torch
from tolerances import GRADIENT_32, GRADIENT_32_MEANS, distance

from blursim_torch import blursim

EIGHT = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}

MESHES = """
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec as P

from blursim_jax import blursim, difference_maps

x, y = np.random.default_rng(0).uniform(size=(2, 16, 3, 16, 8)).astype(np.float32)
loss = lambda x, y: blursim(x, y, 0.7)
both = lambda loss: jax.jit(lambda x, y: jax.value_and_grad(loss, argnums=(0, 1))(x, y))


def assert_same(actual, expected):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(np.asarray(a) - b) <= TOLERANCE * np.linalg.norm(b)


def assert_only_numbers_travel(program):
    sent = re.findall(r" = (.*) (all-[\\w-]+|reduce-scatter[\\w-]*|collective-[\\w-]+)\\(", program.as_text())
    assert sent, "a mean over devices needs something sent"
    numbers = r"\\(?(f32\\[\\],? ?)+\\)?"
    assert all(how.startswith("all-reduce") and re.fullmatch(numbers, what) for what, how in sent), sent
"""

SHARDED = """
expected = both(loss)(x, y)
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(kind,))
    spread = jax.NamedSharding(mesh, P("batch"))
    mean = lambda x, y: jax.lax.pmean(loss(x, y), "batch")
    # The gradient of the mean outside, and that of each device's part inside.
    outside = both(jax.shard_map(mean, mesh=mesh, in_specs=P("batch"), out_specs=P()))
    step = lambda x, y: jax.value_and_grad(mean, argnums=(0, 1))(x, y)
    inside = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=P("batch"), out_specs=(P(), (P("batch"), P("batch")))))
    with jax.set_mesh(mesh):
        images = jax.device_put((x, y), spread)
        for function in (outside, inside):
            program = function.lower(*images).compile()
            value, gradients = program(*images)
            assert_same((value, gradients), expected)
            assert all(g.sharding.is_equivalent_to(spread, g.ndim) for g in gradients)
            assert_only_numbers_travel(program)
"""

# Without shard_map: the numbers of one device, whatever XLA sends.
AUTOMATIC = """
masked = lambda x, y: blursim(x, y, jnp.full((16, 1), 0.7), mask=jnp.ones((16, 8), bool))
second = jax.jit(lambda x, y: jax.jvp(jax.grad(lambda x: loss(x, y)), (x,), (y,))[1])
maps = jax.jit(lambda x, y: difference_maps(x, y))
functions = (both(loss), both(masked), second, maps)
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
        for function, value in zip(functions, expected):
            assert_same(function(*images), value)
    with jax.set_mesh(square):
        partly = jax.shard_map(
            lambda x, y: jax.lax.pmean(loss(x, y), "a"),
            mesh=square, axis_names={"a"}, in_specs=P("a"), out_specs=P(),
        )
        # Manual over one axis of the mesh; the other one cuts nothing, or the batch.
        cuts = P("a"), P(("a", "b"))
        for cut in cuts if kind is AxisType.Auto else cuts[:1]:
            assert_same(both(partly)(*jax.device_put((x, y), jax.NamedSharding(square, cut))), expected[0])
"""

DISTRIBUTED = """
import os
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from blursim_torch import BlurSim

rank, rendezvous, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Conv2d(3, 3, 3, padding=1))
x, y = torch.load(f"{folder}/images.pt")
mine = slice(2 * rank, 2 * rank + 2)
BlurSim(0.7)(model(x[mine]), y[mine]).backward()
torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
sys.stderr.flush()
os._exit(0)  # about one run in ten PyTorch's threads abort an ordinary exit ("terminate called")
"""


def python(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def assert_succeeds(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def on_eight_devices(code):
    return python((MESHES + code).replace("TOLERANCE", str(GRADIENT_32_MEANS)), **EIGHT)


def test_batch_in_shard_map_has_one_devices_value_and_gradient_and_only_numbers_travel():
    assert_succeeds(on_eight_devices(SHARDED))


def test_numbers_that_travel_are_counted():
    gathered = "assert_only_numbers_travel(both(loss).lower(*jax.device_put((x, y), spread)).compile())"
    spread = 'spread = jax.NamedSharding(jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,)), P("batch"))'
    _, errors = on_eight_devices(f"{spread}\n{gathered}").communicate(timeout=300)
    assert "all-gather" in errors.splitlines()[-1]


@pytest.mark.slow
def test_meshes_of_every_kind_give_one_devices_result():
    assert_succeeds(on_eight_devices(AUTOMATIC))


def test_two_processes_have_one_processs_gradients(tmp_path):
    x, y = torch.rand(2, 4, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    torch.save((x, y), tmp_path / "images.pt")
    rendezvous = (tmp_path / "rendezvous").as_uri()
    for process in [python(DISTRIBUTED, rank, rendezvous, tmp_path, GLOO_SOCKET_IFNAME="lo") for rank in range(2)]:
        assert_succeeds(process)

    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 3, 3, padding=1)
    blursim(model(x), y, 0.7).backward()
    for rank in range(2):
        for actual, parameter in zip(torch.load(tmp_path / f"{rank}.pt"), model.parameters(), strict=True):
            assert distance(actual, parameter.grad) <= GRADIENT_32


def test_distributed_tensor_is_refused_with_what_to_do():
    code = """
import os
import sys

import torch
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

from blursim_torch import blursim

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
x = distribute_tensor(torch.rand(4, 8, 6), init_device_mesh("cpu", (1,)), [Shard(0)])
try:
    blursim(x, x, 0.7)
except TypeError as error:
    assert "to_local()" in str(error), error
    os._exit(0)
sys.exit("accepted")
"""
    assert_succeeds(python(code, GLOO_SOCKET_IFNAME="lo"))
