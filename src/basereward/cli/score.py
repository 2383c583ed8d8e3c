"""``basereward score``."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    JSON_OPTION,
    MODEL_HELP,
    default_out,
    name_of,
    print_json,
    print_next,
    progress,
)
from basereward.cli.reading import (
    A_OPTION,
    B_OPTION,
    CHOICE_OPTION,
    FORMAT_OPTION,
    MAP_OPTION,
    read_options,
    reading_words,
)
from basereward.errors import DataError, ScoringError

if TYPE_CHECKING:
    from basereward.data.arrangement import ReadOptions
    from basereward.data.reader import Recognised
    from basereward.scoring.model_spec import ModelSpec


IN_HELP = "File of pairs in any format, or of prompts with responses; folder or hub id."
OUT_HELP = (
    "The same rows with scores, .jsonl or .parquet; or a folder (no suffix) of scores in shards, which a folder or hub "
    "id needs. runs/score-MODEL/IN by default."
)


def score(
    model: str = typer.Argument(metavar="MODEL", help=MODEL_HELP),
    source: str = typer.Argument(metavar="IN", help=IN_HELP),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    blind: bool = typer.Option(False, "--blind", help="Withhold images and videos: what the texts alone give away."),
    engine: str = typer.Option("local", help="For a folder: local, or ray for many processes and machines."),
    shard_rows: int = typer.Option(10_000, min=1, help="For a folder: most rows of a shard, the unit of work."),
    threads: int | None = typer.Option(
        None, min=1, help="For a folder: CPU threads of a process; on a CPU part of what decides the last bits."
    ),
    workers: int | None = typer.Option(None, min=1, help="Processes of Ray; one for each GPU by default."),
    gpus: float | None = typer.Option(None, min=0, help="GPUs of a process of Ray; one by default if there is any."),
    ray_address: str | None = typer.Option(None, help="Ray cluster that runs already, such as auto."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Score every row of a file, or of millions of rows in shards; an interrupted call goes on where it stopped.

    A row that cannot be scored keeps its place, with the reason under `error`; the status is 1 if that is every row.

    Example: `basereward score runs/demo/model pairs.jsonl --out scored.jsonl`

    In bulk: `basereward score runs/demo/model shards/ --out scores --engine ray --workers 8`
    """
    from basereward.scoring.model_spec import ModelSpec

    options = read_options(format, map, choice, a, b)
    member = ModelSpec(model=model, dtype=dtype, device=device, backend=backend)
    # What a file would ignore is refused for it.
    bulk = {"engine": engine, "shard_rows": shard_rows, "threads": threads, "workers": workers, "gpus": gpus}
    bulk["ray_address"] = ray_address
    given = [name for name, value in bulk.items() if value not in (None, "local", 10_000)]
    target = out or _default_target(model, source, is_bulk=bool(given))
    if not target.suffix or target.is_dir():
        _score_folder(member, source, target, bulk, options, blind, as_json)
        return
    if given:
        raise typer.BadParameter(f"--{given[0].replace('_', '-')} goes with a folder as --out; found {target}.")
    if Path(source).is_dir():
        raise DataError(f"{source} is a folder: its scores are a folder, too. Give --out without a suffix.")
    _score_file(member, source, target, options, blind, as_json)


def _default_target(model: str, source: str, is_bulk: bool) -> Path:
    """Return a file for a file, in its own format if that can be written, and a folder for everything else."""
    from basereward.data.io import record_form

    folder, place = default_out("score", model), Path(source)
    if is_bulk or place.is_dir() or not record_form(place):
        return folder / name_of(source)
    # pairs.json beside pairs.jsonl are two inputs, and have two places.
    return folder / f"{name_of(source)}{'' if place.suffix in ('.jsonl', '.parquet') else '.jsonl'}"


def _score_file(
    member: "ModelSpec", source: str, target: Path, options: "ReadOptions", blind: bool, as_json: bool
) -> None:
    from basereward.data.io import count_records
    from basereward.scoring.blind import open_blind
    from basereward.scoring.files import score_file
    from basereward.scoring.spec import open_spec

    rows = count_records(Path(source))
    scorer = open_blind(member) if blind else open_spec(member)
    read_as: list[Recognised] = []
    with progress("score", rows) as bar:
        settings = {"dtype": member.dtype, "backend": member.backend}
        scored = score_file(scorer, Path(source), target, bar.move, settings, options, _telling(read_as))
    if scored.failed == scored.rows > 0:
        raise ScoringError(f"None of {scored.rows} rows could be scored; most often: {_commonest_error(target)}")
    if as_json:
        print_json({"model": member.model, "out": str(target), **scored._asdict(), "read_as": _first(read_as)})
        return
    print(f"{scored.rows} rows, {scored.failed} with an error -> {target}")
    _print_next(member.model, source, options, read_as)


def _score_folder(
    member: "ModelSpec",
    source: str,
    target: Path,
    bulk: dict[str, Any],
    options: "ReadOptions",
    blind: bool,
    as_json: bool,
) -> None:
    from basereward.scoring.blind import open_blind
    from basereward.scoring.bulk import BulkSettings, score_bulk
    from basereward.scoring.spec import open_spec

    if bulk["engine"] not in ("local", "ray"):
        raise typer.BadParameter(f"--engine is local or ray; found {bulk['engine']!r}.")
    read_as: list[Recognised] = []
    with progress("score") as bar:
        chosen = BulkSettings(**bulk)
        opener = open_blind if blind else open_spec
        found = score_bulk(member, source, target, opener, chosen, options, bar.move, _telling(read_as))
    if found.failed == found.rows > 0:
        reasons = ", ".join(f"{count} of {reason}" for reason, count in found.failures.items())
        raise ScoringError(f"None of {found.rows} rows could be scored: {reasons}. The messages are in {target}.")
    if as_json:
        counts = {"rows": found.rows, "failed": found.failed, "failures": found.failures}
        more = {"shards": len(found.shards), "read_as": _first(read_as)}
        print_json({"model": member.model, "out": str(target), **counts, **more})
        return
    print(f"{found.rows} rows in {len(found.shards)} shards, {found.failed} with an error -> {target}")
    _print_next(member.model, source, options, read_as)


def _print_next(model: str, source: str, options: "ReadOptions", read_as: "list[Recognised]") -> None:
    """Print how scored pairs are counted; prompts with responses alone have no right ones, an empty file no rows."""
    if not read_as:
        return
    if read_as[0].format != "responses":
        print_next("eval", model, "--data", source, *reading_words(options))
    elif "://" not in model:
        print_next("serve", model)


def _telling(read_as: "list[Recognised]") -> "Callable[[Recognised], None]":
    """Return what tells the user how the records are read, and remembers it."""

    def tell(found: "Recognised") -> None:
        found.say()
        read_as.append(found)

    return tell


def _first(read_as: "list[Recognised]") -> dict[str, Any] | None:
    return read_as[0].model_dump(mode="json") if read_as else None


def _commonest_error(scored: Path) -> str:
    """Return the reason that most rows of a scored file give, with how many, the first of them as example."""
    from basereward.data.io import read_records

    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for row in read_records(scored):
        reason = row["error"].partition(":")[0]
        counts[reason] += 1
        examples.setdefault(reason, row["error"])
    [(reason, count)] = counts.most_common(1)
    return f"{examples[reason]} ({count} of {reason}). All reasons are in {scored}."
