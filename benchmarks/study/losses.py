"""The losses that are trained with, as records: what a user would pick instead, and BlurSim.

To try a loss of your own, write loss(x, y), images of shape (N, C, H, W) from 0 to 1, and add a record to LOSSES:

    Loss("mine", mine, "mine")

then `python -m benchmarks.study.training --losses mine --tasks render-shift2`. What a loss is told besides the images
stands in `told`: how far targets may be out of register ("radius", in pixels), how far the training run is
("progress", from 0 to 1), the noise of the targets ("noise", their standard deviation). The peers' formulas are proved
equal to their packages, or to their papers' sums, in the tests.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.study import windowed
from blursim_jax import blursim


@dataclass(frozen=True)
class Loss:
    name: str  # in the results
    function: Callable[..., Array]
    kind: str  # of the tables: pixels, search, statistics, ours, mix, option
    options: dict[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    def __call__(self, x: Array, y: Array, **context: Any) -> Array:
        return self.function(x, y, **self.options, **{name: context[name] for name in self.told})


# Pixel by pixel, or frequency by frequency


def mse(x: Array, y: Array) -> Array:
    return jnp.mean((x - y) ** 2)


def l1(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.abs(x - y))


def l1_fft(x: Array, y: Array, weight: float = 0.1) -> Array:
    """L1 of the pixels, and of real and imaginary parts of the unnormalised DFTs, as in MIMO-UNet."""
    d = jnp.fft.fft2(x - y)
    return l1(x, y) + weight * (jnp.mean(jnp.abs(d.real)) + jnp.mean(jnp.abs(d.imag))) / 2


def ssim(x: Array, y: Array, window: int = 11, sigma: float = 1.5) -> Array:
    """1 - SSIM, windows wholly inside the image."""
    taps = np.exp(-((np.arange(window) - window // 2) ** 2) / (2 * sigma**2))
    taps = (taps / taps.sum()).astype(np.float32)

    def mean(image: Array) -> Array:
        for axis in (-2, -1):
            length = image.shape[axis] - window + 1
            image = sum(t * jax.lax.slice_in_dim(image, i, i + length, axis=axis) for i, t in enumerate(taps))
        return image

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return 1 - jnp.mean(luminance * (2 * covariance + c2) / (variance_x + variance_y + c2))


def l1_coarse(x: Array, y: Array, tile: int = 8) -> Array:
    """L1 of the means of squares side by side: brightness and colour, whatever lies out of register within them."""
    return l1(in_tiles(x, tile).mean(axis=(-3, -1)), in_tiles(y, tile).mean(axis=(-3, -1)))


# Searching for the shift


def l1_best_shift(x: Array, y: Array, radius: int) -> Array:
    """The least L1 over all whole shifts of y by up to radius, for each image: how the PROBA-V challenge scores."""
    height, width = (side - 2 * radius for side in x.shape[-2:])
    inner = x[..., radius : radius + height, radius : radius + width]
    window = lambda image, shift: jax.lax.dynamic_slice(image, (0, *shift), (image.shape[0], height, width))
    at = lambda shift: jnp.abs(inner - jax.vmap(window, (0, None))(y, shift)).mean((1, 2, 3))
    # Searched without a gradient, and differentiated at the best alone.
    shifts = jnp.array(list(itertools.product(range(2 * radius + 1), repeat=2)))
    best = shifts[jnp.argmin(jax.lax.map(at, shifts), axis=0)]
    return l1(inner, jax.vmap(window)(y, best))


def l1_best_shift_of_pixels(x: Array, y: Array, radius: int, box: int = 17) -> Array:
    """At each pixel the least L1 of the box around it over all whole shifts of y by up to radius, so that shifts may
    vary over the image; a pixel whose partner lies outside of y does not count."""
    padded, inside = (jnp.pad(image, [(0, 0)] * 2 + [(radius, radius)] * 2) for image in (y, jnp.ones_like(y)))

    def total(image: Array) -> Array:
        """Of the box around each pixel, by running sums."""
        for axis in (-2, -1):
            edges = [(box // 2 + 1, box // 2) if a == axis % 4 else (0, 0) for a in range(4)]
            sums = jnp.cumsum(jnp.pad(image, edges), axis=axis)
            size = image.shape[axis]
            cut = lambda start, sums=sums, axis=axis, size=size: jax.lax.slice_in_dim(
                sums, start, start + size, axis=axis
            )
            image = cut(box) - cut(0)
        return image

    def at(shift: Array) -> Array:
        partners, weights = (jax.lax.dynamic_slice(image, (0, 0, *shift), x.shape) for image in (padded, inside))
        errors = (weights * jnp.abs(x - partners)).mean(axis=1, keepdims=True)
        return total(errors) / total(weights[:, :1])

    shifts = jnp.array(list(itertools.product(range(2 * radius + 1), repeat=2)))
    return jnp.mean(jax.vmap(at)(shifts).min(axis=0))


# Statistics that don't know where


def window_fft(x: Array, y: Array, window: int = 16) -> Array:
    """L1 of the magnitudes of the unitary DFTs of windows side by side; of 8 x 8 the plain core of Watson's model."""
    magnitude = lambda image: jnp.abs(jnp.fft.fft2(in_tiles(image, window), axes=(-3, -1), norm="ortho"))
    return l1(magnitude(x), magnitude(y))


