"""Temporary: blursim with window=, from the prototype of the windows' map, until the library has the option."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import blursim_jax
from blursim_jax._distance import distance
from blursim_jax._maps import Fourier, Identity


@dataclass(frozen=True)
class Windows(Identity):
    """The unitary DFTs of overlapping windows, of an image reflected at its borders.

    Their taper rises and falls as a sine where they overlap, so that its squares add up to one: sums of squares are kept.
    """

    size: int  # of a window along every axis
    overlap: int  # of neighbours, at most half the size

    @property
    def hop(self) -> int:
        return self.size - self.overlap

    @property
    def counts(self) -> tuple[int, ...]:
        """Of windows along each axis; the first overlap, and what the last has more than the image, is reflected."""
        return tuple(-(-(length + self.overlap) // self.hop) for length in self.shape)

    @property
    def fourier(self) -> Fourier:
        return Fourier((self.size,) * len(self.shape))

    @property
    def entries(self) -> int:
        return math.prod(self.counts) * self.fourier.entries

    def __call__(self, x):
        for length, count in zip(self.shape, self.counts):
            x = self._cut(x, length, count)
        return self.fourier(self._tapered(x))

    def transposed(self, components):
        x = self._tapered(self.fourier.transposed(components))
        for length in reversed(self.shape):
            x = self._joined(x, length)
        return x

    def total(self, values):
        return jnp.sum(self.fourier.total(values), self.axes)

    def signed(self, lengths, first):
        return self.fourier.signed(lengths, first)

    def _tapered(self, windows):
        rise = np.sin(np.pi / 2 * (np.arange(self.overlap) + 0.5) / self.overlap)
        taper = np.concatenate([rise, np.ones(self.size - 2 * self.overlap), rise[::-1]]) * np.sqrt(self.size / self.hop)
        for axis in self.axes:
            windows = windows * taper.astype(windows.dtype).reshape(-1, *(1,) * (-1 - axis))
        return windows

    def _cut(self, x, length: int, count: int):
        """The first spatial axis into windows: (..., length, ...) -> (..., count, ..., size)."""
        x = jnp.moveaxis(x, self.axes[0], -1)
        right = count * self.hop - length
        first, last = x[..., 1 : self.overlap + 1], x[..., length - 1 - right : length - 1]
        x = jnp.concatenate([jnp.flip(first, -1), x, jnp.flip(last, -1)], -1)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, self.hop - self.overlap)]).reshape(*x.shape[:-1], count + 1, self.hop)
        x = jnp.concatenate([x[..., :-1, :], x[..., 1:, : self.overlap]], -1)
        return jnp.moveaxis(x, -2, self.axes[0] - 1)

    def _joined(self, x, length: int):
        """The transpose of _cut."""
        x = jnp.moveaxis(x, self.axes[0] - 1, -2)
        none = [(0, 0)] * (x.ndim - 2)
        x = jnp.pad(x[..., : self.hop], [*none, (0, 1), (0, 0)]) + jnp.pad(x[..., self.hop :], [*none, (1, 0), (0, self.hop - self.overlap)])
        x = x.reshape(*x.shape[:-2], -1)
        right = x.shape[-1] - self.hop - length
        left = self.overlap
        first, last = jnp.flip(x[..., :left], -1), jnp.flip(x[..., left + length : left + length + right], -1)
        x = x[..., left : left + length]
        x = x + jnp.pad(first, [*none, (1, length - 1 - left)]) + jnp.pad(last, [*none, (length - 1 - right, 1)])
        return jnp.moveaxis(x, -1, self.axes[0])




def blursim(x, y, alpha, *, window, overlap, spectrum="magnitude", p=1, **options):
    A = Windows(tuple(x.shape[-2:]), window, overlap)
    general = jnp.mean(distance(A, x, y, p, spectrum == "magnitude"))
    if isinstance(alpha, (int, float)) and alpha == 0:
        return general
    return (1 - alpha) * general + alpha * blursim_jax.blursim(x, y, 1, p=p, spectrum=spectrum, **options)
