"""Train a small network to deblur photographs, with BlurSim in a PyTorch train step.

    python examples/train_deblur_torch.py

Takes one to two minutes on two cores. Images are float32, grey, from 0 to 1.
"""

import _deblur
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from blursim_torch import BlurSim, blursim_terms, difference_maps


class Deblur(nn.Module):
    """x plus a correction, made by a few convolutions."""

    def __init__(self, width: int = 24, depth: int = 5) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        last = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(last.weight)  # training starts from the blurred image
        nn.init.zeros_(last.bias)
        self.correction = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.correction(x)


def train(steps: int, seed: int) -> Deblur:
    torch.manual_seed(seed)
    model = Deblur().to(memory_format=torch.channels_last)  # makes convolutions faster
    # The pairs are aligned, so the loss may depend on position.
    criterion = BlurSim(0.3, spectrum="complex")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    learning_rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = _deblur.batches(np.random.default_rng(seed))
    with tqdm(range(steps), unit="step") as progress:
        for step in progress:
            x, y = (torch.from_numpy(images)[:, None] for images in next(batches))
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            learning_rate.step()
            if step % 20 == 0:
                progress.set_postfix(loss=f"{loss.item():.4f}")
    return model


@torch.no_grad()
def main() -> None:
    args = _deblur.parse_args(__doc__.splitlines()[0], "deblur_torch.png")
    print(f"Training on {len(_deblur.TRAIN)} photographs", flush=True)
    with torch.enable_grad():
        model = train(args.steps, args.seed)
    print(f"Deblurring the centres of {len(_deblur.HELD_OUT)} held-out photographs", flush=True)
    blurred, sharp = (torch.from_numpy(x) for x in _deblur.held_out(np.random.default_rng(args.seed)))
    tried = {"blurred": blurred, "result": model(blurred[:, None])[:, 0].clamp(0, 1)}
    terms = [blursim_terms(x, sharp, reduction="none") for x in tried.values()]
    maps = [difference_maps(x, sharp) for x in tried.values()]
    tried = {name: x.numpy() for name, x in tried.items()}
    _deblur.print_table(sharp.numpy(), tried, terms)
    _deblur.draw(args.output, sharp.numpy(), tried, maps)


if __name__ == "__main__":
    main()
