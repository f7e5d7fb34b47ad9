"""Elementary functions whose values and derivatives can be relied on everywhere."""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float


def product(
    left: jax.typing.ArrayLike, right: jax.typing.ArrayLike
) -> Float[Array, "..."]:
    """The matrix product ``left @ right``, in full precision on every device.

    Accelerators round the factors of a plain float32 product to 11 bits or 8
    (TensorFloat-32, bfloat16): half a millimeter at a meter. Geometry cannot have that.
    """
    return jnp.matmul(left, right, precision=Precision.HIGHEST)


def safe_sqrt(values: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The square root of what is not negative, with derivative 0 at zero.

    The derivative of ``sqrt`` at 0 is infinite and turns into NaN in reverse mode;
    both branches of the ``where`` are guarded, so neither value nor slope is.
    """
    is_zero = values == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, values)))


def safe_norm(vectors: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Euclidean length along the last axis, with derivative 0 at the zero vector."""
    return safe_sqrt(jnp.sum(vectors**2, axis=-1))


def away_from_zero(
    values: Float[Array, "*batch"], smallest: float
) -> Float[Array, "*batch"]:
    """``values`` with magnitudes below ``smallest`` raised to it, signs kept.

    A divisor that went through it gives finite quotients and finite derivatives;
    zero counts as positive.
    """
    floor = jnp.where(values < 0, -smallest, smallest)
    return jnp.where(jnp.abs(values) < smallest, floor, values)


# jnp.maximum, minimum and clip find the branch of their derivative by asking which
# argument equals the result. Compiled, XLA may compute an argument once more for the
# derivative, fused and rounded differently; nothing is equal then, and the derivative
# is lost: 15 % of a gradient was, on a CPU. Here the arguments are compared.


def at_least(
    values: Float[Array, "..."], low: jax.typing.ArrayLike
) -> Float[Array, "..."]:
    """The values, raised to ``low``; the derivative is that of the larger."""
    return jnp.where(values > low, values, low)


def at_most(
    values: Float[Array, "..."], high: jax.typing.ArrayLike
) -> Float[Array, "..."]:
    """The values, lowered to ``high``; the derivative is that of the smaller."""
    return jnp.where(values < high, values, high)


def between(
    values: Float[Array, "..."],
    low: jax.typing.ArrayLike,
    high: jax.typing.ArrayLike,
) -> Float[Array, "..."]:
    """The values within limits; derivative 0 with respect to values beyond."""
    return at_most(at_least(values, low), high)
