"""A batch spread over devices or processes has the loss and the gradients that it has on one, and no image travels."""

import os
import subprocess
import sys

import pytest
import torch
from tolerances import GRADIENT_32, distance

from blursim_torch import blursim

EIGHT = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}

SHARDED = """
import re

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from blursim_jax import blursim

x, y = np.random.default_rng(0).uniform(size=(2, 16, 3, 9, 6)).astype(np.float32)
step = lambda x, y: jax.value_and_grad(blursim, argnums=(0, 1))(x, y, 0.7)
mean = lambda x, y: jax.lax.pmean(blursim(x, y, 0.7), "batch")
shard_step = lambda x, y: jax.value_and_grad(mean, argnums=(0, 1))(x, y)
one_device = jax.jit(step)(x, y)
for axis_type in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    spread = jax.NamedSharding(mesh, P("batch"))
    mapped = jax.shard_map(shard_step, mesh=mesh, in_specs=P("batch"), out_specs=(P(), (P("batch"), P("batch"))))
    for function in (step, mapped):
        with jax.set_mesh(mesh):
            images = jax.device_put((x, y), spread)
            program = jax.jit(function).lower(*images).compile()
            value, gradients = program(*images)
        np.testing.assert_allclose(value, one_device[0], rtol=1e-6)
        for actual, expected in zip(gradients, one_device[1]):
            assert actual.sharding.is_equivalent_to(spread, actual.ndim), actual.sharding
            assert np.linalg.norm(actual - expected) <= TOLERANCE * np.linalg.norm(expected)
        sent = re.findall(r" = (.*) (all-[\\w-]+|reduce-scatter[\\w-]*|collective-[\\w-]+)\\(", program.as_text())
        assert sent, "a mean over devices needs something sent"
        numbers = r"\\(?(f32\\[\\],? ?)+\\)?"
        assert all(how.startswith("all-reduce") and re.fullmatch(numbers, what) for what, how in sent), sent
"""

CUT = """
import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from blursim_jax import blursim

x, y = np.random.default_rng(0).uniform(size=(2, 3, 16, 6)).astype(np.float32)
step = jax.jit(lambda x, y: jax.value_and_grad(blursim)(x, y, 0.7))
mesh = jax.make_mesh((8,), ("height",), axis_types=(jax.sharding.AxisType.Auto,))
value, gradient = step(*jax.device_put((x, y), jax.NamedSharding(mesh, P(None, "height"))))
expected = step(x, y)
np.testing.assert_allclose(value, expected[0], rtol=1e-6)
assert np.linalg.norm(gradient - expected[1]) <= TOLERANCE * np.linalg.norm(expected[1])
"""

MESHES = """
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec as P

from blursim_jax import blursim, difference_maps

x, y = np.random.default_rng(0).uniform(size=(2, 16, 3, 16, 8)).astype(np.float32)
both = lambda f: jax.jit(lambda x, y: jax.value_and_grad(f, argnums=(0, 1))(x, y))
loss = lambda x, y: blursim(x, y, 0.7)
masked = lambda x, y: blursim(x, y, jnp.full((16, 1), 0.7), mask=jnp.ones((16, 8), bool))
second = jax.jit(lambda x, y: jax.jvp(jax.grad(lambda x: loss(x, y)), (x,), (y,))[1])
maps = jax.jit(lambda x, y: difference_maps(x, y))


def assert_same(actual, expected):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(np.asarray(a) - b) <= TOLERANCE * np.linalg.norm(b)


def gathers(program):
    return re.findall(r"(all-gather|all-to-all|collective-permute)", program.as_text())


expected = [jax.device_get(f(x, y)) for f in (both(loss), both(masked), second, maps)]
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(kind,))
    square = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
    with jax.set_mesh(mesh):
        # Bound to no mesh; jitted and not.
        assert_same(both(loss)(jnp.asarray(x), jnp.asarray(y)), expected[0])
        assert_same(loss(jnp.asarray(x), jnp.asarray(y)), expected[0][0])
        # A batch in parts: no image is sent, also not by second derivatives and maps.
        images = jax.device_put((x, y), jax.NamedSharding(mesh, P("batch")))
        for f, of in zip((both(loss), both(masked), second, maps), expected):
            program = f.lower(*images).compile()
            assert not gathers(program)
            assert_same(program(*images), of)
        # Images in parts.
        assert_same(both(loss)(*jax.device_put((x, y), jax.NamedSharding(mesh, P(None, None, "batch")))), expected[0])
        whole = jax.shard_map(
            lambda x, y: jax.lax.pmean(loss(x, y), "batch"), mesh=mesh, in_specs=P("batch"), out_specs=P()
        )
        jax.export.export(both(whole))(*images)
    with jax.set_mesh(square):
        partly = jax.shard_map(
            lambda x, y: jax.lax.pmean(loss(x, y), "a"),
            mesh=square, axis_names={"a"}, in_specs=P("a"), out_specs=P(),
        )
        # Manual over one axis of the mesh; the other one cuts nothing, the batch or the images.
        cuts = P("a"), P("a", None, "b"), P(("a", "b")), P("a", None, None, "b")
        for cut in cuts if kind is AxisType.Auto else cuts[:1]:  # of an explicit one XLA refuses the gradient
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


def test_sharded_batch_has_one_devices_value_and_gradient_and_sends_only_numbers():
    assert_succeeds(python(SHARDED.replace("TOLERANCE", str(GRADIENT_32)), **EIGHT))


def test_images_cut_across_devices_have_one_devices_value_and_gradient():
    assert_succeeds(python(CUT.replace("TOLERANCE", str(GRADIENT_32)), **EIGHT))


@pytest.mark.slow
def test_meshes_of_every_kind_give_one_devices_result_and_send_no_image():
    assert_succeeds(python(MESHES.replace("TOLERANCE", str(GRADIENT_32)), **EIGHT))


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
