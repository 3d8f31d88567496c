"""Prints how often JAX's cache on the disk had the program, and how often not."""

import jax

from blursim_jax import blursim

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rpartition("/")[2]))
x, y = jax.random.uniform(jax.random.key(0), (2, 6, 5))
jax.block_until_ready(x)
events.clear()
jax.jit(jax.value_and_grad(lambda x: blursim(x, y, 0.7)))(x)
print(events.count("cache_hits"), events.count("cache_misses"))
