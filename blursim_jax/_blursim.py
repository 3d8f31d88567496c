"""The public functions: BlurSim, its two terms, and maps of what they measure."""

import functools
from collections.abc import Callable, Sequence
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from blursim._checks import check_alpha, check_inputs
from blursim._options import Edges, Normalization, Options, Order, Reduction, Spectrum
from blursim_jax import _arrays
from blursim_jax._distance import Distance, compare, evaluate
from blursim_jax._maps import Fourier, Identity, LinearMap, Sobel, Windows, select

Term = Callable[[tuple[int, ...], Options], Distance]


class Terms(NamedTuple):
    """The two terms of BlurSim, each a number, or with reduction="none" one number per image."""

    general: Array
    specific: Array


class Maps(NamedTuple):
    """The differences that the two terms measure, both real and of the shape of x; `spectrum` has DC in its centre."""

    spectrum: Array
    edges: Array


def blursim(
    x: ArrayLike,
    y: ArrayLike,
    alpha: ArrayLike,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Spectrum = "magnitude",
    window: int | None = None,
    edges: Edges = "magnitude",
    p: Order = 1,
    normalization: Normalization = "gain",
    sobel_size: int = 5,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """BlurSim loss between images; 0 when x equals y.

    The loss of one image is

        (1 - alpha) M_p(|X| - |Y|) + alpha M_p(|grad x| - |grad y|)

    where X and Y are the unitary DFTs, grad is the Sobel gradient in intensity per pixel, M_1 the mean of the absolute
    values and M_2 the root mean square. It is symmetric in x and y, and differentiable in x, y, alpha and mask to any
    order. Where a magnitude, a difference or a norm is zero, its gradient is taken as zero (SPEC 7), so that finite
    images have finite gradients. A NaN or infinity makes that image's loss non-finite; other images are unaffected.

    Args:
        x: float images of shape (..., H, W), or signals or volumes, according to `axes`; any range, commonly [0, 1].
            float16 and bfloat16 are computed in float32; the gradient has the dtype of x.
        y: float images of the shape of x. If dtypes differ, the wider one is used.
        alpha: weight of the specific term, in [0, 1]: a number, a traced scalar, or an array that broadcasts to the
            batch shape, one weight per image. For NCHW images, shape (N, 1) gives one weight per picture, (C,) one per
            channel. Changing alpha never recompiles, except that the Python numbers 0 and 1 select a one-term program.
        axes: the one to three spatial axes, as in numpy.fft: (-2, -1) for NCHW, the default, (-3, -2) for NHWC, as in
            Flax; (-1,) for signals; (-3, -2, -1) for NCDHW volumes, (-4, -3, -2) for NDHWC.
        spectrum: "magnitude" compares |X| with |Y| (blind to shifts; DC keeps its sign), "complex" X with Y.
        window: None compares the spectra of whole images; w, a multiple of four, those of overlapping windows of w x w
            pixels, for misalignment that varies from place to place (SPEC 3.7).
        edges: "magnitude" compares the lengths of the Sobel vectors (blind to their sign), "vector" the vectors.
        p: 1 takes the mean of the absolute differences, 2 their root mean square, as published.
        normalization: "gain" leaves the specific term in intensity per pixel; "area", as published, multiplies it by
            the kernel's gain over sqrt(H W), so that alpha's balance depends on the image size.
        sobel_size: side of the Sobel kernel, odd, 3 to 31. Images need as many pixels along each axis, and at least 5.
        mask: bool, or float in [0, 1] (not checked), broadcastable to x. The loss is that of y + mask (x - y) against
            y, and its means go over the whole image. Where the mask is 0, x doesn't count, but y does and must be
            finite. For NCHW images, shape (N, 1, H, W) gives one mask per picture.
        reduction: "mean" or "sum" over all images, or "none" for one loss per image. Each channel is an image: for one
            value per NCHW picture, take "none" and then the mean over the channels, `.mean(-1)`.

    Returns:
        The loss, float32 (float64 for float64 images): a scalar, or with reduction="none" of the batch shape.

    Raises:
        TypeError: an argument has the wrong type or dtype, such as integer images.
        ValueError: shapes are unequal or don't fit, a word is unknown, or a number alpha is outside [0, 1].

    Examples:
        >>> import jax
        >>> from blursim_jax import blursim
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 8, 3, 64, 64))
        >>> loss, gradient = jax.jit(jax.value_and_grad(blursim))(x, y, 0.3)
        >>> loss.shape, gradient.shape
        ((), (8, 3, 64, 64))

    Source:
        After A. Naghi Razlighi and S. Jahanzad, "BlurSim: A New Loss Function for Training Models
        with Gaussian Blur Inputs", 2023. SPEC.md is the full definition.
    """
    options = Options(axes, spectrum, window, edges, p, normalization, sobel_size, reduction)
    x, y, alpha, mask = map(_arrays.unwrap, (x, y, alpha, mask))
    options = check_inputs(x, y, mask, options, _arrays)
    check_alpha(alpha, _arrays, x, options.axes)
    if isinstance(alpha, Real) and alpha in (0, 1):
        # Known before anything is computed: one term is enough.
        return _loss(x, y, mask, options, (_specific if alpha else _general,))
    alpha = float(alpha) if isinstance(alpha, Real) else alpha
    return _loss(x, y, mask, options, (_general, _specific), alpha)


def blursim_terms(
    x: ArrayLike,
    y: ArrayLike,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Spectrum = "magnitude",
    window: int | None = None,
    edges: Edges = "magnitude",
    p: Order = 1,
    normalization: Normalization = "gain",
    sobel_size: int = 5,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Terms:
    """The two terms that `blursim` weights by 1 - alpha and alpha; arguments and errors are those of `blursim`.

    Returns:
        Terms(general, specific), each reduced, or with reduction="none" of the batch shape. Under jit, a term
        that isn't used costs nothing.

    Examples:
        >>> import jax
        >>> from blursim_jax import blursim_terms
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 8, 64, 64, 3))
        >>> terms = blursim_terms(x, y, axes=(-3, -2), reduction="none")
        >>> terms.general.shape, terms.specific.shape
        ((8, 3), (8, 3))
    """
    options = Options(axes, spectrum, window, edges, p, normalization, sobel_size, reduction)
    x, y, mask = map(_arrays.unwrap, (x, y, mask))
    options = check_inputs(x, y, mask, options, _arrays)
    return Terms(*(_loss(x, y, mask, options, (term,)) for term in (_general, _specific)))


def difference_maps(
    x: ArrayLike,
    y: ArrayLike,
    *,
    axes: Sequence[int] = (-2, -1),
    spectrum: Spectrum = "magnitude",
    edges: Edges = "magnitude",
    sobel_size: int = 5,
) -> Maps:
    """The differences that the two terms measure, as pictures; arguments and errors are those of `blursim`.

    Returns:
        Maps(spectrum, edges), both real and of the shape of x: with "magnitude" the signed differences of the
        magnitudes, otherwise the lengths of the differences. `spectrum` has DC in the centre. M_p of each map, over an
        image, is the term.

    Examples:
        >>> import jax
        >>> from blursim_jax import difference_maps
        >>> x, y = jax.random.uniform(jax.random.key(0), (2, 48, 64))
        >>> maps = difference_maps(x, y)
        >>> maps.spectrum.shape, maps.edges.shape
        ((48, 64), (48, 64))
    """
    options = Options(axes, spectrum, None, edges, 1, "gain", sobel_size, "none")
    x, y = map(_arrays.unwrap, (x, y))
    options = check_inputs(x, y, None, options, _arrays)
    return _maps(x, y, options)


@functools.partial(jax.jit, static_argnames=("options", "terms"))
def _loss(
    x: Array,
    y: Array,
    mask: Array | None,
    options: Options,
    terms: tuple[Term, ...],
    alpha: ArrayLike | None = None,
) -> Array:
    """(1 - alpha) G + alpha E, or a term alone, reduced over the images (SPEC 2, 5.4)."""
    shape = tuple(x.shape[axis] for axis in options.axes)
    distances = [term(shape, options) for term in terms]
    x, y = _prepare(x, y, mask, options.axes, distances)
    losses, *others = (evaluate(distance, x, y) for distance in distances)
    if others:
        alpha = _of_rank(losses.ndim, jnp.asarray(alpha).astype(losses.dtype))
        losses = (1 - alpha) * losses + alpha * others[0]
    if options.reduction == "mean":
        return jnp.mean(losses)
    return jnp.sum(losses) if options.reduction == "sum" else losses


@functools.partial(jax.jit, static_argnames="options")
def _maps(x: Array, y: Array, options: Options) -> Maps:
    """d_s and d_e (SPEC 11)."""
    shape, last = tuple(x.shape[axis] for axis in options.axes), tuple(range(-len(options.axes), 0))
    fourier = Fourier(shape)
    distances = Distance(fourier, 1, options.spectrum == "complex"), _specific(shape, options)
    x, y = _prepare(x, y, None, options.axes, distances)
    (half, *_), (edges, *_) = (compare(distance, x, y) for distance in distances)
    spectrum = jnp.fft.fftshift(fourier.whole(half), last)
    return Maps(*(jnp.moveaxis(image, last, options.axes) for image in (spectrum, edges)))


def _general(shape: tuple[int, ...], options: Options) -> Distance:
    """G = M_p(|X| - |Y|), or M_p(|X - Y|), X being the DFT of x or those of its windows (SPEC 3)."""
    vectors = options.spectrum == "complex"
    if options.window:
        A: LinearMap = Windows(shape, options.window)
    else:
        A = Identity(shape) if vectors and options.p == 2 else Fourier(shape)
    return Distance(A, options.p, vectors)


def _specific(shape: tuple[int, ...], options: Options) -> Distance:
    """E = M_p(|grad x| - |grad y|), or M_p(|grad x - grad y|), in the chosen unit (SPEC 4, 5)."""
    A = Sobel(shape, options.sobel_size)
    unit = A.gain / A.count**0.5 if options.normalization == "area" else 1.0
    return Distance(A, options.p, options.edges == "vector", unit)


def _prepare(
    x: Array, y: Array, mask: Array | None, axes: tuple[int, ...], distances: Sequence[Distance]
) -> tuple[Array, Array]:
    """The images to compare: in the dtype of the computation, masked (SPEC 6), spatial axes last."""
    dtype = jnp.float64 if jnp.float64 in (x.dtype, y.dtype) else jnp.float32
    x, y = x.astype(dtype), y.astype(dtype)
    if mask is not None:
        mask = _of_rank(x.ndim, mask)
        # Selected, not just multiplied: 0 * (NaN - y) would be NaN.
        inside = select(mask.astype(bool), x, y)
        x = inside if mask.dtype == bool else y + mask.astype(dtype) * (inside - y)
    # Otherwise XLA evaluates an image that is a constant as it compiles: slowly, and rounded differently.
    x, y = lax.optimization_barrier((x, y))
    last = tuple(range(-len(axes), 0))
    x, y = (jnp.moveaxis(image, axes, last) for image in (x, y))
    magnitudes = [distance.A for distance in distances if not distance.vectors]
    if magnitudes and all(A.blind_to_constants for A in magnitudes):
        constant = _common_constant(*lax.stop_gradient((x, y)), len(last))
        x, y = x - constant, y - constant
    return x, y


def _common_constant(x: Array, y: Array, n: int) -> Array:
    """What both images can do without: the loss is blind to it, but it would cost float32 its digits (SPEC 8.4).

    The middle of 0 and an intensity of each image, which is the middle of three pixels: one bright pixel has no effect,
    and where an image is black nothing is subtracted.
    """
    places = [(..., *(slice(k * m // 4, k * m // 4 + 1) for m in x.shape[-n:])) for k in (1, 2, 3)]
    of_x, of_y = (_middle(*(image[place] for place in places)) for image in (x, y))
    return _middle(of_x, of_y, jnp.zeros_like(of_x))


def _middle(a: Array, b: Array, c: Array) -> Array:
    return jnp.maximum(jnp.minimum(a, b), jnp.minimum(jnp.maximum(a, b), c))


def _of_rank(rank: int, array: Array) -> Array:
    """The array with leading axes of length 1."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)
