"""A program that uses the whole interface. It is not run: `make types` checks it, strictly, as it would a user's."""

import jax
import torch

import blursim_jax
import blursim_torch


def in_jax(x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
    loss = blursim_jax.blursim(x, y, 0.5, axes=(-3, -2), spectrum="complex", edges="vector", normalization="gain")
    per_image: jax.Array = blursim_jax.blursim(x, y, loss, p=1, sobel_size=3, mask=mask, reduction="none")
    terms: blursim_jax.Terms = blursim_jax.blursim_terms(x, y)
    maps: blursim_jax.Maps = blursim_jax.difference_maps(x, y)
    target: blursim_jax.Target = blursim_jax.prepare(y)
    prepared: jax.Array = blursim_jax.blursim(x, target, 0.5)
    return per_image + terms.general + terms.specific + maps.spectrum + maps.edges + prepared


def in_torch(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    loss = blursim_torch.blursim(x, y, 0.5, axes=(-3, -2), spectrum="complex", edges="vector", normalization="gain")
    per_image: torch.Tensor = blursim_torch.blursim(x, y, loss, p=1, sobel_size=3, mask=mask, reduction="none")
    terms: blursim_torch.Terms = blursim_torch.blursim_terms(x, y)
    maps: blursim_torch.Maps = blursim_torch.difference_maps(x, y)
    target: blursim_torch.Target = blursim_torch.prepare(y)
    prepared: torch.Tensor = blursim_torch.blursim(x, target, 0.5)
    return per_image + terms.general + terms.specific + maps.spectrum + maps.edges + prepared


def as_a_module(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    criterion = blursim_torch.BlurSim(alpha=0.9, normalization="gain")
    weight: torch.Tensor = criterion.alpha
    criterion.alpha = blursim_torch.linear_schedule(0.9, 0.1, 100)(50)
    criterion.alpha = blursim_torch.cosine_decay_schedule(0.9, 100)(50)
    loss: torch.Tensor = criterion(x, y)
    return loss + criterion(x, y, mask=x) + weight
