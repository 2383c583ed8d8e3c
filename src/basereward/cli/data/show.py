"""``basereward data show``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, default_out, print_json, print_next, progress

# The share of the pairs that the next command holds out.
_TEST = 0.1


def show_pairs(
    files: list[str] = typer.Argument(metavar="FILE", help="Files or folders of pairs, or hub ids."),
    out: Path | None = typer.Option(None, help="The page; runs/show-NAME.html by default."),
    samples: int = typer.Option(60, min=1, help="Pairs to show, at least one of every source."),
    seed: int = typer.Option(0, min=0, help="Seed of what is drawn."),
    tokenizer: str | None = typer.Option(
        None, metavar="MODEL", help="Model folder or hub id: count tokens with its template, image tokens included."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a page of a training set: lengths, sources, images, repeats, drops, origin, and sampled pairs.

    Example: `basereward data show data/rlaif_v --out rlaif_v.html`
    """
    from basereward.curation.columns import find_repeats, read_columns
    from basereward.curation.inputs import find_place, read_input
    from basereward.data.storage import concatenate
    from basereward.reporting.data_page import build_data_report
    from basereward.reporting.data_sample import draw_pairs, list_pairs
    from basereward.reporting.data_statistics import describe_manifest, describe_set
    from basereward.reporting.html import render, write_page
    from basereward.reporting.plots import require_matplotlib

    page = out or Path(f"{default_out('show', _name(files[0]))}.html")
    if page.suffix != ".html":
        raise typer.BadParameter(f"--out is a file that ends in .html; found {page}.")
    require_matplotlib()
    inputs = [find_place(file) for file in files]
    rows = concatenate([read_input(one) for one in inputs])
    with progress("rows", len(rows)) as bar:
        columns = read_columns(rows, bar.move)
    statistics = describe_set(rows, columns, find_repeats(columns, rows), seed)
    statistics["manifests"] = [describe_manifest(one.place, one.manifest) for one in inputs if one.manifest]
    tokens = _count_tokens(files, tokenizer, statistics) if tokenizer else None
    name = " + ".join(_name(file) for file in files)
    items = list_pairs(rows, columns, draw_pairs(columns, samples, seed))
    write_page(page, render(build_data_report(name, statistics, columns, items, tokens)))
    if as_json:
        print_json({"page": str(page), "files": files, **statistics})
        return
    longer = statistics["chosen_longer"]["value"]
    pairs, rows_read, multimodal = (statistics[key] for key in ("pairs", "rows", "multimodal"))
    print(f"pairs     {pairs} of {rows_read} rows, {multimodal} with images or videos")
    print(
        f"longer    chosen in {longer:.1%}" if longer is not None else "longer    none: all responses are equally long"
    )
    if lost := statistics["image_sizes"]["unreadable"]:
        told = ", ".join(f"{reason} {count:,}" for reason, count in lost.items())
        print(f"images    of {statistics['image_sizes']['pairs_drawn']:,} pairs opened, not readable: {told}")
    print(f"page      {page}")
    print_next("data", "split", *files, "--test", _TEST, *_splitting(statistics))


def _splitting(statistics: dict[str, Any]) -> list[str]:
    """Return the options that a split needs where one question is asked of more images than the test set may have."""
    asked = max((one["pairs"] for one in statistics["most_repeated"]), default=0)
    is_tied = statistics["multimodal"] and asked > _TEST * statistics["pairs"]
    return ["--like-prompts", "shown"] if is_tied else []


def _count_tokens(files: Sequence[str], model: str, statistics: dict[str, Any]) -> dict[str, list[int]]:
    """Return the token counts of the pairs that training would keep; their statistics are added."""
    from basereward.data.pairs import load_pairs
    from basereward.encoding.measuring import measure_lengths
    from basereward.models.inputs import load_template
    from basereward.reporting.data_statistics import describe_tokens

    with progress("images", statistics["rows"]) as bar:
        loaded = load_pairs(files, check="header", on_progress=bar.move)
    with progress("tokens", len(loaded.pairs)) as bar:
        lengths = measure_lengths(loaded, load_template(model), on_progress=bar.move)
    for _, problem in sorted(lengths.problems.items()):
        loaded.ledger.add(*problem)
    fitting = lengths.select(lengths.usable)
    tokens = {
        "of a pair": fitting.tokens().tolist(),
        "longest sequence": fitting.longest().tolist(),
        "of its images": fitting.of_pairs(fitting.image_tokens).tolist(),
    }
    statistics["tokens"] = describe_tokens(tokens, loaded.ledger.to_dict(), model)
    return tokens


def _name(file: str) -> str:
    place = Path(file).resolve()
    if place.is_file():
        return f"{place.parent.name}/{place.stem}"
    return place.name if place.is_dir() else file
