"""What is trained: photographs, how they are degraded, the network, and the figures that judge a result.

A task makes problems: all that one training needs, from a seed and the names of the photographs that judge it. Images
are grey, float32, black 0 and white 1. The same seed gives the same weights, crops and noise, whatever the loss.
"""

import functools
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import skimage
from flax import nnx
from jax import Array
from scipy import ndimage
from skimage.metrics import structural_similarity

# All lie in the scikit-image package, so nothing is downloaded; no scene is in two lists.
TRAIN = ("astronaut", "brick", "grass", "gravel", "hubble_deep_field", "moon", "rocket")
SELECTION = ("stereo_motorcycle", "immunohistochemistry")  # these choose the learning rate, and nothing else
HELD_OUT = ("camera", "coffee", "chelsea", "coins")

PATCHES, PATCH = 4, 48  # in a batch; pixels a side
MARGIN = 12  # pixels around a patch that blur or move into it
WHOLE, BORDER = 208, 8  # pixels a side of a held-out image; at its border, those that are not judged
NOISE = 0.01
SIGMAS = (0.8, 2.5)


class Problem(NamedTuple):
    """n batches go round and round; the held-out images are whole."""

    params: Any
    inputs: np.ndarray  # (n, N, H, W, planes)
    targets: np.ndarray  # (n, N, H, W)
    held_inputs: np.ndarray  # (M, H, W, planes)
    held_targets: np.ndarray  # (M, H, W)
    untouched: np.ndarray  # (M, H, W): the result of doing nothing


@functools.cache
def photograph(name: str) -> np.ndarray:
    image = getattr(skimage.data, name)()
    image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    image = skimage.util.img_as_float32(image)
    return skimage.color.rgb2gray(image) if image.ndim == 3 else image


@functools.cache
def spline(name: str) -> np.ndarray:
    return ndimage.spline_filter(photograph(name), order=3, output=np.float32)


def random_place(rng: np.random.Generator, names: tuple[str, ...], size: int) -> tuple[str, int, int]:
    """A photograph and the top left corner of a crop in it, at least MARGIN from its borders."""
    name = names[rng.integers(len(names))]
    height, width = photograph(name).shape
    top, left = rng.integers(MARGIN, (height - size - MARGIN + 1, width - size - MARGIN + 1))
    return name, top, left


def centre(name: str, size: int) -> tuple[str, int, int]:
    height, width = photograph(name).shape
    return name, (height - size) // 2, (width - size) // 2


def crop(place: tuple[str, int, int], size: int, sigma: float = 0) -> np.ndarray:
    """A crop; blurred with what lies around it, so that it has no border of its own."""
    name, top, left = place
    around = min(MARGIN, top, left)
    wide = photograph(name)[top - around : top + size + around, left - around : left + size + around]
    wide = ndimage.gaussian_filter(wide, sigma, truncate=4) if sigma else wide
    return wide[around : around + size, around : around + size]


def moved(place: tuple[str, int, int], size: int, shift: np.ndarray, degrees: float, scale: float) -> np.ndarray:
    """A crop seen from elsewhere: its pixel c + d, c being the centre, is the photograph's at c + shift + scale R d."""
    name, top, left = place
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = (size - 1) / 2
    offset = np.array([top, left]) + half + shift - matrix @ [half, half]
    return ndimage.affine_transform(
        spline(name), matrix, offset, (size, size), output=np.float32, order=3, prefilter=False, mode="mirror"
    )


def noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return image + NOISE * rng.standard_normal(image.shape, dtype=np.float32)


