"""Draw the pictures in docs/, from photographs and from the pictures of two examples.

make demo && .venv/bin/python examples/train_volume_flax.py && .venv/bin/python examples/readme_pictures.py
"""

from pathlib import Path

import _deblur
import _pictures
import numpy as np
import skimage
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from blursim_jax import blursim_terms

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    sharp = _deblur.photograph("camera")[::2, ::2]
    draw_blindness(sharp)
    shrink(DOCS / "blind.png", DOCS / "blind.png")
    shrink(_pictures.OUTPUT / "volume_flax.png", DOCS / "volumes.png")
    Image.open(_pictures.OUTPUT / "refocus.png").convert("RGB").save(DOCS / "refocus.jpg", quality=90, optimize=True)


def draw_blindness(sharp: np.ndarray) -> None:
    """A photograph changed in four ways, and the loss of each change under each option."""
    changed = {
        "Gaussian blur": skimage.filters.gaussian(sharp, sigma=1),
        "negative": 2 * sharp.mean() - sharp,
        "circular shift": np.roll(sharp, (60, 60), axis=(0, 1)),
        "point reflection": sharp[::-1, ::-1],
    }
    figure = Figure(figsize=(8.5, 3.3))
    axes = figure.subplots(
        1, 1 + len(changed), gridspec_kw={"wspace": 0.05, "left": 0.01, "right": 0.99, "bottom": 0.4, "top": 0.92}
    )
    for ax, (name, image) in zip(axes, {"y": sharp, **changed}.items(), strict=True):
        ax.imshow(image, cmap="gray", vmin=0, vmax=1)
        ax.set_title(name, fontsize=10)
        ax.set(xticks=[], yticks=[])
    rows = [('spectrum="magnitude"', {}), ("window=32", {"window": 32})]
    rows += [('spectrum="complex"', {"spectrum": "complex"})]
    rows += [('edges="magnitude"', {}), ('edges="vector"', {"edges": "vector"})]
    for i, (label, option) in enumerate(rows):
        place = {"xycoords": "axes fraction", "fontsize": 10, "annotation_clip": False}
        axes[0].annotate(label, (1, -0.15 - 0.14 * i), ha="right", family="monospace", **place)
        for ax, image in zip(axes[1:], changed.values(), strict=True):
            terms = blursim_terms(image, sharp, **option)
            value = float(terms.specific if "edges" in label else terms.general)
            color, word = ("crimson", "0: blind") if value < 1e-6 else ("black", f"{value:.4f}")
            ax.annotate(word, (0.5, -0.15 - 0.14 * i), ha="center", color=color, **place)
    _pictures.save(figure, DOCS / "blind.png")


def shrink(path: Path, into: Path) -> None:
    """At most 900 pixels wide, in 64 greys and 64 colours of the difference maps."""
    colors = [cmap(np.linspace(0, 1, 64), bytes=True)[:, :3] for cmap in map(colormaps.get_cmap, ("gray", "RdBu_r"))]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate(colors).tobytes())
    image = Image.open(path).convert("RGB")
    image.thumbnail((900, 900), Image.Resampling.LANCZOS)
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(into, optimize=True)


if __name__ == "__main__":
    main()
