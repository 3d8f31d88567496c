"""However axes, alpha and mask are spelled, and wherever they are, they mean what the definition says."""

from itertools import permutations, product

import jax
import numpy as np
import pytest
import reference
import torch
from flax import nnx
from tolerances import VALUE_32, VALUE_64, distance

import blursim_jax
import blursim_torch

SHAPE = (5, 6, 7)
ORDERS = [order for n in (1, 2, 3) for order in permutations(range(3), n)]


def spellings(order):
    """The same axes, each counted from the front or from the end."""
    return product(*((axis, axis - len(SHAPE)) for axis in order))


def broadcasts(shape, to):
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_axes_in_any_order_and_from_either_end_are_those_of_the_reference(backend, order, rng):
    """SPEC 1.1, 2.2, 6.1"""
    x, y = rng.random((2, *SHAPE))
    batch = tuple(n for axis, n in enumerate(SHAPE) if axis not in order)
    alpha, mask = rng.random(batch), rng.random(SHAPE[1:])
    options = {"sobel_size": 3, "reduction": "none"}
    expected = reference.blursim(x, y, alpha, mask=mask, axes=order, **options)
    arrays = list(map(backend.array, (x, y, alpha, mask)))
    for axes in spellings(order):
        loss = backend.blursim(*arrays[:3], mask=arrays[3], axes=axes, **options)
        assert distance(backend.numpy(loss), expected) < VALUE_64
        maps = backend.difference_maps(*arrays[:2], axes=axes, sobel_size=3)
        expected_maps = reference.difference_maps(x, y, axes=order, sobel_size=3)
        assert max(map(distance, backend.numpy(maps), expected_maps)) < VALUE_64


@pytest.mark.parametrize("order", [order for order in ORDERS if list(order) == sorted(order)], ids=str)
def test_an_alpha_fits_where_it_broadcasts_to_the_batch_shape_and_a_mask_to_that_of_x(default_backend, order):
    """SPEC 2.2, 6.1, 9.2"""
    batch = tuple(n for axis, n in enumerate(SHAPE) if axis not in order)
    shapes = [shape for n in range(3) for shape in product((1, *SHAPE), repeat=n)]
    shapes += [*product(*((1, n) for n in SHAPE)), SHAPE[::-1], (1, *SHAPE)]
    everywhere = [list(spellings(order))[i] for i in (0, -1)]  # all counted from the front, all from the end
    for axes, (name, to), shape in product(everywhere, {"alpha": batch, "mask": SHAPE}.items(), shapes):

        def loss(x, axes=axes, name=name, shape=shape):
            ones = default_backend.arrays.ones(shape)
            return default_backend.blursim(x, x, **{"alpha": 0.5, name: ones}, axes=axes, reduction="none")

        with torch.device("meta"):
            if broadcasts(shape, to):
                assert tuple(default_backend.shaped(SHAPE, "float32", loss).shape) == batch
            else:
                with pytest.raises(ValueError, match=f"^{name}: expected a"):
                    default_backend.shaped(SHAPE, "float32", loss)


def test_an_alpha_or_mask_of_lower_rank_passes_under_strict_rank_promotion(rng):
    """SPEC 2.2, 6.1"""
    x, y = rng.random((2, 2, 3, 6, 5)).astype(np.float32)
    alpha, mask = rng.random(3).astype(np.float32), rng.random((6, 5)).astype(np.float32)
    with jax.numpy_rank_promotion("raise"):
        loss = blursim_jax.blursim(x, y, alpha, mask=mask, reduction="none")
    assert distance(loss, reference.blursim(x, y, alpha, mask=mask, reduction="none")) < VALUE_32


def test_parameters_of_flax_are_the_arrays_inside(rng):
    """SPEC 6.1"""
    x, y, mask = rng.random((3, 6, 5)).astype(np.float32)
    plain = blursim_jax.blursim(x, y, 0.3, mask=mask)
    inside = [nnx.Param(jax.numpy.asarray(a)) for a in (x, y, np.float32(0.3), mask)]
    assert blursim_jax.blursim(*inside[:3], mask=inside[3]) == plain
    masked = blursim_jax.blursim_terms(*inside[:2], mask=inside[3])
    assert masked == blursim_jax.blursim_terms(x, y, mask=mask)
    assert np.array_equal(*(blursim_jax.difference_maps(*pair).edges for pair in ((x, y), inside[:2])))


@pytest.mark.parametrize("axes", [(-1,), (-2, -1), (-3, -2, -1)], ids=str)
@pytest.mark.parametrize(("p", "window"), [(1, None), (2, None), (1, 4)])
def test_constants_are_made_where_the_images_are(axes, p, window, rng):
    """SPEC 7.5: a default device that holds no values stands for one other than that of the images."""
    x, y, mask = torch.tensor(rng.random((3, 6, 7, 5)))

    def loss_and_gradient():
        leaf = x.clone().requires_grad_()
        loss = blursim_torch.blursim(leaf, y, 0.3, axes=axes, p=p, window=window, mask=mask)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        return loss, gradient, *torch.autograd.grad(gradient.square().sum(), leaf)

    expected = loss_and_gradient()
    with torch.device("meta"):
        found = loss_and_gradient()
    assert all(map(torch.equal, found, expected))
    assert all(image.device.type == "cpu" for image in blursim_torch.difference_maps(x, y, axes=axes))


@pytest.mark.parametrize(
    ("shape", "here", "there"), [((3,), "meta", "cpu"), ((3,), "cpu", "meta"), ((), "cpu", "meta")]
)
def test_weights_of_the_images_have_to_be_where_these_are(shape, here, there):
    """SPEC 9.2: tensors on "meta" stand for those on another device."""
    x = torch.zeros((3, 6, 5), device=here)
    with pytest.raises(ValueError, match=f"^alpha: expected an array on the device of x, {here}, got one on {there}; "):
        blursim_torch.blursim(x, x, torch.zeros(shape, device=there))


def test_one_weight_on_the_cpu_goes_anywhere():
    """SPEC 2.2"""
    x = torch.zeros((3, 6, 5), device="meta")
    assert blursim_torch.blursim(x, x, torch.tensor(0.3)).device.type == "meta"
