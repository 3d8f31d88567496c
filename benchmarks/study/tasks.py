"""What is trained: photographs, how they are degraded, the networks, and the figures that judge a result.

A task makes problems: all that one training run needs, from a seed and the names of the photographs that judge it.
Images are float32, black 0 and white 1, channels first. The same seed gives the same weights, crops and noise, whatever
the loss.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

from benchmarks.study.registration import register

# All lie in packages that are installed anyway, so nothing is downloaded; no scene is in two lists.
TRAIN = ("astronaut", "brick", "grass", "gravel", "hubble_deep_field", "moon", "rocket")
SELECTION = ("stereo_motorcycle", "immunohistochemistry")  # these choose the learning rate, and nothing else
HELD_OUT = ("camera", "coffee", "chelsea", "coins")  # the figures are means over these
MORE = ("china", "flower", "aero", "ascent", "grace_hopper")  # for intervals over photographs, together with those
TRAIN_COLOUR = ("astronaut", "hubble_deep_field", "retina", "rocket")
HELD_OUT_COLOUR = ("coffee", "chelsea", "china", "flower", "grace_hopper")
ELSEWHERE: dict[str, Callable[[], np.ndarray]] = {
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
    "aero": pywt.data.aero,
    "ascent": pywt.data.ascent,
    "grace_hopper": lambda: matplotlib.image.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
}

PATCHES, PATCH = 4, 48  # in a batch; pixels a side
WHOLE, BORDER = 208, 8  # pixels a side of a held-out image; at its border, those that are not judged
Blur = Callable[[np.ndarray], np.ndarray]
Place = tuple[str, int, int]  # a photograph and the top left corner of a crop in it


class Problem(NamedTuple):
    """n batches go round and round; the held-out images are whole, as are those of the photographs trained on."""

    params: Any
    inputs: np.ndarray  # (n, N, H, W, planes)
    targets: np.ndarray  # (n, N, C, H, W)
    masks: np.ndarray  # (n, N, 1, H, W): 0 where a registered target has nothing to say; (n, 1, 1, 1, 1) if all counts
    held_inputs: np.ndarray  # (M, H, W, planes)
    held_targets: np.ndarray  # (M, C, H, W)
    untouched: np.ndarray  # (M, C, H, W): the result of doing nothing
    seen_inputs: np.ndarray  # as held_inputs
    seen_targets: np.ndarray


@functools.cache
def photograph(name: str, colour: bool = False) -> np.ndarray:
    """(C, H, W), C being 1 or 3."""
    image = ELSEWHERE.get(name, getattr(skimage.data, name, None))()
    image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    image = skimage.util.img_as_float32(image)
    if colour:
        return np.moveaxis(image, -1, 0)
    return (skimage.color.rgb2gray(image) if image.ndim == 3 else image)[None]


@functools.cache
def spline(name: str, colour: bool) -> np.ndarray:
    return np.stack([ndimage.spline_filter(plane, output=np.float32) for plane in photograph(name, colour)])


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, truncate=4, axes=(-2, -1)) if sigma else image


def disk(image: np.ndarray, sigma: float) -> np.ndarray:
    """Defocus as an open aperture makes it: a disk with the standard deviation sigma along each axis."""
    radius = 2 * sigma
    reach = int(np.ceil(radius))
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    return convolved(image, np.clip(radius + 0.5 - distance, 0, 1))


def motion(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """A straight blur, that many pixels long."""
    reach = int(np.ceil(length / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return convolved(image, np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1))


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.convolve(plane, kernel / kernel.sum(), mode="mirror") for plane in image])


def smooth_field(rng: np.random.Generator, size: int, length: float, most: float) -> np.ndarray:
    """(2, size, size): Gaussian, correlated as exp(-r^2 / (2 length^2)), scaled so that its longest vector is most."""
    margin = int(2 * length)
    white = rng.standard_normal((2, size + 2 * margin, size + 2 * margin))
    field = ndimage.gaussian_filter(white, length / np.sqrt(2), axes=(1, 2))[:, margin:-margin, margin:-margin]
    return most * field / np.linalg.norm(field, axis=0).max()


def soft_mask(rng: np.random.Generator, size: int, margin: int = 0) -> np.ndarray:
    """1 in a random ellipse, 0 around it, with a soft border; seen margin pixels beyond the size."""
    y, x = np.mgrid[-margin : size + margin, -margin : size + margin] / size
    down, right = rng.uniform(0.25, 0.75, 2)
    y, x = y - down, x - right
    angle, (a, b) = rng.uniform(0, np.pi), rng.uniform(0.15, 0.45, 2)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = 1 - np.hypot(along / a, across / b)
    return (1 / (1 + np.exp(-inside * rng.uniform(8, 40)))).astype(np.float32)


def noise(rng: np.random.Generator, image: np.ndarray, deviation: float) -> np.ndarray:
    return image + deviation * rng.standard_normal(image.shape, dtype=np.float32)


def warped(image: np.ndarray, where: np.ndarray, prefilter: bool = True) -> np.ndarray:
    """(C, H, W) at the places (2, h, w)."""
    of = [ndimage.map_coordinates(plane, where, np.float32, 3, "mirror", prefilter=prefilter) for plane in image]
    return np.stack(of)


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
    """(N, H, W, planes) -> (N, H, W, channels): it corrects its first planes, at first by nothing.

    Its ReLUs leak: with plain ones some runs died of their first steps, and gave their input back for ever.
    """

    def __init__(self, planes: int, channels: int, rngs: nnx.Rngs, width: int = 24, skip: bool = True) -> None:
        self.skip = skip
        self.first = Convolution(planes, width, rngs)
        self.middle = nnx.List([Convolution(width, width, rngs) for _ in range(2)])
        self.last = Convolution(width, channels, rngs, zero=skip)
        self.channels = channels

    def __call__(self, x: Array) -> Array:
        h = nnx.leaky_relu(self.first(x), 0.1)
        for layer in self.middle:
            h = nnx.leaky_relu(layer(h), 0.1)
        return self.last(h) + x[..., : self.channels] if self.skip else self.last(h)


class UNet(nnx.Module):
    """As Network, with two scales and fifteen times the weights: 159 thousand. As in FFDNet each square of four pixels
    becomes one of four planes, and back again at the end."""

    def __init__(self, planes: int, channels: int, rngs: nnx.Rngs, widths: tuple[int, int] = (32, 96)) -> None:
        fine, coarse = widths
        self.down = nnx.List([Convolution(4 * planes, fine, rngs), Convolution(fine, fine, rngs)])
        self.bottom = nnx.List([Convolution(fine, coarse, rngs), Convolution(coarse, coarse, rngs)])
        self.up = nnx.List([Convolution(coarse + fine, fine, rngs)])
        self.last = Convolution(fine, 4 * channels, rngs, zero=True)
        self.channels = channels

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
        back = out.reshape(count, height // 2, width // 2, 2, 2, self.channels).transpose(0, 1, 3, 2, 4, 5)
        return back.reshape(count, height, width, self.channels) + x[..., : self.channels]


@dataclass(frozen=True)
class Task:
    """Pairs for a network, the target moved at random in training; when judged it never is.

    Breathing is that of the frames of a focus stack: the whole photograph is turned and scaled, about its centre.
    """

    about: str
    shift: float = 0  # pixels, the most in each direction
    degrees: float = 0
    scale: float = 0
    parallax: float = 0  # pixels, the longest displacement
    correlation: float = 12  # pixels, of the displacements
    target_noise: float = 0
    registered: bool = False  # the target to the input, once, before training
    colour: bool = False
    radius: int = 2  # of the losses that search shifts: as far as targets may be
    network: Callable[..., Any] = Network
    steps: int = 400
    patches: int = PATCHES
    patch: int = PATCH
    margin: int = 12  # pixels around a patch that blur or move into it
    looks: tuple[float, ...] = ()  # parts of the training run after which its curve has a point
    rates_of: tuple[str, str] | None = None  # the task, and the loss if not the same, whose trials choose the rate
    maps: int = 0  # planes of the input besides the image
    skip: bool = True
    decay: bool = True

    @property
    def channels(self) -> int:
        return 3 if self.colour else 1

    @property
    def kind(self) -> str:
        return "noisy targets" if self.target_noise else "blurred targets" if self.maps else "sharp targets"

    @property
    def title(self) -> str:
        words = [self.about, "colour" * self.colour, "U-Net" * (self.network is UNet)]
        words += ["registered first" * self.registered]
        words += [f"targets with noise of {self.target_noise:g}"] if self.target_noise else []
        words += [f"patches of {self.patch}"] if self.patch not in (48, 64) else []
        words += [f"{self.steps:,} steps"] if self.steps not in (400, 2000) else []
        return ", ".join(filter(None, words))

    @property
    def train_on(self) -> tuple[str, ...]:
        return TRAIN_COLOUR if self.colour else TRAIN

    @property
    def judged_on(self) -> tuple[str, ...]:
        return HELD_OUT_COLOUR if self.colour else HELD_OUT + MORE

    def pair(self, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
        """Input (planes, H, W) and target (C, H, W), moved."""
        raise NotImplementedError

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        raise NotImplementedError

    def random_place(self, rng: np.random.Generator, names: Sequence[str], size: int) -> Place:
        """At least the margin from the borders of a photograph."""
        name = names[rng.integers(len(names))]
        height, width = photograph(name, self.colour).shape[1:]
        far = (height - size - self.margin + 1, width - size - self.margin + 1)
        top, left = rng.integers(self.margin, far)
        return name, top, left

    def centre(self, name: str, size: int) -> Place:
        height, width = photograph(name, self.colour).shape[1:]
        return name, (height - size) // 2, (width - size) // 2

    def crop(
        self, place: Place, size: int, blur: Callable[..., np.ndarray] | None = None, margin: int = 0
    ) -> np.ndarray:
        """A crop with a margin; blurred with what lies around it, so that it has no border of its own."""
        name, top, left = place
        around = min(margin + 12 if blur else margin, top, left)
        rows, columns = (slice(corner - around, corner + size + around) for corner in (top, left))
        wide = photograph(name, self.colour)[:, rows, columns]
        inner = slice(around - margin, around + size + margin)
        return (blur(wide) if blur else wide)[:, inner, inner]

    def displacement(self, rng: np.random.Generator, place: Place, size: int) -> np.ndarray:
        """(2, size, size): how far from each pixel of the input lies what the target has there."""
        if self.parallax:
            return smooth_field(rng, size, self.correlation, self.parallax)
        shift = rng.uniform(-self.shift, self.shift, 2)
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        scale = 1 + rng.uniform(-self.scale, self.scale)
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = (np.array(photograph(place[0], self.colour).shape[1:]) - 1) / 2
        from_middle = np.indices((size, size)) + (np.array(place[1:]) - middle)[:, None, None]
        return shift[:, None, None] + np.tensordot(matrix - np.eye(2), from_middle, 1)

    def problem(self, seed: int, names: tuple[str, ...], steps: int) -> Problem:
        rng = np.random.default_rng(seed)
        every = range(steps * self.patches)
        pairs = [self.pair(rng, self.random_place(rng, self.train_on, self.patch)) for _ in every]
        masks = np.ones((steps, 1, 1, 1, 1), np.float32)
        if self.registered:
            found = [register(x[: self.channels], y) for x, y in pairs]
            pairs = [(x, y) for (x, _), (y, _) in zip(pairs, found, strict=True)]
            masks = np.stack([mask for _, mask in found]).reshape(steps, self.patches, 1, self.patch, self.patch)
        inputs, targets = self.stacked(pairs)
        judges = [pair for i, name in enumerate(names) for pair in self.held_out(np.random.default_rng(i), name)]
        held = self.stacked(judges)
        seen = self.stacked([self.held_out(np.random.default_rng(i), name)[0] for i, name in enumerate(self.train_on)])
        return Problem(
            nnx.state(self.network(self.channels + self.maps, self.channels, nnx.Rngs(seed), **({} if self.skip else {"skip": False}))),
            inputs.reshape(steps, self.patches, *inputs.shape[1:]),
            targets.reshape(steps, self.patches, *targets.shape[1:]),
            masks.astype(np.float32),
            *held,
            np.moveaxis(held[0][..., : self.channels], -1, 1),
            *seen,
        )

    def stacked(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = (np.stack(side).astype(np.float32) for side in zip(*pairs, strict=True))
        return np.moveaxis(inputs, 1, -1), targets

    def predict(self, params: Any, inputs: Array) -> Array:
        make = lambda: self.network(self.channels + self.maps, self.channels, nnx.Rngs(0), **({} if self.skip else {"skip": False}))
        return jnp.moveaxis(nnx.merge(nnx.graphdef(nnx.eval_shape(make)), params)(inputs), -1, 1)

    def result(self, params: Any, inputs: Array) -> Array:
        """As predict, one image after the other, which a processor's cache prefers."""
        return jax.lax.map(lambda image: self.predict(params, image[None])[0], inputs)


