"""What is trained on: the tasks, as records. scenes.py makes their images."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from benchmarks.study.networks import Network, UNet
from benchmarks.study.photographs import HELD_OUT, HELD_OUT_COLOUR, MORE, TRAIN, TRAIN_COLOUR


@dataclass(frozen=True)
class Task:
    """Pairs for a network. Targets are misaligned at random in training, and aligned when the result is judged."""

    about: str = "aligned"
    scene: str = "sharpen"  # or "render", "stereo", "stereo render", as in scenes.py
    shift: float = 0  # pixels, at most, in each direction
    degrees: float = 0  # the whole photograph is turned about its centre, at most by this
    scale: float = 0  # and scaled, at most by this
    warp: float = 0  # pixels: the longest displacement of a smooth random warp
    target_noise: float = 0
    registered: bool = False  # each target to its input, once, before training
    colour: bool = False
    radius: int = 2  # for the losses that search over shifts: how far targets may be shifted
    network: type = Network
    skip: bool = True  # from the input to the output
    decay: bool = True  # of the learning rate, as a cosine
    steps: int = 400
    patches: int = 4  # in a batch
    patch: int = 48  # pixels a side
    margin: int = 12  # pixels around a patch that blur or misalignment brings into it
    looks: tuple[float, ...] = ()  # the parts of the training run after which its curve has a point
    rates_of: tuple[str, str] | None = None  # task and loss ("" for its own) whose trials choose the learning rate

    @property
    def channels(self) -> int:
        return 3 if self.colour else 1

    @property
    def maps(self) -> int:
        """Planes of the input in addition to the image."""
        return {"render": 2, "stereo render": 1}.get(self.scene, 0)

    @property
    def kind(self) -> str:
        return "noisy targets" if self.target_noise else "blurred targets" if self.maps else "sharp targets"

    @property
    def misaligned(self) -> bool:
        return bool(self.shift or self.scale or self.warp or self.scene.startswith("stereo"))

    @property
    def title(self) -> str:
        words = [self.about, "colour" * self.colour, "U-Net" * (self.network is UNet)]
        words += ["registered first" * self.registered, "no skip connection" * (not self.skip)]
        words += ["constant learning rate" * (not self.decay)]
        words += [f"targets with noise of {self.target_noise:g}"] if self.target_noise else []
        words += [f"patches of {self.patch}"] if self.patch not in (48, 64) else []
        words += [f"{self.steps:,} steps"] if self.steps not in (400, 2000) else []
        return ", ".join(filter(None, words))

    @property
    def train_on(self) -> tuple[str, ...]:
        return ("left",) if self.scene.startswith("stereo") else TRAIN_COLOUR if self.colour else TRAIN

    @property
    def judged_on(self) -> tuple[str, ...]:
        if self.scene.startswith("stereo"):
            return ("top", "bottom")
        return HELD_OUT_COLOUR if self.colour else HELD_OUT + MORE

    def make_network(self, seed: int) -> Any:
        return self.network(self.channels + self.maps, self.channels, nnx.Rngs(seed), self.skip)

    def predict(self, params: Any, inputs: Array) -> Array:
        """(N, H, W, planes) to (N, C, H, W)."""
        graph = nnx.graphdef(nnx.eval_shape(lambda: self.make_network(0)))
        return jnp.moveaxis(nnx.merge(graph, params)(inputs), -1, 1)

    def predict_singly(self, params: Any, inputs: Array) -> Array:
        """As predict, one image after the other, which suits a processor's cache."""
        return jax.lax.map(lambda image: self.predict(params, image[None])[0], inputs)


