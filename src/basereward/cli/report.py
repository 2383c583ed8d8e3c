"""``basereward report``."""

from pathlib import Path

import typer


def report(runs: list[Path] = typer.Argument(metavar="RUN", help="Run folders.")) -> None:
    """Write report.html into run folders, from their result files alone.

    Example: `basereward report runs/demo`
    """
    from basereward.reporting.html import write_run_report

    for run in runs:
        print(write_run_report(run))
