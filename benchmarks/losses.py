"""The losses that are trained with: what a user would pick instead, and BlurSim with each combination of its options.

Every loss is called as loss(x, y, progress): images of shape (N, H, W) from 0 to 1, and how far the training is, from
0 to 1, which only the schedules of alpha and the draws of directions look at. The peers' formulas are proved equal to
their packages, or to their papers' sums, in the tests.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from blursim_jax import blursim, blursim_terms

Loss = Callable[[Array, Array, Array], Array]


def mse(x: Array, y: Array) -> Array:
    return jnp.mean((x - y) ** 2)


def l1(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.abs(x - y))


def charbonnier(x: Array, y: Array, epsilon: float = 1e-3) -> Array:
    return jnp.mean(jnp.sqrt((x - y) ** 2 + epsilon**2))


def l1_fft(x: Array, y: Array, weight: float = 0.1) -> Array:
    """L1 of the pixels, and of real and imaginary parts of the unnormalised DFTs, as in MIMO-UNet."""
    d = jnp.fft.fft2(x - y)
    return l1(x, y) + weight * (jnp.mean(jnp.abs(d.real)) + jnp.mean(jnp.abs(d.imag))) / 2


def focal_frequency(x: Array, y: Array) -> Array:
    """Each bin of the unitary DFT weighed by its own distance, relative to the largest of the image; no gradient
    flows through the weights."""
    d = jnp.fft.fft2(x - y, norm="ortho")
    squares = d.real**2 + d.imag**2
    # The square root has an infinite slope at 0, but the weights are constants.
    weights = jnp.sqrt(jax.lax.stop_gradient(squares))
    largest = weights.max((-2, -1), keepdims=True)
    return jnp.mean(jnp.where(largest > 0, weights / jnp.where(largest > 0, largest, 1), 0) * squares)


def ssim(x: Array, y: Array, window: int = 11, sigma: float = 1.5) -> Array:
    """1 - SSIM, windows wholly inside the image."""
    taps = np.exp(-((np.arange(window) - window // 2) ** 2) / (2 * sigma**2))
    taps = (taps / taps.sum()).astype(np.float32)

    def mean(image: Array) -> Array:
        for axis in (-2, -1):
            length = image.shape[axis] - window + 1
            image = sum(t * jax.lax.slice_in_dim(image, i, i + length, axis=axis) for i, t in enumerate(taps))
        return image

    luminance, structure = ssim_parts(x, y, mean)
    return 1 - jnp.mean(luminance * structure)


def ssim_parts(x: Array, y: Array, mean: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Luminance, and contrast times structure, of every window; mean is that of a window."""
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def ms_ssim_l1(x: Array, y: Array, weight: float = 0.84, sigmas: Sequence[float] = (0.5, 1, 2, 4, 8)) -> Array:
    """The mix of Zhao et al. 2017: MS-SSIM by widening windows instead of shrinking images, and an L1 seen through
    the widest. Windows that stick out of the image are cut, and their weights sum to 1 all the same."""

    def blur(sigma: float) -> Callable[[Array], Array]:
        down, across = (gaussian_rows(side, sigma) for side in x.shape[-2:])
        return lambda image: down @ image @ across.T

    parts = [ssim_parts(x, y, blur(sigma)) for sigma in sigmas]
    similarity = math.prod((structure for _, structure in parts), start=parts[-1][0])
    return jnp.mean(weight * (1 - similarity) + (1 - weight) * blur(sigmas[-1])(jnp.abs(x - y)))


