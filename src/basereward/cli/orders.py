"""``basereward orders``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.evaluate import EVAL_MODEL_HELP, JUDGE_OPTION_HELP, JUDGE_PROMPT_HELP, open_subject
from basereward.cli.output import BACKEND_HELP, DEVICE_HELP, DTYPE_HELP, JSON_OPTION, console, print_json, progress
from basereward.cli.reading import A_OPTION, B_OPTION, CHOICE_OPTION, FORMAT_OPTION, MAP_OPTION, read_options

FILE_HELP = "File of pairs in any format, or of prompts with responses."


def orders(
    model: str = typer.Argument(metavar="MODEL", help=EVAL_MODEL_HELP),
    source: Path = typer.Argument(metavar="FILE", help=FILE_HELP),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    count: int = typer.Option(4, "--orders", min=1, help="Orders beside the given one; the reverse is the first."),
    limit: int = typer.Option(64, min=1, help="Use only the first prompts with two or more different responses."),
    seed: int = typer.Option(0, help="Seed of the orders."),
    must_pass: bool = typer.Option(False, "--must-pass", help="End with status 1 if the order has an effect."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    judge_prompt: str | None = typer.Option(None, help=JUDGE_PROMPT_HELP),
    judge_tokens: int | None = typer.Option(None, min=1, help="Longest answer of a judge, thoughts included; 2048."),
    judge_option: str | None = typer.Option(None, help=JUDGE_OPTION_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Certify that the order of responses changes nothing: the largest change of a score, and of the best response.

    Example: `basereward orders runs/demo/model rankings.jsonl`
    """
    from basereward.evaluation.orders import certify_orders, read_groups

    read = read_groups(source, limit, read_options(format, map, choice, a, b))
    judge = {"--judge-prompt": judge_prompt, "--judge-tokens": judge_tokens, "--judge-option": judge_option}
    # A certificate of scores from a cache would say nothing.
    asked = open_subject(model, judge, None, dtype, device, backend, cache=False)
    with progress("orders", len(read.groups)) as bar:
        found = certify_orders(asked, read, count, seed, bar.move)
    if as_json:
        print_json({**found.model_dump(mode="json"), "relative": found.relative, "passes": found.passes})
    else:
        _print(found)
    if not found.groups or (must_pass and not found.passes):
        raise typer.Exit(1)


def _print(found: Any) -> None:
    from basereward.reporting.tables import Table, percent, to_rich

    rows = [
        (str(own.responses), str(own.groups), _number(own.largest), percent(own.best / own.groups))
        for own in found.sizes
    ]
    table = Table(("responses", "groups", "largest change of a score", "another best response"), rows)
    console().print(to_rich(table, title=f"Orders of responses, {found.scorer}"))
    print(
        f"all      {found.groups} groups, largest change {_number(found.change.largest)}, "
        f"{_number(found.relative)} standard deviations; another best response in {found.change.best}"
    )
    print(f"again    in the same order {_number(found.again.largest)}, another best response in {found.again.best}")
    for name, counts in (("failed", found.failures), ("left out", found.left_out)):
        if counts:
            print(f"{name:8} {', '.join(f'{count} {reason}' for reason, count in counts.items())}")
    print(f"result   {'the order is without effect' if found.passes else 'the order has an effect'}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
