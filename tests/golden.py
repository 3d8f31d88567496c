"""The golden values (SPEC 8.7): losses and gradient norms that no release changes unless the CHANGELOG says so.

The images are made by a formula, so that they depend on no generator of random numbers. `python tests/golden.py`
writes golden.json anew, by PyTorch in float64; its values are then compared with the reference as well.
"""

import json
from pathlib import Path

import numpy as np
from options import EXTREMES, SEEN

FILE = Path(__file__).with_name("golden.json")

# Shape of x, spatial axes, Sobel size, with a mask or not, window.
SHAPES = [
    ((2, 3, 12, 17), (-2, -1), 5, False, None),
    ((2, 16, 9, 3), (-3, -2), 3, True, None),
    ((64, 48), (0, 1), 7, False, None),
    ((2, 101), (-1,), 5, True, None),
    ((8, 9, 10), (-3, -2, -1), 5, False, None),
    ((2, 13, 17, 3), (-3, -2), 5, False, 8),
    ((2, 101), (-1,), 5, True, 16),
    ((6, 9, 7), (-3, -2, -1), 3, False, 4),
]


def cases(shape):
    """name -> x, y, mask and options: every mode for the first shape, all the code of both terms for the others."""
    _, axes, size, masked, window = SHAPES[shape]
    x, y, mask = images(SHAPES[shape][0])
    found = {}
    for i, seen in enumerate(EXTREMES if shape else SEEN):
        options = {**seen, "normalization": ("gain", "area")[i % 2], "axes": axes, "sobel_size": size}
        options |= {} if window is None else {"window": window}
        words = " ".join(f"{option}={word}" for option, word in options.items())
        found[f"{x.shape} {words}{' masked' * masked}"] = x, y, mask if masked else None, options
    return found


def images(shape):
    """Two images and a mask, all of sines of the pixel's index, thus without zeros or symmetries."""
    i = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    x = 0.5 + 0.5 * np.sin(0.37 * i + np.sin(0.11 * i))
    y = 0.5 + 0.5 * np.sin(0.41 * i + 2 * np.sin(0.07 * i))
    return x, y, np.clip(0.5 + 0.7 * np.sin(0.05 * i), 0, 1)


def computed(backend, shape):
    """name -> [loss, norm of the gradient for x, for y]."""

    def row(options):
        loss = lambda x, y, mask: backend.blursim(x, y, 0.3, mask=mask, **options)
        norms = lambda *images: [(g**2).sum() ** 0.5 for g in backend.grad(loss, argnums=(0, 1))(*images)]
        return lambda *images: [loss(*images), *norms(*images)]

    with backend.double_precision():
        return {
            name: [float(number) for number in backend.run(row(options), x, y, mask)]
            for name, (x, y, mask, options) in cases(shape).items()
        }


if __name__ == "__main__":
    from backends import BACKENDS

    table = {name: row for shape in range(len(SHAPES)) for name, row in computed(BACKENDS[-1], shape).items()}
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table.items())
    FILE.write_text(f"{{\n{rows}\n}}\n")
