"""Status: how a registration ended."""

from enum import IntEnum


class Status(IntEnum):
    """How a registration ended; compares equal to the integers in results.

    Attributes:
        CONVERGED: an optimum, as far as steps of the tolerance can tell.
        LIMIT: the iterations ran out before that.
        DIVERGED: the pose is less similar than the start was, at the last level.
        NO_OVERLAP: the projection of the body misses the image, or its weights.
    """

    CONVERGED = 0
    LIMIT = 1
    DIVERGED = 2
    NO_OVERLAP = 3
