"""The images of a task: degraded photographs, misaligned targets, and all that one training run needs.

The same seed gives the same weights, crops and noise, whatever the loss.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from scipy import ndimage

from benchmarks.study.photographs import photograph, spline, stereo
from benchmarks.study.registration import register
from benchmarks.study.tasks import Task

WHOLE = 208  # pixels a side of a held-out image
MIDDLE = 480  # the column of the stereo pair up to which it trains
APART = (1.0, 6.0)  # pixels: the parallax of all but 2 % of a stereo patch
Place = tuple[str, int, int]  # a photograph, and the top left corner of a crop of it


class Problem(NamedTuple):
    """n batches, used in turn; held-out images are whole, as are those of the photographs trained on."""

    params: Any
    inputs: np.ndarray  # (n, N, H, W, planes)
    targets: np.ndarray  # (n, N, C, H, W)
    masks: np.ndarray  # (n, N, 1, H, W): 0 where a registered target is unknown; (n, 1, 1, 1, 1) if none is registered
    held_inputs: np.ndarray  # (M, H, W, planes)
    held_targets: np.ndarray  # (M, C, H, W)
    untouched: np.ndarray  # (M, C, H, W): the inputs' image
    seen_inputs: np.ndarray  # as held_inputs
    seen_targets: np.ndarray


# Degradations


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, truncate=4, axes=(-2, -1)) if sigma else image


def disk(image: np.ndarray, sigma: float) -> np.ndarray:
    """Defocus of an open aperture: a disk with standard deviation sigma along each axis."""
    radius = 2 * sigma
    reach = int(np.ceil(radius))
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    kernel = np.clip(radius + 0.5 - distance, 0, 1)
    return np.stack([ndimage.convolve(plane, kernel / kernel.sum(), mode="mirror") for plane in image])


def defocus(task: Task, sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: (disk if task.colour else gaussian)(image, sigma)


def noise(rng: np.random.Generator, image: np.ndarray, deviation: float) -> np.ndarray:
    return image + deviation * rng.standard_normal(image.shape, dtype=np.float32)


def soft_mask(rng: np.random.Generator, size: int, margin: int = 0) -> np.ndarray:
    """1 in a random ellipse, 0 around it, with a soft border; `margin` pixels beyond the size on every side."""
    y, x = np.mgrid[-margin : size + margin, -margin : size + margin] / size
    down, right = rng.uniform(0.25, 0.75, 2)
    y, x = y - down, x - right
    angle, (a, b) = rng.uniform(0, np.pi), rng.uniform(0.15, 0.45, 2)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = 1 - np.hypot(along / a, across / b)
    return (1 / (1 + np.exp(-inside * rng.uniform(8, 40)))).astype(np.float32)


# Misalignment


def smooth_field(rng: np.random.Generator, size: int, most: float, length: float = 12) -> np.ndarray:
    """(2, size, size): Gaussian, correlated as exp(-r^2 / (2 length^2)), scaled so that its longest vector is most."""
    margin = int(2 * length)
    white = rng.standard_normal((2, size + 2 * margin, size + 2 * margin))
    field = ndimage.gaussian_filter(white, length / np.sqrt(2), axes=(1, 2))[:, margin:-margin, margin:-margin]
    return most * field / np.linalg.norm(field, axis=0).max()


def displacement(task: Task, rng: np.random.Generator, place: Place) -> np.ndarray:
    """(2, H, W): displacement from each pixel of the input to its match in the target."""
    size = task.patch
    if task.warp:
        return smooth_field(rng, size, task.warp)
    shift = rng.uniform(-task.shift, task.shift, 2)
    angle = np.deg2rad(rng.uniform(-task.degrees, task.degrees))
    scale = 1 + rng.uniform(-task.scale, task.scale)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(photograph(place[0], task.colour).shape[1:]) - 1) / 2
    from_middle = np.indices((size, size)) + (np.array(place[1:]) - middle)[:, None, None]
    return shift[:, None, None] + np.tensordot(matrix - np.eye(2), from_middle, 1)


def warped(image: np.ndarray, where: np.ndarray, prefilter: bool = True) -> np.ndarray:
    """(C, H, W) at the places (2, h, w)."""
    at = [ndimage.map_coordinates(plane, where, np.float32, 3, "mirror", prefilter=prefilter) for plane in image]
    return np.stack(at)


# Crops


def random_place(task: Task, rng: np.random.Generator, names: Sequence[str], size: int) -> Place:
    """At least the margin from the borders of a photograph."""
    name = names[rng.integers(len(names))]
    height, width = photograph(name, task.colour).shape[1:]
    far = (height - size - task.margin + 1, width - size - task.margin + 1)
    top, left = rng.integers(task.margin, far)
    return name, top, left


def centre(task: Task, name: str) -> Place:
    height, width = photograph(name, task.colour).shape[1:]
    return name, (height - WHOLE) // 2, (width - WHOLE) // 2


def crop(
    place: Place, size: int, colour: bool = False, blur: Callable[..., np.ndarray] | None = None, margin: int = 0
) -> np.ndarray:
    """A crop with a margin, blurred together with what lies around it, so that its border looks like the rest."""
    name, top, left = place
    around = min(margin + 12 if blur else margin, top, left)
    rows, columns = (slice(corner - around, corner + size + around) for corner in (top, left))
    wide = photograph(name, colour)[:, rows, columns]
    inner = slice(around - margin, around + size + margin)
    return (blur(wide) if blur else wide)[:, inner, inner]


# Sharpening: blurred and noisy to sharp


def sharpen_pair(task: Task, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
    blurred = noise(rng, crop(place, task.patch, task.colour, defocus(task, rng.uniform(0.8, 2.5))), 0.01)
    where = np.indices(blurred.shape[1:]) + displacement(task, rng, place)
    name, top, left = place
    target = warped(spline(name, task.colour), where + np.array([[[top]], [[left]]]), prefilter=False)
    return blurred, noise(rng, target, task.target_noise) if task.target_noise else target


def sharpen_held_out(task: Task, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    place = centre(task, name)
    blurred = lambda sigma: noise(rng, crop(place, WHOLE, task.colour, defocus(task, sigma)), 0.01)
    return [(blurred(sigma), crop(place, WHOLE, task.colour)) for sigma in (1.2, 2.0)]


# Rendering: a sharp image, a mask and the width of the blur to an image whose background is blurred


def rendered(task: Task, rng: np.random.Generator, place: Place, size: int, margin: int) -> Any:
    mask, sigma = soft_mask(rng, size, margin), rng.uniform(0.5, 2)
    sharp = crop(place, size, task.colour, margin=margin)
    blurred = crop(place, size, task.colour, defocus(task, sigma), margin)
    planes = np.concatenate([sharp, mask[None], np.full_like(mask, sigma / 2)[None]])
    return planes, mask * sharp + (1 - mask) * blurred


def render_pair(task: Task, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
    around = task.margin if task.misaligned else 0
    planes, target = rendered(task, rng, place, task.patch, around)
    inner = slice(around, around + task.patch)
    if around:
        target = warped(target, np.indices((task.patch, task.patch)) + around + displacement(task, rng, place))
    return planes[:, inner, inner], target


def render_held_out(task: Task, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [rendered(task, rng, centre(task, name), WHOLE, 0) for _ in range(2)]


# Real parallax. The input is cut from the left picture of a stereo pair, the target from the right one, shifted by the
# patch's median disparity; parallax and occlusions remain. Left of the middle trains, right of it judges, against the
# left picture itself. To render, both are blurred by how far a point's disparity is from the one in focus.


def stereo_place(task: Task, rng: np.random.Generator, names: Sequence[str], size: int) -> Place:
    disparities = stereo()[0][3]
    while True:
        far = (len(disparities) - size - task.margin, MIDDLE - size)
        top, left = rng.integers((task.margin, 80), far)
        disparity = disparities[top : top + size, left : left + size]
        if APART[0] <= np.percentile(np.abs(disparity - np.median(disparity)), 98) <= APART[1]:
            return "left", top, left


def refocused(picture: np.ndarray, focus: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture, blurred by up to 2 px, and the width of the blur as a map."""
    width = np.clip(np.abs(picture[3] - focus) / 4, 0, 2)
    levels = [picture[:3] if not sigma else disk(picture[:3], sigma) for sigma in (0, 0.5, 1, 1.5, 2)]
    share = [np.clip(1 - np.abs(width / 0.5 - i), 0, 1) for i in range(5)]
    return sum(weight * level for weight, level in zip(share, levels, strict=True)), width / 2