class Convolution(nnx.Module):
    """3 x 3, as products of matrices: inside a scan on a CPU ten times as fast as XLA's own."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs, zero: bool = False) -> None:
        kernel = jax.random.normal(rngs.params(), (3, 3 * inputs, outputs)) * np.sqrt(2 / (9 * inputs))
        self.kernel = nnx.Param(0 * kernel if zero else kernel)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Array) -> Array:
        height, width = x.shape[-3:-1]
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        across = jnp.concatenate([padded[:, :, j : j + width] for j in range(3)], axis=-1)
        return sum(across[:, i : i + height] @ self.kernel[i] for i in range(3)) + self.bias[...]


class Network(nnx.Module):
    """(N, H, W, planes) -> (N, H, W). With a skip connection it corrects its first plane, at first by nothing.

    Its ReLUs leak: with plain ones some runs died of their first steps, and gave their input back for ever.
    """

    def __init__(self, planes: int, skip: bool, rngs: nnx.Rngs, width: int = 24) -> None:
        self.first = Convolution(planes, width, rngs)
        self.middle = nnx.List([Convolution(width, width, rngs) for _ in range(2)])
        self.last = Convolution(width, 1, rngs, zero=skip)
        self.skip = skip

    def __call__(self, x: Array) -> Array:
        h = nnx.leaky_relu(self.first(x), 0.1)
        for layer in self.middle:
            h = nnx.leaky_relu(layer(h), 0.1)
        return self.last(h)[..., 0] + self.skip * x[..., 0]


@dataclass(frozen=True)
class Learned:
    """A task for the network; a subclass says what a pair is: (planes of the input, target)."""

    skip: bool = True
    radius: int = 2  # of the L1 that searches shifts
    planes: int = 1

    def pair(self, rng: np.random.Generator, place: tuple[str, int, int]) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        raise NotImplementedError

    def problem(self, seed: int, names: tuple[str, ...], steps: int) -> Problem:
        rng = np.random.default_rng(seed)
        pairs = [self.pair(rng, random_place(rng, TRAIN, PATCH)) for _ in range(steps * PATCHES)]
        inputs, targets = (np.stack(side).astype(np.float32) for side in zip(*pairs, strict=True))
        judges = [pair for i, name in enumerate(names) for pair in self.held_out(np.random.default_rng(i), name)]
        held_inputs, held_targets = (np.stack(side).astype(np.float32) for side in zip(*judges, strict=True))
        shape = (steps, PATCHES, PATCH, PATCH)
        params = nnx.state(Network(self.planes, self.skip, nnx.Rngs(seed)))
        held = (held_inputs, held_targets, held_inputs[..., 0])
        return Problem(params, inputs.reshape(*shape, self.planes), targets.reshape(shape), *held)

    def predict(self, params: Any, inputs: Array) -> Array:
        graph = nnx.graphdef(nnx.eval_shape(lambda: Network(self.planes, self.skip, nnx.Rngs(0))))
        return nnx.merge(graph, params)(inputs)

    def result(self, params: Any, inputs: Array) -> Array:
        """As predict, one image after the other, which a processor's cache prefers."""
        return jax.lax.map(lambda image: self.predict(params, image[None])[0], inputs)


@dataclass(frozen=True)
class Deblur(Learned):
    """Blurred and noisy to sharp. In training the target is moved at random; when judged it never is."""

    shift: float = 0  # pixels, the most in each direction
    whole: bool = False  # whole pixels only
    degrees: float = 0
    scale: float = 0

    def pair(self, rng: np.random.Generator, place: tuple[str, int, int]) -> tuple[np.ndarray, np.ndarray]:
        blurred = noise(rng, crop(place, PATCH, rng.uniform(*SIGMAS)))
        shift = rng.uniform(-self.shift, self.shift, 2)
        shift = rng.integers(-int(self.shift), int(self.shift), 2, endpoint=True) if self.whole else shift
        degrees = rng.uniform(-self.degrees, self.degrees)
        scale = 1 + rng.uniform(-self.scale, self.scale)
        return blurred[..., None], moved(place, PATCH, shift, degrees, scale)

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        place = centre(name, WHOLE)
        return [(noise(rng, crop(place, WHOLE, sigma))[..., None], crop(place, WHOLE)) for sigma in (1.2, 2.0)]


@dataclass(frozen=True)
class Render(Learned):
    """Sharp image, mask and width of the blur to an image whose background is blurred."""

    planes: int = 3

    def pair(self, rng: np.random.Generator, place: tuple[str, int, int], size: int = PATCH) -> Any:
        sharp, mask, sigma = crop(place, size), soft_mask(rng, size), rng.uniform(0.5, 2)
        target = mask * sharp + (1 - mask) * crop(place, size, sigma)
        return np.stack([sharp, mask, np.full_like(mask, sigma / 2)], axis=-1), target

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self.pair(rng, centre(name, WHOLE), WHOLE) for _ in range(2)]


@dataclass(frozen=True)
class Fit:
    """The pixels themselves are found: images that, once blurred, are the noisy measurements.

    Of each photograph four, in this order: from the measurement, from noise, from grey, from another photograph.
    """

    radius: int = 2
    sigma: float = 1.5
    size: int = 128

    def problem(self, seed: int, names: tuple[str, ...], steps: int) -> Problem:
        rng = np.random.default_rng(seed)
        sharp = np.stack([crop(random_place(rng, (name,), self.size), self.size) for name in names])
        measured = noise(rng, np.asarray(self.predict(sharp, sharp)))
        cloud = 0.5 + 10 * NOISE * rng.standard_normal(sharp.shape, np.float32)
        starts = [measured, cloud, np.full_like(sharp, 0.5), np.roll(sharp, 1, axis=0)]
        four = lambda images: np.concatenate([images] * 4)
        return Problem(
            jnp.asarray(np.concatenate(starts)),
            four(measured)[None, ..., None],
            four(measured)[None],
            four(measured)[..., None],
            four(sharp),
            four(measured),
        )

    def predict(self, params: Any, inputs: Array) -> Array:
        """The images, blurred; their borders reflected."""
        blur = ndimage.gaussian_filter1d(np.eye(self.size, dtype=np.float32), self.sigma, axis=0)
        return blur @ params @ blur.T

    def result(self, params: Any, inputs: Array) -> Array:
        return params