def gaussian_rows(side: int, sigma: float) -> np.ndarray:
    """(side, side): row i weighs the pixels of a line for the window around pixel i."""
    weights = np.exp(-(np.subtract.outer(range(side), range(side)) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def window_fft(x: Array, y: Array, window: int = 16) -> Array:
    """L1 of the magnitudes of the unitary DFTs of windows side by side, as nunif offers it."""
    magnitude = lambda image: jnp.abs(jnp.fft.fft2(in_tiles(image, window), axes=(2, 4), norm="ortho"))
    return l1(magnitude(x), magnitude(y))


def in_tiles(image: Array, tile: int) -> Array:
    """(N, H, W) -> (N, H / tile, tile, W / tile, tile); what is left over at the far borders is dropped."""
    count, rows, columns = image.shape[0], image.shape[1] // tile, image.shape[2] // tile
    return image[:, : rows * tile, : columns * tile].reshape(count, rows, tile, columns, tile)


def patches(image: Array, size: int = 5, stride: int = 1) -> Array:
    """(N, H, W) -> (N, how many, size^2): squares of pixels as vectors."""
    height, width = (side - size + 1 for side in image.shape[-2:])
    places = itertools.product(range(size), repeat=2)
    squares = jnp.stack([image[:, i : i + height : stride, j : j + width : stride] for i, j in places], axis=-1)
    return squares.reshape(len(image), -1, size * size)


def contextual(x: Array, y: Array, width: float = 0.5, epsilon: float = 1e-5, most: int = 32) -> Array:
    """The contextual loss of Mechrez et al. 2018 with patches of 5 x 5 pixels as features, at most 32 x 32 of them."""
    stride = -(-min(x.shape[-2:]) // most)
    u, v = patches(x, stride=stride), patches(y, stride=stride)
    mean = v.mean(axis=1, keepdims=True)
    unit = lambda d: d / jnp.sqrt((d * d).sum(axis=-1, keepdims=True) + epsilon**2)
    distances = 1 - jnp.einsum("nik,njk->nij", unit(u - mean), unit(v - mean))
    relative = distances / (distances.min(axis=2, keepdims=True) + epsilon)
    # Each patch of x finds those of y that it is nearest to.
    similarity = jax.nn.softmax((1 - relative) / width, axis=2)
    return -jnp.mean(jnp.log(similarity.max(axis=1).mean(axis=1)))


def sliced_wasserstein(x: Array, y: Array, progress: Array, directions: int = 16) -> Array:
    """The 1-Wasserstein distance of the patches of 5 x 5 pixels along random directions, which change with progress."""
    u, v = patches(x), patches(y)
    key = jax.random.fold_in(jax.random.key(0), jnp.asarray(progress * 2**20, int))
    along = jax.random.normal(key, (u.shape[-1], directions))
    along /= jnp.linalg.norm(along, axis=0)
    return l1(jnp.sort(u @ along, axis=1), jnp.sort(v @ along, axis=1))


def l1_best_shift(x: Array, y: Array, radius: int) -> Array:
    """The least L1 over all whole shifts of y by up to radius, for each image: how the PROBA-V challenge scores."""
    height, width = (side - 2 * radius for side in x.shape[-2:])
    inner = x[..., radius : radius + height, radius : radius + width]

    def at(shift: Array) -> Array:
        window = jax.lax.dynamic_slice(y, (0, *shift), (y.shape[0], height, width))
        return jnp.mean(jnp.abs(inner - window), axis=(-2, -1))

    # Searched without a gradient, and differentiated at the best alone.
    shifts = jnp.array(list(itertools.product(range(2 * radius + 1), repeat=2)))
    best = shifts[jnp.argmin(jax.lax.map(at, shifts), axis=0)]
    windows = jax.vmap(lambda image, shift: jax.lax.dynamic_slice(image, shift, (height, width)))(y, best)
    return l1(inner, windows)


def l1_best_shift_of_tiles(x: Array, y: Array, radius: int, tile: int = 16) -> Array:
    """As l1_best_shift, each tile with a shift of its own; a pixel whose partner lies outside of y does not count."""
    padded, inside = (jnp.pad(image, [(0, 0)] + [(radius, radius)] * 2) for image in (y, jnp.ones_like(y)))

    def distances(partners: Array, weights: Array) -> Array:
        total = lambda image: in_tiles(image, tile).sum(axis=(2, 4))
        return total(weights * jnp.abs(x - partners)) / total(weights)

    def at(shift: Array) -> Array:
        return distances(*(jax.lax.dynamic_slice(image, (0, *shift), x.shape) for image in (padded, inside)))

    # Searched without a gradient, as above; each pixel gets the shift of its tile.
    shifts = jnp.array(list(itertools.product(range(2 * radius + 1), repeat=2)))
    best = shifts[jnp.argmin(jax.lax.map(at, jax.lax.stop_gradient(shifts)), axis=0)]
    best = best.repeat(tile, axis=1).repeat(tile, axis=2)
    of, down, across = jnp.indices(best.shape[:3])
    where = (of, down + best[..., 0], across + best[..., 1])
    return jnp.mean(distances(padded[where], inside[where]))


def plain_dc(x: Array, y: Array, alpha: Array) -> Array:
    """BlurSim as it must not be: with the magnitude of DC, so that the mean has no sign."""
    magnitude = lambda image: jnp.abs(jnp.fft.fft2(image))
    distance = jnp.linalg.norm((magnitude(x) - magnitude(y)).reshape(len(x), -1), axis=1)
    general = jnp.mean(distance) / (x.shape[-2] * x.shape[-1])
    return (1 - alpha) * general + alpha * blursim_terms(x, y).specific


ALPHAS = {
    "0": optax.constant_schedule(0),  # the spectrum alone
    "0.1": optax.constant_schedule(0.1),
    "0.3": optax.constant_schedule(0.3),
    "0.5": optax.constant_schedule(0.5),
    "0.9": optax.constant_schedule(0.9),
    "0.9->0.1": optax.linear_schedule(0.9, 0.1, transition_steps=1),
    "0.1->0.9": optax.linear_schedule(0.1, 0.9, transition_steps=1),
}
WINDOWS = "FFT of windows"
PEERS = {
    "MSE": mse,
    "L1": l1,
    "Charbonnier": charbonnier,
    "SSIM": ssim,
    "MS-SSIM + L1": ms_ssim_l1,
    "L1 + FFT": l1_fft,
    "focal frequency": focal_frequency,
    WINDOWS: window_fft,
    "contextual": contextual,
}
SLICED = "sliced Wasserstein"
SHIFTED = "L1, best shift"  # these are told how far the pairs may be apart
TILES = "L1, best shift of tiles"
SEARCHES = {
    SHIFTED: l1_best_shift,
    f"{SHIFTED}, half the radius": lambda x, y, radius: l1_best_shift(x, y, radius // 2),
    f"{SHIFTED}, twice the radius": lambda x, y, radius: l1_best_shift(x, y, 2 * radius),
    TILES: l1_best_shift_of_tiles,
}


def named(
    spectrum: str, edges: str, p: int, alpha: str, sobel_size: int = 5, normalization: str = "gain"
) -> tuple[str, dict[str, Any]]:
    """BlurSim's name in the results, and what it is called with; without edges their options don't matter."""
    if alpha == "0":
        return f"BlurSim {spectrum} p={p} 0", {"spectrum": spectrum, "p": p}
    options = {"spectrum": spectrum, "edges": edges, "p": p, "sobel_size": sobel_size, "normalization": normalization}
    return f"BlurSim {spectrum}/{edges} p={p} k={sobel_size} {normalization} {alpha}", options


TERMS = ("magnitude", "complex"), ("magnitude", "vector")  # of the spectrum, of the edges
# Under "gain", so that a kernel's size does not weigh the edges.
GRID = dict(
    named(spectrum, edges, p, alpha, sobel_size)
    for p in (1, 2)
    for spectrum, edges in itertools.product(*TERMS)
    for sobel_size in (3, 5)
    for alpha in ("0", "0.1", "0.3", "0.5", "0.9->0.1")
)
# Its cells take the rate of these, which are tried with three.
LIKE = {
    (spectrum, p): named(spectrum, "magnitude", p, alpha)[0]
    for spectrum in TERMS[0]
    for p, alpha in ((1, "0.3"), (2, "0.1"))
}
# The first grid: p = 2, with both normalizations and more courses of alpha.
FIRST_GRID = dict(
    named(spectrum, edges, 2, alpha, normalization=normalization)
    for spectrum, edges in itertools.product(*TERMS)
    for normalization in ("area", "gain")
    for alpha in ("0.1", "0.5", "0.9", "0.9->0.1", "0.1->0.9")
)
# More weight for the edges, which say where they are.
MORE_EDGES = dict(named("magnitude", "magnitude", 1, alpha, 3) for alpha in ("0.9", "0.1->0.9"))
CALLS = FIRST_GRID | GRID | MORE_EDGES
# Where the whole of a grid would take too long.
BEST = [
    "BlurSim complex/magnitude p=1 k=5 gain 0.3",
    "BlurSim complex/magnitude p=1 k=3 gain 0.5",
    "BlurSim magnitude p=1 0",
    "BlurSim magnitude/magnitude p=1 k=5 gain 0.3",
    "BlurSim magnitude/magnitude p=1 k=3 gain 0.5",
]
MAIN = [
    *(f"BlurSim magnitude/magnitude p=2 k=5 area {alpha}" for alpha in ("0.1", "0.5", "0.9", "0.9->0.1", "0.1->0.9")),
    "BlurSim complex/magnitude p=2 k=5 area 0.1",
    "BlurSim complex/magnitude p=2 k=5 area 0.9->0.1",  # as published
    "BlurSim magnitude/vector p=2 k=5 area 0.1",
    "BlurSim complex/vector p=2 k=5 area 0.1",
    "BlurSim magnitude/magnitude p=2 k=5 gain 0.1",
    *BEST,
]
# Sums of a loss of pixels and weight * another, which is of the size of L1.
MIXED = {
    f"{pixels} + {weight:.2g} {of}".replace(" 1 ", " "): (pixels, weight, of)
    for pixels, weight, of in (
        ("L1", 1, "BlurSim complex p=1 0"),
        ("L1", 1, "BlurSim magnitude p=1 0"),
        ("L1", 1, "BlurSim magnitude p=2 0"),
        (SHIFTED, 1, "BlurSim magnitude p=1 0"),
        ("L1", 3, "BlurSim magnitude p=1 0"),
        ("L1", 1, "BlurSim magnitude/magnitude p=1 k=3 gain 0.3"),
        ("L1", 1, WINDOWS),
    )
}
BESIDE_L1 = list(MIXED)[:3]  # complex spectra, magnitudes with p = 1 and with p = 2
TRAP = "plain |DC|"
NAMES = [*PEERS, SLICED, *SEARCHES, *CALLS, *MIXED, TRAP]


def make(name: str, radius: int) -> Loss:
    """The loss of that name; the radius is for those that search shifts."""
    if name in SEARCHES:
        return lambda x, y, progress: SEARCHES[name](x, y, radius)
    if name in PEERS:
        return lambda x, y, progress: PEERS[name](x, y)
    if name in MIXED:
        pixels, weight, of = MIXED[name]
        first, second = make(pixels, radius), make(of, radius)
        return lambda x, y, progress: first(x, y, progress) + weight * second(x, y, progress)
    if name == SLICED:
        return sliced_wasserstein
    if name == TRAP:
        return lambda x, y, progress: plain_dc(x, y, ALPHAS["0.9->0.1"](progress))
    alpha = ALPHAS[name.rsplit(" ", 1)[1]]
    return lambda x, y, progress: blursim(x, y, alpha(progress), **CALLS[name])
