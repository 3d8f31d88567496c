"""SPEC.md carried out in NumPy float64, slowly and obviously: one image at a time, every sum written out."""

from functools import reduce as fold
from itertools import product

import numpy as np

OVERLAP = 1 / 4  # the part of a window that it shares with the next (SPEC 3.7)


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
    window=None,
    edges="magnitude",
    p=1,
    normalization="gain",
    sobel_size=5,
    mask=None,
    reduction="mean",
):
    """SPEC 2.5: the general and the specific term, each reduced."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if mask is not None:
        mask = np.broadcast_to(np.asarray(mask, np.float64), x.shape)
        x = y + mask * (np.where(mask == 0, y, x) - y)  # SPEC 6.1, 6.2
    n = len(axes)
    x, y = np.moveaxis(x, axes, range(-n, 0)), np.moveaxis(y, axes, range(-n, 0))
    batch, pixels = x.shape[:-n], np.prod(x.shape[-n:])
    unit = {"gain": 1, "area": gain(sobel_size, n) / np.sqrt(pixels)}[normalization]  # SPEC 5.1, 5.2

    general, specific = np.zeros(batch), np.zeros(batch)
    for i in np.ndindex(batch):
        pairs = zip(windows(x[i], window), windows(y[i], window), strict=True)
        general[i] = mean(np.array([spectral_difference(*pair, spectrum) for pair in pairs]), p)
        specific[i] = mean(length(edge_difference(x[i], y[i], edges, sobel_size), edges), p) * unit
    return reduce(general, reduction), reduce(specific, reduction)


def difference_maps(x, y, *, axes=(-2, -1), spectrum="magnitude", edges="magnitude", sobel_size=5):
    """SPEC 11."""
    n = len(axes)
    x, y = np.moveaxis(x, axes, range(-n, 0)), np.moveaxis(y, axes, range(-n, 0))
    spectral, edge = np.zeros(x.shape), np.zeros(x.shape)
    for i in np.ndindex(x.shape[:-n]):
        d_s = spectral_difference(x[i], y[i], spectrum)
        d_s = d_s if spectrum == "magnitude" else np.abs(d_s)
        spectral[i] = np.roll(d_s, [length // 2 for length in d_s.shape], range(n))
        edge[i] = length(edge_difference(x[i], y[i], edges, sobel_size), edges)
    return np.moveaxis(spectral, range(-n, 0), axes), np.moveaxis(edge, range(-n, 0), axes)


def spectral_difference(x, y, spectrum):
    """SPEC 3.2 to 3.4: d_s of two images."""
    X, Y = dft(x), dft(y)
    if spectrum == "complex":
        return X - Y
    difference = np.abs(X) - np.abs(Y)
    dc = (0,) * x.ndim
    difference[dc] = X[dc].real - Y[dc].real
    return difference


def windows(image, size):
    """SPEC 3.7: the image itself, or each window of its reflection, tapered."""
    if size is None:
        return [image]
    shared = round(size * OVERLAP)
    step = size - shared
    rise = np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / shared)
    taper = np.concatenate([rise, np.ones(size - 2 * shared), rise[::-1]]) * np.sqrt(size / step)
    tapers = fold(np.multiply.outer, [taper] * image.ndim)
    counts = [-(-(length + shared) // step) for length in image.shape]
    ends = [(count - 1) * step + size for count in counts]
    beyond = [(shared, end - shared - length) for end, length in zip(ends, image.shape, strict=True)]
    padded = np.pad(image, beyond, mode="reflect")
    places = product(*(range(0, count * step, step) for count in counts))
    return [padded[tuple(slice(i, i + size) for i in place)] * tapers for place in places]


def edge_difference(x, y, edges, size):
    """SPEC 4.3, 4.4: d_e of two images, a vector for each pixel if edges are vectors."""
    grad_x, grad_y = sobel(x, size), sobel(y, size)
    if edges == "vector":
        return grad_x - grad_y
    return np.sqrt(np.sum(grad_x**2, 0)) - np.sqrt(np.sum(grad_y**2, 0))


def length(difference, edges):
    """|d_e| of each pixel, or d_e where it is a number."""
    return np.sqrt(np.sum(difference**2, 0)) if edges == "vector" else difference


def dft(image):
    """SPEC 3.1: X[p, q, ...] = sum over i, j, ... of x[i, j, ...] exp(-2 pi i (p i / H + q j / W + ...)) / sqrt(N)."""
    pixels = image.size
    for axis, n in enumerate(image.shape):
        image = np.moveaxis(np.tensordot(exponentials(n), image, (1, axis)), 0, axis)
    return image / np.sqrt(pixels)


def exponentials(n):
    """E[p, i] = exp(-2 pi i p i / n)."""
    turns = np.outer(np.arange(n), np.arange(n)) % n  # whole turns removed, for accuracy
    return np.exp(-2j * np.pi * turns / n)


def gain(size, axes):
    """SPEC 5.2: what the kernel's sums make of a slope of one intensity per pixel."""
    return 2.0 ** (size - 2) * 2.0 ** ((size - 1) * (axes - 1))


def sobel(image, size):
    """SPEC 4.1, 4.2: the components of grad, each d along its own axis and s along the others, over the gain."""
    smooth, derivative = np.ones(1), -np.ones(1)
    for _ in range(size - 1):
        smooth = np.convolve(smooth, [1, 1])
    for _ in range(size - 2):
        derivative = np.convolve(derivative, [1, 1])
    derivative = np.convolve(derivative, [1, -1])
    padded = np.pad(image, size // 2, mode="reflect")
    axes = range(image.ndim)
    kernels = [fold(np.multiply.outer, [derivative if axis == own else smooth for axis in axes]) for own in axes]
    return np.stack([correlate(padded, kernel) for kernel in kernels]) / gain(size, image.ndim)


def correlate(padded, kernel):
    """out[i, j, ...] = sum over m, n, ... of kernel[m, n, ...] padded[i + m, j + n, ...], where the kernel fits."""
    shape = [n - k + 1 for n, k in zip(padded.shape, kernel.shape, strict=True)]
    out = np.zeros(shape)
    for offset in product(*map(range, kernel.shape)):
        out += kernel[offset] * padded[tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))]
    return out


def mean(difference, p):
    """M_p, SPEC 3.6: the mean of the absolute values, or the root mean square."""
    return np.mean(np.abs(difference)) if p == 1 else np.sqrt(np.mean(np.abs(difference) ** 2))


def reduce(losses, reduction):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)
