"""``basereward forecast``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    JSON_OPTION,
    MODEL_HELP,
    console,
    default_out,
    print_json,
    print_next,
    progress,
)
from basereward.cli.reading import FORMAT_OPTION, MAP_OPTION, read_options

ROLLOUTS_HELP = "File of prompts with several responses each, and gold scores or right answers."
GOLD_HELP = "Column of the truth: a score for each response, or the right answer; scores or answer by default."
MATCHER_HELP = "How responses are compared with right answers: robust goes by their kind, strict is equality."
LARGEST_HELP = "Largest n; prompts with fewer responses are left out. By default the fewest that a prompt has."


def forecast(
    model: str = typer.Argument(metavar="MODEL", help=MODEL_HELP),
    rollouts: Path = typer.Argument(metavar="ROLLOUTS", help=ROLLOUTS_HELP),
    out: Path | None = typer.Option(None, help="Result folder; runs/forecast-MODEL by default."),
    gold: str | None = typer.Option(None, metavar="COLUMN", help=GOLD_HELP),
    matcher: str = typer.Option("robust", help=MATCHER_HELP),
    largest: int | None = typer.Option(None, "--largest-n", min=2, help=LARGEST_HELP),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    overwrite: bool = typer.Option(False, "--overwrite", help="Delete the forecast that the result folder holds."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Foretell what a reward makes of a policy: best of n under the reward, beside what that choice is truly worth.

    An interrupted call goes on where it stopped.

    Example: `basereward forecast runs/demo/model rollouts.jsonl --gold answer`
    """
    from basereward.data.io import count_records
    from basereward.rl.forecast_file import forecast_file
    from basereward.scoring.spec import open_scorer

    if matcher not in ("robust", "strict"):
        raise typer.BadParameter(f"--matcher is robust or strict; found {matcher!r}.")
    rows = count_records(rollouts)
    place = out or default_out("forecast", model)
    scorer = open_scorer(model, dtype, device, backend)
    settings = {"dtype": dtype, "backend": backend}
    kind: Any = matcher
    with progress("forecast", rows) as bar:
        found = forecast_file(
            scorer,
            rollouts,
            place,
            gold,
            kind,
            read_options(format, map, None, None, None),
            largest,
            settings,
            overwrite,
            bar.move,
        )
    files = _write_page(place)
    if as_json:
        print_json({"out": str(place), "files": files, **found.model_dump(mode="json")})
        return
    _print(found)
    print("\n".join([*files, str(place / "forecast.json")]))
    print_next("rl", "train", "paper-hybrid", f"reward.model={model}")


def _write_page(place: Path) -> list[str]:
    """Write the page of the folder; without matplotlib there is none."""
    from basereward.cli.output import say
    from basereward.errors import MissingExtraError
    from basereward.reporting.reports import write_report

    try:
        return [str(path) for path in write_report(place)]
    except MissingExtraError as error:
        say(f"note: no page is written. {error}")
        return []


def _print(found: Any) -> None:
    from basereward.reporting.forecast_parts import curve_table, fact_table, forecast_lines
    from basereward.reporting.tables import to_rich

    screen = console()
    screen.print(to_rich(curve_table(found), title=f"Best of n by {found.model}"))
    screen.print(to_rich(fact_table(found), title="Within prompts"))
    print("\n".join(forecast_lines(found)))
