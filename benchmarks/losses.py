"""The losses that are trained with: what a user would pick instead, and BlurSim with each combination of its options.

Every loss is called as loss(x, y, progress): images of shape (N, H, W) from 0 to 1, and how far the training is, from
0 to 1, which only the schedules of alpha look at. The peers' formulas are proved equal to their packages in the tests.
"""

import itertools
from collections.abc import Callable

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

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return 1 - jnp.mean(luminance * (2 * covariance + c2) / (variance_x + variance_y + c2))


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


def plain_dc(x: Array, y: Array, alpha: Array) -> Array:
    """BlurSim as it must not be: with the magnitude of DC, so that the mean has no sign."""
    magnitude = lambda image: jnp.abs(jnp.fft.fft2(image))
    distance = jnp.linalg.norm((magnitude(x) - magnitude(y)).reshape(len(x), -1), axis=1)
    general = jnp.mean(distance) / (x.shape[-2] * x.shape[-1])
    return (1 - alpha) * general + alpha * blursim_terms(x, y).specific


ALPHAS = {
    "0.1": optax.constant_schedule(0.1),
    "0.5": optax.constant_schedule(0.5),
    "0.9": optax.constant_schedule(0.9),
    "0.9->0.1": optax.linear_schedule(0.9, 0.1, transition_steps=1),
    "0.1->0.9": optax.linear_schedule(0.1, 0.9, transition_steps=1),
}
PEERS = {
    "MSE": mse,
    "L1": l1,
    "Charbonnier": charbonnier,
    "SSIM": ssim,
    "L1 + FFT": l1_fft,
    "focal frequency": focal_frequency,
}
SHIFTED = "L1, best shift"  # the only loss that is told how far the pairs may be apart
GRID = [
    f"BlurSim {spectrum}/{edges} {normalization} {alpha}"
    for spectrum in ("magnitude", "complex")
    for edges in ("magnitude", "vector")
    for normalization in ("area", "rms")
    for alpha in ALPHAS
]
# Where the whole grid would take too long.
MAIN = [
    *(f"BlurSim magnitude/magnitude area {alpha}" for alpha in ALPHAS),
    "BlurSim complex/magnitude area 0.1",
    "BlurSim complex/magnitude area 0.9->0.1",  # as published
    "BlurSim magnitude/vector area 0.1",
    "BlurSim complex/vector area 0.1",
    "BlurSim magnitude/magnitude rms 0.1",
]
TRAP = "plain |DC|"
NAMES = [*PEERS, SHIFTED, *GRID, TRAP]


def make(name: str, radius: int) -> Loss:
    """The loss of that name; the radius is for the one that searches shifts."""
    if name == SHIFTED:
        return lambda x, y, progress: l1_best_shift(x, y, radius)
    if name in PEERS:
        return lambda x, y, progress: PEERS[name](x, y)
    if name == TRAP:
        return lambda x, y, progress: plain_dc(x, y, ALPHAS["0.9->0.1"](progress))
    _, terms, normalization, alpha = name.split()
    spectrum, edges = terms.split("/")
    options = {"spectrum": spectrum, "edges": edges, "normalization": normalization}
    return lambda x, y, progress: blursim(x, y, ALPHAS[alpha](progress), **options)
