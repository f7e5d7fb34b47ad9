"""The command line: ``synthex``, or ``python -m synthex_jax.cli``."""

from synthex_jax.cli.main import main as main
