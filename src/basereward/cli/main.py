"""The ``basereward`` command: its list of commands and how errors leave it."""

import logging
import os
import signal
import sys
from types import FrameType

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


def _stop(number: int, frame: FrameType | None) -> None:
    # Raised where the program is, so that locks and temporary files go as they do after Ctrl-C.
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line.

    An error of ours or of the file system ends with its message and status 1, Ctrl-C with 130, SIGTERM with 143.
    """
    # Before torch is imported: spinning threads make two processes on the same cores many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Loader processes are forked after the tokenizer was used.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    # Under torchrun one process tells, not all of them.
    logging.getLogger("basereward").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    default = signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except (BaseRewardError, OSError) as error:
        status = getattr(error, "status", 1)
        for line in str(error).splitlines():
            print(f"{'error' if status == 1 else 'stopped'}: {line}", file=sys.stderr)
        raise SystemExit(status) from None
    finally:
        signal.signal(signal.SIGTERM, default)


if __name__ == "__main__":
    main()
