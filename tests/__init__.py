"""The test suite; its type checker is named in pyproject.toml."""

from tests import typecheck as typecheck
