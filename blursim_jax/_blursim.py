"""The public functions: BlurSim, its two terms, what these see of two images, and prepared targets."""

import ast
import dataclasses
import functools
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, export, lax
from jax.typing import ArrayLike

from blursim_jax import _checks
from blursim_jax._edges import edge_map, packed, specific
from blursim_jax._spectral import general, magnitude, spectrum_map


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
@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """What `prepare` keeps of a fixed image, to be given to `blursim` in the place of y: a pytree.

    Its arrays have their axes where the image has them, so what indexes, slices, maps or moves batch axes does so with
    all three alike, e.g. `jax.tree.map(lambda a: a[:4], target)`. Along the last spatial axis, W long in `image`,
    `spectrum` has W // 2 + 1 entries and `edges` 2 W, the magnitudes and what bounds their rounding errors. Its spatial
    axes stay as they were prepared: flip, roll or crop the image first, then prepare it.
    """

    image: Array
    spectrum: Array | None
    edges: Array | None
    options: tuple[tuple[int, ...], str, str, int, tuple[int, ...]]


# What jax.export asks of types in the signature of a program that is stored.
export.register_namedtuple_serialization(Terms, serialized_name="blursim_jax.Terms")
export.register_namedtuple_serialization(Maps, serialized_name="blursim_jax.Maps")
export.register_pytree_node_serialization(
    Target,
    serialized_name="blursim_jax.Target",
    serialize_auxdata=lambda options: repr(options).encode(),
    deserialize_auxdata=lambda stored: ast.literal_eval(stored.decode()),
    from_children=lambda options, arrays: Target(*arrays, *options),
)


def blursim(
    x: ArrayLike,
    y: ArrayLike | Target,
    alpha: ArrayLike,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    p: Literal[1, 2] = 2,
    normalization: Literal["area", "gain"] = "area",
    sobel_size: int = 5,
    mask: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Array:
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
        alpha: weight of the specific term, in [0, 1]: a number, a traced scalar, or an array that broadcasts to the
            batch shape, one weight per image. Of NCHW images (N, 1) is a weight per picture, (C,) one per channel.
            Changing it never recompiles, but that the numbers 0 and 1 compute one term only.
        axes: the spatial axes, as in numpy.fft. NCHW is (-2, -1), the default; NHWC, as in Flax, (-3, -2);
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
    options = _Options(axes, spectrum, edges, sobel_size, p, normalization, reduction)
    x, y, mask, options = _accepted(x, y, mask, options)
    alpha = _unwrapped(alpha)
    _checks.check_alpha(alpha, [n for axis, n in enumerate(x.shape, -x.ndim) if axis not in options.axes])
    # The number 0 or 1 is known before anything is computed, and one term is enough.
    only = int(alpha) if isinstance(alpha, Real) and alpha in (0, 1) else None
    return _blursim(x, y, alpha, mask, options, only)


def blursim_terms(
    x: ArrayLike,
    y: ArrayLike | Target,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Literal["magnitude", "complex"] = "magnitude",
    edges: Literal["magnitude", "vector"] = "magnitude",
    p: Literal[1, 2] = 2,
    normalization: Literal["area", "gain"] = "area",
    sobel_size: int = 5,
    mask: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Terms:
    """The two terms of BlurSim, for logging both; arguments and errors are those of `blursim`.

    Returns:
        Terms(general, specific): the norms that `blursim` weighs by 1 - alpha and alpha, each
        reduced, or with reduction="none" of the batch shape. Under jit, one that is not used costs nothing.

    Example:
        >>> import jax
        >>> from blursim_jax import blursim_terms
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 8, 64, 64, 3))
        >>> terms = blursim_terms(x, y, axes=(-3, -2), reduction="none")
        >>> terms.general.shape, terms.specific.shape
        ((8, 3), (8, 3))
    """
    options = _Options(axes, spectrum, edges, sobel_size, p, normalization, reduction)
    return _blursim_terms(*_accepted(x, y, mask, options))


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
        A Target, accepted as y by `blursim` and `blursim_terms` with the same options and any p, normalization and
        alpha. The loss and its gradient for x are those of y itself; no gradient flows to y.

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
    y, _, _, options = _accepted(y, y, None, _Options(axes, spectrum, edges, sobel_size))
    # A copy: an array of NumPy's could change later.
    return _prepare(lax.stop_gradient(jnp.array(y)), options)


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
        centre. M_p of each over an image, divided by sqrt(N), is its term with normalization="area".

    Example:
        >>> import jax
        >>> from blursim_jax import difference_maps
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 48, 64))
        >>> maps = difference_maps(x, y)
        >>> maps.spectrum.shape, maps.edges.shape
        ((48, 64), (48, 64))
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


_compiled = functools.partial(jax.jit, static_argnames="options")


@functools.partial(jax.jit, static_argnames=("options", "only"))
def _blursim(x: Array, y: Any, alpha: ArrayLike, mask: Array | None, options: _Options, only: int | None) -> Array:
    """(1 - alpha) G + alpha E, or one of them only (SPEC 2.1)."""
    x, y, spectrum_of_y, edges_of_y = _compared(x, y, mask, options.axes)
    if only == 1:
        return _reduced(_specific(x, y, edges_of_y, options), options)
    G = _general(x, y, spectrum_of_y, options)
    if only == 0:
        return _reduced(G, options)
    E = _specific(_after(G, x), y, edges_of_y, options)
    alpha = _of_rank(G.ndim, jnp.asarray(alpha).astype(G.dtype))
    return _reduced((1 - alpha) * G + alpha * E, options)


