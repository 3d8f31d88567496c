"""BlurSim, MSE, MAE and SSIM of two images, and a picture of what the two terms of BlurSim see.

    python examples/compare_images.py a.png b.png
    python examples/compare_images.py a.png b.png --spectrum complex --p 2 --normalization area --alpha 0.8
    python examples/compare_images.py

The second line computes the loss as published. The third compares two photographs and their Gaussian blurs, as the
original demonstration did: a photograph is closer to its own blur than to another scene, sharp or blurred. Images are
converted to grey and compared on a scale from 0 to --range, by default 255, as in the published figures. BlurSim, its
terms and MAE are proportional to the scale, MSE to its square.
"""

import argparse
import importlib.util
from pathlib import Path

import _deblur
import _pictures
import numpy as np
import skimage
from skimage.metrics import structural_similarity


def read(path: Path) -> np.ndarray:
    """The file as a grey image from 0 to 1; an alpha channel is ignored."""
    image = skimage.util.img_as_float32(skimage.io.imread(path))
    if image.ndim == 3:
        image = image[..., :3] @ np.float32([0.299, 0.587, 0.114]) if image.shape[-1] > 2 else image[..., 0]
    return image


def demonstration() -> list[tuple[str, np.ndarray, str, np.ndarray]]:
    def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
        sharp = _deblur.photograph(name)
        return sharp, skimage.filters.gaussian(sharp, sigma=2)

    (camera, camera_blurred), (astronaut, astronaut_blurred) = pair("camera"), pair("astronaut")
    return [
        ("camera", camera, "camera, blurred", camera_blurred),
        ("camera", camera, "astronaut", astronaut),
        ("camera", camera, "astronaut, blurred", astronaut_blurred),
        ("camera, blurred", camera_blurred, "astronaut, blurred", astronaut_blurred),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="two image files of the same size")
    parser.add_argument("--alpha", type=float, default=0.3, help="weight of the specific term (default: %(default)s)")
    installed = "jax" if importlib.util.find_spec("jax") else "torch"
    parser.add_argument("--backend", choices=("jax", "torch"), default=installed, help="(default: %(default)s)")
    parser.add_argument("--spectrum", choices=("magnitude", "complex"), default="magnitude")
    parser.add_argument("--edges", choices=("magnitude", "vector"), default="magnitude")
    parser.add_argument("--p", type=int, choices=(1, 2), default=1, help="2: root mean squares (default: %(default)s)")
    parser.add_argument("--normalization", choices=("area", "gain"), default="gain")
    parser.add_argument("--sobel-size", type=int, default=5, help="side of the Sobel kernel (default: %(default)s)")
    parser.add_argument("--range", type=float, default=255, help="value of white (default: %(default)s)")
    default = _pictures.OUTPUT / "compare_images.png"
    parser.add_argument("--output", type=Path, default=default, help="picture to write (default: %(default)s)")
    args = parser.parse_args()
    if len(args.files) not in (0, 2):
        parser.error(f"expected two image files or none, got {len(args.files)}")

    backend = importlib.import_module(f"blursim_{args.backend}")
    array = importlib.import_module("torch").from_numpy if args.backend == "torch" else np.asarray
    weighed = {"p": args.p, "normalization": args.normalization}
    seen = {"spectrum": args.spectrum, "edges": args.edges, "sobel_size": args.sobel_size}
    try:
        pairs = [tuple(x for path in args.files for x in (path.name, read(path)))] if args.files else demonstration()
        print(f"alpha={args.alpha:g} range={args.range:g}", end=" ")
        print(*(f"{name}={value}" for name, value in (weighed | seen).items()))
        measures = ("BlurSim", "general", "specific", "MSE", "MAE", "SSIM")
        print("".ljust(45) + "".join(f"{measure:>11}" for measure in measures))
        rows = {}
        for name_x, x, name_y, y in pairs:
            images = [array(args.range * image) for image in (x, y)]
            loss = backend.blursim(*images, args.alpha, **weighed, **seen)
            terms = backend.blursim_terms(*images, **weighed, **seen)
            difference = args.range * (x - y)
            others = (np.mean(difference**2), np.mean(abs(difference)), structural_similarity(x, y, data_range=1))
            name = f"{name_x} | {name_y}"
            print(name.ljust(45) + "".join(f"{float(value):11.4f}" for value in (loss, *terms, *others)))
            rows[name.replace(" | ", "\n")] = [x, y, *map(np.asarray, backend.difference_maps(*images, **seen))]
    except (OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    columns = [("x", "image"), ("y", "image"), ("spectrum: x - y", "spectrum"), ("edges: x - y", "edges")]
    _pictures.grid(args.output, columns, rows, panel=2.5)


if __name__ == "__main__":
    main()
