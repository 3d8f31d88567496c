"""The contestants of a benchmark, as calls without arguments on given images, in JAX and in PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import peers

ALPHA = 0.8
FLOOR = "FFT floor"
DEFAULT: dict[str, dict[str, Any]] = {"blursim": {}}
OTHERS: dict[str, dict[str, Any]] = {
    'blursim, spectrum="complex", edges="vector"': {"spectrum": "complex", "edges": "vector"},
}


@dataclass(frozen=True)
class Contestant:
    """forward() gives the loss, backward() the loss and its gradient for x, memory() multiples of the bytes of x."""

    backend: str
    name: str
    forward: Callable[[], Any]
    backward: Callable[[], Any] | None = None
    memory: Callable[[], float] | None = None


def images(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(0).random((2, *shape), np.float32)
    return x, y


def floor(fft: Any, x: Any, y: Any) -> Any:
    """The FFTs that no implementation can leave out: forward."""
    return fft.rfft2(x), fft.rfft2(y)


def floor_backward(fft: Any, x: Any, y: Any) -> Any:
    """Forward and backward."""
    X, Y = floor(fft, x, y)
    return fft.irfft2(X, s=x.shape[-2:]), Y


def of_jax(shape: tuple[int, ...], dtype: str, device: str, kinds: list[str], section: str) -> list[Contestant]:
    """Everything jitted; only the floor and the default loss but in section "batches"."""
    import jax
    import jax.numpy as jnp

    import blursim_jax

    variants = DEFAULT | OTHERS if section == "batches" else DEFAULT
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if jax.default_backend() != device:
        raise RuntimeError(f"expected JAX on {device}, got {jax.default_backend()}; install jax for that device")
    x, y = (jnp.asarray(image, dtype) for image in images(shape))

    def contestant(name: str, loss: Callable[..., Any], target: Any = y) -> Contestant:
        gradient = jax.jit(jax.value_and_grad(loss))

        def memory() -> float:
            """Temporaries of value_and_grad: neither its arguments nor its results."""
            return gradient.lower(x, target).compile().memory_analysis().temp_size_in_bytes / x.nbytes

        return Contestant("jax", name, partial(jax.jit(loss), x, target), partial(gradient, x, target), memory)

    # No FFT exists for half precision: its floor is that of float32.
    wide = [image.astype(jnp.promote_types(dtype, jnp.float32)) for image in (x, y)]
    forward, backward = (jax.jit(partial(f, jnp.fft)) for f in (floor, floor_backward))
    contestants = [Contestant("jax", FLOOR, partial(forward, *wide), partial(backward, *wide))]
    for name, options in variants.items():
        contestants.append(contestant(name, lambda x, y, options=options: blursim_jax.blursim(x, y, ALPHA, **options)))
    if section != "batches":
        return contestants
    if hasattr(blursim_jax, "prepare"):
        target = blursim_jax.prepare(y)
        contestants.append(contestant("blursim, prepared y", lambda x, y: blursim_jax.blursim(x, y, ALPHA), target))
    return [*contestants, contestant("mean squared error", lambda x, y: jnp.mean((x - y) ** 2))]


def of_torch(shape: tuple[int, ...], dtype: str, device: str, kinds: list[str], section: str) -> list[Contestant]:
    """Eager and compiled, as `kinds` says; the peers in section "peers", other options of ours in "batches"."""
    import torch

    import blursim_torch

    variants = DEFAULT | OTHERS if section == "batches" else DEFAULT
    torch.compiler.reset()
    where = "cuda" if device == "gpu" else "cpu"
    x, y = (torch.from_numpy(image).to(where, getattr(torch, dtype)) for image in images(shape))
    leaf = x.clone().requires_grad_()

    def contestant(backend: str, name: str, loss: Callable[..., Any], target: Any = y) -> Contestant:
        def backward() -> Any:
            value = loss(leaf, target)
            return value, *torch.autograd.grad(value, leaf)

        def memory() -> float:
            """What autograd keeps alive until the backward, x and y among it, each storage once."""
            kept: list[torch.Tensor] = []
            keep = lambda saved: kept.append(saved) or saved
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
                value = loss(leaf, target)
            storages = [saved.untyped_storage() for saved in kept]
            bytes_of = {storage.data_ptr(): storage.nbytes() for storage in storages}
            del value
            return sum(bytes_of.values()) / x.nbytes

        return Contestant(backend, name, partial(loss, x, target), backward, memory)

    wide = [image.to(torch.promote_types(image.dtype, torch.float32)) for image in (x, y)]
    forward, backward = (partial(f, torch.fft, *wide) for f in (floor, floor_backward))
    contestants = [Contestant("torch", FLOOR, forward, backward)]
    static = partial(torch.compile, dynamic=False)
    compilers = {"eager": ("torch eager", lambda loss: loss), "compile": ("torch.compile", static)}
    for backend, compiler in (compilers[kind] for kind in kinds if kind in compilers):
        for name, options in variants.items():
            loss = lambda x, y, options=options: blursim_torch.blursim(x, y, ALPHA, **options)
            contestants.append(contestant(backend, name, compiler(loss)))
        if hasattr(blursim_torch, "prepare") and section == "batches":
            loss = lambda x, y: blursim_torch.blursim(x, y, ALPHA)
            contestants.append(contestant(backend, "blursim, prepared y", compiler(loss), blursim_torch.prepare(y)))
    if section == "peers":
        contestants += [contestant("torch eager", name, loss) for name, loss in peers.installed().items()]
        if device == "cpu" and dtype in ("float32", "float64"):
            published = partial(peers.published, x.numpy(), y.numpy(), ALPHA)
            contestants.append(Contestant("numpy", "published BlurSim", published))
    if section == "batches":
        # Last, so that the floor, which comes next, finds caches that are no colder than those of the others.
        contestants.append(contestant("torch eager", "mean squared error", torch.nn.functional.mse_loss))
    return contestants
