"""The figures that judge a result. Images are (C, H, W), black 0 and white 1."""

from typing import Any

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

BORDER = 8  # pixels at the border that are not scored
BANDS = ((0, 1 / 16), (1 / 16, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1 / 2))  # cycles per pixel


def figures(output: np.ndarray, target: np.ndarray, untouched: np.ndarray) -> dict[str, Any]:
    """The figures of one image.

    psnr, ssim     of the output clipped to [0, 1]
    smooth         PSNR of the third of the pixels around which the target varies least: ripples, dirt
    textured       PSNR of the third around which it varies most
    tint           the largest mean error of a channel, in absolute value: drifting colours
    coarse         RMS of the error smoothed by sigma = 8 px: halos, stains, drifting brightness
    power          output / target in four bands of frequency: above 1 is sharper than the target, or noisier
    collapsed      1 if not finite, correlated with the target by less than 0.5, or with a PSNR 3 dB or more below that
                   of the untouched input; else 0
    """
    inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    output, target, untouched = output[inner], target[inner], untouched[inner].clip(0, 1)
    if not np.isfinite(output).all():
        return {"collapsed": 1}
    output = output.clip(0, 1)
    deviations = (output - output.mean()) * (target - target.mean())
    correlation = deviations.mean() / max(output.std() * target.std(), 1e-12)
    found, error = psnr(output, target), output - target
    smooth, textured = by_texture(output, target)
    return {
        "psnr": found,
        "ssim": float(structural_similarity(output, target, data_range=1, channel_axis=0)),
        "smooth": smooth,
        "textured": textured,
        "tint": float(np.abs(error.mean(axis=(-2, -1), dtype=np.float64)).max()),
        "coarse": float(np.sqrt(np.mean(ndimage.gaussian_filter(error, 8, axes=(-2, -1)) ** 2, dtype=np.float64))),
        "power": power_by_band(output, target),
        "collapsed": int(correlation < 0.5 or found <= psnr(untouched, target) - 3),
    }


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((x - y) ** 2, dtype=np.float64), 1e-12)))


def power_by_band(x: np.ndarray, y: np.ndarray) -> list[float]:
    """With a Hann window, as the borders would otherwise count as edges."""
    window = np.outer(*(np.hanning(side) for side in x.shape[-2:]))
    X, Y = (np.abs(np.fft.fft2((image - y.mean()) * window)) for image in (x, y))
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, x.shape[-2:]), indexing="ij"))
    bands = [(low <= frequency) & (frequency < high) for low, high in BANDS]
    return [float((X[..., band] ** 2).sum() / (Y[..., band] ** 2).sum()) for band in bands]


def by_texture(x: np.ndarray, y: np.ndarray, side: int = 7) -> tuple[float, float]:
    """PSNR of the third of the pixels with the least standard deviation of y around them, and of that with the most."""
    mean = lambda image: ndimage.uniform_filter(image, side, axes=(-2, -1))
    rank = (mean(y.astype(float) ** 2) - mean(y.astype(float)) ** 2).mean(axis=0).ravel().argsort(kind="stable")
    third = len(rank) // 3
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    return psnr(x[:, rank[:third]], y[:, rank[:third]]), psnr(x[:, rank[-third:]], y[:, rank[-third:]])
