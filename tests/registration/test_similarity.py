"""Similarities against NumPy and SciPy, brute force, differences and invariances."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage

from synthex_jax.registration.correlation_ratio import GradientCorrelationRatio
from synthex_jax.registration.gradients import GradientNCC, GradientOrientation
from synthex_jax.registration.information import MutualInformation
from synthex_jax.registration.patches import MultiscaleNCC, PatchNCC
from synthex_jax.registration.similarity import (
    NCC,
    SSD,
    LeastSquares,
    Similarity,
    checked_weights,
)

SIMILARITIES = {
    "ncc": NCC(),
    "ssd": SSD(),
    "patches": PatchNCC.create(5),
    "scales": MultiscaleNCC.create((None, 5), shares=(1.0, 3.0)),
    "gradients": GradientNCC.create(0.7),
    "orientation": GradientOrientation.create(0.5),
    "ratio": GradientCorrelationRatio.create(sigma=0.7),
    "information": MutualInformation.create(12),
}
SQUARES = {k: v for k, v in SIMILARITIES.items() if isinstance(v, LeastSquares)}
each = pytest.mark.parametrize(
    "similarity", SIMILARITIES.values(), ids=SIMILARITIES.keys()
)
each_of_squares = pytest.mark.parametrize(
    "similarity", SQUARES.values(), ids=SQUARES.keys()
)


@jax.jit
def value_and_slopes(similarity, *arguments):
    """By the images and the weights; compiled once a similarity and precision."""
    return jax.value_and_grad(similarity, (0, 1, 2))(*arguments)


def images(rows=14, cols=16, seed=0):
    """Two smooth images that are alike, and soft weights with a hole."""
    rng = np.random.default_rng(seed)
    blurred = lambda: scipy.ndimage.gaussian_filter(rng.normal(size=(rows, cols)), 1.5)
    common = blurred()
    weights = rng.uniform(0.2, 1.0, (rows, cols))
    weights[12:, 13:] = 0
    moving, fixed = common + 0.4 * blurred(), common + 0.4 * blurred()
    return tuple(jnp.asarray(x) for x in (3 + 10 * moving, 1 + 4 * fixed, weights))


def correlation(a, b, w):
    """NumPy's, of weighted covariances."""
    c = np.cov(np.ravel(a), np.ravel(b), aweights=np.ravel(w))
    return c[0, 1] / np.sqrt(c[0, 0] * c[1, 1])


def test_protocols():
    assert all(isinstance(s, Similarity) for s in SIMILARITIES.values())
    assert not isinstance(MutualInformation(), LeastSquares)
    assert len(SQUARES) == len(SIMILARITIES) - 1


def test_ncc_is_the_weighted_correlation(x64):
    a, b, w = images()
    np.testing.assert_allclose(NCC()(a, b, w), correlation(a, b, w), rtol=1e-12)
    np.testing.assert_allclose(
        NCC()(a, b), np.corrcoef(a.ravel(), b.ravel())[0, 1], rtol=1e-12
    )


def test_ssd_is_what_a_fit_of_gain_and_offset_leaves(x64):
    a, b, w = images()
    roots = np.sqrt(np.ravel(w) / np.sum(w))
    design = np.stack([np.ravel(a), np.ones(a.size)], axis=1)
    _, left, *_ = np.linalg.lstsq(design * roots[:, None], np.ravel(b) * roots)
    np.testing.assert_allclose(SSD()(a, b, w), -left[0], rtol=1e-10)
    np.testing.assert_allclose(SSD()(7 - 2 * a, b, w), -left[0], rtol=1e-10)


@pytest.mark.parametrize(("size", "stride"), [(5, 1), (4, 3)])
def test_patches_are_those_of_brute_force(x64, size, stride):
    a, b, w = images()
    floor = 0.2**2 * np.cov(np.ravel(b), aweights=np.ravel(w), ddof=0)
    values, counts = [], []
    for i in range(0, a.shape[0] - size + 1, stride):
        for j in range(0, a.shape[1] - size + 1, stride):
            x, y, v = (np.ravel(p[i : i + size, j : j + size]) for p in (a, b, w))
            c = np.cov(x, y, aweights=v, ddof=0)
            values.append(c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]))
            counts.append(v.sum() * c[1, 1] / (c[1, 1] + floor))
    found = PatchNCC.create(size, stride=stride, floor=0.2)(a, b, w)
    np.testing.assert_allclose(found, np.average(values, weights=counts), rtol=1e-9)


