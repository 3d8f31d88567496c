"""The options of the loss, and the words they accept."""

from typing import Any, Literal, NamedTuple

Spectrum = Literal["magnitude", "complex"]
"""What the general term compares: magnitudes, or complex spectra (SPEC 3.2, 3.4)."""
Edges = Literal["magnitude", "vector"]
"""What the specific term compares: lengths of Sobel vectors, or the vectors (SPEC 4.3, 4.4)."""
Order = Literal[1, 2]
"""p: the mean of the absolute differences, or their root mean square (SPEC 3.6)."""
Normalization = Literal["area", "gain"]
"""The unit of the specific term: as published, or intensity per pixel (SPEC 5.1, 5.2)."""
Reduction = Literal["mean", "sum", "none"]
"""What becomes of the losses of the images (SPEC 5.4)."""


class Options(NamedTuple):
    """The options, known before anything is computed, in the order of the parameters."""

    axes: Any  # a sequence of integers; checked, a tuple, counted from the end
    spectrum: Spectrum
    window: int | None
    edges: Edges
    p: Order
    normalization: Normalization
    sobel_size: int
    reduction: Reduction
