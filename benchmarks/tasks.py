"""What is trained: photographs, how they are degraded, the network, and the figures that judge a result.

A task makes problems: all that one training needs, from a seed and the names of the photographs that judge it. Images
are grey, float32, black 0 and white 1. The same seed gives the same weights, crops and noise, whatever the loss.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pywt
import skimage
from flax import nnx
from jax import Array
from matplotlib import cbook
from scipy import ndimage
from skimage.metrics import structural_similarity
from sklearn.datasets import load_sample_image

# All lie in packages that are installed anyway, so nothing is downloaded; no scene is in two lists.
TRAIN = ("astronaut", "brick", "grass", "gravel", "hubble_deep_field", "moon", "rocket")
SELECTION = ("stereo_motorcycle", "immunohistochemistry")  # these choose the learning rate, and nothing else
HELD_OUT = ("camera", "coffee", "chelsea", "coins")  # the figures are means over these
MORE = ("china", "flower", "aero", "ascent", "grace_hopper")  # for intervals over photographs, together with those
ELSEWHERE: dict[str, Callable[[], np.ndarray]] = {
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
    "aero": pywt.data.aero,
    "ascent": pywt.data.ascent,
    "grace_hopper": lambda: matplotlib.image.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
}

PATCHES, PATCH = 4, 48  # in a batch; pixels a side
MARGIN = 12  # pixels around a patch that blur or move into it
WHOLE, BORDER = 208, 8  # pixels a side of a held-out image; at its border, those that are not judged
NOISE = 0.01
SIGMAS = (0.8, 2.5)


class Problem(NamedTuple):
    """n batches go round and round; the held-out images are whole, as are those of the photographs trained on."""

    params: Any
    inputs: np.ndarray  # (n, N, H, W, planes)
    targets: np.ndarray  # (n, N, H, W)
    held_inputs: np.ndarray  # (M, H, W, planes)
    held_targets: np.ndarray  # (M, H, W)
    untouched: np.ndarray  # (M, H, W): the result of doing nothing
    seen_inputs: np.ndarray  # as held_inputs
    seen_targets: np.ndarray


@functools.cache
def photograph(name: str) -> np.ndarray:
    image = ELSEWHERE.get(name, getattr(skimage.data, name, None))()
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


def moved(
    place: tuple[str, int, int], size: int, shift: np.ndarray, degrees: float = 0, scale: float = 1
) -> np.ndarray:
    """A crop of the photograph as seen from elsewhere: pixel c + d, c being the centre of the photograph, is the
    photograph's at c + shift + scale R d."""
    name, top, left = place
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(photograph(name).shape) - 1) / 2
    offset = middle + shift + matrix @ ([top, left] - middle)
    return ndimage.affine_transform(
        spline(name), matrix, offset, (size, size), output=np.float32, order=3, prefilter=False, mode="mirror"
    )


def displaced(place: tuple[str, int, int], displacement: np.ndarray) -> np.ndarray:
    """A crop each of whose pixels lies elsewhere in the photograph, by displacement: (2, size, size), in pixels."""
    name, top, left = place
    where = np.indices(displacement.shape[1:]) + np.array([top, left])[:, None, None] + displacement
    return ndimage.map_coordinates(spline(name), where, output=np.float32, order=3, prefilter=False, mode="mirror")


def smooth_field(rng: np.random.Generator, size: int, length: float, most: float) -> np.ndarray:
    """(2, size, size): Gaussian, correlated as exp(-r^2 / (2 length^2)), scaled so that its longest vector is most."""
    margin = int(2 * length)
    white = rng.standard_normal((2, size + 2 * margin, size + 2 * margin))
    field = ndimage.gaussian_filter(white, length / np.sqrt(2), axes=(1, 2))[:, margin:-margin, margin:-margin]
    return most * field / np.linalg.norm(field, axis=0).max()


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


