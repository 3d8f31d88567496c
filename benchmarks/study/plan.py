"""What is trained, in this order: what tells most first. A cell that comes again asks for more seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.study.losses import (
    ANYWHERE,
    BLOCKS,
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
REFOCUS, REFOCUS_UNET = ("render-shift2", "render-shift2-registered"), "render-shift2-unet"
RIVALS = (
    BLOCKS,
    ANYWHERE,
    SEARCH_PIXELS,
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
PLAN = [
    # Blurred targets out of register.
    Cells(REFOCUS[:1], FORGIVING, 3),
    Cells(REFOCUS[1:], IN_REGISTER, 3),
    Cells([REFOCUS_UNET], FORGIVING),
    Cells([f"{REFOCUS_UNET}-registered"], IN_REGISTER),
    Cells(["render-shift2-colour"], [*FORGIVING, PUBLISHED_MAGNITUDES, SEARCH_PIXELS]),
    Cells(["render-shift2-colour-registered", "render-colour"], IN_REGISTER),
    # Sharp targets out of register, registered first; noisy targets.
    Cells(["shift2-registered", "parallax-registered", "breathing-registered"], IN_REGISTER),
    Cells(["aligned-noisy5"], [L1, L1_FFT, COMPLEX, MAGNITUDES, MIX, FLOOR]),
    Cells(["shift2-noisy5"], [L1, L1_FFT, MIX, MAGNITUDES]),
    Cells(["shift2-noisy5-registered"], [L1, COMPLEX]),
    Cells([REFOCUS_UNET], [L1, L1_FFT, MAGNITUDES], 3),
    Cells([f"{REFOCUS_UNET}-registered"], [L1_FFT, COMPLEX], 3),
    # How far it helps, for how long, on real parallax; the rivals.
    Cells([f"render-shift{px}" for px in (0.5, 1, 4, 8, 16)], [L1, L1_FFT, MAGNITUDES, WINDOWS]),
    Cells(["render-shift2-long"], [L1, MAGNITUDES]),
    Cells(["stereo-colour", "render-stereo-colour"], [L1, L1_FFT, MAGNITUDES, MIX]),
    Cells(["stereo-colour-registered", "render-stereo-colour-registered"], IN_REGISTER),
    Cells(REFOCUS[:1], [BLOCKS, ANYWHERE, SEARCH_PIXELS, "L1 + 10 Eagle", "L1 + local sliced Wasserstein"]),
    Cells(["aligned-noisy5-unet"], [L1, COMPLEX, MAGNITUDES, FLOOR]),
    Cells(["shift2-noisy5-unet"], [L1, L1_FFT, MIX]),
    Cells(["shift2-unet-registered", "breathing-unet-registered"], IN_REGISTER),
    Cells([*REFOCUS[:1], "render-shift2-colour"], COMPANIONS),
    Cells(["render-breathing", "render-parallax"], [L1, L1_FFT, MAGNITUDES, WINDOWS, MIX]),
    Cells(["render-breathing-registered", "render-parallax-registered"], IN_REGISTER),
    Cells(["render-shift2-colour"], FORGIVING, 3),
    Cells(["render-shift2-colour-registered"], IN_REGISTER, 3),
    Cells(["aligned-noisy5"], [L1, L1_FFT, COMPLEX, MAGNITUDES, MIX, FLOOR], 3),
    Cells(["shift2-noisy5"], [L1, L1_FFT, MAGNITUDES, MIX, WINDOWS, SEARCH], 3),
    Cells(["shift2-noisy5-registered"], IN_REGISTER, 3),
    Cells(["shift2-registered", "parallax-registered", "breathing-registered"], IN_REGISTER, 3),
    Cells(REFOCUS[:1], [*RIVALS, SPECTRUM, MAGNITUDES_3, PUBLISHED_MAGNITUDES, PUBLISHED]),
    Cells(["render-shift2-long"], [L1_FFT, WINDOWS]),
    Cells(["render-shift2-long-registered"], [COMPLEX, L1_FFT]),
    Cells(["render-shift2-colour-unet"], [L1, L1_FFT, MAGNITUDES, SEARCH]),
    Cells(["render-shift2-colour-unet-registered"], IN_REGISTER),
    Cells(["shift2-noisy5"], [FLOOR, FLOOR_EDGES, "L1 + BlurSim above the noise, spectrum"]),
    Cells(["aligned-noisy5"], [PUBLISHED_MAGNITUDES, FLOOR_EDGES]),
    Cells(["shift2-noisy5-unet"], [MAGNITUDES, FLOOR]),
    Cells(["shift2", "parallax", "render-breathing", "render-parallax"], [SEARCH_PIXELS, BLOCKS]),
    Cells(["aligned-noisy2"], [L1, L1_FFT, COMPLEX, MAGNITUDES, FLOOR]),
    Cells(["shift2-noisy2"], [L1, MAGNITUDES, MIX, FLOOR]),
    Cells(["motion-colour"], IN_REGISTER),
    Cells(["render-shift2-colour"], ["L1 after colours", f"{MAGNITUDES.name} after colours"]),
    Cells([REFOCUS_UNET], [WINDOWS, SEARCH, MIX], 3),
    Cells([f"{REFOCUS_UNET}-registered"], [L1], 3),
    Cells(REFOCUS[:1], [L1, L1_FFT, MAGNITUDES, WINDOWS], 5),
    Cells(REFOCUS[1:], IN_REGISTER, 5),
    Cells([REFOCUS_UNET], [L1, L1_FFT, MAGNITUDES], 5),
    Cells([f"{REFOCUS_UNET}-registered"], [L1_FFT, COMPLEX], 5),
    # As in the tables of before.
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
