"""A batch spread over devices has the loss and gradients of one; in a shard_map no image travels."""

import pytest
from programs import run, start

on_devices = lambda n: {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={n}"}


def test_batch_in_shard_map_has_one_devices_value_and_gradient_and_only_numbers_travel():
    run("meshes", "sharded", **on_devices(8))


def test_images_that_travel_are_noticed():
    _, errors = start("meshes", "gathered", **on_devices(8)).communicate(timeout=300)
    assert "all-gather" in errors.splitlines()[-1]


@pytest.mark.slow
def test_meshes_of_every_kind_give_one_devices_result():
    run("meshes", "automatic", **on_devices(8))


@pytest.mark.slow
def test_program_for_two_devices_can_be_exported_compiled_and_stored():
    run("two_devices", **on_devices(2))


@pytest.mark.slow
def test_second_process_finds_the_program_in_the_persistent_cache(tmp_path):
    counts = [run("persistent_cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path)).split() for _ in range(2)]
    assert counts == [["0", "1"], ["1", "0"]]


def test_unsafe_fast_math_of_xla_leaves_gradients_finite():
    flags = "--xla_cpu_enable_fast_math=true --xla_cpu_fast_math_honor_nans=false --xla_cpu_fast_math_honor_infs=false"
    run("fast_math", XLA_FLAGS=flags)
