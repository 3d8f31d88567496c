"""The examples in docs/frameworks.md run unchanged, each in its own process, with the real packages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN, NOT_RUN = (ROOT / "docs" / "frameworks.md").read_text().split("## Not run here")
PIECES = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", RUN, flags=re.DOTALL | re.MULTILINE))
PIECES["Keras on torch"] = PIECES["Keras"].replace('"jax"', '"torch"', 1).replace("blursim_jax", "blursim_torch", 1)

# deepinv brings torchvision, which can't be imported without CUDA unless somebody declares these operators.
IMPORT_TORCHVISION = {"Lightning", "torchmetrics", "deepinv"}
WITHOUT_CUDA = """
import torch
for name in "nms", "qnms":
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def command(name, path):
    if name == "PyTorch, several processes":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(path)]
    return [sys.executable, "-W", "error:::__main__", str(path)]


@pytest.mark.frameworks
@pytest.mark.parametrize("name", PIECES, ids=lambda name: name.replace(" ", "-"))
def test_piece_runs_and_prints_finite_losses(name, tmp_path):
    path = tmp_path / "train.py"
    path.write_text((WITHOUT_CUDA if name in IMPORT_TORCHVISION else "") + PIECES[name])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command(name, path), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    numbers = [float(number) for number in re.findall(r"\d+\.\d+(?:e-?\d+)?", ran.stdout)]
    assert numbers, ran.stdout
    assert max(numbers) > 0
    assert not re.search(r"\b(nan|inf)\b", ran.stdout, flags=re.IGNORECASE), ran.stdout


def test_every_section_has_a_piece():
    assert set(re.findall(r"^## (.+)$", RUN, flags=re.MULTILINE)) == PIECES.keys() - {"Keras on torch"}
    assert PIECES.keys() >= IMPORT_TORCHVISION


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", NOT_RUN, flags=re.DOTALL))
def test_piece_that_is_not_run_here_is_python(code):
    compile(code, "docs/frameworks.md", "exec")
