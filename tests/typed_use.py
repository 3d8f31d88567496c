"""A program that uses the whole interface. It is not run: `make types` checks it, strictly, as it would a user's."""

from dataclasses import dataclass
from typing import TypedDict, assert_type

import jax
import torch

import blursim_jax
import blursim_torch


def in_jax(x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
    loss = blursim_jax.blursim(x, y, 0.3, axes=(-3, -2), spectrum="complex", edges="vector", normalization="area")
    per_image: jax.Array = blursim_jax.blursim(x, y, loss, p=2, window=8, sobel_size=3, mask=mask, reduction="none")
    terms: blursim_jax.Terms = blursim_jax.blursim_terms(x, y, axes=range(-2, 0))
    maps: blursim_jax.Maps = blursim_jax.difference_maps(x, y)
    return per_image + terms.general + terms.specific + maps.spectrum + maps.edges


def in_torch(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    loss = blursim_torch.blursim(x, y, 0.3, axes=(-3, -2), spectrum="complex", edges="vector", normalization="area")
    per_image: torch.Tensor = blursim_torch.blursim(
        x, y, loss, p=2, window=8, sobel_size=3, mask=mask, reduction="none"
    )
    terms: blursim_torch.Terms = blursim_torch.blursim_terms(x, y, axes=range(-2, 0))
    maps: blursim_torch.Maps = blursim_torch.difference_maps(x, y)
    return per_image + terms.general + terms.specific + maps.spectrum + maps.edges


def as_a_module(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    criterion = blursim_torch.BlurSim(0.9, p=2)
    criterion.alpha = blursim_torch.linear_schedule(0.9, 0.1, 100)(50)
    criterion.alpha = blursim_torch.cosine_decay_schedule(0.9, 100)(50)
    criterion.alpha = torch.tensor(0.3)
    criterion.reduction = "none"
    criterion.window, criterion.axes = 8, (-3, -2)
    assert_type(criterion(x, y), torch.Tensor)
    learned = blursim_torch.BlurSim(torch.nn.Parameter(torch.tensor(0.3)))
    return criterion(x, y) + criterion(x, y, mask=x) + learned(x, y)


@dataclass
class Options:
    """A configuration of a user's."""

    spectrum: blursim_torch.Spectrum = "complex"
    edges: blursim_torch.Edges = "vector"
    p: blursim_torch.Order = 2
    normalization: blursim_torch.Normalization = "area"
    reduction: blursim_torch.Reduction = "none"


class Words(TypedDict, total=False):
    spectrum: blursim_jax.Spectrum
    edges: blursim_jax.Edges
    p: blursim_jax.Order
    normalization: blursim_jax.Normalization
    reduction: blursim_jax.Reduction


def configured(x: torch.Tensor, y: torch.Tensor, options: Options) -> torch.Tensor:
    criterion = blursim_torch.BlurSim(
        0.3,
        spectrum=options.spectrum,
        edges=options.edges,
        p=options.p,
        normalization=options.normalization,
        reduction=options.reduction,
    )
    return criterion(x, y)


def by_words(x: jax.Array, y: jax.Array) -> jax.Array:
    words: Words = {"spectrum": "complex", "p": 2}
    return blursim_jax.blursim(x, y, 0.3, **words)
