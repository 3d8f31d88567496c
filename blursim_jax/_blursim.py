"""The public functions: BlurSim, its two terms, and the maps that these measure."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from blursim_jax import _checks, _edges, _spectral


class Terms(NamedTuple):
    """The two terms of BlurSim: each one number, or with reduction="none" one per image."""

    general: Array
    specific: Array


class Maps(NamedTuple):
    """What the two terms see, each real and of the shape of x; `spectrum` has DC in its centre."""

    spectrum: Array
    edges: Array


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("image", "spectrum", "edges"), meta_fields=("options",)
)
@dataclasses.dataclass(frozen=True)
class Target:
    """What `prepare` keeps of a fixed image: a pytree, to be given to `blursim` in the place of y."""

    image: Array
    spectrum: Array | None
    edges: Array | None
    options: tuple[tuple[int, ...], str, str, int]


def blursim(
    x: ArrayLike,
    y: ArrayLike | Target,
    alpha: ArrayLike,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    normalization: Literal["area", "rms"] = "area",
    sobel_size: int = 5,
    mask: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array:
    r"""BlurSim loss between images; 0 when x equals y.

    .. math:: (1 - \alpha) \, \frac{\||X| - |Y|\|_2}{H W}
        + \alpha \, \frac{\||\nabla x| - |\nabla y|\|_2}{H W}

    per image, X and Y the DFTs, nabla the Sobel gradient; then the reduction over the images.
    Symmetric in x and y. Differentiable in x, y, alpha and mask, to any order; where a magnitude
    or a norm is zero its gradient is taken as zero (SPEC 7), so gradients of finite images are finite.

    Args:
        x: float images, shape (\*batch, H, W) or as `axes` says; any range, commonly [0, 1].
            float16 and bfloat16 are computed in float32; the gradient has the dtype of x.
        y: float images, the shape of x. Its dtype may differ; the wider one counts. Or a `Target`,
            prepared from such with the same options; then y is a constant.
        alpha: weight of the specific term, in [0, 1]: a number, a traced scalar, or an array that
            broadcasts to the batch shape, one weight per image. Changing it never recompiles.
        axes: the two spatial axes. Channels last, as in Flax, is (-3, -2).
        spectrum: "magnitude" compares \|X| with \|Y| (blind to shifts; DC keeps its sign),
            "complex" X with Y (by Parseval the RMSE).
        edges: "magnitude" compares the lengths of the Sobel vectors (blind to their sign),
            "vector" the vectors.
        normalization: "area" divides both norms by H W, as published; "rms" makes the specific
            term a root mean square too, in intensity per pixel, so that alpha means the same at every size.
        sobel_size: side k of the Sobel kernel, odd, >= 3. Images need at least (k + 1) / 2 pixels a side.
        mask: bool, or float in [0, 1], broadcastable to x: the loss of y + mask (x - y) against y.
            Where it is 0, x does not count; y must be finite everywhere.
        reduction: "mean" or "sum" over all images, or "none": one loss per image.

    Returns:
        The loss, float32 (float64 for float64 images): a scalar, or with reduction="none" of the batch shape.

    Raises:
        TypeError: x or y is not floating (integer and complex images), or another argument is of the wrong type.
        ValueError: unequal shapes, an empty batch, images too small for the Sobel kernel, repeated or
            out-of-range axes, an unknown option word, a Python-number alpha outside [0, 1],
            an alpha or mask that does not broadcast.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blursim_jax import blursim
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 8, 3, 64, 64))
        >>> loss, gradient = jax.jit(jax.value_and_grad(blursim))(x, y, 0.8)
        >>> loss.shape, gradient.shape
        ((), (8, 3, 64, 64))

    Source:
        After A. Naghi Razlighi and S. Jahanzad, "BlurSim: A New Loss Function for Training Models
        with Gaussian Blur Inputs", 2023. SPEC.md is the full definition.
    """
    general, specific = blursim_terms(
        x,
        y,
        axes=axes,
        spectrum=spectrum,
        edges=edges,
        normalization=normalization,
        sobel_size=sobel_size,
        mask=mask,
        reduction="none",
    )
    _checks.check_words(reduction=reduction)
    _checks.check_alpha(alpha, general.shape)
    alpha = jnp.broadcast_to(jnp.asarray(alpha, general.dtype), general.shape)
    return _reduce((1 - alpha) * general + alpha * specific, reduction)


def blursim_terms(
    x: ArrayLike,
    y: ArrayLike | Target,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    normalization: Literal["area", "rms"] = "area",
    sobel_size: int = 5,
    mask: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Terms:
    """The two terms of BlurSim, for logging both; arguments and errors are those of `blursim`.

    Returns:
        Terms(general, specific): the norms that `blursim` weighs by 1 - alpha and alpha, each
        reduced, or with reduction="none" of the batch shape.

    Example:
        >>> import jax
        >>> from blursim_jax import blursim_terms
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 8, 64, 64, 3))
        >>> terms = blursim_terms(x, y, axes=(-3, -2), reduction="none")
        >>> terms.general.shape, terms.specific.shape
        ((8, 3), (8, 3))
    """
    _checks.check_words(spectrum=spectrum, edges=edges, normalization=normalization, reduction=reduction)
    target = y if isinstance(y, Target) else None
    image = y.image if isinstance(y, Target) else y
    _checks.check_images(x, image, axes, sobel_size)
    if target:
        _checks.check_target(x, target, (tuple(axes), spectrum, edges, sobel_size))
    x, image = _compared(x, image, mask, axes)

    if spectrum == "complex":
        general = _spectral.complex_distance(x, image)
    elif target:
        general = _spectral.magnitude_distance_to(x, target.spectrum)
    else:
        general = _spectral.magnitude_distance(x, image)
    if spectrum == "magnitude":
        # The specific term waits for the general one: XLA would keep the intermediate images of both at once.
        x = jnp.where((general >= 0)[..., None, None], x, jnp.nan)

    if edges == "vector":
        specific = _edges.vector_distance(x, image, sobel_size)
    elif target:
        specific = _edges.magnitude_distance_to(x, target.edges, sobel_size)
    else:
        specific = _edges.magnitude_distance(x, image, sobel_size)

    area = x.shape[-2] * x.shape[-1]
    divisor = area if normalization == "area" else _edges.gain(sobel_size) * area**0.5
    return Terms(_reduce(general / area, reduction), _reduce(specific * (math.sqrt(2) / divisor), reduction))


def prepare(
    y: ArrayLike,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    sobel_size: int = 5,
) -> Target:
    """A fixed y with its magnitudes computed once, for many calls of `blursim`; arguments are those of `blursim`.

    Returns:
        A Target, accepted as y by `blursim` and `blursim_terms` with the same options. The loss and
        its gradient for x are those of y itself; no gradient flows to y.

    Raises:
        TypeError, ValueError: as `blursim`. Calls with a Target also raise ValueError where their
            options differ from these, or x is float64 and y was not.

    Example:
        >>> import jax
        >>> from blursim_jax import blursim, prepare
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 8, 64, 64))
        >>> target = prepare(y)
        >>> gradient = jax.jit(jax.grad(blursim))(x, target, 0.8)
    """
    _checks.check_words(spectrum=spectrum, edges=edges)
    _checks.check_images(y, y, axes, sobel_size)
    y, _ = _compared(lax.stop_gradient(y), lax.stop_gradient(y), None, axes)
    return Target(
        jnp.moveaxis(y, (-2, -1), axes),
        _spectral.magnitude(y) if spectrum == "magnitude" else None,
        _edges.magnitude(y, sobel_size) if edges == "magnitude" else None,
        (tuple(axes), spectrum, edges, sobel_size),
    )


def difference_maps(
    x: ArrayLike,
    y: ArrayLike,
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
        centre. Their 2-norms over an image, divided by H W, are the terms of normalization="area".

    Example:
        >>> import jax
        >>> from blursim_jax import difference_maps
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 48, 64))
        >>> maps = difference_maps(x, y)
        >>> maps.spectrum.shape, maps.edges.shape
        ((48, 64), (48, 64))
    """
    _checks.check_words(spectrum=spectrum, edges=edges)
    _checks.check_images(x, y, axes, sobel_size)
    x, y = _compared(x, y, None, axes)
    spectral = _spectral.magnitude_map(x, y) if spectrum == "magnitude" else _spectral.complex_map(x, y)
    edge = _edges.magnitude_map(x, y, sobel_size) if edges == "magnitude" else _edges.vector_map(x, y, sobel_size)
    edge = math.sqrt(2) * edge
    return Maps(jnp.moveaxis(spectral, (-2, -1), axes), jnp.moveaxis(edge, (-2, -1), axes))


def _compared(x: ArrayLike, y: ArrayLike, mask: ArrayLike | None, axes: Sequence[int]) -> tuple[Array, Array]:
    """The two images to compare: in the dtype of the computation, masked, spatial axes last."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    dtype = jnp.float64 if jnp.float64 in (x.dtype, y.dtype) else jnp.float32
    x, y = x.astype(dtype), y.astype(dtype)
    if mask is not None:
        _checks.check_mask(mask, x.shape)
        mask = jnp.broadcast_to(jnp.asarray(mask), x.shape)
        # Selected, not just multiplied: 0 * (NaN - y) would be NaN.
        inside = jnp.where(mask.astype(bool), x, y)
        x = inside if mask.dtype == bool else y + mask.astype(dtype) * (inside - y)
    return jnp.moveaxis(x, axes, (-2, -1)), jnp.moveaxis(y, axes, (-2, -1))


def _reduce(losses: Array, reduction: str) -> Array:
    if reduction == "mean":
        return jnp.mean(losses)
    return jnp.sum(losses) if reduction == "sum" else losses