def window_fft_anywhere(x: Array, y: Array, progress: Array, window: int = 16) -> Array:
    """As window_fft, the windows lying elsewhere at each step; those across the border do not count."""
    offset = jax.random.randint(a_key(progress), (2,), 0, window)
    height, width = (side - window for side in x.shape[-2:])
    cut = lambda image: jax.lax.dynamic_slice(image, (0, 0, *offset), (*image.shape[:2], height, width))
    return window_fft(cut(x), cut(y), window)


def a_key(progress: Array) -> Array:
    """Another one at each step."""
    return jax.random.fold_in(jax.random.key(0), jnp.asarray(progress * 2**20, int))


def in_tiles(image: Array, tile: int) -> Array:
    """(..., H, W) -> (..., H / tile, tile, W / tile, tile); what is left over at the far borders is dropped."""
    rows, columns = (side // tile for side in image.shape[-2:])
    cut = image[..., : rows * tile, : columns * tile]
    return cut.reshape(*image.shape[:-2], rows, tile, columns, tile)


def squares(image: Array, size: int = 3) -> Array:
    """(..., H, W) -> (..., h, w, size^2): squares of pixels as vectors."""
    height, width = (side - size + 1 for side in image.shape[-2:])
    places = itertools.product(range(size), repeat=2)
    return jnp.stack([image[..., i : i + height, j : j + width] for i, j in places], axis=-1)


def sliced_wasserstein(x: Array, y: Array, progress: Array, window: int = 16, directions: int = 16) -> Array:
    """The 1-Wasserstein distance, in each window, of its squares of 3 x 3 pixels along random directions, which change
    at each step."""
    along = jax.random.normal(a_key(progress), (9, directions))
    along /= jnp.linalg.norm(along, axis=0)

    def ranked(image: Array) -> Array:
        seen = jnp.moveaxis(squares(image) @ along, -1, 2)  # (N, C, directions, h, w)
        tiles = jnp.moveaxis(in_tiles(seen, window), -3, -2)
        return jnp.sort(tiles.reshape(*tiles.shape[:-2], window * window), axis=-1)

    return l1(ranked(x), ranked(y))


def eagle(x: Array, y: Array, patch: int = 3, cutoff: float = 0.5) -> Array:
    """Eagle, 2025: of the gradients by Scharr the variance in patches, of that the DFT's magnitude, a Gaussian
    high-pass, L1. DFTs are unitary, so that the weight does not depend on the size."""

    def seen(image: Array) -> Array:
        smooth, slope = (3 / 16, 10 / 16, 3 / 16), (-0.5, 0, 0.5)
        both = []
        for down, across in ((smooth, slope), (slope, smooth)):
            height, width = (side - 2 for side in image.shape[-2:])
            rows = sum(t * image[..., i : i + height, :] for i, t in enumerate(down))
            both.append(sum(t * rows[..., i : i + width] for i, t in enumerate(across)))
        return jnp.fft.fft2(in_tiles(jnp.stack(both), patch).var(axis=(-3, -1)), norm="ortho")

    u, v = seen(x), seen(y)
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, u.shape[-2:]), indexing="ij"))
    passed = (1 - np.exp(-(frequency**2) / (2 * (cutoff / 2) ** 2))).astype(np.float32)
    return jnp.mean(passed * jnp.abs(jnp.abs(u) - jnp.abs(v)))


