"""The largest differences that the suite allows, each with its reason, and how they are measured."""

import numpy as np

# Relative to the expected value or to the norm of the expected array.
VALUE_64 = 1e-12  # float64 eps 2e-16; sums of up to 1e5 terms and an FFT lose three digits, never four
VALUE_32 = 1e-5  # float32 eps 6e-8; two norms that nearly cancel lose two digits
GRADIENT_64 = 1e-10  # the gradient divides by magnitudes, the smallest of which have lost digits
GRADIENT_32 = 1e-4  # the same in float32, where no magnitude is near its rounding error
GRADIENT_32_MEANS = 5e-3  # p = 1, noise: where a share f of the differences has another sign it is off by 2 sqrt(f)
# Where images are flat, entries that are zero but for rounding get a direction (magnitudes), or a sign (p = 1), that
# rounding chose. Of ten 8-bit photographs the worst have 0.14 and 0.21; most have 1e-5 to 1e-2.
GRADIENT_32_FLAT = {2: 0.2, 1: 0.3}
GRADIENT_32_ABOVE = 1e-2  # far above zero images are of few levels, and a photograph flat in many places
CENTRAL_DIFFERENCE = 1e-6  # step 1e-5: truncation about step^2 times the third derivative, rounding about eps / step
CENTRAL_DIFFERENCE_DRAWN = 1e-5  # step 1e-6, images with small magnitudes among them, whose third derivatives are large
CHECK_GRADS = 1e-5  # jax.test_util's step is 1e-4 in float64: at second order rounding comes to eps / step^2
GOLDEN = 1e-12  # what SPEC promises; another FFT rounds to 1e-15
PUBLISHED = 5e-5  # the published figures have four decimals

# Against 0, for images with values around 1.
NOTHING_64 = 1e-12  # what should cancel, to the rounding of float64
NOTHING_32 = 1e-4  # the same in float32, before division by a norm of about 1


def distance(actual, expected) -> float:
    """|| actual - expected || / || expected ||."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return np.linalg.norm((actual - expected).ravel()) / np.linalg.norm(expected.ravel())
