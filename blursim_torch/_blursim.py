"""The public functions: BlurSim, its two terms, what these see of two images, and prepared targets."""

import dataclasses
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node, tree_map
from torch.utils.data._utils.collate import default_collate_fn_map

from blursim_torch import _checks
from blursim_torch._edges import edge_map, packed, specific
from blursim_torch._spectral import general, magnitude, spectrum_map


class Terms(NamedTuple):
    """The two terms of BlurSim: each one number, or with reduction="none" one per image."""

    general: Tensor
    specific: Tensor


class Maps(NamedTuple):
    """What the two terms see, each real and of the shape of x; `spectrum` has DC in its centre."""

    spectrum: Tensor
    edges: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """What `prepare` keeps of a fixed image, to be given to `blursim` in the place of y: a pytree.

    Its tensors have their axes where the image has them, so what indexes, slices, maps or moves batch axes does so with
    all three alike: `target[:4]`, `target.to("cuda")`, torch.func.vmap, a DataLoader's batches. Along the last spatial
    axis, W long in `image`, `spectrum` has W // 2 + 1 entries and `edges` 2 W, the magnitudes and what bounds their
    rounding errors. Its spatial axes stay as they were prepared: flip, roll or crop the image first, then prepare it.
    """

    image: Tensor
    spectrum: Tensor | None
    edges: Tensor | None
    options: tuple[tuple[int, ...], str, str, int, tuple[int, ...]]

    def to(self, *args: Any, **kwargs: Any) -> "Target":
        """As torch.Tensor.to, e.g. to another device."""
        return tree_map(lambda tensor: tensor.to(*args, **kwargs), self)

    def pin_memory(self, *args: Any) -> "Target":
        """As torch.Tensor.pin_memory: what DataLoader(pin_memory=True) calls."""
        return tree_map(lambda tensor: tensor.pin_memory(*args), self)

    def __getitem__(self, index: Any) -> "Target":
        """The target of image[index], an index into the batch axes before the spatial ones."""
        kept = list(index) if isinstance(index, tuple) else [index]
        while kept and (kept[-1] is Ellipsis or (isinstance(kept[-1], slice) and kept[-1] == slice(None))):
            kept.pop()
        boolean = [of.ndim for of in kept if isinstance(of, Tensor) and of.dtype == torch.bool]
        reached = sum(of is not None for of in kept) - len(boolean) + sum(boolean)
        if any(of is Ellipsis for of in kept) or reached > self.image.ndim + min(self.options[0]):
            raise ValueError(
                f"target: expected an index into the batch axes before axes={self.options[0]} of "
                f"{tuple(self.image.shape)}, got {index!r}; prepare the indexed image instead"
            )
        return tree_map(lambda tensor: tensor[index], self)


_TENSORS = ("image", "spectrum", "edges")


def _flatten(target: Target) -> tuple[list[Any], Any]:
    return [getattr(target, name) for name in _TENSORS], target.options


def _flatten_with_keys(target: Target) -> tuple[list[tuple[Any, Any]], Any]:
    return [(GetAttrKey(name), getattr(target, name)) for name in _TENSORS], target.options


def _unflatten(tensors: Iterable[Any], options: Any) -> Target:
    image, spectrum, edges = tensors
    return Target(image, spectrum, edges, options)


def _collate(targets: Sequence[Target], *, collate_fn_map: Any = None) -> Target:
    """The batch that a DataLoader makes of them."""
    return tree_map(lambda *tensors: torch.stack(tensors), *targets)


# What torch.func and torch.export, torch.load with weights_only=True, and DataLoader ask of a type.
register_pytree_node(
    Target,
    _flatten,
    _unflatten,
    serialized_type_name="blursim_torch.Target",
    to_dumpable_context=lambda options: options,
    from_dumpable_context=lambda options: tuple(tuple(of) if isinstance(of, list) else of for of in options),
    flatten_with_keys_fn=_flatten_with_keys,
)
torch.serialization.add_safe_globals([Target])
default_collate_fn_map[Target] = _collate