def amse(x: Array, y: Array) -> Array:
    """Adjusted MSE (Subich et al. 2025) with rings of the DFT's plane for the sphere's wavenumbers: in each ring the
    difference of the amplitudes, and what is not coherent."""
    X, Y = (jnp.fft.fft2(image, norm="ortho") for image in (x, y))
    height, width = x.shape[-2:]
    distance = np.hypot(*np.meshgrid(np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width, indexing="ij"))
    ring = np.round(distance).astype(int).ravel()
    members = (ring[:, None] == np.arange(ring.max() + 1)).astype(np.float32)
    total = lambda image: image.reshape(*image.shape[:-2], -1) @ members
    power_x, power_y = (total(jnp.abs(spectrum) ** 2) + 1e-12 for spectrum in (X, Y))
    coherence = total((X * Y.conj()).real) / jnp.sqrt(power_x * power_y)
    apart = (jnp.sqrt(power_x) - jnp.sqrt(power_y)) ** 2 + 2 * jnp.maximum(power_x, power_y) * (1 - coherence)
    return jnp.mean(apart.sum(axis=-1)) / (height * width)


def amplitudes(x: Array, y: Array) -> Array:
    """The Fourier amplitude loss of FACL (2024): the mean square of what the unitary DFTs' magnitudes differ by."""
    X, Y = (jnp.abs(jnp.fft.fft2(image, norm="ortho")) for image in (x, y))
    return jnp.mean((X - Y) ** 2)


# Made of others


def total(x: Array, y: Array, parts: Sequence[tuple[float, Loss]], **context: Any) -> Array:
    return sum(weight * loss(x, y, **context) for weight, loss in parts)


def after_colours(x: Array, y: Array, then: Loss, **context: Any) -> Array:
    """x recoloured by the affine map of its channels that brings it nearest to y, in closed form, image by image."""
    pixels = lambda image: jnp.moveaxis(image, 1, -1).reshape(image.shape[0], -1, image.shape[1])
    u, v = pixels(x), pixels(y)
    u = jnp.concatenate([u, jnp.ones_like(u[..., :1])], axis=-1)
    normal = jnp.swapaxes(u, 1, 2) @ u + 1e-4 * u.shape[1] * jnp.eye(u.shape[-1])
    towards = jnp.swapaxes(u, 1, 2) @ v + 1e-4 * u.shape[1] * jnp.eye(u.shape[-1], v.shape[-1])
    mapped = u @ jax.lax.stop_gradient(jnp.linalg.solve(normal, towards))
    return then(jnp.moveaxis(mapped.reshape(x.shape[0], *x.shape[2:], -1), -1, 1), y, **context)


def scheduled(x: Array, y: Array, start: float, end: float, progress: Array, **options: Any) -> Array:
    return blursim(x, y, start + (end - start) * progress, **options)


