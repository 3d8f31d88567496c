"""Registering a target to its input, once, before training, by scikit-image's flow. Images are (C, H, W)."""

import numpy as np
from scipy import ndimage
from skimage.registration import optical_flow_ilk

RADIUS = 7  # pixels: half the window in which the flow is constant


def flow(reference: np.ndarray, moving: np.ndarray, radius: int = RADIUS) -> np.ndarray:
    """(2, H, W): displacement from each pixel of the reference to its match in moving."""
    return optical_flow_ilk(reference.mean(axis=0), moving.mean(axis=0), radius=radius)


def warp(moving: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """moving as seen from the reference, (C, H, W), and a mask (1, H, W), 0 where its pixels lie outside moving."""
    where = np.indices(moving.shape[1:]) + flow
    last = np.array(moving.shape[1:])[:, None, None] - 1
    inside = ((where >= 0) & (where <= last)).all(axis=0)
    planes = [ndimage.map_coordinates(plane, where, np.float32, order=3, mode="nearest") for plane in moving]
    return np.stack(planes), inside[None].astype(np.float32)


def register(reference: np.ndarray, moving: np.ndarray, radius: int = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    return warp(moving, flow(reference, moving, radius))


def discrepancy(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """(H, W): the forward-backward discrepancy of a flow, in pixels."""
    where = np.indices(forward.shape[1:]) + forward
    returned = [ndimage.map_coordinates(component, where, order=1, mode="nearest") for component in backward]
    return np.linalg.norm(forward + np.stack(returned), axis=0)
