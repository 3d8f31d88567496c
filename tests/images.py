"""Images that have zeros among their magnitudes: the Sobel vectors' are exact, of the DFT rounding leaves noise."""

import numpy as np


def stripes(height, width):
    """Rows all equal, hence X is zero but in its first row; the period, 3 pixels, need not divide the width."""
    return np.broadcast_to(np.array([0.1, 0.9, 0.4])[np.arange(width) % 3], (height, width))


FLAT = {
    "constant": lambda h, w: np.full((h, w), 1 / 3),
    "negative": lambda h, w: np.full((h, w), -0.1),
    "black": lambda h, w: np.zeros((h, w)),
}
DEGENERATE = FLAT | {
    "one-hot": lambda h, w: np.eye(1, h * w, w + 2).reshape(h, w),
    "columns": stripes,
    "rows": lambda h, w: stripes(w, h).T,
    "checkers": lambda h, w: np.indices((h, w)).sum(0) % 2,
    "step": lambda h, w: np.broadcast_to(np.arange(w) > w // 2, (h, w)),
}


def degenerate(shape, dtype, kinds=DEGENERATE):
    return np.stack([make(*shape) for make in kinds.values()]).astype(dtype)


def every_pair(images):
    """Each with each, itself included, as two batches."""
    return np.repeat(images, len(images), 0), np.tile(images, (len(images), *(1 for _ in images.shape[1:])))
