"""SPEC.md carried out in NumPy float64, slowly and obviously: one image at a time, every sum written out."""

import numpy as np


def blursim(x, y, alpha, *, reduction="mean", **options):
    """SPEC 2.1, 5.4."""
    general, specific = blursim_terms(x, y, reduction="none", **options)
    alpha = np.broadcast_to(alpha, general.shape)
    return reduce((1 - alpha) * general + alpha * specific, reduction)


def blursim_terms(
    x,
    y,
    *,
    axes=(-2, -1),
    spectrum="magnitude",
    edges="magnitude",
    normalization="area",
    sobel_size=5,
    mask=None,
    reduction="mean",
):
    """SPEC 2.5: the general and the specific term, each reduced."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if mask is not None:
        mask = np.broadcast_to(np.asarray(mask, np.float64), x.shape)
        x = y + mask * (np.where(mask == 0, y, x) - y)  # SPEC 6.1, 6.2
    x, y = np.moveaxis(x, axes, (-2, -1)), np.moveaxis(y, axes, (-2, -1))
    batch, area = x.shape[:-2], x.shape[-2] * x.shape[-1]
    gain = 2 ** (sobel_size - 1) * 2 ** (sobel_size - 2)
    divisor = {"area": area, "rms": gain * np.sqrt(area)}[normalization]  # SPEC 5.1, 5.2

    general, specific = np.zeros(batch), np.zeros(batch)
    for i in np.ndindex(batch):
        general[i] = norm(spectral_difference(x[i], y[i], spectrum)) / area
        specific[i] = norm(edge_difference(x[i], y[i], edges, sobel_size)) / divisor
    return reduce(general, reduction), reduce(specific, reduction)


def difference_maps(x, y, *, axes=(-2, -1), spectrum="magnitude", edges="magnitude", sobel_size=5):
    """SPEC 11."""
    x, y = np.moveaxis(x, axes, (-2, -1)), np.moveaxis(y, axes, (-2, -1))
    spectral, edge = np.zeros(x.shape), np.zeros(x.shape)
    for i in np.ndindex(x.shape[:-2]):
        d_s = spectral_difference(x[i], y[i], spectrum)
        d_e = edge_difference(x[i], y[i], edges, sobel_size)
        d_s = d_s if spectrum == "magnitude" else np.abs(d_s)
        height, width = d_s.shape
        spectral[i] = np.roll(d_s, (height // 2, width // 2), (0, 1))
        edge[i] = d_e if edges == "magnitude" else np.hypot(d_e[0], d_e[1])
    return np.moveaxis(spectral, (-2, -1), axes), np.moveaxis(edge, (-2, -1), axes)


def spectral_difference(x, y, spectrum):
    """SPEC 3.2 to 3.4: d_s of two images."""
    X, Y = dft(x), dft(y)
    if spectrum == "complex":
        return X - Y
    difference = np.abs(X) - np.abs(Y)
    difference[0, 0] = X[0, 0].real - Y[0, 0].real
    return difference


def edge_difference(x, y, edges, size):
    """SPEC 4.3, 4.4: d_e of two images."""
    (gx, gy), (hx, hy) = sobel(x, size), sobel(y, size)
    if edges == "vector":
        return np.stack([gx - hx, gy - hy])
    return np.sqrt(gx**2 + gy**2) - np.sqrt(hx**2 + hy**2)


def dft(image):
    """SPEC 3.1: X[p, q] = sum over i, j of x[i, j] exp(-2 pi i (p i / H + q j / W))."""
    height, width = image.shape
    return exponentials(height) @ image @ exponentials(width).T


def exponentials(n):
    """E[p, i] = exp(-2 pi i p i / n)."""
    turns = np.outer(np.arange(n), np.arange(n)) % n  # whole turns removed, for accuracy
    return np.exp(-2j * np.pi * turns / n)


def sobel(image, size):
    """SPEC 4.1, 4.2: (gx, gy)."""
    smooth, derivative = np.ones(1), -np.ones(1)
    for _ in range(size - 1):
        smooth = np.convolve(smooth, [1, 1])
    for _ in range(size - 2):
        derivative = np.convolve(derivative, [1, 1])
    derivative = np.convolve(derivative, [1, -1])
    padded = np.pad(image, size // 2, mode="reflect")
    return correlate(padded, np.outer(smooth, derivative)), correlate(padded, np.outer(derivative, smooth))


def correlate(padded, kernel):
    """out[i, j] = sum over m, n of kernel[m, n] padded[i + m, j + n], where the kernel fits."""
    size = len(kernel)
    height, width = padded.shape[0] - size + 1, padded.shape[1] - size + 1
    out = np.zeros((height, width))
    for m in range(size):
        for n in range(size):
            out += kernel[m, n] * padded[m : m + height, n : n + width]
    return out


def norm(difference):
    return np.sqrt(np.sum(np.abs(difference) ** 2))


def reduce(losses, reduction):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)
