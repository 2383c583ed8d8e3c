"""``basereward soup`` and ``basereward graft``: one model from many."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.following import print_use
from basereward.cli.output import DEVICE_HELP, JSON_OPTION, console, default_out, print_json, say

DATA_HELP = "File of held-out pairs, in any format; the average is then measured on them."
GREEDY_HELP = "Take a model only if the soup is not worse with it on --data."
TEXT_WEIGHT_HELP = "How much of the text model: 0.5, with --base 1."


def soup(
    models: list[str] = typer.Argument(metavar="MODEL...", help="Two or more reward models of one start."),
    out: Path | None = typer.Option(None, help="Folder for the new model; runs/soup-MODEL of the first by default."),
    data: str | None = typer.Option(None, help=DATA_HELP),
    greedy: bool = typer.Option(False, "--greedy", help=GREEDY_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Average the weights of reward models into one, and refuse where their weights are not connected.

    Example: `basereward soup runs/a/model runs/b/model --out runs/soup`

    Example: `basereward soup runs/a/model runs/b/model runs/c/model --out runs/soup --greedy --data held-out.jsonl`
    """
    from basereward.evaluation.pairs import read_pairs
    from basereward.evaluation.soups import cook_soup

    if len(models) < 2:
        raise typer.BadParameter(f"give two or more models; found {models[0]} alone.")
    folder = out or default_out("soup", models[0])
    _tell(cook_soup(models, folder, read_pairs(data) if data else None, greedy, device), folder, as_json)
    if not as_json:
        print_use(folder, models[0], data)


def graft(
    text: str = typer.Argument(metavar="TEXT_RM", help="Reward model that reads text."),
    vision: str = typer.Argument(metavar="VLM", help="Vision-language model with the same language model."),
    out: Path | None = typer.Option(None, help="Folder for the new reward model; runs/graft-TEXT_RM by default."),
    text_weight: float | None = typer.Option(None, min=0.0, help=TEXT_WEIGHT_HELP),
    base: str | None = typer.Option(None, help="Language model that TEXT_RM was trained from: add what it learnt."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Merge a text reward model into a vision-language model by module names, with the head of the text model.

    Example: `basereward graft runs/text/model Qwen/Qwen2.5-VL-7B-Instruct --base Qwen/Qwen2.5-7B-Instruct`
    """
    from basereward.models.merging.graft import graft as merge

    folder = out or default_out("graft", text)
    _tell(merge(text, vision, folder, text_weight, base), folder, as_json)
    if not as_json:
        print_use(folder, text)


def _tell(report: Any, out: Path, as_json: bool) -> None:
    from rich.table import Table

    for note in report.notes:
        say(f"note: {note}")
    if as_json:
        print_json({"out": str(out), **report.model_dump(mode="json")})
        return
    table = Table("module", "from", "parameters", "distance", title=f"{report.kind}: {report.formula}")
    for line in report.lines():
        table.add_row(*line)
    console().print(table)
    for own in report.measured:
        kept = "" if own.kept else "  left out"
        print(f"{own.name}  {own.accuracy:.1%} [{own.low:.1%}, {own.high:.1%}]{kept}")
    print(f"model    {out}")
