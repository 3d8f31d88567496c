"""The losses that are compared, as records: what a user would otherwise pick, and BlurSim.

To try a loss of your own, write loss(x, y) for images of shape (N, C, H, W) from 0 to 1 and add a record to RECORDS:

    Loss("mine", mine)

then `python -m benchmarks.study.training --losses mine --tasks render-shift2`. `told` names what a loss is told in
addition to the images: how far targets may be shifted ("radius", in pixels), and how far training has come ("progress",
from 0 to 1). The tests prove the peers' formulas equal to their packages, or to their papers' sums.

A loss in the results that is not here lost by far, and left with its plan; the tables give the commit that has it.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from blursim_jax import blursim


@dataclass(frozen=True)
class Loss:
    name: str  # in the results and the tables
    function: Callable[..., Array]
    options: dict[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    rates_of: str = ""  # the loss whose trials choose the learning rate, if it's not this one

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


# Searching for the shift


def l1_best_shift(x: Array, y: Array, radius: int) -> Array:
    """The least L1 over all whole shifts of y by up to radius, for each image: how the PROBA-V challenge scores."""
    height, width = (side - 2 * radius for side in x.shape[-2:])
    inner = x[..., radius : radius + height, radius : radius + width]
    window = lambda image, shift: jax.lax.dynamic_slice(image, (0, *shift), (image.shape[0], height, width))
    at = lambda shift: jnp.abs(inner - jax.vmap(window, (0, None))(y, shift)).mean((1, 2, 3))
    # The search has no gradient; only the best shift is differentiated.
    shifts = jnp.array(list(itertools.product(range(2 * radius + 1), repeat=2)))
    best = shifts[jnp.argmin(jax.lax.map(at, shifts), axis=0)]
    return l1(inner, jax.vmap(window)(y, best))


def l1_best_shift_per_pixel(x: Array, y: Array, radius: int, box: int = 17) -> Array:
    """At each pixel, the least L1 of the box around it over all whole shifts of y by up to radius.

    Shifts may thus vary over the image. A pixel whose partner lies outside y does not count.
    """
    padded, inside = (jnp.pad(image, [(0, 0)] * 2 + [(radius, radius)] * 2) for image in (y, jnp.ones_like(y)))

    def box_total(image: Array) -> Array:
        """By running sums."""
        for axis in (-2, -1):
            edges = [(box // 2 + 1, box // 2) if a == axis % 4 else (0, 0) for a in range(4)]
            sums = jnp.cumsum(jnp.pad(image, edges), axis=axis)
            ends = [jax.lax.slice_in_dim(sums, i, i + image.shape[axis], axis=axis) for i in (0, box)]
            image = ends[1] - ends[0]
        return image

    def at(shift: Array) -> Array:
        partners, weights = (jax.lax.dynamic_slice(image, (0, 0, *shift), x.shape) for image in (padded, inside))
        errors = (weights * jnp.abs(x - partners)).mean(axis=1, keepdims=True)
        return box_total(errors) / box_total(weights[:, :1])

    shifts = jnp.array(list(itertools.product(range(2 * radius + 1), repeat=2)))
    return jnp.mean(jax.vmap(at)(shifts).min(axis=0))


# Square windows


def square_windows(x: Array, y: Array, window: int = 16) -> Array:
    """L1 of the magnitudes of the unitary DFTs of adjacent windows; what is left over at the far borders is dropped."""
    magnitude = lambda image: jnp.abs(jnp.fft.fft2(in_tiles(image, window), axes=(-3, -1), norm="ortho"))
    return l1(magnitude(x), magnitude(y))


def square_windows_at_random_offsets(x: Array, y: Array, progress: Array, window: int = 16) -> Array:
    """As square_windows, of another part of the images at each step: they lose as much as a window along each axis."""
    key = jax.random.fold_in(jax.random.key(0), jnp.asarray(progress * 2**20, int))
    offset = jax.random.randint(key, (2,), 0, window)
    sides = [side - window for side in x.shape[-2:]]
    cut = lambda image: jax.lax.dynamic_slice(image, (0, 0, *offset), (*image.shape[:2], *sides))
    return square_windows(cut(x), cut(y), window)


def in_tiles(image: Array, tile: int) -> Array:
    """(..., H, W) -> (..., H / tile, tile, W / tile, tile); what is left over at the far borders is dropped."""
    rows, columns = (side // tile for side in image.shape[-2:])
    cut = image[..., : rows * tile, : columns * tile]
    return cut.reshape(*image.shape[:-2], rows, tile, columns, tile)


# The records


def total(x: Array, y: Array, parts: Sequence[tuple[float, Loss]]) -> Array:
    return sum(weight * loss(x, y) for weight, loss in parts)


def mix(*parts: tuple[float, Loss]) -> Loss:
    words = (loss.name if weight == 1 else f"{weight:g} {loss.name}" for weight, loss in parts)
    return Loss(" + ".join(words), total, {"parts": parts})


def scheduled(x: Array, y: Array, start: float, end: float, progress: Array, **options: Any) -> Array:
    return blursim(x, y, start + (end - start) * progress, **options)


def ours(alpha: float | tuple[float, float], **options: Any) -> Loss:
    """BlurSim, named as it is called; two alphas are the ends of a straight line over the training run."""
    words = "".join(f", {name}={json.dumps(value)}" for name, value in options.items())
    if isinstance(alpha, tuple):
        start, end = alpha
        of = options | {"start": start, "end": end}
        return Loss(f"blursim(x, y, {start} to {end}{words})", scheduled, of, ("progress",))
    return Loss(f"blursim(x, y, {alpha}{words})", blursim, options | {"alpha": alpha})


L1, L1_FFT, MSE = Loss("L1", l1), Loss("L1 + FFT", l1_fft), Loss("MSE", mse)
SEARCH = Loss("L1, best shift", l1_best_shift, told=("radius",))
SEARCH_PER_PIXEL = Loss("L1, best shift per pixel", l1_best_shift_per_pixel, told=("radius",))
SQUARE = Loss("square windows", square_windows)
AT_RANDOM = Loss("square windows at random offsets", square_windows_at_random_offsets, told=("progress",))
COMPLEX, MAGNITUDES, SPECTRUM = ours(0.3, spectrum="complex"), ours(0.3), ours(0)
PUBLISHED = ours((0.9, 0.1), spectrum="complex", p=2, normalization="area")
MIX = mix((1, L1), (1, SPECTRUM))
WINDOWED = {(w, alpha): ours(alpha, window=w) for w in (16, 24, 32, 48, 64) for alpha in (0, 0.1, 0.3)}
for _alpha in (0, 0.1, 0.3):  # trials are on patches of 48 px, which larger windows don't fit into
    WINDOWED[64, _alpha] = replace(WINDOWED[64, _alpha], rates_of=WINDOWED[48, _alpha].name)
ADVISED = WINDOWED[32, 0]  # for blurred, misaligned targets: the guide's first line
WINDOWED_MIX, LIGHT_MIX, LIGHT_WINDOWED_MIX = (
    mix((weight, L1), (1, loss)) for weight, loss in ((1, ADVISED), (0.1, SPECTRUM), (0.1, ADVISED))
)
COMPLEX_WINDOWED, COMPLEX_WINDOWED_ALONE = (ours(alpha, spectrum="complex", window=32) for alpha in (0.3, 0))
RECORDS = [
    *(L1, L1_FFT, MSE, SEARCH, SEARCH_PER_PIXEL, SQUARE, AT_RANDOM, COMPLEX, MAGNITUDES, ours(0.1)),
    *(SPECTRUM, *WINDOWED.values(), MIX, LIGHT_MIX, mix((0.1, L1), (1, MAGNITUDES))),
    *(LIGHT_WINDOWED_MIX, WINDOWED_MIX, COMPLEX_WINDOWED_ALONE, COMPLEX_WINDOWED),
    *(PUBLISHED, ours((0.9, 0.1), p=2, normalization="area")),
]
LOSSES = {loss.name: loss for loss in RECORDS}
