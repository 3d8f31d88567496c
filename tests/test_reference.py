"""The reference, which every backend is compared with, itself compared with libraries that know nothing of it."""

import cv2
import numpy as np
import pytest
import reference
import scipy.fft
import scipy.ndimage
import scipy.special
from tolerances import VALUE_64, distance

SHAPES = [(3, 3), (5, 5), (4, 7), (8, 6), (13, 11), (64, 48)]


@pytest.mark.parametrize("shape", [*SHAPES, (7,), (3, 5, 4)])
@pytest.mark.parametrize("library", [np.fft.fftn, scipy.fft.fftn])
def test_its_dft_is_that_of_fft_libraries(library, shape, rng):
    """SPEC 3.1"""
    image = rng.standard_normal(shape)
    assert distance(reference.dft(image), library(image, norm="ortho")) < VALUE_64


@pytest.mark.parametrize("shape", [(4, 4), *SHAPES[1:]])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_its_sobel_is_that_of_opencv(size, shape, rng):
    """SPEC 4.1, 4.2, 5.2: over its gain, 2^(2k-3)."""
    image = rng.standard_normal(shape)
    gy, gx = reference.sobel(image, size) * 2 ** (2 * size - 3)
    for actual, (dx, dy) in ((gx, (1, 0)), (gy, (0, 1))):
        expected = cv2.Sobel(image, cv2.CV_64F, dx, dy, ksize=size, borderType=cv2.BORDER_DEFAULT)
        assert distance(actual, expected) < VALUE_64


@pytest.mark.parametrize("size", [3, 5, 7, 9, 11])
def test_its_sobel_of_any_size_is_binomial(size, rng):
    """SPEC 4.1, 4.2: also for the sizes that OpenCV lacks, by SciPy's correlation ("mirror" repeats no edge pixel)."""
    image = rng.standard_normal((12, 9))
    smooth = scipy.special.binom(size - 1, np.arange(size))
    shorter = np.append(scipy.special.binom(size - 2, np.arange(size - 1)), 0)
    derivative = np.roll(shorter, 1) - shorter
    gy, gx = reference.sobel(image, size) * 2 ** (2 * size - 3)
    assert distance(gx, scipy.ndimage.correlate(image, np.outer(smooth, derivative), mode="mirror")) < VALUE_64
    assert distance(gy, scipy.ndimage.correlate(image, np.outer(derivative, smooth), mode="mirror")) < VALUE_64


@pytest.mark.parametrize("shape", [(9,), (6, 7, 5)])
def test_its_sobel_of_signals_and_volumes_is_that_of_scipy(shape, rng):
    """SPEC 4.1, 4.2, 5.2: SciPy's has size 3, and a gain of 2 * 4^(n-1)."""
    image = rng.standard_normal(shape)
    for axis, component in enumerate(reference.sobel(image, 3) * 2 * 4 ** (len(shape) - 1)):
        assert distance(component, scipy.ndimage.sobel(image, axis, mode="mirror")) < VALUE_64


def test_its_kernel_of_size_5_is_the_one_in_the_definition():
    """SPEC 4.1"""
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    _, gx = reference.sobel(impulse, 5)
    assert np.array_equal(128 * gx[3:8, 3:8], np.outer([1, 4, 6, 4, 1], [-1, -2, 0, 2, 1])[::-1, ::-1])


@pytest.mark.parametrize("p", [1, 2])
def test_its_losses_are_means_of_hand_made_ones(p):
    """SPEC 2.1, 3.5, 5.4: black and white images of 4 x 4 differ in DC alone, by 4: G = 4 / 16 or 4 / 4, and E = 0."""
    black, white = np.zeros((2, 4, 4)), np.ones((2, 4, 4))
    white[1] *= 3
    G = {1: 1 / 4, 2: 1}[p]
    losses = reference.blursim(black, white, 0.25, p=p, reduction="none")
    assert np.allclose(losses, [0.75 * G, 0.75 * 3 * G], atol=VALUE_64)
    assert reference.blursim(black, white, 0.25, p=p) == pytest.approx(0.75 * 2 * G)


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("shape", [(20,), (16, 20), (15, 14, 16)])
def test_its_edges_are_in_intensity_per_pixel(shape, size):
    """SPEC 4.1, 5.2: of a slope of 3 per pixel, away from the border, the gradient is 3."""
    slope = np.broadcast_to(3.0 * np.arange(shape[-1]), shape)
    inside = (..., *(slice(size // 2, -(size // 2)) for _ in shape))
    *others, own = reference.sobel(slope, size)[inside]
    assert np.array_equal(own, np.full(own.shape, 3.0))
    assert not np.any(others)
