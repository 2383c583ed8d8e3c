"""``basereward data convert``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from basereward.cli.output import HUB_ROOT_OPTION, JSON_OPTION, print_json, print_next, progress
from basereward.cli.reading import A_OPTION, B_OPTION, CHOICE_OPTION, FORMAT_OPTION, MAP_OPTION, read_options

if TYPE_CHECKING:
    from basereward.data.arrangement import ReadOptions
    from basereward.data.files import DataFiles
    from basereward.data.source import Source


def convert_source(
    source: str = typer.Argument(metavar="SOURCE", help="Name of a source (`basereward data list`), or a file."),
    data_root: Path | None = HUB_ROOT_OPTION,
    out: Path | None = typer.Option(None, help="Target folder; data/NAME by default."),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    images: Literal["bytes", "paths"] = typer.Option(
        "bytes", help="Bytes inside the shards, or paths relative to the target."
    ),
    check: Literal["full", "header", "none"] = typer.Option(
        "header", help="Decode every image, read its size, or do not open it."
    ),
    limit: int | None = typer.Option(None, min=1, help="Convert only the first raw records."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Convert a source or a file to canonical Parquet shards; the same call goes on where an interrupted one stopped.

    Example: `basereward data convert rlaif_v --data-root raw`

    A file: `basereward data convert pairs.jsonl --map prompt=question`
    """
    from basereward.sources.convert import ConvertOptions, convert

    options = ConvertOptions(images, check, limit)
    chosen, files = _open(source, data_root, read_options(format, map, choice, a, b))
    folder = out or Path("data") / chosen.name
    with progress(chosen.name) as bar:
        manifest = convert(chosen, files, folder, options, bar.move)
    if as_json:
        print_json({"folder": str(folder), "manifest": manifest.sha256, **manifest.model_dump(mode="json")})
        return
    step, drops = manifest.steps[0], manifest.drops
    dropped = ", ".join(f"{reason} {entry['count']}" for reason, entry in drops["reasons"].items()) or "none"
    print(f"folder    {folder}")
    print(f"records   {step['records']}  (refused: {step['refused']})")
    print(f"{manifest.holds:<9} {manifest.rows} of {step['candidates']}, {manifest.multimodal} with images or videos")
    print(f"dropped   {dropped}")
    print(f"shards    {len(manifest.shards)}  (manifest {manifest.sha256[:12]})")
    if manifest.holds == "pairs":
        print_next("data", "show", folder)


def _open(source: str, data_root: Path | None, options: "ReadOptions") -> "tuple[Source, DataFiles]":
    """Return a source and its files; what is no registered name is a file."""
    from basereward.data.arrangement import ReadOptions
    from basereward.data.digests import file_digest
    from basereward.data.files import open_files
    from basereward.data.io import record_form
    from basereward.sources.own_files import file_source
    from basereward.sources.registry import SOURCES

    path = Path(source)
    is_told = options != ReadOptions()
    if not is_told and (source in SOURCES.names() or not (record_form(path) or path.exists())):
        chosen = SOURCES.get(source)
        return chosen, open_files(chosen.name, chosen.repository, data_root)
    if data_root is not None:
        raise typer.BadParameter("--data-root is for sources; a file's images lie beside it.")
    chosen, files = file_source(path, options)
    if chosen.read_as:
        chosen.read_as.say()
    # A file has no commit: its content tells whether the same was converted.
    return chosen, replace(files, revision=f"sha256:{file_digest(path)}")