class UNet(nnx.Module):
    """As Network, with two scales and fifteen times the weights: 159 thousand. As in FFDNet each square of four pixels
    becomes one of four planes, and back again at the end."""

    def __init__(self, planes: int, skip: bool, rngs: nnx.Rngs, widths: tuple[int, int] = (32, 96)) -> None:
        fine, coarse = widths
        self.down = nnx.List([Convolution(4 * planes, fine, rngs), Convolution(fine, fine, rngs)])
        self.bottom = nnx.List([Convolution(fine, coarse, rngs), Convolution(coarse, coarse, rngs)])
        self.up = nnx.List([Convolution(coarse + fine, fine, rngs)])
        self.last = Convolution(fine, 4, rngs, zero=skip)
        self.skip = skip

    def __call__(self, x: Array) -> Array:
        def through(layers: Any, h: Array) -> Array:
            for layer in layers:
                h = nnx.leaky_relu(layer(h), 0.1)
            return h

        count, height, width, planes = x.shape
        squares = x.reshape(count, height // 2, 2, width // 2, 2, planes).transpose(0, 1, 3, 2, 4, 5)
        fine = through(self.down, squares.reshape(count, height // 2, width // 2, 4 * planes))
        coarse = through(self.bottom, nnx.avg_pool(fine, (2, 2), strides=(2, 2)))
        larger = coarse.repeat(2, axis=1).repeat(2, axis=2)
        out = self.last(through(self.up, jnp.concatenate([larger, fine], axis=-1)))
        back = out.reshape(count, height // 2, width // 2, 2, 2).transpose(0, 1, 3, 2, 4)
        return back.reshape(count, height, width) + self.skip * x[..., 0]


@dataclass(frozen=True)
class Learned:
    """A task for a network; a subclass says what a pair is: (planes of the input, target)."""

    skip: bool = True
    radius: int = 2  # of the L1 that searches shifts
    planes: int = 1
    network: Callable[..., Any] = Network
    steps: int = 400
    patches: int = PATCHES
    patch: int = PATCH
    looks: tuple[float, ...] = ()  # parts of the training after which its curve has a point
    photographs: tuple[str, ...] = HELD_OUT + MORE

    def pair(self, rng: np.random.Generator, place: tuple[str, int, int]) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        raise NotImplementedError

    def problem(self, seed: int, names: tuple[str, ...], steps: int) -> Problem:
        rng = np.random.default_rng(seed)
        pairs = [self.pair(rng, random_place(rng, TRAIN, self.patch)) for _ in range(steps * self.patches)]
        inputs, targets = (np.stack(side).astype(np.float32) for side in zip(*pairs, strict=True))
        judges = [pair for i, name in enumerate(names) for pair in self.held_out(np.random.default_rng(i), name)]
        held_inputs, held_targets = (np.stack(side).astype(np.float32) for side in zip(*judges, strict=True))
        seen = [self.held_out(np.random.default_rng(i), name)[0] for i, name in enumerate(TRAIN)]
        seen_inputs, seen_targets = (np.stack(side).astype(np.float32) for side in zip(*seen, strict=True))
        shape = (steps, self.patches, self.patch, self.patch)
        params = nnx.state(self.network(self.planes, self.skip, nnx.Rngs(seed)))
        held = (held_inputs, held_targets, held_inputs[..., 0], seen_inputs, seen_targets)
        return Problem(params, inputs.reshape(*shape, self.planes), targets.reshape(shape), *held)

    def predict(self, params: Any, inputs: Array) -> Array:
        graph = nnx.graphdef(nnx.eval_shape(lambda: self.network(self.planes, self.skip, nnx.Rngs(0))))
        return nnx.merge(graph, params)(inputs)

    def result(self, params: Any, inputs: Array) -> Array:
        """As predict, one image after the other, which a processor's cache prefers."""
        return jax.lax.map(lambda image: self.predict(params, image[None])[0], inputs)


@dataclass(frozen=True)
class Deblur(Learned):
    """Blurred and noisy to sharp. In training the target is moved at random; when judged it never is.

    Breathing is that of the frames of a focus stack: the whole photograph is turned and scaled, about its centre.
    """

    shift: float = 0  # pixels, the most in each direction
    whole: bool = False  # whole pixels only
    degrees: float = 0
    scale: float = 0
    parallax: float = 0  # pixels, the longest displacement
    correlation: float = 12  # pixels, of the displacements

    def pair(self, rng: np.random.Generator, place: tuple[str, int, int]) -> tuple[np.ndarray, np.ndarray]:
        blurred = noise(rng, crop(place, self.patch, rng.uniform(*SIGMAS)))
        if self.parallax:
            field = smooth_field(rng, self.patch, self.correlation, self.parallax)
            return blurred[..., None], displaced(place, field)
        shift = rng.uniform(-self.shift, self.shift, 2)
        shift = rng.integers(-int(self.shift), int(self.shift), 2, endpoint=True) if self.whole else shift
        degrees = rng.uniform(-self.degrees, self.degrees)
        scale = 1 + rng.uniform(-self.scale, self.scale)
        return blurred[..., None], moved(place, self.patch, shift, degrees, scale)

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        place = centre(name, WHOLE)
        return [(noise(rng, crop(place, WHOLE, sigma))[..., None], crop(place, WHOLE)) for sigma in (1.2, 2.0)]


@dataclass(frozen=True)
class Render(Learned):
    """Sharp image, mask and width of the blur to an image whose background is blurred."""

    planes: int = 3

    def pair(self, rng: np.random.Generator, place: tuple[str, int, int], size: int | None = None) -> Any:
        size = size or self.patch
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
    steps: int = 400
    looks: tuple[float, ...] = ()
    photographs: tuple[str, ...] = HELD_OUT

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
            four(measured)[..., None],
            four(sharp),
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


BREATHING = {"shift": 1, "degrees": 0.3, "scale": 0.015, "radius": 4}
PARALLAX = {"parallax": 3, "radius": 3}
LARGE = {"patch": 160, "patches": 1}
LONG = {"network": UNet, "steps": 2000, "patch": 64, "patches": 2, "looks": (0.05, 0.1, 0.2, 0.5, 1)}
TASKS: dict[str, Any] = {
    "shift2": Deblur(shift=2, radius=2),
    "aligned": Deblur(),
    "shift4": Deblur(shift=4, radius=4),
    "render": Render(),
    "shift1": Deblur(shift=1, radius=1),
    "breathing": Deblur(**BREATHING),
    "parallax": Deblur(**PARALLAX),
    "scratch": Deblur(skip=False),
    "fit": Fit(),
    "shift2-whole": Deblur(shift=2, whole=True, radius=2),
    "aligned-160": Deblur(**LARGE),
    "shift2-160": Deblur(shift=2, radius=2, **LARGE),
    "breathing-160": Deblur(**BREATHING, **LARGE),
    "parallax-160": Deblur(**PARALLAX, **LARGE),
    "aligned-unet": Deblur(**LONG),
    "shift2-unet": Deblur(shift=2, radius=2, **LONG),
    "breathing-unet": Deblur(**BREATHING, **LONG),
    "render-unet": Render(**LONG),
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
    power          in each of them the power, output / target: above 1 is sharper than the target, or noisier
    smooth         PSNR of the third of the pixels around which the target varies least
    textured       PSNR of the third around which it varies most
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
        **dict(zip(("bands", "power"), by_band(output, target), strict=True)),
        **dict(zip(("smooth", "textured"), by_texture(output, target), strict=True)),
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


def by_band(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Errors and powers, with a Hann window, as the image's borders would otherwise count as edges."""
    window = np.outer(*(np.hanning(side) for side in x.shape))
    X, Y = (np.abs(np.fft.fft2((image - y.mean()) * window)) for image in (x, y))
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, x.shape), indexing="ij"))
    bands = [(low <= frequency) & (frequency < high) for low, high in itertools.pairwise(BANDS)]
    errors = [float(np.linalg.norm((X - Y)[band]) / np.linalg.norm(Y[band])) for band in bands]
    return errors, [float((X[band] ** 2).sum() / (Y[band] ** 2).sum()) for band in bands]


def by_texture(x: np.ndarray, y: np.ndarray, window: int = 7) -> tuple[float, float]:
    """PSNR of the third of the pixels with the least standard deviation of y around them, and of that with the most."""
    mean = lambda image: ndimage.uniform_filter(image, window)
    rank = (mean(y.astype(float) ** 2) - mean(y.astype(float)) ** 2).ravel().argsort(kind="stable")
    third = len(rank) // 3
    return psnr(x.ravel()[rank[:third]], y.ravel()[rank[:third]]), psnr(
        x.ravel()[rank[-third:]], y.ravel()[rank[-third:]]
    )