def above_noise(x: Array, y: Array, noise: float, alpha: float = 0, floor: bool = True) -> Array:
    """BlurSim with magnitudes and p = 1, those of x raised by the power that the targets' noise adds to those of y."""
    sigma = noise * floor
    raised = lambda squares, power: jnp.sqrt(squares + power + 1e-12)
    X, Y = (jnp.fft.fft2(image, norm="ortho") for image in (x, y))
    general = jnp.abs(raised(jnp.abs(X) ** 2, sigma**2) - jnp.abs(Y))
    # The mean is not hidden by noise, and keeps its sign.
    general = general.at[..., 0, 0].set(jnp.abs(X - Y)[..., 0, 0]).mean()
    if not alpha:
        return general
    smooth, slope = np.array([1, 4, 6, 4, 1]) / 16, np.array([-1, -2, 0, 2, 1]) / 8
    power = 2 * sigma**2 * (smooth**2).sum() * (slope**2).sum()
    lengths = lambda image: sum(_along(_along(image, a, -2), b, -1) ** 2 for a, b in ((smooth, slope), (slope, smooth)))
    specific = jnp.abs(raised(lengths(x), power) - raised(lengths(y), 0)).mean()
    return (1 - alpha) * general + alpha * specific


def _along(image: Array, taps: np.ndarray, axis: int) -> Array:
    reach = len(taps) // 2
    wide = jnp.pad(image, [(reach, reach) if a == axis % 4 else (0, 0) for a in range(4)], mode="reflect")
    size = image.shape[axis]
    return sum(float(t) * jax.lax.slice_in_dim(wide, i, i + size, axis=axis) for i, t in enumerate(taps))


# The records


