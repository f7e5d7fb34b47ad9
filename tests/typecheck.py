"""The run-time type checker of the test suite: beartype, but not for constructors.

JAX rebuilds pytrees with whatever leaves it needs (axes, booleans, symbolic zeros), so
that the fields of a noun are not always the arrays that its annotations promise.
"""

from collections.abc import Callable

from beartype import beartype


def check(function: Callable) -> Callable:
    return function if function.__name__ == "__init__" else beartype(function)
