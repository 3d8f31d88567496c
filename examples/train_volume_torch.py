"""Train a small network to undo the defocus of a microscope, on volumes (NCDHW) in PyTorch: BlurSim, MSE and L1.

    python examples/train_volume_torch.py
    python examples/train_volume_torch.py --sharp mine.tif --blurred mine_out_of_focus.tif

Takes a few minutes on two cores. Volumes are float32, grey, from 0 to 1.
"""

from collections.abc import Iterator

import _volumes
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from blursim_torch import blursim

AXES = (-3, -2, -1)  # depth, height and width of volumes (N, C, D, H, W)
LOSSES = {
    "MSE": nn.functional.mse_loss,
    "L1": nn.functional.l1_loss,
    "BlurSim": lambda x, y: blursim(x, y, 0.3, axes=AXES),
    "BlurSim, complex": lambda x, y: blursim(x, y, 0.3, axes=AXES, spectrum="complex"),
}


class Refocus(nn.Module):
    """x plus a correction, made by convolutions at half the resolution, where they reach twice as far."""

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        layers = [nn.Conv3d(1, width, 2, stride=2), nn.ReLU()]
        for _ in range(depth):
            layers += [nn.Conv3d(width, width, 3, padding=1), nn.ReLU()]
        last = nn.ConvTranspose3d(width, 1, 2, stride=2)
        nn.init.zeros_(last.weight)  # training starts from the blurred volume
        nn.init.zeros_(last.bias)
        self.correction = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.correction(x)


def train(loss: str, batches: Iterator[_volumes.Pair], steps: int, seed: int) -> _volumes.Restore:
    torch.manual_seed(seed)
    model = Refocus().to(memory_format=torch.channels_last_3d)  # makes convolutions faster
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    learning_rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with tqdm(range(steps), unit="step", desc=f"{loss}, seed {seed}") as progress:
        for step in progress:
            x, y = (torch.from_numpy(volumes)[:, None] for volumes in next(batches))
            value = LOSSES[loss](model(x), y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            learning_rate.step()
            if step % 20 == 0:
                progress.set_postfix(loss=f"{value.item():.4f}")

    @torch.no_grad()
    def restore(blurred: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(blurred)[None, None])[0, 0].numpy()

    return restore


def main() -> None:
    _volumes.main(__doc__.splitlines()[0], "volume_torch.png", list(LOSSES), train)


if __name__ == "__main__":
    main()
