"""``basereward data split``."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import typer

from basereward.cli.following import this_call
from basereward.cli.output import JSON_OPTION, ROOT_OPTION, console, name_of, print_json, print_next, progress, say

# Of what trains next, if nothing else is said: the smallest of the paper's family.
MODEL = "Qwen/Qwen2.5-VL-3B-Instruct"


def split_pairs(
    context: typer.Context,
    inputs: list[str] = typer.Argument(
        metavar="INPUT...",
        help="Converted source, file, folder, hub id, or YAML file of a mixture; several are one set.",
    ),
    out: Path | None = typer.Option(None, help="Folder that gets a folder for each part; data/split-INPUT by default."),
    test: float = typer.Option(0, help="Test set: a share below 1, or a number of pairs."),
    validation: float = typer.Option(0, help="Validation set, likewise."),
    sample: int = typer.Option(0, help="Pairs of a small set, to watch training or to weigh members of ensembles by."),
    sample_over: Literal["pairs", "sets"] = typer.Option("pairs", help="Draw it from all pairs, or evenly by source."),
    seed: int = typer.Option(0, help="Of the draw."),
    like_images: Literal["hash", "copies", "pixels"] = typer.Option(
        "hash", help="Images are one if their perceptual hashes are near; if they are copies too; by pixels alone."
    ),
    like_prompts: Literal["text", "shown"] = typer.Option(
        "text", help="Prompts are one if their texts are, or only beside the same image."
    ),
    group: list[str] | None = typer.Option(
        None, help="Column that names a group; may be repeated. id, group, group_id, prompt_id, question_id by default."
    ),
    tolerance: float = typer.Option(0.25, help="By what part of its size a held-out set may miss it."),
    data_root: Path = ROOT_OPTION,
    images: Literal["bytes", "paths"] = typer.Option(
        "bytes", help="Bytes inside the shards, or paths relative to the folder of the part."
    ),
    plan: bool = typer.Option(False, "--plan", help="Print the parts and what hangs together; write nothing."),
    workers: int = typer.Option(2, min=1, help="Processes that read rows and hash texts and images."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Hold out test and validation sets that share no image, prompt or group with what is left to train on.

    Example: `basereward data split pairs.parquet --test 0.1 --sample 1000 --out data/split`
    """
    from basereward.configuration import parse_configuration
    from basereward.curation.split.plan import plan_split
    from basereward.curation.split.run import find_sets, read_sets, split
    from basereward.curation.split.settings import SplitSettings

    asked: dict[str, Any] = {"test": test, "validation": validation, "sample": sample, "seed": seed}
    asked |= {"sample_over": sample_over, "like_images": like_images, "prompts": like_prompts, "tolerance": tolerance}
    if group:
        asked["groups"] = [] if group == ["none"] else group
    settings = parse_configuration(SplitSettings, asked)
    sets = find_sets(inputs, data_root)
    folder = out or Path("data") / f"split-{name_of(Path(inputs[0]).with_suffix(''))}"
    with progress("split") as bar:
        if plan:
            facts = dict(plan_split(read_sets(sets), settings, workers, bar.show).facts)
        else:
            manifests = split(sets, settings, folder, workers, images, bar.show)
            facts = manifests["train"].steps[0]
    if as_json:
        print_json({**facts, "folders": {} if plan else {part: str(folder / part) for part in facts["parts"]}})
        return
    _print(facts)
    if plan:
        print_next(*this_call(context, "plan"))
    else:
        _print_written(folder, facts["parts"])


def _print_written(folder: Path, parts: Collection[str]) -> None:
    print(f"{', '.join(parts)} in {folder}")
    held_out = [f"data.validation={folder / part}" for part in ("validation", "test") if part in parts]
    print_next("train", *held_out[:1], "--model", MODEL, "--data", folder / "train")


def _print(facts: Mapping[str, Any]) -> None:
    from basereward.reporting.tables import Table, count, to_rich

    total = sum(part["rows"] for part in facts["parts"].values())
    rows = [
        (
            name,
            "-" if part["wanted"] is None else count(part["wanted"]),
            count(part["rows"]),
            f"{part['rows'] / total:.1%}",
            count(part["components"]),
        )
        for name, part in facts["parts"].items()
    ]
    console().print(to_rich(Table(("part", "wanted", "pairs", "share", "components"), rows)))
    ties = [(name, count(link["tied_rows"]), count(link["largest"])) for name, link in facts["links"].items()]
    console().print(to_rich(Table(("tied by", "pairs tied", "largest component"), ties)))
    sizes = facts["components"]
    print(f"{sizes['count']:,} components, the largest of {', '.join(f'{size:,}' for size in sizes['largest'])} pairs")
    if facts["unusable"]:
        told = ", ".join(f"{reason} {lost:,}" for reason, lost in facts["unusable"].items())
        print(f"{sum(facts['unusable'].values()):,} rows are no pairs and in no part: {told}")
    for warning in facts["warnings"]:
        say(f"Warning: {warning}")
