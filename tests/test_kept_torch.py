"""What the loss keeps for its backward pass is small, and its own: others may write into what they gave and got."""

from functools import partial
from itertools import product

import pytest
import torch
from options import EXTREMES, WINDOWED, ids
from tolerances import GRADIENT_32, distance
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from blursim_torch import blursim, blursim_terms

each = {"reduction": "none"}
# Losses of each image, in a tuple.
CALLS = {
    f"alpha={alpha}, p={p}": lambda x, y, alpha=alpha, p=p: (blursim(x, y, alpha, p=p, **each),)
    for alpha, p in product((0, 0.3, 1), (1, 2))
}
CALLS |= {
    "windows": lambda x, y: (blursim(x, y, 0.3, window=8, **each),),
    "Parseval": lambda x, y: (blursim(x, y, 0, spectrum="complex", p=2, **each),),
    "area": lambda x, y: (blursim(x, y, 1, p=2, normalization="area", **each),),
    "terms": lambda x, y: blursim_terms(x, y, p=2, **each),
}
WEIGHTS = torch.tensor([[0.5, 2, -1], [3, 0, 1]])


def images(dtype=torch.float32):
    return torch.rand(2, 2, 3, 16, 12, generator=torch.Generator().manual_seed(0)).to(dtype)


def gradients(function, x, y):
    """Of a loss for copies of both images."""
    x, y = (image.clone().requires_grad_() for image in (x, y))
    return torch.autograd.grad(function(x, y), (x, y))


def weighted(call):
    return lambda x, y: sum((losses * WEIGHTS).sum() for losses in call(x, y))


def weighted_in_place(call):
    def total(x, y):
        found = call(x, y)
        for losses in found:
            losses *= WEIGHTS
        return sum(losses.sum() for losses in found)

    return total


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_losses_may_be_weighted_in_place(call):
    pairs = zip(gradients(weighted_in_place(call), *images()), gradients(weighted(call), *images()), strict=True)
    assert all(distance(*pair) < GRADIENT_32 for pair in pairs)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize(
    ("compiler", "where"),
    [
        ("aot_eager", "inside the program"),
        pytest.param("aot_eager", "outside of it", marks=pytest.mark.slow),
        pytest.param("inductor", "inside the program", marks=pytest.mark.slow),
        pytest.param("inductor", "outside of it", marks=pytest.mark.slow),
    ],
)
def test_losses_may_be_weighted_in_place_when_compiled(compiler, where):
    torch.compiler.reset()
    every = lambda x, y: (*CALLS["alpha=0.3, p=1"](x, y), *CALLS["terms"](x, y))
    compiled = partial(torch.compile, backend=compiler, fullgraph=True)
    inside = where == "inside the program"
    step = compiled(weighted_in_place(every)) if inside else weighted_in_place(compiled(every))
    for pair in zip(gradients(step, *images()), gradients(weighted(every), *images()), strict=True):
        assert distance(*pair) < GRADIENT_32


def overwritten(x, y, again=False):
    """The gradient for x of a loss whose images are overwritten before going backward, or again differentiable."""
    leaf, target = x.clone().requires_grad_(), y.clone()
    image = leaf * 2
    loss = blursim(image, target, 0.3)
    with torch.no_grad():
        image.fill_(7), target.copy_(x)
    return torch.autograd.grad(loss, leaf, create_graph=again)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_images_may_be_overwritten_between_forward_and_backward(dtype, memory_format):
    x, y = (image.contiguous(memory_format=memory_format) for image in images(dtype))
    assert torch.equal(overwritten(x, y)[0], gradients(lambda x, y: blursim(2 * x, y, 0.3), x, y)[0])


def test_second_derivatives_of_overwritten_images_are_refused():
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        overwritten(*images(), again=True)


# Which operations a selective checkpoint keeps; whoever writes into what one of these gave has spoilt it.
KEPT = {
    "transforms": lambda operation: "fft" in str(operation),
    "products": lambda operation: operation is torch.ops.aten.mul.Tensor,
    "everything": lambda operation: True,
}


@pytest.mark.parametrize("chosen", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("options", [*EXTREMES, WINDOWED], ids=ids)
def test_selective_checkpoint_may_keep_any_operation(options, chosen):
    policies = {True: CheckpointPolicy.MUST_SAVE, False: CheckpointPolicy.PREFER_RECOMPUTE}
    contexts = partial(
        create_selective_checkpoint_contexts, lambda _, operation, *args, **kwargs: policies[chosen(operation)]
    )
    step = lambda x, y: blursim(x, y, 0.3, **options)
    kept = lambda x, y: checkpoint(step, x, y, use_reentrant=False, context_fn=contexts)
    assert all(map(torch.equal, gradients(kept, *images()), gradients(step, *images())))


def kept_memory(function, *given):
    """Bytes that autograd and our nodes hold after forward, other than what was given."""
    own = {tensor.untyped_storage().data_ptr() for tensor in given if tensor is not None}
    held = {}

    def hold(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        nodes = [result.grad_fn for result in tree_leaves(function(*given))]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
            attributes = tree_leaves(getattr(node, "__dict__", {}))
            any(hold(leaf) is None for leaf in attributes if isinstance(leaf, torch.Tensor))
    return sum(storage.nbytes() for address, storage in held.items() if address not in own)


LAYOUTS = {
    "NCHW": (lambda image: image, (-2, -1)),
    "channels last": (lambda image: image.contiguous(memory_format=torch.channels_last), (-2, -1)),
    "NHWC": (lambda image: image.movedim(-3, -1).contiguous(), (-3, -2)),
}


def images_kept(wanted, mask):
    """In float32, one for each gradient. A mask gives y a part in x, and a float is kept as bytes besides."""
    if mask is None:
        return len(wanted)
    return (2 if "y" in wanted else 1) + (0 if mask.dtype == torch.bool else 0.25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_image_is_kept_for_each_gradient_whatever_the_layout_and_dtype(layout, dtype):
    """The terms, which may go backward apart, keep one each. A number for each image is small."""
    lay, axes = LAYOUTS[layout]
    image, other = images(dtype)
    x, y = lay(image), lay(other)
    masks = [None, lay(other > 0.5)[:1], lay(other)]
    for options, mask, wanted in product([*EXTREMES, WINDOWED], masks, ("x", "y", "xy")):
        pair = (x.detach().requires_grad_("x" in wanted), y.detach().requires_grad_("y" in wanted))
        loss = lambda x, y, m, o=options: blursim(x, y, 0.3, mask=m, axes=axes, **o)
        terms = lambda x, y, m, o=options: blursim_terms(x, y, mask=m, axes=axes, **o)
        for function, share in ((loss, 1), (terms, 2)):
            most = share * images_kept(wanted, mask) + 0.1
            assert kept_memory(function, *pair, mask) < most * image.numel() * 4, (options, wanted)