@_compiled
def _blursim_terms(x: Array, y: Any, mask: Array | None, options: _Options) -> Terms:
    """G and E (SPEC 2.5)."""
    x, y, spectrum_of_y, edges_of_y = _compared(x, y, mask, options.axes)
    G, E = _general(x, y, spectrum_of_y, options), _specific(x, y, edges_of_y, options)
    return Terms(_reduced(G, options), _reduced(E, options))


@_compiled
def _prepare(y: Array, options: _Options) -> Target:
    """What does not depend on x (SPEC 13.1)."""
    axes, spectrum, edges, size, *_ = options
    _, y, _, _ = _compared(y, y, None, axes)
    return Target(
        _as_given(y, axes),
        _as_given(magnitude(y, len(axes))[0], axes) if spectrum == "magnitude" else None,
        _as_given(packed(y, len(axes), size), axes) if edges == "magnitude" else None,
        (axes, spectrum, edges, size, tuple(y.shape[-len(axes) :])),
    )


@_compiled
def _difference_maps(x: Array, y: Array, options: _Options) -> Maps:
    """d_s and d_e (SPEC 11)."""
    axes, spectrum, edges, size, *_ = options
    x, y, _, _ = _compared(x, y, None, axes)
    maps = spectrum_map(x, y, len(axes), spectrum), edge_map(x, y, len(axes), edges, size)
    return Maps(*(_as_given(of, axes) for of in maps))


def _accepted(x: Any, y: Any, mask: Any, options: _Options) -> tuple[Array, Any, Array | None, _Options]:
    """The arguments that all functions share: checked, images as arrays, axes counted from the end."""
    words = ("spectrum", "edges", "normalization", "reduction")
    _checks.check_words(**{word: getattr(options, word) for word in words})
    _checks.check_p(options.p)
    x, y, mask = map(_unwrapped, (x, y, mask))
    _checks.check_images(x, y.image if isinstance(y, Target) else y, options.axes, options.sobel_size)
    _checks.check_mask(mask, x.shape)
    axes = tuple(int(axis) % x.ndim - x.ndim for axis in options.axes)
    size, p = int(options.sobel_size), int(options.p)
    options = _Options(axes, options.spectrum, options.edges, size, p, options.normalization, options.reduction)
    x, y, mask = jax.tree.map(jnp.asarray, (x, y, mask))
    if isinstance(y, Target):
        _checks.check_target(x, y, (axes, options.spectrum, options.edges, size))
    return x, y, mask, options


def _unwrapped(array: Any) -> Any:
    """The array inside of an object such as flax.nnx.Param."""
    unwrap = getattr(array, "__jax_array__", None)
    return unwrap() if callable(unwrap) else array


def _compared(
    x: Array, y: Any, mask: Array | None, axes: tuple[int, ...]
) -> tuple[Array, Array, Array | None, Array | None]:
    """The images to compare, in the dtype of the computation, masked, spatial axes last; and what is known of y."""
    known: list[Array | None] = [None, None]
    if isinstance(y, Target):
        y = lax.stop_gradient(y)
        known = [None if a is None else jnp.moveaxis(a, axes, range(-len(axes), 0)) for a in (y.spectrum, y.edges)]
        y = y.image
    dtype = jnp.float64 if jnp.float64 in (x.dtype, y.dtype) else jnp.float32
    x, y = x.astype(dtype), y.astype(dtype)
    if mask is not None:
        mask = _of_rank(x.ndim, mask)
        # Selected, not just multiplied: 0 * (NaN - y) would be NaN.
        inside = jnp.where(mask.astype(bool), x, y)
        x = inside if mask.dtype == bool else y + mask.astype(dtype) * (inside - y)
    x, y = (_uncut(jnp.moveaxis(image, axes, range(-len(axes), 0)), len(axes)) for image in (x, y))
    return x, y, *known


def _uncut(image: Array, axes: int) -> Array:
    """The image with its last axes whole on each device, where the type of an array says that they are not."""
    spec = jax.typeof(image).sharding.spec
    if all(of is None for of in spec[len(spec) - axes :]):
        return image
    return jax.sharding.reshard(image, jax.sharding.PartitionSpec(*spec[: len(spec) - axes], *[None] * axes))


def _as_given(image: Array, axes: tuple[int, ...]) -> Array:
    """The spatial axes back where they came from."""
    return jnp.moveaxis(image, range(-len(axes), 0), axes)


def _general(x: Array, y: Array, spectrum_of_y: Array | None, options: _Options) -> Array:
    return general(x, y, spectrum_of_y, len(options.axes), options.spectrum, options.p)


def _specific(x: Array, y: Array, edges_of_y: Array | None, options: _Options) -> Array:
    axes, _, edges, size, p, normalization, *_ = options
    return specific(x, y, edges_of_y, len(axes), edges, p, normalization, size)


def _after(G: Array, x: Array) -> Array:
    """x, once G is known: else XLA keeps the temporaries of both terms at once, half as much memory again.

    Where G is NaN so is x, and with it the other term, as it must be: NaN counted.
    """
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]  # set at run time
        return x  # Nothing is scheduled, and jax_debug_nans would take the constant for a result.
    return jnp.where(_of_rank(x.ndim, G, -1) >= 0, x, jnp.nan)


def _of_rank(rank: int, array: Array, side: int = 0) -> Array:
    """The array with axes of length 1 before its own, or with side=-1 behind them."""
    ones = (1,) * (rank - array.ndim)
    return array.reshape(ones + array.shape if side == 0 else array.shape + ones)


def _reduced(losses: Array, options: _Options) -> Array:
    if options.reduction == "mean":
        return jnp.mean(losses)
    return jnp.sum(losses) if options.reduction == "sum" else losses
