"""Checks of arguments: each names the argument, the rule, the value and the remedy.

They run where values are concrete, in the named constructors; traced values, which
have none, pass.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from synthex_jax.typing import ArrayLike, Scalar


def require(condition: bool | np.bool_, message: str) -> None:
    """Raise ``ValueError(message)`` unless the condition holds."""
    if not condition:
        raise ValueError(message)


def is_concrete(*trees: object) -> bool:
    """Whether no leaf is a tracer, so that values can be checked or steer Python."""
    leaves = jax.tree_util.tree_leaves(trees)
    return not any(isinstance(leaf, Tracer) for leaf in leaves)


def require_shape(name: str, value: ArrayLike, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; shapes are known under tracing too."""
    got = np.shape(value)
    require(got == shape, f"{name} must have shape {shape}, got {got}")


def require_finite(name: str, value: ArrayLike) -> None:
    """Refuse a concrete array that holds NaN or infinity, and say how many."""
    if not is_concrete(value):
        return
    finite = np.isfinite(np.asarray(value))
    require(
        bool(finite.all()),
        f"{name} must be finite, {np.size(finite) - int(finite.sum())} of its "
        f"{np.size(finite)} values are NaN or infinite; replace them first "
        "(np.nan_to_num)",
    )


def require_positive(name: str, value: ArrayLike, unit: str = "") -> None:
    """Refuse a concrete value that is not finite and above zero."""
    if not is_concrete(value):
        return
    concrete = np.asarray(value)
    require(
        bool(np.all(np.isfinite(concrete) & (concrete > 0))),
        f"{name} must be positive{' ' + unit if unit else ''}, got {concrete}",
    )


def positive_scalar(name: str, value: ArrayLike, unit: str = "") -> Scalar:
    """A number as an array, refused unless it is one and above zero."""
    number = jnp.asarray(value, float)
    require_shape(name, number, ())
    require_positive(name, number, unit)
    return number


def require_not_negative(name: str, value: ArrayLike, unit: str = "") -> None:
    """Refuse a concrete value that is not finite or below zero."""
    if not is_concrete(value):
        return
    concrete = np.asarray(value)
    require(
        bool(np.all(np.isfinite(concrete) & (concrete >= 0))),
        f"{name} must not be negative{' ' + unit if unit else ''}, got {concrete}",
    )