def soft_mask(rng: np.random.Generator, size: int) -> np.ndarray:
    """1 in a random ellipse, 0 around it, with a soft border."""
    y, x = np.mgrid[:size, :size] / size - rng.uniform(0.25, 0.75, 2)[:, None, None]
    angle, (a, b) = rng.uniform(0, np.pi), rng.uniform(0.15, 0.45, 2)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = 1 - np.hypot(along / a, across / b)
    return (1 / (1 + np.exp(-inside * rng.uniform(8, 40)))).astype(np.float32)


TASKS: dict[str, Any] = {
    "shift2": Deblur(shift=2, radius=2),
    "aligned": Deblur(),
    "shift4": Deblur(shift=4, radius=4),
    "render": Render(),
    "shift1": Deblur(shift=1, radius=1),
    "warp": Deblur(degrees=1.5, scale=0.02, radius=1),
    "scratch": Deblur(skip=False),
    "fit": Fit(),
    "shift2-whole": Deblur(shift=2, whole=True, radius=2),
}

BANDS = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # cycles per pixel
SEARCHED = 4  # pixels: the shift that psnr_shifted forgives


def figures(output: np.ndarray, target: np.ndarray, untouched: np.ndarray) -> dict[str, Any]:
    """The figures of one image, black 0 and white 1.

    psnr, ssim     of the output clipped to [0, 1]
    psnr_shifted   the highest PSNR over whole shifts of the output, which a drift of the whole image does not lower
    sharpness      sum of squared differences of neighbours, output / target: 1 is as sharp as the target
    edges          RMS difference of the gradients, relative to the target's RMS gradient
    bands          in each of four bands of frequency, the distance of the magnitudes relative to the target's
    correlation    with the target
    collapsed      1 if not finite, correlation below 0.5, or PSNR 3 dB or more below that of doing nothing; else 0
    """
    inner = (slice(BORDER, -BORDER),) * 2
    output, target, untouched = output[inner], target[inner], untouched[inner].clip(0, 1)
    if not np.isfinite(output).all():
        return {"collapsed": 1}
    output = output.clip(0, 1)
    # The extra axis: differences down and across, cut to one shape.
    slopes = lambda image: np.stack([np.diff(image, axis=0)[:, 1:], np.diff(image, axis=1)[1:]])
    slope_x, slope_y = slopes(output), slopes(target)
    deviations = (output - output.mean()) * (target - target.mean())
    correlation = deviations.mean() / max(output.std() * target.std(), 1e-12)
    found = psnr(output, target)
    return {
        "psnr": found,
        "ssim": float(structural_similarity(output, target, data_range=1)),
        "psnr_shifted": psnr_best_shift(output, target),
        "sharpness": float((slope_x**2).sum() / (slope_y**2).sum()),
        "edges": float(np.sqrt(((slope_x - slope_y) ** 2).mean() / (slope_y**2).mean())),
        "bands": band_errors(output, target),
        "correlation": float(correlation),
        "collapsed": int(correlation < 0.5 or found <= psnr(untouched, target) - 3),
    }


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((x - y) ** 2, dtype=np.float64), 1e-12)))


def psnr_best_shift(x: np.ndarray, y: np.ndarray, radius: int = SEARCHED) -> float:
    height, width = (side - 2 * radius for side in x.shape)
    inner = y[radius:-radius, radius:-radius]
    shifts = range(2 * radius + 1)
    return max(psnr(x[i : i + height, j : j + width], inner) for i in shifts for j in shifts)


def band_errors(x: np.ndarray, y: np.ndarray) -> list[float]:
    """With a Hann window, as the image's borders would otherwise count as edges."""
    window = np.outer(*(np.hanning(side) for side in x.shape))
    X, Y = (np.abs(np.fft.fft2((image - y.mean()) * window)) for image in (x, y))
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, x.shape), indexing="ij"))
    bands = [(low <= frequency) & (frequency < high) for low, high in itertools.pairwise(BANDS)]
    return [float(np.linalg.norm((X - Y)[band]) / np.linalg.norm(Y[band])) for band in bands]