def blursim(
    x: Tensor,
    y: Tensor | Target,
    alpha: float | Tensor,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    p: Literal[1, 2] = 2,
    normalization: Literal["area", "gain"] = "area",
    sobel_size: int = 5,
    mask: Tensor | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    r"""BlurSim loss between images; 0 when x equals y.

    .. math:: (1 - \alpha) \, \frac{M_p(|X| - |Y|)}{\sqrt N} + \alpha \, \frac{M_p(|\nabla x| - |\nabla y|)}{\sqrt N}

    per image, then the reduction over the images. X and Y are the DFTs, nabla is the Sobel gradient, N the number of
    pixels; :math:`M_2` is the root mean square, :math:`M_1` the mean of the absolute values.
    Symmetric in x and y. Differentiable in x, y, alpha and mask, to any order; where a magnitude, a difference or a
    norm is zero its gradient is taken as zero (SPEC 7), so gradients of finite images are finite. A NaN or infinity
    that counts makes the loss of its image NaN or infinite, and that of no other.

    Args:
        x: float images, shape (\*batch, H, W), or signals or volumes as `axes` says; any range, commonly [0, 1].
            float16 and bfloat16 are computed in float32; the gradient has the dtype of x.
        y: float images, the shape of x. Its dtype may differ; the wider one counts. Or a `Target`,
            prepared from such with the same options; then y is a constant.
        alpha: weight of the specific term, in [0, 1]: a number, a scalar tensor, or a tensor that broadcasts to the
            batch shape, one weight per image. Of NCHW images (N, 1) is a weight per picture, (C,) one per channel.
            Changing a tensor never recompiles; the numbers 0 and 1 compute one term only.
        axes: the spatial axes, as in numpy.fft. NCHW is (-2, -1), the default; NHWC (-3, -2);
            signals are (-1,), volumes NCDHW (-3, -2, -1), NDHWC (-4, -3, -2).
        spectrum: "magnitude" compares \|X| with \|Y| (blind to shifts; DC keeps its sign),
            "complex" X with Y (with p=2 by Parseval the RMSE).
        edges: "magnitude" compares the lengths of the Sobel vectors (blind to their sign),
            "vector" the vectors.
        p: 2 takes root mean squares of the differences, as published, 1 means of their absolute values.
        normalization: "area" divides both terms by sqrt(N), as published; "gain" divides the specific one by the
            kernel's gain instead: then it is in intensity per pixel, and alpha means the same at every size.
        sobel_size: side k of the Sobel kernel, odd, >= 3. Images need at least max(k, 5) pixels along each axis.
        mask: bool, or float in [0, 1] (which is not checked), broadcastable to x: the loss of y + mask (x - y) against
            y. Where it is 0, x does not count; y must be finite everywhere. Of NCHW images (N, 1, H, W) is a mask per
            picture.
        reduction: "mean" or "sum" over all images, or "none": one loss per image.

    Returns:
        The loss, float32 (float64 for float64 images): a scalar, or with reduction="none" of the batch shape.

    Raises:
        TypeError: x or y is not floating (integer and complex images), or another argument is of the wrong type.
        ValueError: unequal shapes, an empty batch, images too small for the Sobel kernel, repeated or
            out-of-range axes, an unknown option word, a Python-number alpha outside [0, 1],
            an alpha or mask that does not broadcast.

    Example:
        >>> import torch
        >>> from blursim_torch import blursim
        >>> x, y = torch.rand(2, 8, 3, 64, 64)
        >>> loss = blursim(x.requires_grad_(), y, alpha=0.8)
        >>> loss.backward()
        >>> loss.shape, x.grad.shape
        (torch.Size([]), torch.Size([8, 3, 64, 64]))

    Source:
        After A. Naghi Razlighi and S. Jahanzad, "BlurSim: A New Loss Function for Training Models
        with Gaussian Blur Inputs", 2023. SPEC.md is the full definition.
    """
    options = _Options(axes, spectrum, edges, sobel_size, p, normalization, reduction)
    x, y, mask, options = _accepted(x, y, mask, options)
    _checks.check_alpha(alpha, [n for axis, n in enumerate(x.shape, -x.ndim) if axis not in options.axes])
    # The number 0 or 1 is known before anything is computed, and one term is enough.
    only = int(alpha) if isinstance(alpha, Real) and alpha in (0, 1) else None
    return _blursim(x, y, alpha, mask, options, only)


def blursim_terms(
    x: Tensor,
    y: Tensor | Target,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    p: Literal[1, 2] = 2,
    normalization: Literal["area", "gain"] = "area",
    sobel_size: int = 5,
    mask: Tensor | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Terms:
    """The two terms of BlurSim, for logging both; arguments and errors are those of `blursim`.

    Returns:
        Terms(general, specific): the norms that `blursim` weighs by 1 - alpha and alpha, each
        reduced, or with reduction="none" of the batch shape. Compiled, one that is not used costs nothing.

    Example:
        >>> import torch
        >>> from blursim_torch import blursim_terms
        >>> x, y = torch.rand(2, 8, 64, 64, 3)
        >>> terms = blursim_terms(x, y, axes=(-3, -2), reduction="none")
        >>> terms.general.shape, terms.specific.shape
        (torch.Size([8, 3]), torch.Size([8, 3]))
    """
    options = _Options(axes, spectrum, edges, sobel_size, p, normalization, reduction)
    return _blursim_terms(*_accepted(x, y, mask, options))


def prepare(
    y: Tensor,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    sobel_size: int = 5,
) -> Target:
    """A fixed y with its magnitudes computed once, for many calls of `blursim`; arguments are those of `blursim`.

    Returns:
        A Target, accepted as y by `blursim` and `blursim_terms` with the same options and any p, normalization and
        alpha. The loss and its gradient for x are those of y itself; no gradient flows to y.

    Raises:
        TypeError, ValueError: as `blursim`. Calls with a Target also raise ValueError where their
            options differ from these, or x is float64 and y was not.

    Example:
        >>> import torch
        >>> from blursim_torch import blursim, prepare
        >>> x, y = torch.rand(2, 8, 64, 64)
        >>> target = prepare(y)
        >>> loss = blursim(x, target, alpha=0.8)
    """
    y, _, _, options = _accepted(y, y, None, _Options(axes, spectrum, edges, sobel_size))
    # A copy: y could change later.
    return _prepare(y.detach().clone(), options)


def difference_maps(
    x: Tensor,
    y: Tensor,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    sobel_size: int = 5,
) -> Maps:
    """What the two terms see, to be looked at; arguments and errors are those of `blursim`.

    Returns:
        Maps(spectrum, edges), each real and of the shape of x. In the "magnitude" modes the signed
        differences of the magnitudes, else the lengths of the differences. `spectrum` has DC in the
        centre. M_p of each over an image, divided by sqrt(N), is its term with normalization="area".

    Example:
        >>> import torch
        >>> from blursim_torch import difference_maps
        >>> x, y = torch.rand(2, 48, 64)
        >>> maps = difference_maps(x, y)
        >>> maps.spectrum.shape, maps.edges.shape
        (torch.Size([48, 64]), torch.Size([48, 64]))
    """
    x, y, _, options = _accepted(x, y, None, _Options(axes, spectrum, edges, sobel_size))
    return _difference_maps(x, y, options)


class _Options(NamedTuple):
    """What is known when the computation is compiled; axes are counted from the end."""

    axes: Any  # a sequence of integers as it was given; once checked a tuple
    spectrum: str
    edges: str
    sobel_size: int
    p: int = 2
    normalization: str = "area"
    reduction: str = "none"


def _blursim(
    x: Tensor, y: Any, alpha: float | Tensor, mask: Tensor | None, options: _Options, only: int | None
) -> Tensor:
    """(1 - alpha) G + alpha E, or one of them only (SPEC 2.1)."""
    x, y, spectrum_of_y, edges_of_y = _compared(x, y, mask, options.axes)
    if only == 1:
        return _reduced(_specific(x, y, edges_of_y, options), options)
    G = _general(x, y, spectrum_of_y, options)
    if only == 0:
        return _reduced(G, options)
    E = _specific(x, y, edges_of_y, options)
    alpha = alpha.to(G.dtype) if isinstance(alpha, Tensor) else float(alpha)
    return _reduced((1 - alpha) * G + alpha * E, options)


def _blursim_terms(x: Tensor, y: Any, mask: Tensor | None, options: _Options) -> Terms:
    """G and E (SPEC 2.5)."""
    x, y, spectrum_of_y, edges_of_y = _compared(x, y, mask, options.axes)
    G, E = _general(x, y, spectrum_of_y, options), _specific(x, y, edges_of_y, options)
    return Terms(_reduced(G, options), _reduced(E, options))


def _prepare(y: Tensor, options: _Options) -> Target:
    """What does not depend on x (SPEC 13.1)."""
    axes, spectrum, edges, size, *_ = options
    _, y, _, _ = _compared(y, y, None, axes)
    return Target(
        _as_given(y, axes),
        _as_given(magnitude(y, len(axes))[0], axes) if spectrum == "magnitude" else None,
        _as_given(packed(y, len(axes), size), axes) if edges == "magnitude" else None,
        (axes, spectrum, edges, size, tuple(y.shape[-len(axes) :])),
    )


def _difference_maps(x: Tensor, y: Tensor, options: _Options) -> Maps:
    """d_s and d_e (SPEC 11)."""
    axes, spectrum, edges, size, *_ = options
    x, y, _, _ = _compared(x, y, None, axes)
    maps = spectrum_map(x, y, len(axes), spectrum), edge_map(x, y, len(axes), edges, size)
    return Maps(*(_as_given(of, axes) for of in maps))


def _accepted(x: Any, y: Any, mask: Any, options: _Options) -> tuple[Tensor, Any, Tensor | None, _Options]:
    """The arguments that all functions share: checked, axes counted from the end."""
    words = ("spectrum", "edges", "normalization", "reduction")
    _checks.check_words(**{word: getattr(options, word) for word in words})
    _checks.check_p(options.p)
    if any(type(image).__name__ == "DTensor" for image in (x, y, mask)):
        raise TypeError(
            "x and y: expected tensors of one process, got a DTensor; give to_local() of those sharded along batch "
            "axes alone, and average the losses"
        )
    _checks.check_images(x, y.image if isinstance(y, Target) else y, options.axes, options.sobel_size)
    _checks.check_mask(mask, x.shape)
    axes = tuple(int(axis) % x.ndim - x.ndim for axis in options.axes)
    size, p = int(options.sobel_size), int(options.p)
    options = _Options(axes, options.spectrum, options.edges, size, p, options.normalization, options.reduction)
    if isinstance(y, Target):
        _checks.check_target(x, y, (axes, options.spectrum, options.edges, size))
    return x, y, mask, options


def _compared(
    x: Tensor, y: Any, mask: Tensor | None, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The images to compare, in the dtype of the computation, masked, spatial axes last; and what is known of y."""
    last = tuple(range(-len(axes), 0))
    known: list[Tensor | None] = [None, None]
    if isinstance(y, Target):
        known = [None if of is None else of.detach().movedim(axes, last) for of in (y.spectrum, y.edges)]
        y = y.image.detach()
    dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    x, y = x.to(dtype), y.to(dtype)
    if mask is not None:
        # Selected, not just multiplied: 0 * (NaN - y) would be NaN.
        inside = torch.where(mask.bool(), x, y)
        x = inside if mask.dtype == torch.bool else y + mask.to(dtype) * (inside - y)
    # Of one order in memory, so that equal images are computed, and rounded, alike.
    x, y = (image.movedim(axes, last).contiguous() for image in (x, y))
    return x, y, *known


def _as_given(image: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The spatial axes back where they came from."""
    return image.movedim(tuple(range(-len(axes), 0)), axes)


def _general(x: Tensor, y: Tensor, spectrum_of_y: Tensor | None, options: _Options) -> Tensor:
    return general(x, y, spectrum_of_y, len(options.axes), options.spectrum, options.p)


def _specific(x: Tensor, y: Tensor, edges_of_y: Tensor | None, options: _Options) -> Tensor:
    axes, _, edges, size, p, normalization, *_ = options
    return specific(x, y, edges_of_y, len(axes), edges, p, normalization, size)


def _reduced(losses: Tensor, options: _Options) -> Tensor:
    if options.reduction == "mean":
        return losses.mean()
    return losses.sum() if options.reduction == "sum" else losses