@dataclass(frozen=True)
class Deblur(Task):
    """Blurred and noisy to sharp."""

    moving: bool = False  # the camera, instead of being out of focus

    def blur(self, amount: float, angle: float = 0) -> Blur:
        if self.moving:
            return lambda image: motion(image, 5 * amount, angle)
        return lambda image: (disk if self.colour else gaussian)(image, amount)

    def pair(self, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
        angle = rng.uniform(0, np.pi) if self.moving else 0
        blurred = noise(rng, self.crop(place, self.patch, self.blur(rng.uniform(0.8, 2.5), angle)), 0.01)
        where = np.indices(blurred.shape[1:]) + self.displacement(rng, place, self.patch)
        name, top, left = place
        target = warped(spline(name, self.colour), where + np.array([[[top]], [[left]]]), prefilter=False)
        return blurred, noise(rng, target, self.target_noise) if self.target_noise else target

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        place, sharp = self.centre(name, WHOLE), self.crop(self.centre(name, WHOLE), WHOLE)
        return [(noise(rng, self.crop(place, WHOLE, self.blur(sigma, sigma)), 0.01), sharp) for sigma in (1.2, 2.0)]


@dataclass(frozen=True)
class Render(Task):
    """Sharp image, mask and width of the blur to an image whose background is blurred."""

    maps: int = 2

    def scene(self, rng: np.random.Generator, place: Place, size: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
        mask, sigma = soft_mask(rng, size, margin), rng.uniform(0.5, 2)
        sharp = self.crop(place, size, margin=margin)
        blurred = self.crop(place, size, lambda image: (disk if self.colour else gaussian)(image, sigma), margin)
        planes = np.concatenate([sharp, mask[None], np.full_like(mask, sigma / 2)[None]])
        return planes, mask * sharp + (1 - mask) * blurred

    def pair(self, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
        around = self.margin if self.shift or self.scale or self.parallax else 0
        planes, target = self.scene(rng, place, self.patch, around)
        inner = slice(around, around + self.patch)
        if around:
            where = np.indices((self.patch, self.patch)) + around + self.displacement(rng, place, self.patch)
            target = warped(target, where)
        return planes[:, inner, inner], target

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self.scene(rng, self.centre(name, WHOLE), WHOLE, 0) for _ in range(2)]


@dataclass(frozen=True)
class Stereo(Task):
    """Real parallax: the input is cut from the left picture of a stereo pair, the target from the right one, moved by
    the median disparity of the patch; what remains is parallax as the world makes it, with occlusions.

    Left of the middle trains, right of it judges, against the left picture itself. To refocus, both are blurred by how
    far a point's disparity is from one in focus.
    """

    colour: bool = True
    refocus: bool = False
    least: float = 1.0  # pixels, of the parallax of all but 2 % of a patch
    most: float = 6.0
    middle: int = 480  # column

    @property
    def judged_on(self) -> tuple[str, ...]:
        return ("top", "bottom")

    @property
    def train_on(self) -> tuple[str, ...]:
        return ("left",)

    def random_place(self, rng: np.random.Generator, names: Sequence[str], size: int) -> Place:
        left = stereo()[0]
        while True:
            far = (left.shape[1] - size - self.margin, self.middle - size)
            top, at = rng.integers((self.margin, 80), far)
            disparity = left[3, top : top + size, at : at + size]
            apart = np.percentile(np.abs(disparity - np.median(disparity)), 98)
            if self.least <= apart <= self.most:
                return "left", top, at

    def refocused(self, picture: np.ndarray, focus: float) -> tuple[np.ndarray, np.ndarray]:
        """The picture, blurred by up to 2 px, and the width of the blur as a map."""
        width = np.clip(np.abs(picture[3] - focus) / 4, 0, 2)
        levels = [picture[:3] if not sigma else disk(picture[:3], sigma) for sigma in (0, 0.5, 1, 1.5, 2)]
        share = [np.clip(1 - np.abs(width / 0.5 - i), 0, 1) for i in range(5)]
        return sum(weight * level for weight, level in zip(share, levels, strict=True)), width / 2

    def seen(self, rng: np.random.Generator, place: Place, size: int, sigma: float) -> Any:
        """Input, target, and the same target as the left camera sees it."""
        _, top, at = place
        margin, inner = 12, (..., slice(12, 12 + size), slice(12, 12 + size))
        rows = slice(top - margin, top + size + margin)
        left, right = stereo()
        disparity = left[3, top : top + size, at : at + size]
        left = left[:, rows, at - margin : at + size + margin]
        by = float(np.median(disparity))
        where = np.stack(np.indices(left.shape[1:])).astype(float)
        first = max(int(at - margin - by) - 4, 0)
        right = right[:, rows, first : first + size + 2 * margin + 9]
        right = warped(right, where + np.array([0, at - margin - by - first])[:, None, None])
        if not self.refocus:
            return noise(rng, disk(left[:3], sigma)[inner], 0.01), right[:3][inner], left[:3][inner]
        focus = np.quantile(disparity, rng.uniform())
        target, blur = self.refocused(left, focus)
        planes = np.concatenate([left[:3], blur[None]])
        return planes[inner], self.refocused(right, focus)[0][inner], target[inner]

    def pair(self, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
        return self.seen(rng, place, self.patch, rng.uniform(0.8, 2.5))[:2]

    def held_out(self, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        place = (name, {"top": 20, "bottom": 272}.get(name, 150), 516 if name in self.judged_on else 100)
        return [self.seen(rng, place, WHOLE, sigma)[::2] for sigma in (1.2, 2.0)]


@functools.cache
def stereo() -> tuple[np.ndarray, np.ndarray]:
    """Left and right as (4, H, W): three colours and the disparity, holes filled with their nearest neighbour's; on the
    right that of the nearest of the points that come to lie on a pixel."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    filled = lambda image, holes: image[
        tuple(ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True))
    ]
    disparity = filled(disparity, ~np.isfinite(disparity)).astype(np.float32)
    there = np.zeros_like(disparity)
    row, column = np.indices(disparity.shape)
    to = np.round(column - disparity).astype(int)
    np.maximum.at(there, (row[to >= 0], to[to >= 0]), disparity[to >= 0])
    colours = [np.moveaxis(skimage.util.img_as_float32(image), -1, 0) for image in (left, right)]
    both = zip(colours, (disparity, filled(there, there == 0)), strict=True)
    return tuple(np.concatenate([image, of[None]]) for image, of in both)


SHIFT2 = {"shift": 2, "radius": 2}
BREATHING = {"shift": 1, "degrees": 0.3, "scale": 0.015, "radius": 4}
PARALLAX = {"parallax": 3, "radius": 3}
LARGE = {"patch": 160, "patches": 1}
LONG = {"network": UNet, "steps": 2000, "patch": 64, "patches": 2, "looks": (0.05, 0.1, 0.2, 0.5, 1)}
TASKS: dict[str, Task] = {
    # Sharp targets, grey.
    "aligned": Deblur("in register"),
    "shift1": Deblur("shifted by up to 1 px", shift=1, radius=1),
    "shift2": Deblur("shifted by up to 2 px", **SHIFT2),
    "shift4": Deblur("shifted by up to 4 px", shift=4, radius=4),
    "breathing": Deblur("breathing: scaled by up to 1.5 %, turned by 0.3°, shifted by 1 px", **BREATHING),
    "parallax": Deblur("locally displaced by up to 3 px", **PARALLAX),
    # Blurred targets, grey.
    "render": Render("in register"),
    "render-shift2": Render("shifted by up to 2 px", **SHIFT2),
    "render-breathing": Render("breathing", rates_of=("render-shift2", ""), **BREATHING),
    "render-parallax": Render("locally displaced by up to 3 px", rates_of=("render-shift2", ""), **PARALLAX),
}
for _px in (0.5, 1, 4, 8, 16):
    TASKS[f"render-shift{_px}"] = Render(
        f"shifted by up to {_px} px", shift=_px, radius=int(np.ceil(_px)), margin=28, rates_of=("render-shift2", "")
    )
# The same with larger patches, with the U-Net (whose losses share the rate of L1), and in colour.
for _name in ("aligned", "shift2", "breathing", "parallax"):
    TASKS[f"{_name}-160"] = replace(TASKS[_name], rates_of=(_name, ""), **LARGE)
for _name in ("render", "render-shift2", "render-parallax", "render-breathing"):
    TASKS[f"{_name}-160"] = replace(TASKS[_name], rates_of=(_name.replace("parallax", "shift2").replace("breathing", "shift2"), ""), **LARGE)
for _name in ("render-shift2", "render-parallax"):
    TASKS[f"{_name}-256"] = replace(TASKS[_name], rates_of=("render-shift2", ""), patch=256, patches=1)
TASKS["render-parallax-unet"] = replace(TASKS["render-parallax"], rates_of=("render-unet", "L1"), **LONG)
for _name in ("aligned", "shift2", "breathing", "render", "render-shift2"):
    _rates = {"breathing": "shift2-unet", "render-shift2": "render-unet"}.get(_name, f"{_name}-unet")
    TASKS[f"{_name}-unet"] = replace(TASKS[_name], rates_of=(_rates, "L1"), **LONG)
TASKS["render-shift2-long"] = replace(
    TASKS["render-shift2-unet"], steps=6000, looks=(0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1)
)
for _name in ("render", "render-shift2", "aligned", "shift2"):
    TASKS[f"{_name}-colour"] = replace(TASKS[_name], colour=True)
TASKS["render-shift2-colour-unet"] = replace(TASKS["render-shift2-unet"], colour=True)
TASKS["motion-colour"] = Deblur("motion blur, in register", moving=True, colour=True)
for _name, _deviation in itertools.product(("aligned", "shift2"), (0.02, 0.05)):
    TASKS[f"{_name}-noisy{100 * _deviation:.0f}"] = replace(
        TASKS[f"{_name}-colour"], target_noise=_deviation, rates_of=("aligned-noisy5", "")
    )
TASKS["aligned-noisy5-unet"] = replace(TASKS["aligned-noisy5"], rates_of=("aligned-unet", "L1"), **LONG)
TASKS["shift2-noisy5-unet"] = replace(TASKS["shift2-noisy5"], rates_of=("aligned-unet", "L1"), **LONG)
TASKS["stereo-colour"] = Stereo("real parallax", radius=4, rates_of=("parallax", ""))
TASKS["render-stereo-colour"] = Stereo(
    "real parallax, blurred by depth", radius=4, refocus=True, maps=1, rates_of=("render-shift2-colour", "")
)
TASKS["render-scratch"] = replace(TASKS["render"], skip=False)
TASKS["aligned-scratch"] = replace(TASKS["aligned"], skip=False)
TASKS["render-shift2-scratch"] = replace(TASKS["render-shift2"], skip=False, rates_of=("render-scratch", ""))
TASKS["render-colour-constant"] = replace(TASKS["render-colour"], decay=False)
# Each that is moved, registered first: the rates are those of pairs in register.
for _name, _task in list(TASKS.items()):
    if _task.shift or _task.scale or _task.parallax or isinstance(_task, Stereo):
        _of, _same = _task.rates_of or (_name, "")
        _still = "render" + "-colour" * _task.colour if _task.maps else "aligned"
        _rates = _of if _task.network is UNet or _task.target_noise else _still
        TASKS[f"{_name}-registered"] = replace(_task, registered=True, rates_of=(_rates, _same))

BANDS = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # cycles per pixel


def figures(output: np.ndarray, target: np.ndarray, untouched: np.ndarray) -> dict[str, Any]:
    """The figures of one image (C, H, W), black 0 and white 1.

    psnr, ssim     of the output clipped to [0, 1]
    sharpness      sum of squared differences of neighbours, output / target: 1 is as sharp as the target
    bands          in each of four bands of frequency, the distance of the magnitudes relative to the target's
    power          in each of them the power, output / target: above 1 is sharper than the target, or noisier
    smooth         PSNR of the third of the pixels around which the target varies least: ripples, dirt
    textured       PSNR of the third around which it varies most
    tint           mean error of the channel where it is largest, without its sign: drifting colours
    coarse         RMS of the error smoothed by sigma = 8 px: halos, stains, drifting brightness
    collapsed      1 if not finite, correlation below 0.5, or PSNR 3 dB or more below that of doing nothing; else 0
    """
    inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    output, target, untouched = output[inner], target[inner], untouched[inner].clip(0, 1)
    if not np.isfinite(output).all():
        return {"collapsed": 1}
    output = output.clip(0, 1)
    # The extra axis: differences down and across, cut to one shape.
    slopes = lambda image: np.stack([np.diff(image, axis=-2)[..., 1:], np.diff(image, axis=-1)[..., 1:, :]])
    slope_x, slope_y = slopes(output), slopes(target)
    deviations = (output - output.mean()) * (target - target.mean())
    correlation = deviations.mean() / max(output.std() * target.std(), 1e-12)
    found, error = psnr(output, target), output - target
    return {
        "psnr": found,
        "ssim": float(structural_similarity(output, target, data_range=1, channel_axis=0)),
        "sharpness": float((slope_x**2).sum() / (slope_y**2).sum()),
        **dict(zip(("bands", "power"), by_band(output, target), strict=True)),
        **dict(zip(("smooth", "textured"), by_texture(output, target), strict=True)),
        "tint": float(np.abs(error.mean(axis=(-2, -1), dtype=np.float64)).max()),
        "coarse": float(np.sqrt(np.mean(ndimage.gaussian_filter(error, 8, axes=(-2, -1)) ** 2, dtype=np.float64))),
        "collapsed": int(correlation < 0.5 or found <= psnr(untouched, target) - 3),
    }


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((x - y) ** 2, dtype=np.float64), 1e-12)))


def by_band(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Errors and powers, with a Hann window, as the image's borders would otherwise count as edges."""
    window = np.outer(*(np.hanning(side) for side in x.shape[-2:]))
    X, Y = (np.abs(np.fft.fft2((image - y.mean()) * window)) for image in (x, y))
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, x.shape[-2:]), indexing="ij"))
    bands = [(low <= frequency) & (frequency < high) for low, high in itertools.pairwise(BANDS)]
    errors = [float(np.linalg.norm((X - Y)[..., band]) / np.linalg.norm(Y[..., band])) for band in bands]
    return errors, [float((X[..., band] ** 2).sum() / (Y[..., band] ** 2).sum()) for band in bands]


def by_texture(x: np.ndarray, y: np.ndarray, window: int = 7) -> tuple[float, float]:
    """PSNR of the third of the pixels with the least standard deviation of y around them, and of that with the most."""
    mean = lambda image: ndimage.uniform_filter(image, window, axes=(-2, -1))
    rank = (mean(y.astype(float) ** 2) - mean(y.astype(float)) ** 2).mean(axis=0).ravel().argsort(kind="stable")
    third = len(rank) // 3
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    return psnr(x[:, rank[:third]], y[:, rank[:third]]), psnr(x[:, rank[-third:]], y[:, rank[-third:]])
