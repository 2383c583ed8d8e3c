"""``basereward route``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    JSON_OPTION,
    console,
    default_out,
    print_json,
    print_next,
    progress,
    say,
)
from basereward.cli.reading import FORMAT_OPTION, MAP_OPTION, read_options

SPEC_HELP = "YAML file with members, those of an ensemble or a router."
PAIRS_HELP = "File of pairs in any format, folder or hub id; no member should be trained on them."
OUT_HELP = "Folder for router.json, router.yaml, which uses it, and a page; runs/route-SPEC by default."
BUDGET_HELP = "Most mean cost of a prompt, in units of asking the cheapest member of every prompt."
COST_HELP = "Cost of a prompt, NAME=NUMBER for each member; the bytes of its weights by default."
STATE_HELP = "See prompts by the state of this member, instead of by words and images; that costs one pass of it."
FORCE_HELP = "Write the router even if it is not shown to be better than one member."


def route(
    spec: str = typer.Argument(metavar="SPEC", help=SPEC_HELP),
    pairs: str = typer.Argument(metavar="PAIRS", help=PAIRS_HELP),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    budget: float = typer.Option(1.3, min=1.0, help=BUDGET_HELP),
    cost: list[str] = typer.Option([], "--cost", metavar="NAME=NUMBER", help=COST_HELP),
    state: str | None = typer.Option(None, metavar="NAME", help=STATE_HELP),
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs."),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    seed: int = typer.Option(0, help="Of the folds."),
    force: bool = typer.Option(False, "--force", help=FORCE_HELP),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the router that the folder holds."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a router: which member ranks the responses to which prompt right, within a budget.

    Scores are cached, so that an interrupted call goes on.

    Example: `basereward route members.yaml pairs.jsonl --out runs/router --budget 1.3 --cost small=1 --cost large=3`
    """
    from basereward.data.pairs import load_pairs
    from basereward.data.work import open_work
    from basereward.scoring.compose.members import Members
    from basereward.scoring.compose.routing.folder import SPEC, check_folder, read_experts, write_folder
    from basereward.scoring.compose.routing.run import RouteSettings
    from basereward.scoring.compose.routing.run import route as train
    from basereward.scoring.model_spec import ModelSpec
    from basereward.scoring.spec import open_spec

    settings = RouteSettings(budget, _costs(cost), state, force, seed)
    place = out or default_out("route", Path(spec).with_suffix(""))
    check_folder(place, overwrite)
    given = {"dtype": dtype, "device": device, "backend": None if backend == "auto" else backend}
    experts = read_experts(ModelSpec(model=spec, **{key: value for key, value in given.items() if value}))  # type: ignore[arg-type]
    loaded = load_pairs([pairs], limit=limit, options=read_options(format, map, None, None, None))
    members = Members(experts.members, open_spec, experts.memory_gib)
    with progress("scoring", len(loaded.pairs) * len(experts.members)) as bar:
        router = train(members, loaded.pairs, settings, bar.move)
    # Files of two calls that end together would not be of one router; what the other wrote meanwhile stays.
    with open_work(place, place):
        check_folder(place, overwrite)
        files = [*write_folder(place, router, experts), *_write_page(place, router)]
    if as_json:
        print_json({"out": str(place), "files": [str(file) for file in files], **router.record.model_dump(mode="json")})
        return
    _print(router)
    print("\n".join(str(file) for file in files))
    print_next("serve", place / SPEC)


def _costs(given: list[str]) -> dict[str, float] | None:
    costs = {}
    for item in given:
        name, _, number = item.rpartition("=")
        try:
            costs[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise typer.BadParameter(f"--cost is NAME=NUMBER, such as small=1; found {item!r}.")
    return costs or None


def _write_page(out: Path, router: Any) -> list[Path]:
    """Write the page of the router; without matplotlib there is none."""
    from basereward.errors import MissingExtraError
    from basereward.reporting.reports import REPORT, write_document
    from basereward.reporting.routing_page import build_routing_report

    try:
        return write_document(build_routing_report(router, out.resolve().name), out / REPORT, ("html",))
    except MissingExtraError as error:
        say(f"note: no page is written. {error}")
        return []


def _print(router: Any) -> None:
    from basereward.reporting.routing_page import choice_table, expert_table, routing_lines
    from basereward.reporting.tables import to_rich

    screen = console()
    screen.print(to_rich(choice_table(router.record), title="Pairs held out"))
    screen.print(to_rich(expert_table(router.record), title="Members"))
    print("\n".join(routing_lines(router)))
