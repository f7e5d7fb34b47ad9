"""From the arguments to a command, and from an exception to a plain line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

from synthex_jax._version import __version__
from synthex_jax.cli.check import Check
from synthex_jax.cli.demo import Demo
from synthex_jax.cli.export import Export
from synthex_jax.cli.register import Register
from synthex_jax.cli.render import Render
from synthex_jax.cli.synthesize import Synthesize

# As for arguments that cannot be parsed.
_BAD_INPUT = 2
# 128 plus the number of the interrupt's signal.
_INTERRUPTED = 130

_COMMANDS = {
    "demo": Demo,
    "render": Render,
    "register": Register,
    "synthesize": Synthesize,
    "check": Check,
    "export": Export,
}
_DESCRIPTION = (
    f"Radiographs from CT, with gradients (synthex_jax {__version__}). "
    "Ask 'synthex COMMAND --help' for a command's options."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"synthex {__version__}")
        return 0
    command = tyro.extras.subcommand_cli_from_dict(
        _COMMANDS,
        prog="synthex",
        description=_DESCRIPTION,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        return command.run() or 0
    except KeyboardInterrupt:
        print("synthex: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if command.debug:
            raise
        print(f"synthex: error: {error}", file=sys.stderr)
        return _BAD_INPUT
