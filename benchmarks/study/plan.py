"""What is trained, in this order: one table of tasks, losses and seeds."""

from collections.abc import Sequence

from benchmarks.study.losses import (
    ADVISED,
    AT_RANDOM,
    COMPLEX,
    COMPLEX_WINDOWED,
    COMPLEX_WINDOWED_ALONE,
    L1,
    L1_FFT,
    LIGHT_MIX,
    LIGHT_WINDOWED_MIX,
    LOSSES,
    MAGNITUDES,
    MIX,
    MSE,
    PUBLISHED,
    SEARCH,
    SEARCH_PER_PIXEL,
    SPECTRUM,
    SQUARE,
    WINDOWED,
    WINDOWED_MIX,
)

PIXELWISE = (L1, L1_FFT, COMPLEX)  # for aligned and registered targets
RIVALS = (L1, L1_FFT, SQUARE, SEARCH_PER_PIXEL, SPECTRUM, MAGNITUDES, ADVISED)
GRID = tuple(loss for (size, _), loss in WINDOWED.items() if size <= 48 and loss is not ADVISED)  # in patches of 48
SIZES = tuple(WINDOWED[size, 0] for size in (16, 24, 48, 64))
PLAN = [  # (tasks, losses, seeds)
    # Blurred targets, misaligned
    ("render-shift2 render-parallax render-stereo-colour render-shift2-colour render-breathing", RIVALS, 5),
    ("render-shift2 render-parallax render-stereo-colour", (AT_RANDOM, *GRID), 3),
    ("render-shift2-160 render-parallax-160", (*RIVALS, *SIZES, WINDOWED[32, 0.1], WINDOWED[32, 0.3]), 3),
    ("render-shift2-256 render-parallax-256", (L1, SQUARE, SPECTRUM, ADVISED, WINDOWED[48, 0], WINDOWED[64, 0]), 3),
    (
        "render-shift2-unet render-shift2-colour-unet render-parallax-unet",
        (L1, L1_FFT, SPECTRUM, MAGNITUDES, ADVISED),
        3,
    ),
    ("render-shift2-long", (L1, SPECTRUM, MAGNITUDES, ADVISED), 3),
    ("render-shift0.5 render-shift1 render-shift4 render-shift8 render-shift16", (L1, L1_FFT, SPECTRUM, ADVISED), 3),
    # Blurred targets, aligned or registered first
    ("render render-shift2-registered render-shift2-unet-registered", PIXELWISE, 5),
    ("render-colour render-unet render-shift2-colour-registered render-shift2-colour-unet-registered", PIXELWISE, 3),
    ("render-parallax-registered render-breathing-registered render-stereo-colour-registered", PIXELWISE, 3),
    # Without a skip connection, and at a constant learning rate
    ("render-scratch render-shift2-scratch", (L1, SPECTRUM, ADVISED), 10),
    ("render-colour-constant", (*PIXELWISE, MAGNITUDES, SPECTRUM, ADVISED, LIGHT_MIX, LIGHT_WINDOWED_MIX), 3),
    ("render-colour", (MAGNITUDES, SPECTRUM, LIGHT_MIX, LIGHT_WINDOWED_MIX), 3),
    # Sharp targets
    ("aligned", (*PIXELWISE, MSE, PUBLISHED), 4),
    ("shift2 breathing parallax", (L1, L1_FFT, MAGNITUDES, SQUARE, SEARCH, MIX), 3),
    ("shift2-registered breathing-registered parallax-registered", PIXELWISE, 5),
    ("stereo-colour", (L1, L1_FFT, MAGNITUDES, MIX, SQUARE, SEARCH_PER_PIXEL), 3),
    ("stereo-colour-registered aligned-unet shift2-unet-registered breathing-unet-registered", PIXELWISE, 3),
    ("shift2-unet", (L1, L1_FFT, MAGNITUDES, SQUARE, SEARCH, MIX), 3),
    # Noisy targets
    ("aligned-noisy5", (*PIXELWISE, MAGNITUDES, MIX), 3),
    ("shift2-noisy5", (L1, L1_FFT, MAGNITUDES, SQUARE, SEARCH, MIX), 3),
    ("shift2-noisy5-registered", PIXELWISE, 3),
    ("aligned-noisy5-unet", (*PIXELWISE, MAGNITUDES), 3),
    ("shift2-noisy5-unet", (L1, L1_FFT, MAGNITUDES, MIX), 3),
    # Windows where the guide advises none
    ("render render-colour aligned", (ADVISED, COMPLEX_WINDOWED, COMPLEX_WINDOWED_ALONE), 3),
    ("render-unet aligned-noisy5 shift2-registered parallax-registered", (ADVISED, COMPLEX_WINDOWED), 3),
    (
        "render-shift2-registered render-parallax-registered render-stereo-colour-registered",
        (ADVISED, COMPLEX_WINDOWED),
        3,
    ),
    ("shift2 breathing parallax stereo-colour shift2-noisy5", (ADVISED, WINDOWED_MIX), 3),
    ("shift2 parallax stereo-colour", (LIGHT_WINDOWED_MIX,), 3),
    ("shift2-unet shift2-noisy5-unet", (WINDOWED_MIX,), 3),
]


def cells(tasks: Sequence[str], losses: Sequence[str], seeds: int | None) -> list[tuple[str, str, int]]:
    """(task, loss, seeds) of the plan as far as they are asked for, then what is asked for in addition."""
    planned = {(task, loss.name): count for words, of, count in PLAN for task in words.split() for loss in of}
    extra = {(task, loss): 5 for task in tasks for loss in losses if (task, loss) not in planned}
    wanted = ((task, loss, seeds or count) for (task, loss), count in (planned | extra).items())
    return [cell for cell in wanted if cell[0] in tasks and cell[1] in (losses or LOSSES)]
