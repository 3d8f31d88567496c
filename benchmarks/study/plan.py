"""What is trained, in this order: what tells most first. A cell that comes again asks for more seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.study.losses import (
    ANYWHERE,
    BLOCKS,
    COLOURS,
    COMPLEX,
    FLOOR,
    FLOOR_EDGES,
    L1,
    L1_FFT,
    LOSSES,
    MAGNITUDES,
    MAGNITUDES_3,
    MIX,
    MIX_SQUARES,
    OPTIONS,
    PUBLISHED,
    PUBLISHED_MAGNITUDES,
    SEARCH,
    SEARCH_PIXELS,
    SEARCH_SMALL,
    SPECTRUM,
    WINDOWS,
    Loss,
)


@dataclass(frozen=True)
class Cells:
    tasks: Sequence[str]
    losses: Sequence[Loss | str]
    seeds: int = 1


FORGIVING = (L1, L1_FFT, MAGNITUDES, WINDOWS, SEARCH, MIX)
IN_REGISTER = (L1, L1_FFT, COMPLEX)
RIVALS = (
    BLOCKS,
    ANYWHERE,
    SEARCH_PIXELS,
    SEARCH_SMALL,
    "L1 + 10 Eagle",
    "L1 + 100 Eagle",
    "L1 + local sliced Wasserstein",
    "local sliced Wasserstein",
    "FACL's amplitudes",
    "AMSE",
)
COMPANIONS = (
    f"0.1 L1 + {MAGNITUDES.name}",
    f"L1 + {MAGNITUDES.name}",
    f"{MAGNITUDES.name} + L1 of squares of 8",
)
NOISY = (L1, L1_FFT, COMPLEX, MAGNITUDES, MIX, FLOOR)
PLAN = [
    # Blurred targets out of register, as they come and registered: for how long, on which network, how far.
    Cells(["render-shift2-long"], [L1, MAGNITUDES]),
    Cells(["render-shift2"], FORGIVING, 5),
    Cells(["render-shift2-registered"], IN_REGISTER, 5),
    Cells(["render-shift2-colour"], FORGIVING, 3),
    Cells(["render-shift2-colour-registered", "render-colour"], IN_REGISTER, 3),
    Cells(["render-shift2-unet"], [L1, L1_FFT, MAGNITUDES], 5),
    Cells(["render-shift2-unet-registered"], IN_REGISTER, 5),
    Cells(["shift2-registered", "breathing-registered", "parallax-registered"], IN_REGISTER, 5),
    Cells(["render-shift2-colour-unet"], [L1, L1_FFT, MAGNITUDES]),
    Cells(["render-shift2-colour-unet-registered"], IN_REGISTER),
    Cells(["shift2-unet-registered", "breathing-unet-registered"], IN_REGISTER),
    Cells(["aligned-noisy5"], NOISY, 3),
    Cells(["shift2-noisy5"], [*FORGIVING, FLOOR], 3),
    Cells(["shift2-noisy5-registered"], IN_REGISTER, 3),
    Cells(["aligned-noisy5-unet"], [L1, L1_FFT, COMPLEX, MAGNITUDES, FLOOR]),
    Cells(["shift2-noisy5-unet"], [L1, L1_FFT, MIX, MAGNITUDES, FLOOR]),
    Cells(["stereo-colour", "render-stereo-colour"], [L1, L1_FFT, MAGNITUDES, MIX, WINDOWS, SEARCH_PIXELS], 3),
    Cells(["stereo-colour-registered", "render-stereo-colour-registered"], IN_REGISTER, 3),
    Cells(["render-shift2"], [*RIVALS, PUBLISHED_MAGNITUDES], 1),
    Cells(["render-shift2", "render-shift2-colour"], COMPANIONS),
    Cells(["render-breathing", "render-parallax"], [L1, L1_FFT, MAGNITUDES, WINDOWS, MIX, SEARCH_PIXELS]),
    Cells(["render-breathing-registered", "render-parallax-registered"], IN_REGISTER),
    Cells(["motion-colour"], [*IN_REGISTER, MAGNITUDES]),
    Cells(["render-shift2-long"], [L1, L1_FFT, MAGNITUDES, WINDOWS]),
    Cells(["render-shift2-long-registered"], IN_REGISTER),
    Cells(["render-shift2-colour-unet"], [L1, L1_FFT, MAGNITUDES, WINDOWS, SEARCH], 3),
    Cells(["render-shift2-colour-unet-registered"], IN_REGISTER, 3),
    Cells(["render-shift2-unet"], [WINDOWS, SEARCH, MIX], 3),
    Cells(["shift2-unet-registered", "breathing-unet-registered"], IN_REGISTER, 3),
    Cells(["render-shift2-long"], [L1, MAGNITUDES], 3),
    Cells([f"render-shift{px}" for px in (0.5, 1, 4, 8, 16)], [L1, L1_FFT, MAGNITUDES, WINDOWS], 3),
    Cells(["render-shift2"], [*RIVALS, SPECTRUM, MAGNITUDES_3, PUBLISHED_MAGNITUDES, PUBLISHED], 3),
    Cells(["render-shift2-colour"], [*RIVALS[:5], PUBLISHED_MAGNITUDES, *COLOURS]),
    Cells(["aligned-noisy5-unet"], [L1, COMPLEX, MAGNITUDES, FLOOR], 3),
    Cells(["shift2-noisy5-unet"], [L1, L1_FFT, MIX, MAGNITUDES, FLOOR], 3),
    Cells(["render-shift2", "render-shift2-colour"], COMPANIONS[:1], 3),
    Cells(["render-shift2-colour-unet"], [*COMPANIONS[:1], WINDOWS, SEARCH_PIXELS]),
    Cells(["render-parallax", "render-breathing"], [L1, L1_FFT, MAGNITUDES, WINDOWS], 3),
    Cells(["render-parallax-registered", "render-breathing-registered"], IN_REGISTER, 3),
    Cells(["aligned-noisy2"], NOISY),
    Cells(["shift2-noisy2"], [L1, L1_FFT, MAGNITUDES, MIX, FLOOR]),
    Cells(["shift2-noisy5"], [FLOOR_EDGES, "L1 + BlurSim above the noise, spectrum"]),
    Cells(["aligned-noisy5"], [PUBLISHED_MAGNITUDES, FLOOR_EDGES]),
    Cells(["shift2", "parallax"], [SEARCH_PIXELS, BLOCKS]),
    Cells(["shift2-registered", "render-shift2-registered"], [MAGNITUDES, WINDOWS, MIX, "SSIM"]),
    # Sharp targets, and blurred ones in register.
    Cells(["aligned", "render"], [*IN_REGISTER, "MSE", "SSIM", PUBLISHED], 5),
    Cells(["shift2", "breathing", "parallax"], [*FORGIVING, "SSIM", MIX_SQUARES], 5),
    Cells(["shift1", "shift4"], [L1, L1_FFT, SEARCH, MAGNITUDES, MIX_SQUARES], 3),
    Cells(["shift2-160", "breathing-160", "parallax-160"], [L1, SEARCH, MAGNITUDES, MIX_SQUARES], 3),
    Cells(["aligned-unet"], [*IN_REGISTER, "SSIM"], 3),
    Cells(["shift2-unet"], [*FORGIVING, MIX_SQUARES], 3),
    Cells(["breathing-unet"], [*FORGIVING, MIX_SQUARES], 1),
    Cells(["render-unet"], IN_REGISTER, 3),
    Cells(["aligned", "shift2", "render"], OPTIONS, 1),
]

# The losses that stand in tables of their own name, though they are among the OPTIONS as well.
NAMED = {
    loss if isinstance(loss, str) else loss.name for row in PLAN if row.losses is not OPTIONS for loss in row.losses
}


def cells(tasks: Sequence[str], losses: Sequence[str], seeds: int | None) -> list[tuple[str, str, int]]:
    """(task, loss, seeds) of the plan as far as they are asked for, then what is asked for besides; each grows only."""
    names = lambda row: [loss if isinstance(loss, str) else loss.name for loss in row.losses]
    found = [(task, loss, row.seeds) for row in PLAN for task in row.tasks for loss in names(row)]
    known = {cell[:2] for cell in found}
    if losses:
        found += [(task, loss, 5) for task in tasks for loss in losses if (task, loss) not in known]
    wanted, most = [], {}
    for task, loss, count in found:
        count = seeds or count
        if task in tasks and loss in (losses or LOSSES) and count > most.get((task, loss), 0):
            most[task, loss] = count
            wanted.append((task, loss, count))
    return wanted
