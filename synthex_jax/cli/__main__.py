"""``python -m synthex_jax.cli``."""

import sys

from synthex_jax.cli.main import main

sys.exit(main())