def ours(
    spectrum: str, p: int, alpha: float | str, edges: str = "magnitude", k: int = 5, normalization: str = "gain", **more
) -> Loss:
    """BlurSim under a name that says all; without edges their options don't matter. "0.9->0.1" is a straight line."""
    window = more.get("window")
    function, last = (windowed.blursim, f" window={window}") if window else (blursim, "")
    if window:
        more["overlap"] = more.get("overlap", window // 2)
        last += " quarter" * (more["overlap"] == window // 4)
    if alpha == 0:
        return Loss(f"BlurSim {spectrum} p={p} 0{last}", function, "ours", {"alpha": 0, "spectrum": spectrum, "p": p} | more)
    options = {"spectrum": spectrum, "edges": edges, "p": p, "sobel_size": k, "normalization": normalization} | more
    name = f"BlurSim {spectrum}/{edges} p={p} k={k} {normalization} {alpha}{last}"
    if isinstance(alpha, str):
        start, end = map(float, alpha.split("->"))
        return Loss(name, scheduled, "ours", options | {"start": start, "end": end}, ("progress",))
    return Loss(name, function, "ours", options | {"alpha": alpha})


def mix(*parts: tuple[float, Loss], name: str = "") -> Loss:
    words = (loss.name if weight == 1 else f"{weight:g} {loss.name}" for weight, loss in parts)
    told = tuple(dict.fromkeys(itertools.chain(*(loss.told for _, loss in parts))))
    return Loss(name or " + ".join(words), total, "mix", {"parts": parts}, told)


L1, L1_FFT = Loss("L1", l1, "pixels"), Loss("L1 + FFT", l1_fft, "pixels")
SEARCH = Loss("L1, best shift", l1_best_shift, "search", told=("radius",))
SEARCH_PIXELS = Loss("L1, best shift of pixels", l1_best_shift_of_pixels, "search", told=("radius",))
SEARCH_SMALL = Loss("L1, best shift of pixels, boxes of 9", l1_best_shift_of_pixels, "search", {"box": 9}, ("radius",))
WINDOWS = Loss("FFT of windows", window_fft, "statistics")
ANYWHERE = Loss("FFT of windows, anywhere", window_fft_anywhere, "statistics", told=("progress",))
BLOCKS = Loss("FFT of blocks of 8", window_fft, "statistics", {"window": 8})
EAGLE = Loss("Eagle", eagle, "statistics")
COMPLEX = ours("complex", 1, 0.3)
MAGNITUDES = ours("magnitude", 1, 0.3)
MAGNITUDES_3 = ours("magnitude", 1, 0.5, k=3)
SPECTRUM = ours("magnitude", 1, 0)
PUBLISHED = ours("complex", 2, "0.9->0.1", normalization="area")
PUBLISHED_MAGNITUDES = ours("magnitude", 2, "0.9->0.1", normalization="area")
MIX = mix((1, L1), (1, SPECTRUM))
MIX_SQUARES = mix((1, L1), (1, ours("magnitude", 2, 0)))
FLOOR = Loss("BlurSim above the noise, spectrum", above_noise, "ours", told=("noise",))
FLOOR_EDGES = Loss("BlurSim above the noise, alpha 0.3", above_noise, "ours", {"alpha": 0.3}, ("noise",))
COLOURS = (
    Loss("L1 after colours", after_colours, "pixels", {"then": L1}),
    Loss(f"{MAGNITUDES.name} after colours", after_colours, "ours", {"then": MAGNITUDES}),
)
OPTIONS = [
    ours(spectrum, p, alpha, edges, k)
    for p in (1, 2)
    for spectrum, edges in itertools.product(("magnitude", "complex"), ("magnitude", "vector"))
    for k in (3, 5)
    for alpha in (0, 0.1, 0.3, 0.5, "0.9->0.1")
]
WINDOWED = [
    *(ours("magnitude", 1, 0, window=w, overlap=w // part) for w in (16, 24, 32, 40, 48, 64) for part in (2, 4)),
    *(ours("magnitude", 1, alpha, window=w, overlap=w // part) for w in (16, 24, 32, 40, 48, 64) for part in (2, 4) for alpha in (0.1, 0.3)),
    *(ours("complex", p, alpha, window=w, overlap=w // part) for w in (16, 32, 48, 64) for part in (2, 4) for p in (1, 2) for alpha in (0, 0.3)),
    *(mix((weight, L1), (1, ours("magnitude", 1, 0, window=w, overlap=w // part))) for weight in (0.1, 1) for w in (16, 32, 48, 64) for part in (2, 4)),
    mix((0.1, L1), (1, SPECTRUM)),
]
RECORDS = [
    L1,
    L1_FFT,
    Loss("MSE", mse, "pixels"),
    Loss("SSIM", ssim, "pixels"),
    Loss("AMSE", amse, "pixels"),
    SEARCH,
    SEARCH_PIXELS,
    SEARCH_SMALL,
    WINDOWS,
    ANYWHERE,
    BLOCKS,
    mix((1, L1), (1, WINDOWS)),
    Loss("local sliced Wasserstein", sliced_wasserstein, "statistics", told=("progress",)),
    mix((1, L1), (1, Loss("local sliced Wasserstein", sliced_wasserstein, "statistics", told=("progress",)))),
    mix((1, L1), (10, EAGLE)),
    mix((1, L1), (100, EAGLE)),
    Loss("FACL's amplitudes", amplitudes, "statistics"),
    COMPLEX,
    MAGNITUDES,
    ours("complex", 1, 0.5, k=3),
    MAGNITUDES_3,
    SPECTRUM,
    PUBLISHED,
    PUBLISHED_MAGNITUDES,
    ours("magnitude", 2, 0.1, normalization="area"),
    MIX,
    MIX_SQUARES,
    mix((1, L1), (3, SPECTRUM)),
    mix((1, L1), (1, ours("complex", 1, 0))),
    mix((1, SEARCH), (1, SPECTRUM)),
    mix((1, L1), (1, MAGNITUDES)),
    mix((0.1, L1), (1, MAGNITUDES)),
    mix((1, MAGNITUDES), (1, Loss("L1 of squares of 8", l1_coarse, "pixels"))),
    FLOOR,
    FLOOR_EDGES,
    mix((1, L1), (1, FLOOR)),
    *COLOURS,
    *WINDOWED,
    *OPTIONS,
]
LOSSES = {loss.name: loss for loss in reversed(RECORDS)}  # of two with one name the first
LOSSES = dict(reversed(LOSSES.items()))
