"""The surface of the command line: its options change on purpose only, and help is quick and shows examples.

After a change on purpose: ``python tests/cli/test_help.py > tests/cli/options.txt``.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from basereward.cli.main import app

GOLDEN = Path(__file__).with_name("options.txt")
HEAVY = ("torch", "transformers", "datasets", "pyarrow", "numpy", "tqdm")


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command under its path, groups left out."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


COMMANDS = dict(walk(typer.main.get_command(app)))


def describe() -> str:
    """Return one line for each argument and option: its names, whether it repeats, its default."""
    lines = []
    for path, command in sorted(COMMANDS.items()):
        lines.append(" ".join(path))
        for parameter in command.params:
            names = "/".join([*parameter.opts, *parameter.secondary_opts])
            default = "required" if parameter.required else f"= {parameter.default}"
            repeats = " ..." if parameter.multiple or parameter.nargs == -1 else ""
            lines.append(f"  {names}{repeats} {default}")
    return "\n".join(lines) + "\n"


def test_the_options_are_those_agreed_on() -> None:
    assert describe() == GOLDEN.read_text(), __doc__


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help_shows_an_example(path: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(app, [*path, "--help"])
    assert ended.exit_code == 0
    assert "Usage: " in ended.output
    if path:
        assert f"Example: basereward {' '.join(path)}" in " ".join(ended.output.split())


@pytest.mark.parametrize("group", [[], ["lab"]])
def test_a_call_without_a_command_shows_help(group: list[str]) -> None:
    assert "Usage: " in CliRunner().invoke(app, group).output


def test_help_imports_nothing_heavy() -> None:
    calls = [[*path, "--help"] for path in [(), *COMMANDS]]
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom basereward.cli.main import app\n"
        f"assert all(CliRunner().invoke(app, call).exit_code == 0 for call in {calls!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


if __name__ == "__main__":
    print(describe(), end="")