BREATHING = {"shift": 1, "degrees": 0.3, "scale": 0.015, "radius": 4}
LONG = {"network": UNet, "steps": 2000, "patch": 64, "patches": 2, "looks": (0.05, 0.1, 0.2, 0.5, 1)}
SHARPEN = {
    "aligned": Task(),
    "shift1": Task("shifted by up to 1 px", shift=1, radius=1),
    "shift2": Task("shifted by up to 2 px", shift=2),
    "shift4": Task("shifted by up to 4 px", shift=4, radius=4),
    "breathing": Task("breathing: scaled by up to 1.5 %, turned by 0.3°, shifted by 1 px", **BREATHING),
    "parallax": Task("smooth warp of up to 3 px", warp=3, radius=3),
}
RENDER = {
    "render": Task(scene="render"),
    "render-shift2": Task("shifted by up to 2 px", "render", shift=2),
    "render-breathing": Task("breathing", "render", rates_of=("render-shift2", ""), **BREATHING),
    "render-parallax": Task("smooth warp of up to 3 px", "render", warp=3, radius=3, rates_of=("render-shift2", "")),
}
TASKS: dict[str, Task] = SHARPEN | RENDER
for _px in (0.5, 1, 4, 8, 16):
    TASKS[f"render-shift{_px}"] = Task(
        f"shifted by up to {_px} px", "render", _px, radius=-int(-_px // 1), margin=28, rates_of=("render-shift2", "")
    )
# The same on larger patches, with the U-Net (where all losses share the rate of L1), and in colour.
for _name, _patch in itertools.product((*SHARPEN, *RENDER), (160, 256)):
    _rates = TASKS[_name].rates_of or (_name, "")
    TASKS[f"{_name}-{_patch}"] = replace(TASKS[_name], patch=_patch, patches=1, rates_of=_rates)
for _name, _rates in (
    *((name, f"{name}-unet") for name in ("aligned", "shift2", "render")),
    ("breathing", "shift2-unet"),
    ("render-shift2", "render-unet"),
    ("render-parallax", "render-unet"),
):
    TASKS[f"{_name}-unet"] = replace(TASKS[_name], rates_of=(_rates, "L1"), **LONG)
TASKS["render-shift2-long"] = replace(
    TASKS["render-shift2-unet"], steps=6000, looks=(0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1)
)
for _name in ("render", "render-shift2", "aligned", "shift2"):
    TASKS[f"{_name}-colour"] = replace(TASKS[_name], colour=True)
TASKS["render-shift2-colour-unet"] = replace(TASKS["render-shift2-unet"], colour=True)
for _name, _deviation in itertools.product(("aligned", "shift2"), (0.02, 0.05)):
    TASKS[f"{_name}-noisy{100 * _deviation:.0f}"] = replace(
        TASKS[f"{_name}-colour"], target_noise=_deviation, rates_of=("aligned-noisy5", "")
    )
for _name in ("aligned-noisy5", "shift2-noisy5"):
    TASKS[f"{_name}-unet"] = replace(TASKS[_name], **LONG | {"rates_of": ("aligned-unet", "L1")})
TASKS["stereo-colour"] = Task("real parallax", "stereo", colour=True, radius=4, rates_of=("parallax", ""))
TASKS["render-stereo-colour"] = Task(
    "real parallax, blurred by depth", "stereo render", colour=True, radius=4, rates_of=("render-shift2-colour", "")
)
TASKS["render-scratch"] = replace(TASKS["render"], skip=False)
TASKS["render-shift2-scratch"] = replace(TASKS["render-shift2"], skip=False, rates_of=("render-scratch", ""))
TASKS["render-colour-constant"] = replace(TASKS["render-colour"], decay=False)
# Each misaligned task with its targets registered first, at the rate of the aligned one.
for _name, _task in list(TASKS.items()):
    if _task.misaligned:
        _of, _same = _task.rates_of or (_name, "")
        _aligned = "render" + "-colour" * _task.colour if _task.maps else "aligned"
        _rates = _of if _task.network is UNet or _task.target_noise else _aligned
        TASKS[f"{_name}-registered"] = replace(_task, registered=True, rates_of=(_rates, _same))
