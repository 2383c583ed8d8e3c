"""What commands print: tables for people, or one JSON object on stdout and nothing else there."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import typer

BACKEND_HELP = "auto, plain, split, varlen or expand; rewards are the same."
DTYPE_HELP = "float32 or bfloat16; as stored by default."
DEVICE_HELP = "cpu, cuda, cuda:1, ...; CUDA by default if there is one."
MODEL_HELP = "Checkpoint folder, hub id, http://HOST:PORT, YAML file, or baseline:longer|shorter|first|random."
ROOT_HELP = "Folder that holds what is given by name, each in a folder of its name"
# Copies of what the hub has, and what was made of it here.
HUB_ROOT_OPTION: Any = typer.Option(None, "--data-root", help=f"{ROOT_HELP}; the hub by default.")
ROOT_OPTION: Any = typer.Option(Path("data"), "--data-root", help=f"{ROOT_HELP}.")
JSON_OPTION = typer.Option(False, "--json", help="Print one JSON object on stdout; progress goes to stderr.")


# Where JSON goes while stdout is kept for it.
_KEPT: ContextVar[TextIO | None] = ContextVar("stdout", default=None)


@contextmanager
def stdout_for_json(is_kept: bool) -> Iterator[None]:
    """Send to stderr what libraries print, loggers of a training among them: stdout is for one JSON object alone."""
    if not is_kept:
        yield
        return
    token = _KEPT.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _KEPT.reset(token)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False), file=_KEPT.get())


def print_next(*words: object) -> None:
    """Print the command that comes next, as a shell takes it."""
    print(f"next     {shlex.join(['basereward', *map(str, words)])}", flush=True)


def name_of(spec: object) -> str:
    """Return what names a model or a set as one part of a path."""
    text = str(spec)
    for sign in "/:#":
        text = text.strip("/").replace(sign, "-")
    return text


def default_out(command: str, spec: object) -> Path:
    """Return where a command writes what it makes of a model or a set, if ``--out`` is not given."""
    return Path("runs") / f"{command}-{name_of(spec)}"


def console() -> Any:
    """Return where tables are printed; without a terminal rich would take 80 columns and break them."""
    from rich.console import Console

    found = Console()
    if not found.is_terminal:
        found.width = 160
    return found


def say(text: str) -> None:
    """Tell the user what happens, on stderr."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """A progress bar on stderr whose total may come late."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def move(self, done: int, total: int | None = None) -> None:
        """Show that ``done`` of ``total`` are done."""
        if total is not None:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

    def show(self, task: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` of a task are done, under its name."""
        self._bar.set_description(task, refresh=False)
        self.move(done, total)


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Bar]:
    """Show a progress bar on stderr."""
    from tqdm.auto import tqdm

    # Later than most errors, which need no empty bar above them.
    with tqdm(total=total, desc=title, file=sys.stderr, delay=0.5) as bar:
        yield Bar(bar)
