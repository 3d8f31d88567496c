"""The photographs, all shipped in packages that are installed anyway: float32, black 0 and white 1, (C, H, W)."""

import functools
from collections.abc import Callable

import matplotlib.image
import numpy as np
import pywt
import skimage
from matplotlib import cbook
from scipy import ndimage
from sklearn.datasets import load_sample_image

# No photograph is in two of the lists of its kind.
TRAIN = ("astronaut", "brick", "grass", "gravel", "hubble_deep_field", "moon", "rocket")
SELECTION = ("stereo_motorcycle", "immunohistochemistry")  # used only to choose the learning rate
HELD_OUT = ("camera", "coffee", "chelsea", "coins")  # every figure is a mean over these
MORE = ("china", "flower", "aero", "ascent", "grace_hopper")  # with HELD_OUT, for intervals over photographs
TRAIN_COLOUR = ("astronaut", "hubble_deep_field", "retina", "rocket")
HELD_OUT_COLOUR = ("coffee", "chelsea", "china", "flower", "grace_hopper")
ELSEWHERE: dict[str, Callable[[], np.ndarray]] = {
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
    "aero": pywt.data.aero,
    "ascent": pywt.data.ascent,
    "grace_hopper": lambda: matplotlib.image.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
}


@functools.cache
def photograph(name: str, colour: bool = False) -> np.ndarray:
    """(3, H, W), or in grey (1, H, W)."""
    image = ELSEWHERE.get(name, getattr(skimage.data, name, None))()
    image = image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    image = skimage.util.img_as_float32(image)
    if colour:
        return np.moveaxis(image, -1, 0)
    return (skimage.color.rgb2gray(image) if image.ndim == 3 else image)[None]


@functools.cache
def spline(name: str, colour: bool) -> np.ndarray:
    """The coefficients of the photograph's cubic spline."""
    return np.stack([ndimage.spline_filter(plane, output=np.float32) for plane in photograph(name, colour)])


@functools.cache
def stereo() -> tuple[np.ndarray, np.ndarray]:
    """The left and the right picture, (4, H, W): three colours and the disparity.

    Holes in the left disparity take their nearest neighbour's. The right one is that of the nearest of the points that
    come to lie on a pixel.
    """
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
