"""A tensor whose parts lie on several devices is refused, with what to do."""

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
    sys.stderr.write(str(error))
    os._exit(0 if "to_local()" in str(error) else 1)
sys.exit("accepted")
