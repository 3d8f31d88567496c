"""An exported and a traced step of training give loss and gradients where blursim_torch is not installed."""

import sys
import warnings
from pathlib import Path

import torch

sys.modules["blursim_torch"] = None
warnings.simplefilter("ignore")  # torch.jit is deprecated
folder = Path(sys.argv[1])
x, y, value, gradients = torch.load(folder / "expected.pt")
for program in (torch.export.load(folder / "program.pt2").module(), torch.jit.load(folder / "trace.pt")):
    loss = program(x, y)
    loss.backward()
    torch.testing.assert_close(loss, value)
    for parameter, gradient in zip(program.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