def test_scales_are_a_weighted_mean(x64):
    a, b, w = images()
    parts = NCC()(a, b, w), PatchNCC.create(5)(a, b, w)
    found = MultiscaleNCC.create((None, 5), shares=(1.0, 3.0))(a, b, w)
    np.testing.assert_allclose(found, parts[0] / 4 + parts[1] * 3 / 4, rtol=1e-12)


def scipy_gradients(image, sigma):
    """SciPy's Gaussian and Sobel filters, without the rim that padding reaches."""
    reach = int(np.ceil(3 * sigma))
    smooth = np.asarray(image)
    if sigma > 0:
        smooth = scipy.ndimage.gaussian_filter(smooth, sigma, radius=reach)
    rim = reach + 1
    return [
        scipy.ndimage.sobel(smooth, axis)[rim:-rim, rim:-rim] / 8 for axis in (0, 1)
    ]


@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_gradient_ncc_is_scipys(x64, sigma):
    a, b, w = images()
    size = 2 * (int(np.ceil(3 * sigma)) + 1) + 1
    rim = size // 2
    least = scipy.ndimage.minimum_filter(np.asarray(w), size)[rim:-rim, rim:-rim]
    pairs = zip(scipy_gradients(a, sigma), scipy_gradients(b, sigma), strict=True)
    expected = np.mean([correlation(x, y, least) for x, y in pairs])
    np.testing.assert_allclose(GradientNCC.create(sigma)(a, b, w), expected, rtol=1e-9)


def explained(design, target):
    """The share of a target's squares that columns can make."""
    left = target - design @ np.linalg.lstsq(design, target)[0]
    return 1 - np.sum(left**2) / np.sum(target**2)


@pytest.mark.parametrize(("degree", "trend"), [(1, 0), (3, 0), (3, 1), (2, 2), (1, 3)])
def test_correlation_ratio_is_what_a_fit_explains(x64, degree, trend):
    """Powers, contrast that varies by row and column, and a slope that does."""
    a, b, w = images(rows=18, cols=21)
    sigma, size = 0.7, 9
    rim = size // 2
    least = scipy.ndimage.minimum_filter(np.asarray(w), size)[rim:-rim, rim:-rim]
    roots = np.sqrt(np.stack([least, least]))
    edges = lambda image: np.stack(scipy_gradients(np.asarray(image), sigma))
    row, col = np.indices(least.shape, float)
    one, none = np.ones_like(row), np.zeros_like(row)
    slopes = [(one, none), (none, one), (2 * row, none), (col, row), (none, 2 * col)]
    slopes += [(3 * row**2, none), (2 * row * col, row**2)]
    slopes += [(col**2, 2 * row * col), (none, 3 * col**2)]
    gains = [row, col, row**2, row * col, col**2]
    gains += [row**3, row**2 * col, row * col**2, col**3]
    powers = [edges(((a - 3) / 10) ** (k + 1)) for k in range(degree)]
    offered = {0: 0, 1: 2, 2: 5, 3: 9}[trend]
    slopes = [np.stack(slope) for slope in slopes[: max(offered, 2)]]
    columns = [*slopes, *powers, *(g * powers[0] for g in gains[:offered])]
    flat = lambda parts: np.stack([(roots * part).ravel() for part in parts], axis=1)
    target = flat([edges(b)])[:, 0]
    alone, all_of_it = (explained(flat(x), target) for x in (slopes, columns))
    rule = GradientCorrelationRatio.create(degree, sigma=sigma, trend=trend)
    expected = 1 - (1 - all_of_it) / (1 - alone)
    np.testing.assert_allclose(rule(a, b, w), expected, rtol=1e-8)