def stereo_views(task: Task, rng: np.random.Generator, place: Place, size: int, sigma: float) -> tuple[np.ndarray, ...]:
    """Input, target, and the same target as seen by the left camera."""
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
    if not task.maps:
        return noise(rng, disk(left[:3], sigma)[inner], 0.01), right[:3][inner], left[:3][inner]
    focus = np.quantile(disparity, rng.uniform())
    target, blur = refocused(left, focus)
    planes = np.concatenate([left[:3], blur[None]])
    return planes[inner], refocused(right, focus)[0][inner], target[inner]


def stereo_pair(task: Task, rng: np.random.Generator, place: Place) -> tuple[np.ndarray, np.ndarray]:
    return stereo_views(task, rng, place, task.patch, rng.uniform(0.8, 2.5))[:2]


def stereo_held_out(task: Task, rng: np.random.Generator, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    place = (name, {"top": 20, "bottom": 272}.get(name, 150), 516 if name in task.judged_on else 100)
    return [stereo_views(task, rng, place, WHOLE, sigma)[::2] for sigma in (1.2, 2.0)]


# How each scene places a crop, makes a training pair from it, (planes, H, W) and (C, H, W), and held-out pairs
SCENES = {
    "sharpen": (random_place, sharpen_pair, sharpen_held_out),
    "render": (random_place, render_pair, render_held_out),
    "stereo": (stereo_place, stereo_pair, stereo_held_out),
    "stereo render": (stereo_place, stereo_pair, stereo_held_out),
}


def make_problem(task: Task, seed: int, names: tuple[str, ...], steps: int) -> Problem:
    """All that one training run needs, from a seed and the names of the photographs that judge it."""
    find_place, make_pair, make_held_out = SCENES[task.scene]
    rng = np.random.default_rng(seed)
    pairs = [
        make_pair(task, rng, find_place(task, rng, task.train_on, task.patch)) for _ in range(steps * task.patches)
    ]
    masks = np.ones((steps, 1, 1, 1, 1), np.float32)
    if task.registered:
        found = [register(x[: task.channels], y) for x, y in pairs]
        pairs = [(x, y) for (x, _), (y, _) in zip(pairs, found, strict=True)]
        masks = np.stack([mask for _, mask in found]).reshape(steps, task.patches, 1, task.patch, task.patch)
    inputs, targets = stacked(pairs)
    held = stacked(
        [pair for i, name in enumerate(names) for pair in make_held_out(task, np.random.default_rng(i), name)]
    )
    seen = stacked([make_held_out(task, np.random.default_rng(i), name)[0] for i, name in enumerate(task.train_on)])
    return Problem(
        nnx.state(task.make_network(seed)),
        inputs.reshape(steps, task.patches, *inputs.shape[1:]),
        targets.reshape(steps, task.patches, *targets.shape[1:]),
        masks.astype(np.float32),
        *held,
        np.moveaxis(held[0][..., : task.channels], -1, 1),
        *seen,
    )


def stacked(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with channels last, as the networks take them, and targets with channels first, as the losses do."""
    inputs, targets = (np.stack(side).astype(np.float32) for side in zip(*pairs, strict=True))
    return np.moveaxis(inputs, 1, -1), targets
