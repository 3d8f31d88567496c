"""Images alongside their difference maps, drawn the same way in all examples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OUTPUT = Path(__file__).parent / "output"


def grid(
    path: Path, columns: Sequence[tuple[str, str]], rows: dict[str, Sequence[np.ndarray]], panel: float = 2
) -> None:
    """Writes a PNG: one row of panels per label, one column per (title, kind).

    Kinds: "image" is grey from 0 to 1; "spectrum" and "edges" are difference maps, red where the first
    image has more, blue where it has less, with one scale per row and kind, so that maps compare.
    """
    height, width = next(iter(rows.values()))[0].shape
    size = (panel * len(columns) + 0.4, panel * height / width * len(rows) + 0.6)
    fontsize = max(10, 1.1 * size[0])  # legible where the picture is as wide as a page
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, (label, images) in enumerate(rows.items()):
        # A spectrum spans many orders of magnitude.
        shown = [signed_log(x) if kind == "spectrum" else x for x, (_, kind) in zip(images, columns, strict=True)]
        for j, (image, (title, kind)) in enumerate(zip(shown, columns, strict=True)):
            ax = axes[i, j]
            if kind == "image":
                ax.imshow(image, cmap="gray", vmin=0, vmax=1)
            else:
                same_kind = [x for x, (_, other) in zip(shown, columns, strict=True) if other == kind]
                limit = max(np.quantile(np.abs(same_kind), 0.995), 1e-12)
                ax.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[])
            if i == 0:
                ax.set_title(title, fontsize=fontsize)
            if j == 0:
                ax.set_ylabel(label, fontsize=fontsize)
    save(figure, path)


def signed_log(x: np.ndarray) -> np.ndarray:
    """Odd, linear up to the median size of x, logarithmic beyond."""
    return np.arcsinh(x / max(np.median(np.abs(x)), 1e-12))


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")