def test_correlation_ratio_follows_a_curve_and_a_background(x64):
    a, _, _ = images()
    x = (a - a.mean()) / 30
    curve = x - 0.5 * x**2 + 0.2 * x**3
    row, col = np.indices(a.shape) / 10
    rule = GradientCorrelationRatio.create(sigma=0.7)
    for background in (0, 1 - 2 * row + row**2 - row * col + 0.5 * col**2):
        np.testing.assert_allclose(rule(a, curve + background), 1, rtol=1e-12)
        np.testing.assert_allclose(rule(a, -curve + background), 1, rtol=1e-12)
    plane = GradientCorrelationRatio.create(sigma=0.7, trend=0)
    np.testing.assert_allclose(plane(a, curve - 2 * row + col), 1, rtol=1e-12)
    assert plane(a, curve + row**2) < 0.999


def test_correlation_ratio_takes_two_values_for_one_power():
    image = jnp.asarray(np.arange(20)[:, None] // 7 % 2 * np.ones(20), float)
    rule = GradientCorrelationRatio.create(sigma=0.5, trend=0)
    assert float(rule(image, 3 - 2 * image)) == pytest.approx(1, abs=1e-5)
    assert float(rule(3 * image, image.T)) == pytest.approx(0, abs=1e-5)


def test_orientation_is_the_product_of_fields(x64):
    a, b, _ = images()
    fields = []
    for image in (a, b):
        g = np.stack(scipy_gradients(image, 0.5))
        square = (g**2).sum(0)
        fields.append(g / np.sqrt(square + 0.5**2 * square.mean()))
    expected = np.sum(fields[0] * fields[1]) / np.sqrt(
        np.sum(fields[0] ** 2) * np.sum(fields[1] ** 2)
    )
    found = GradientOrientation.create(0.5, floor=0.5)(a, b)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_information_is_that_of_scipys_splines(x64):
    a, b, w = images()
    bins = 12
    spline = scipy.interpolate.BSpline.basis_element(
        np.arange(-2.0, 3.0), extrapolate=False
    )

    def parzen(image):
        mean = np.average(image, weights=w)
        std = np.sqrt(np.average((image - mean) ** 2, weights=w))
        place = 1 + np.clip((image - mean) / (3 * std) / 2 + 0.5, 0, 1) * (bins - 3)
        return np.nan_to_num(spline(np.ravel(place)[:, None] - np.arange(bins)))

    joint = np.einsum("p,pi,pj->ij", np.ravel(w) / w.sum(), parzen(a), parzen(b))
    alone = joint.sum(1)[:, None] * joint.sum(0)
    some = joint > 0
    expected = np.sum(joint[some] * np.log(joint[some] / alone[some]))
    found = MutualInformation.create(bins)(a, b, w)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_information_of_normal_variables():
    """-log(1 - r^2) / 2, but for the blur of windows of a fifth of the deviation."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 200))
    fixed = 0.8 * x + 0.6 * y
    found = MutualInformation(32)(jnp.asarray(x, float), jnp.asarray(fixed, float))
    np.testing.assert_allclose(found, -np.log(1 - 0.8**2) / 2, rtol=0.1)


@each
def test_derivatives(x64, similarity):
    """Along a random direction; weights of zero are at the end of their range."""
    arguments = images()
    rng = np.random.default_rng(1)
    _, slopes = value_and_slopes(similarity, *arguments)
    for i, slope in enumerate(slopes):
        step = np.where(arguments[2] > 0, rng.normal(size=slope.shape), 0)
        moved = [
            similarity(*arguments[:i], arguments[i] + h * step, *arguments[i + 1 :])
            for h in (1e-6, -1e-6)
        ]
        expected = (moved[0] - moved[1]) / 2e-6
        np.testing.assert_allclose(np.sum(slope * step), expected, rtol=1e-4, atol=1e-9)


@each_of_squares
def test_squares_sum_to_the_dissimilarity(x64, similarity):
    a, b, w = images()
    flat = jnp.full_like(a, 2.7)
    nothing = jnp.zeros_like(w)
    scale = 1 if isinstance(similarity, GradientCorrelationRatio) else 2
    for arguments in ((a, b), (a, b, w), (a, flat, w), (flat, b, w), (a, b, nothing)):
        value = similarity(*arguments)
        expected = -value if isinstance(similarity, SSD) else scale * (1 - value)
        found = jnp.sum(similarity.residuals(*arguments) ** 2)
        # Where no patch counts, no residual does.
        if arguments[1] is flat or arguments[-1] is nothing:
            expected *= {PatchNCC: 0.0, MultiscaleNCC: 0.25}.get(type(similarity), 1)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@each_of_squares
def test_jacobian_of_residuals(x64, similarity):
    """Forward mode against differences, and J^T r against half the cost's gradient."""
    a, b, w = images()
    step = jnp.asarray(np.random.default_rng(1).normal(size=a.shape))
    residuals = lambda x: similarity.residuals(x, b, w)
    found, tangent = jax.jit(lambda x: jax.jvp(residuals, (x,), (step,)))(a)
    expected = (residuals(a + 1e-5 * step) - residuals(a - 1e-5 * step)) / 2e-5
    np.testing.assert_allclose(tangent, expected, atol=1e-6 * np.abs(expected).max())
    slope = -value_and_slopes(similarity, a, b, w)[1][0]
    if isinstance(similarity, SSD | GradientCorrelationRatio):
        slope = slope / 2
    np.testing.assert_allclose(
        jnp.sum(tangent * found), jnp.sum(slope * step), rtol=1e-9
    )


@each
def test_nothing_to_see_has_no_value_and_no_derivative(x64, similarity):
    a, b, w = images()
    flat, nothing = jnp.full_like(a, 3.7), jnp.zeros_like(a)
    for moving, fixed, weights in (
        (flat, b, w),
        (nothing, b, w),
        (flat, flat, w),
        (a, b, nothing),
        (a, flat, w),
    ):
        value, slopes = value_and_slopes(similarity, moving, fixed, weights)
        expected = 0.0
        if isinstance(similarity, SSD) and fixed is b and weights is w:
            expected = -np.cov(np.ravel(b), aweights=np.ravel(w), ddof=0)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(slopes[0], 0, atol=1e-12 if fixed is flat else 0)
        assert np.all(np.isfinite(slopes[1]) & np.isfinite(slopes[2]))


@each
def test_gain_and_offset_of_either_image_do_not_matter(x64, similarity):
    a, b, w = images()
    value = similarity(a, b, w)
    np.testing.assert_allclose(similarity(5 * a - 3, b, w), value, rtol=1e-9)
    scale = 4.0 if isinstance(similarity, SSD) else 1.0
    np.testing.assert_allclose(similarity(a, 2 * b + 9, w), scale * value, rtol=1e-9)
    np.testing.assert_allclose(similarity(a, b, 3 * w), value, rtol=1e-9)


@each
def test_an_image_is_most_like_itself(x64, similarity):
    a, b, w = images()
    best = similarity(b, b, w)
    assert similarity(a, b, w) < best
    if not isinstance(similarity, (SSD, MutualInformation)):
        np.testing.assert_allclose(best, 1, rtol=1e-6)
    if isinstance(similarity, LeastSquares):
        slope = value_and_slopes(similarity, b, b, w)[1][0]
        np.testing.assert_allclose(slope, 0, atol=1e-9)


@each
def test_what_weighs_nothing_does_not_matter(x64, similarity):
    a, b, _ = images()
    weights = jnp.zeros_like(a).at[2:12, 3:15].set(1.0)
    other = jnp.where(weights > 0, a, 50.0)
    np.testing.assert_allclose(
        similarity(other, b, weights), similarity(a, b, weights), rtol=1e-9
    )
    if not isinstance(similarity, (PatchNCC, MultiscaleNCC)):
        # Patches that lie across the border count for what is seen of them.
        inside = similarity(a[2:12, 3:15], b[2:12, 3:15])
        np.testing.assert_allclose(similarity(a, b, weights), inside, rtol=1e-9)


def test_orientation_withstands_a_change_of_contrast(x64):
    """Directions do not change with a rising map of intensities; lengths do."""
    a, _, _ = images()
    bent = jnp.exp(a / 2)
    weights = jnp.ones_like(a)
    assert GradientOrientation.create(0.5, floor=0.05)(a, bent, weights) > 0.97
    assert NCC()(a, bent, weights) < 0.9


@each
def test_single_precision(similarity):
    """Of 16 bits, with little contrast; 1e-7 grows to 1e-3 in the variances."""
    a, b, w = (x.astype(jnp.float32) for x in images())
    assert abs(similarity(jnp.full_like(a, 3.7), 3e4 + 0 * b, w)) < 1e-5
    a, b = 6e4 + 500 * a, 3e4 + 300 * b
    with jax.enable_x64(True):
        exact = similarity(*(jnp.asarray(np.asarray(x, float)) for x in (a, b, w)))
    np.testing.assert_allclose(similarity(a, b, w), exact, rtol=1e-3)


def test_batches():
    a, b, w = (x.astype(jnp.float32) for x in images())
    for similarity in (SIMILARITIES["patches"], SIMILARITIES["information"]):
        many = jax.jit(jax.vmap(similarity, (0, None, None)))(jnp.stack([a, b]), b, w)
        expected = [similarity(a, b, w), similarity(b, b, w)]
        np.testing.assert_allclose(many, expected, rtol=1e-5)


def test_floor_and_shares_have_derivatives(x64):
    a, b, w = images()

    def value(x):
        scales = MultiscaleNCC(x[:2], (NCC(), PatchNCC(x[0], 5, 2)))
        return scales(a, b, w) + GradientOrientation(x[1], 0.5)(a, b, w)

    x, step = jnp.array([0.1, 0.3]), jnp.array([0.6, -0.8])
    found = jax.jit(lambda x: jax.jvp(value, (x,), (step,))[1])(x)
    expected = (value(x + 1e-6 * step) - value(x - 1e-6 * step)) / 2e-6
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_shapes_that_do_not_agree():
    """Without the type checks of the tests, which come first."""
    unchecked = inspect.unwrap(checked_weights)
    a, b, w = images()
    with pytest.raises(ValueError, match="moving must have the shape"):
        unchecked(a[1:], b, None)
    with pytest.raises(ValueError, match="weights must have the shape"):
        unchecked(a, b, w[1:])


def test_errors():
    a, b, w = images()
    with pytest.raises(ValueError, match="weights must not be negative"):
        NCC().residuals(a, b, -w)
    with pytest.raises(ValueError, match="at least 20 rows and columns for a patch"):
        PatchNCC.create(20)(a, b)
    with pytest.raises(ValueError, match=r"for gradients of sigma 3.0"):
        GradientNCC.create(3.0)(a, b)
    with pytest.raises(ValueError, match="size must be at least 2 pixels, got 1"):
        PatchNCC.create(1)
    with pytest.raises(ValueError, match="stride must be at least 1 pixel, got 0"):
        PatchNCC.create(4, stride=0)
    with pytest.raises(ValueError, match="floor must not be negative"):
        PatchNCC.create(4, floor=-0.1)
    with pytest.raises(ValueError, match="sizes must hold at least one"):
        MultiscaleNCC.create(())
    with pytest.raises(ValueError, match=r"shares must have shape \(2,\)"):
        MultiscaleNCC.create(shares=(1.0,))
    with pytest.raises(ValueError, match="shares must not all be zero"):
        MultiscaleNCC.create(shares=(0.0, 0.0))
    with pytest.raises(ValueError, match="floor must be positive"):
        GradientOrientation.create(floor=0.0)
    with pytest.raises(ValueError, match="degree must be from 1 to 5, got 0"):
        GradientCorrelationRatio.create(0)
    with pytest.raises(ValueError, match="trend must be from 0 to 3, got 4"):
        GradientCorrelationRatio.create(trend=4)
    with pytest.raises(ValueError, match="sigma must be a number of pixels"):
        GradientNCC.create(-1.0)
    with pytest.raises(ValueError, match="bins must be at least 5, got 4"):
        MutualInformation.create(4)
