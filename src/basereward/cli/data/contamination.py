"""``basereward data contamination``."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from basereward.cli.output import HUB_ROOT_OPTION, JSON_OPTION, console, default_out, print_json, progress

if TYPE_CHECKING:
    from basereward.data.overlap import OverlapSummary
    from basereward.reporting.tables import Table


def check_contamination(
    path: str = typer.Argument(metavar="INPUT", help="File of pairs or of prompts with answers, folder or hub id."),
    bench: list[str] = typer.Option(
        ..., "--bench", help="Benchmark by name, file.py:NAME, or any file of pairs or prompts; may be repeated."
    ),
    answer: str = typer.Option("answer", metavar="COLUMN", help="Column of the right answer, in files of prompts."),
    data_root: Path | None = HUB_ROOT_OPTION,
    out: Path | None = typer.Option(
        None,
        help="Drop-list, a JSONL file; the summary goes beside it. runs/contamination-INPUT.jsonl by default.",
    ),
    drop: list[str] | None = typer.Option(
        None, "--drop", help="Kind of match on the drop-list; may be repeated. All that contaminate by default."
    ),
    workers: int = typer.Option(2, min=1, help="Processes that read rows and hash texts and images."),
    as_json: bool = JSON_OPTION,
) -> None:
    """List the pairs that share content with items of benchmarks, and count them by kind; INPUT stays as it is.

    Prompts for reinforcement learning are compared with their right answers as responses.

    Example: `basereward data contamination pairs.parquet --bench vl_rewardbench --bench my/test.jsonl`

    Example: `basereward data contamination data/vstar --bench vstar --bench mathvista`
    """
    from basereward.curation.contamination.ledger import check
    from basereward.data.overlap import CONTAMINATING, EXPLANATIONS, KINDS

    for name in drop or ():
        if name not in KINDS:
            raise typer.BadParameter(f"--drop is {name!r}; expected one of {', '.join(KINDS)}.")
    place = out or Path(f"{default_out('contamination', Path(path).with_suffix(''))}.jsonl")
    if place.suffix != ".jsonl":
        raise typer.BadParameter(f"--out is a file that ends in .jsonl; found {place}.")
    with progress("contamination") as bar:
        kinds = drop or CONTAMINATING
        done = check(path, bench, place, data_root, kinds, workers, bar.move, answer)  # type: ignore[arg-type]
    if as_json:
        files = {"drop_list": str(done.drop_list), "summary": str(done.summary_file)}
        print_json({**files, "drops": done.drops, **done.summary.to_dict()})
        return
    from basereward.reporting.tables import to_rich

    console().print(to_rich(_table(done.summary), title=f"{path}: {done.summary.pairs:,} pairs"))
    found = {kind for own in done.summary.benchmarks.values() for kind in own.found}
    for kind in KINDS:
        if kind in found:
            print(f"{kind}: {EXPLANATIONS[kind]}")
    for name, own in done.summary.benchmarks.items():
        if own.unreadable:
            print(f"{name}: images of {own.unreadable} items cannot be read; only texts and ids could match them")
    print(f"{done.drops:,} pairs on the drop-list {done.drop_list}, summary {done.summary_file}")


def _table(summary: "OverlapSummary") -> "Table":
    from basereward.data.overlap import KINDS
    from basereward.reporting.tables import Table, count

    rows: list[tuple[str, ...]] = []
    for name, own in summary.benchmarks.items():
        for kind in KINDS:
            if kind in own.found:
                rows.append((name, count(own.rows), kind, count(own.found_rows.get(kind, 0)), count(own.found[kind])))
        if not own.found:
            rows.append((name, count(own.rows), "none", count(0), count(0)))
    return Table(("benchmark", "its rows", "match", "rows matched", "pairs"), rows)
