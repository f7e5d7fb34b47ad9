import subprocess
import sys

import synthex_jax as sx


def test_version(run):
    result = run("--version")
    assert result.code == 0
    assert result.out == f"synthex {sx.__version__}\n"


def test_help_names_the_commands(run):
    result = run("--help")
    assert result.code == 0
    assert "render" in result.out
    assert "demo" in result.out


def test_no_command_is_an_error(run):
    result = run()
    assert result.code == 2
    assert "render" in result.out + result.error


def test_help_does_not_wait_for_jax():
    code = "import sys, synthex_jax.cli.main; print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
