"""A batch spread over processes has the gradients of one, and a trained step runs where this package is missing."""

import warnings

import torch
from programs import finish, run, start
from tolerances import GRADIENT_32, distance

from blursim_torch import BlurSim, blursim


def images(*shape):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))


def test_two_processes_have_one_processs_gradients(tmp_path):
    x, y = images(4, 3, 8, 6)
    torch.save((x, y), tmp_path / "images.pt")
    rendezvous = (tmp_path / "rendezvous").as_uri()
    for process in [start("data_parallel", rank, rendezvous, tmp_path, GLOO_SOCKET_IFNAME="lo") for rank in range(2)]:
        finish(process)

    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 3, 3, padding=1)
    blursim(model(x), y, 0.7).backward()
    for rank in range(2):
        for actual, parameter in zip(torch.load(tmp_path / f"{rank}.pt"), model.parameters(), strict=True):
            assert distance(actual, parameter.grad) <= GRADIENT_32


def test_distributed_tensor_is_refused_with_what_to_do():
    run("distributed_tensor", GLOO_SOCKET_IFNAME="lo")


class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.criterion = torch.nn.Conv2d(3, 3, 3, padding=1), BlurSim(0.7)

    def forward(self, x, y):
        return self.criterion(self.model(x), y)


def test_exported_or_traced_model_and_loss_train_where_this_package_is_missing(tmp_path):
    step, (x, y) = Step(), (image.clone() for image in images(2, 3, 8, 6))
    # Strictly: what autograd.Function does is then seen by another part of PyTorch.
    torch.export.save(torch.export.export(step, (x, y), strict=True), tmp_path / "program.pt2")
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(step, (x, y)), tmp_path / "trace.pt")
    loss = step(x, y)
    loss.backward()
    torch.save((x, y, loss.detach(), [p.grad for p in step.parameters()]), tmp_path / "expected.pt")
    run("alone", tmp_path)
