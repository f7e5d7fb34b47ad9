"""Functions along a principal axis, whether it is known before the call or not.

JAX compiles a program for one layout of the loop, so that the principal axis is static
where the values are known. Where they are not (a pose under ``jit``), each axis gets a
branch, and batches get rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from synthex_jax.checks import is_concrete
from synthex_jax.typing import Voxels

if TYPE_CHECKING:
    from synthex_jax.projectors.slices import Lines


def other_axes(axis: int) -> tuple[int, int]:
    """The two axes within a slice across ``axis``, in order."""
    b, c = (other for other in range(3) if other != axis)
    return b, c


def along_axis(function: Callable, data: Voxels, lines: Lines) -> Any:
    """``function(axis, data, lines)`` for a static or a traced axis."""
    if lines.static_axis is not None:
        return function(lines.static_axis, data, lines)
    return _grouped(function)(lines.traced_axis, data, lines)


def linearly_along_axis(function: Callable, data: Voxels, lines: Lines) -> Any:
    """The same for a function that is linear in the data and has to be transposed.

    A switch under ``vmap`` has no transpose: for a traced axis the function runs along
    all three, at three times the cost, with rays of no length along the wrong two.
    """
    if lines.static_axis is not None:
        return function(lines.static_axis, data, lines)
    length = lines.high - lines.low
    return sum(
        function(a, data, replace(lines, high=lines.low + kept * length))
        for a in range(3)
        for kept in [(lines.traced_axis == a).astype(length.dtype)]
    )


def _switch(function: Callable, axis: Array, data: Voxels, lines: Lines) -> Any:
    return lax.switch(axis, [partial(function, a) for a in range(3)], data, lines)


def _grouped(function: Callable) -> Callable:
    """The switch, with a rule for batches of mixed axes.

    Under a plain ``vmap`` a switch computes all its branches for all examples. Here a
    batch is split by axis if the axes are known when ``vmap`` runs (outside ``jit``),
    and goes through one by one, each along its own axis only, if they are not.
    """
    single = jax.custom_batching.custom_vmap(partial(_switch, function))

    @single.def_vmap
    def rule(size: int, batched: Any, *args: Any) -> tuple[Any, Any]:
        batched = tuple(batched)
        if not batched[0]:
            in_axes = jax.tree.map(lambda b: 0 if b else None, batched)
            out = jax.vmap(single, in_axes, axis_size=size)(*args)
        elif is_concrete(args[0]):
            out = _by_group(function, batched, *args)
        else:
            out = lax.map(
                lambda i: single(*_examples(args, batched, i)), jnp.arange(size)
            )
        return out, jax.tree.map(lambda _: True, out)

    return single


def _examples(args: tuple, batched: tuple, index: object) -> tuple:
    """The arguments of some examples: batched leaves indexed, the others whole."""
    return jax.tree.map(lambda leaf, b: leaf[index] if b else leaf, args, batched)


def _by_group(function: Callable, batched: tuple, axes: Array, *args: Any) -> Any:
    in_axes = jax.tree.map(lambda b: 0 if b else None, batched[1:])
    groups = [np.flatnonzero(np.asarray(axes) == a) for a in range(3)]
    parts = [
        jax.vmap(partial(function, a), in_axes)(*_examples(args, batched[1:], members))
        for a, members in enumerate(groups)
        if members.size
    ]
    back = np.argsort(np.concatenate(groups))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[back], *parts)
