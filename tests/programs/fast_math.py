"""Loss and gradients are finite, whatever the flags of XLA that this process has."""

import jax
import jax.numpy as jnp
from options import FEW

from blursim_jax import blursim

x, y = jax.random.uniform(jax.random.key(0), (2, 6, 5))
for options in FEW:
    step = jax.jit(jax.value_and_grad(lambda x, y, options=options: blursim(x, y, 0.7, **options), (0, 1)))
    for pair in ((x, y), (x, x), (0 * x, y), (0 * x + 0.5, y)):
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(step(*pair))), options
