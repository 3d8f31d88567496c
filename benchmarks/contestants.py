"""The contestants of a benchmark, as calls without arguments on given images, in JAX and PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import peers

ALPHA = 0.3
FLOOR = "FFT floor"
DEFAULT: dict[str, dict[str, Any]] = {"blursim": {}}
OTHERS: dict[str, dict[str, Any]] = {
    "blursim, p=2": {"p": 2},
    'blursim, spectrum="complex"': {"spectrum": "complex"},
    'blursim, p=2, spectrum="complex", edges="vector"': {"p": 2, "spectrum": "complex", "edges": "vector"},
    "blursim, alpha=0": {"alpha": 0},
    "blursim, alpha=0, window=32": {"alpha": 0, "window": 32},
}
# Sections in which options other than the defaults compete.
WHOLE = ("batches", "volumes")


@dataclass(frozen=True)
class Contestant:
    """forward() gives the loss, backward() the loss and its gradient for x, memory() multiples of the bytes of x.

    kernels() counts the large ones that loss and gradient launch, which read or write a quarter of x or more, and the
    bytes that these read and write for each pixel.
    """

    backend: str
    name: str
    forward: Callable[[], Any]
    backward: Callable[[], Any] | None = None
    memory: Callable[[], float] | None = None
    kernels: Callable[[], tuple[int, int, float]] | None = None


def images(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(0).random((2, *shape), np.float32)
    return x, y


def spatial(section: str) -> tuple[int, ...]:
    """Three axes for volumes, two for images."""
    return (-3, -2, -1) if section in ("volumes", "volume-peers") else (-2, -1)


def floor(fft: Any, axes: tuple[int, ...], x: Any, y: Any) -> Any:
    """The FFTs that no implementation can do without, forward."""
    return fft.rfftn(x, None, axes), fft.rfftn(y, None, axes)


def floor_backward(fft: Any, axes: tuple[int, ...], x: Any, y: Any) -> Any:
    """Forward and backward."""
    X, Y = floor(fft, axes, x, y)
    return fft.irfftn(X, x.shape[-len(axes) :], axes), Y


def of_jax(shape: tuple[int, ...], dtype: str, device: str, kinds: list[str], section: str) -> list[Contestant]:
    """Everything jitted; outside the WHOLE sections only the floor and the default loss."""
    import jax
    import jax.numpy as jnp

    import blursim_jax

    variants = DEFAULT | OTHERS if section in WHOLE else DEFAULT
    axes = spatial(section)
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if jax.default_backend() != device:
        raise RuntimeError(f"expected JAX on {device}, got {jax.default_backend()}; install jax for that device")
    x, y = (jnp.asarray(image, dtype) for image in images(shape))

    def contestant(name: str, loss: Callable[..., Any]) -> Contestant:
        gradient = jax.jit(jax.value_and_grad(loss))

        def memory() -> float:
            """Temporaries of value_and_grad: neither its arguments nor its results."""
            return gradient.lower(x, y).compile().memory_analysis().temp_size_in_bytes / x.nbytes

        return Contestant("jax", name, partial(jax.jit(loss), x, y), partial(gradient, x, y), memory)

    # There is no FFT in half precision: its floor is float32's.
    wide = [image.astype(jnp.promote_types(dtype, jnp.float32)) for image in (x, y)]
    forward, backward = (jax.jit(partial(f, jnp.fft, axes)) for f in (floor, floor_backward))
    contestants = [Contestant("jax", FLOOR, partial(forward, *wide), partial(backward, *wide))]
    for name, options in variants.items():
        loss = lambda x, y, options=options: blursim_jax.blursim(x, y, **{"alpha": ALPHA, "axes": axes} | options)
        contestants.append(contestant(name, loss))
    if section not in WHOLE:
        return contestants
    return [*contestants, contestant("mean squared error", lambda x, y: jnp.mean((x - y) ** 2))]


def of_torch(shape: tuple[int, ...], dtype: str, device: str, kinds: list[str], section: str) -> list[Contestant]:
    """Eager, compiled or both, as in `kinds`; peers in their sections, our other options in the WHOLE ones."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    import blursim_torch

    class Launches(TorchDispatchMode):
        """Counts operations, except views and empty allocations, and what they read and write."""

        count, bytes = 0, 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            idle = function.is_view or function.overloadpacket.__name__ in (
                "empty",
                "empty_like",
                "detach",
                "_unsafe_view",
            )
            sizes = [t.nbytes for t in torch.utils._pytree.tree_leaves((args, kwargs, found)) if torch.is_tensor(t)]
            if not idle and 4 * max(sizes, default=0) >= x.nbytes:
                self.count += 1
                self.bytes += sum(sizes)
            return found

    variants = DEFAULT | OTHERS if section in WHOLE else DEFAULT
    axes = spatial(section)
    torch.compiler.reset()
    where = "cuda" if device == "gpu" else "cpu"
    x, y = (torch.from_numpy(image).to(where, getattr(torch, dtype)) for image in images(shape))
    leaf = x.clone().requires_grad_()

    def contestant(backend: str, name: str, loss: Callable[..., Any]) -> Contestant:
        def backward() -> Any:
            value = loss(leaf, y)
            return value, *torch.autograd.grad(value, leaf)

        def memory() -> float:
            """What autograd keeps until the backward pass in addition to x and y, each storage once."""
            kept: list[torch.Tensor] = []
            keep = lambda saved: kept.append(saved) or saved
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
                value = loss(leaf, y)
            storages = [saved.untyped_storage() for saved in kept]
            bytes_of = {storage.data_ptr(): storage.nbytes() for storage in storages}
            for image in (leaf, y):
                bytes_of.pop(image.untyped_storage().data_ptr(), None)
            del value
            return sum(bytes_of.values()) / x.nbytes

        def kernels() -> tuple[int, int, float]:
            with Launches() as forwards:
                value = loss(leaf, y)
            with Launches() as backwards:
                torch.autograd.grad(value, leaf)
            return forwards.count, backwards.count, (forwards.bytes + backwards.bytes) / x.numel()

        counted = kernels if backend == "torch eager" else None
        return Contestant(backend, name, partial(loss, x, y), backward, memory, counted)

    wide = [image.to(torch.promote_types(image.dtype, torch.float32)) for image in (x, y)]
    forward, backward = (partial(f, torch.fft, axes, *wide) for f in (floor, floor_backward))
    contestants = [Contestant("torch", FLOOR, forward, backward)]
    static = partial(torch.compile, dynamic=False)
    compilers = {"eager": ("torch eager", lambda loss: loss), "compile": ("torch.compile", static)}
    for backend, compiler in (compilers[kind] for kind in kinds if kind in compilers):
        for name, options in variants.items():
            loss = lambda x, y, options=options: blursim_torch.blursim(x, y, **{"alpha": ALPHA, "axes": axes} | options)
            contestants.append(contestant(backend, name, compiler(loss)))
    if section in peers.SECTIONS:
        contestants += [contestant("torch eager", name, loss) for name, loss in peers.installed(section).items()]
    if section == "peers" and device == "cpu" and dtype in ("float32", "float64"):
        published = partial(peers.published, x.numpy(), y.numpy(), ALPHA)
        contestants.append(Contestant("numpy", "published BlurSim", published))
    if section in WHOLE:
        # Last, so that the floor, which is next, finds caches as warm as the others do.
        contestants.append(contestant("torch eager", "mean squared error", torch.nn.functional.mse_loss))
    return contestants
