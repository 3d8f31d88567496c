"""What a user would pick instead: other losses in eager PyTorch, and BlurSim as published."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


def published(x: np.ndarray, y: np.ndarray, alpha: float) -> float:
    """BlurSim with the arithmetic of the code of 2023: NumPy and OpenCV, one grey image at a time.

    It compares the complex DFTs and the lengths of the 5 x 5 Sobel vectors, divides both norms by
    H W, and has no gradient: blursim(..., spectrum="complex", p=2, normalization="area"), mean over the images.
    """
    cv2 = importlib.import_module("cv2")

    def slope(image: np.ndarray) -> np.ndarray:
        return cv2.magnitude(cv2.Sobel(image, cv2.CV_64F, 1, 0, ksize=5), cv2.Sobel(image, cv2.CV_64F, 0, 1, ksize=5))

    losses = []
    area = x.shape[-2] * x.shape[-1]
    for a, b in zip(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), strict=True):
        general = np.linalg.norm(np.fft.fft2(a) - np.fft.fft2(b)) / area
        specific = np.linalg.norm(slope(a) - slope(b)) / area
        losses.append((1 - alpha) * general + alpha * specific)
    return float(np.mean(losses))


def focal_frequency(package: Any) -> Callable[..., Any]:
    loss = package.FocalFrequencyLoss()
    return lambda x, y: loss(_nchw(x), _nchw(y))


def kornia_ssim(package: Any) -> Callable[..., Any]:
    loss = package.losses.SSIMLoss(window_size=11)
    return lambda x, y: loss(_nchw(x), _nchw(y))


def pytorch_msssim_ssim(package: Any) -> Callable[..., Any]:
    return lambda x, y: 1 - package.ssim(_nchw(x), _nchw(y), data_range=1)


def kornia_ssim_3d(package: Any) -> Callable[..., Any]:
    loss = package.losses.SSIM3DLoss(window_size=11)
    return lambda x, y: loss(_ncdhw(x), _ncdhw(y))


def monai_ssim_3d(package: Any) -> Callable[..., Any]:
    loss = package.losses.SSIMLoss(spatial_dims=3)
    return lambda x, y: loss(_ncdhw(x), _ncdhw(y))


def monai_jukebox(package: Any) -> Callable[..., Any]:
    loss = package.losses.JukeboxLoss(spatial_dims=3)
    return lambda x, y: loss(_ncdhw(x), _ncdhw(y))


# Name in the tables: (package to import, maker of loss(x, y)).
LOSSES = {
    "focal-frequency-loss": ("focal_frequency_loss", focal_frequency),
    "kornia SSIM": ("kornia", kornia_ssim),
    "pytorch-msssim SSIM": ("pytorch_msssim", pytorch_msssim_ssim),
}
VOLUME_LOSSES = {
    "MONAI JukeboxLoss": ("monai", monai_jukebox),
    "MONAI SSIM": ("monai", monai_ssim_3d),
    "kornia SSIM": ("kornia", kornia_ssim_3d),
}
SECTIONS = {"peers": LOSSES, "volume-peers": VOLUME_LOSSES}


@functools.cache
def installed(section: str) -> dict[str, Callable[..., Any]]:
    """The losses of a section whose packages can be imported."""
    losses = {}
    for name, (package, make) in SECTIONS[section].items():
        try:
            losses[name] = make(importlib.import_module(package))
        except ImportError:
            print(f"{name} is not installed and stays out of the table")
    return losses


def _nchw(x: Any) -> Any:
    """Grey images with a channel axis, as these losses expect them."""
    return x if x.ndim == 4 else x.reshape(-1, 1, *x.shape[-2:])


def _ncdhw(x: Any) -> Any:
    """Grey volumes with a channel axis."""
    return x[:, None]
