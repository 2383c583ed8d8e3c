"""The ``basereward`` command: its list of commands and how errors leave it."""

import errno
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

import typer

from basereward import __version__
from basereward.cli.audit import audit
from basereward.cli.calibrate import calibrate
from basereward.cli.card import card
from basereward.cli.data.group import data
from basereward.cli.demo import demo
from basereward.cli.evaluate import evaluate
from basereward.cli.export import export
from basereward.cli.forecast import forecast
from basereward.cli.importing import import_model
from basereward.cli.init import init
from basereward.cli.lab import lab
from basereward.cli.merge import merge
from basereward.cli.orders import orders
from basereward.cli.output import stdout_for_json
from basereward.cli.probe import probe
from basereward.cli.report import report
from basereward.cli.rl import rl
from basereward.cli.route import route
from basereward.cli.score import score
from basereward.cli.serve import serve
from basereward.cli.soup import graft, soup
from basereward.cli.speed import speed
from basereward.cli.sweep import sweep
from basereward.cli.train import train
from basereward.errors import BaseRewardError

app = typer.Typer(
    help="Reward models for multimodal LLMs: train them, know how good they are, use them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(init)
app.command()(train)
app.command()(score)
app.command()(serve)
app.command("eval")(evaluate)
app.command()(route)
app.command()(audit)
app.command()(orders)
app.command()(forecast)
app.command()(sweep)
app.command()(probe)
app.command()(calibrate)
app.command("import")(import_model)
app.command()(merge)
app.command()(soup)
app.command()(graft)
app.command()(export)
app.command()(card)
app.command()(report)
app.add_typer(data, name="data")
app.add_typer(lab, name="lab")
app.add_typer(rl, name="rl")
app.add_typer(speed, name="speed")


def _print_version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


# Of BadParameter, UsageError and ClickException the last: typer exports the first alone.
_CallError: Any = typer.BadParameter.__mro__[2]


def _explain_call(error: Any) -> int:
    """Say what is wrong with a call, in the style of all errors, and return the status."""
    context = getattr(error, "ctx", None)
    if context is None or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    # Where no parameter is named, all that is before the message is that it is wrong.
    is_ours = isinstance(error, typer.BadParameter) and error.param is None and error.param_hint is None
    text = " ".join((error.message if is_ours else error.format_message()).split())
    names = []
    while context.parent is not None:
        names.append(context.info_name)
        context = context.parent
    help_call = " ".join(["basereward", *reversed(names), "--help"])
    print(f"error: {text.removesuffix('.')}. See {help_call}.", file=sys.stderr)
    return int(error.exit_code)


def _explain_place(error: OSError) -> str:
    """Return what the file system refuses, and what to do."""
    if error.filename is None:
        return str(error)
    advice = "Choose another place, or change what stands there or who may use it."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{error.filename} needs a folder where a file stands ({error.strerror}). {advice}"
    return f"{error.filename} cannot be used: {error.strerror}. {advice}"


def _stop(number: int, frame: FrameType | None) -> None:
    # Raised where the program is, so that locks and temporary files go as they do after Ctrl-C.
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line.

    An error of ours or of the file system ends with its message and status 1, a call that cannot be understood with 2,
    Ctrl-C with 130, SIGTERM with 143.
    """
    # Before torch is imported: spinning threads make two processes on the same cores many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Loader processes are forked after the tokenizer was used.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    # Whenever peft is imported it warns of a faster kernel that one may install.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # Under torchrun one process tells, not all of them.
    logging.getLogger("basereward").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    default = signal.signal(signal.SIGTERM, _stop)
    asked = set(sys.argv[1:])
    try:
        with stdout_for_json("--json" in asked and not asked & {"--help", "-h"}):
            status = app(standalone_mode=False)
        if status:
            raise SystemExit(status)
    except typer.Abort:
        raise SystemExit(128 + signal.SIGINT) from None
    except _CallError as error:
        raise SystemExit(_explain_call(error)) from None
    except (BaseRewardError, OSError) as error:
        status = getattr(error, "status", 1)
        text = str(error) if isinstance(error, BaseRewardError) else _explain_place(error)
        for line in text.splitlines():
            print(f"{'error' if status == 1 else 'stopped'}: {line}", file=sys.stderr)
        raise SystemExit(status) from None
    finally:
        signal.signal(signal.SIGTERM, default)


if __name__ == "__main__":
    main()
