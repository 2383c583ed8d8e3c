"""From the raw records of a source to a folder of shards: streamed, every record accounted for, resumable to the byte.

Work stands in ``OUT.partial`` until it is complete. Each shard has a record there that says how many raw records the
shards up to it hold and what was dropped among them, so that the next call skips those records and goes on.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from basereward import __version__
from basereward.data.files import DataFiles, Raw
from basereward.data.identity import Identity, differences
from basereward.data.manifest import Manifest, Shard, SourceHeader, check_shards, read_manifest
from basereward.data.partial import PartialRecords
from basereward.data.rows import pack_row, pair_features
from basereward.data.shards import (
    ImageStore,
    Row,
    check_free,
    image_store,
    publish,
    row_bytes,
    write_shards,
)
from basereward.data.sidecar import measure_media
from basereward.data.source import Source
from basereward.data.validation import DropLedger, parse_row
from basereward.data.work import open_work
from basereward.errors import DataError, RowError, WorkError
from basereward.sources.prompts import pack_prompt, prompt_features


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What decides the content of a conversion besides its source.

    Args:
        images: their bytes inside the shards, or paths relative to the folder.
        check: decode every image, read its header alone, or do not open it.
        limit: take only the first raw records.
    """

    images: ImageStore = "bytes"
    check: Literal["full", "header", "none"] = "header"
    limit: int | None = None


@dataclass
class _Progress:
    """What is done: raw records taken, those that parsing refused, candidate rows, and the shards that hold the good.

    ``refused + candidates - rows of the shards`` is the total of the ledger.
    """

    records: int = 0
    refused: int = 0
    candidates: int = 0
    multimodal: int = 0
    ledger: DropLedger = field(default_factory=DropLedger)
    shards: list[Shard] = field(default_factory=list)

    def save(self, shard: Shard, stored: PartialRecords) -> None:
        """Note a shard that is complete, and what stands at its end."""
        numbers = {name: vars(self)[name] for name in ("records", "refused", "candidates", "multimodal")}
        made = {"shard": len(self.shards), **numbers, "ledger": asdict(self.ledger), "file": shard.model_dump()}
        stored.add([made])
        self.shards.append(shard)

    @classmethod
    def load(cls, stored: PartialRecords, folder: Path) -> "_Progress":
        """Return the progress at the end of the last shard."""
        progress = cls()
        for made in stored:
            shards = [*progress.shards, Shard(**made.pop("file"))]
            ledger, number = DropLedger(**made.pop("ledger")), made.pop("shard")
            progress = cls(**made, ledger=ledger, shards=shards)
            if number != len(shards) - 1:
                raise WorkError(f"{folder} lacks the record of shard {len(shards) - 1}; delete it to start anew.")
        check_shards(tuple(progress.shards), folder)
        return progress


def convert(
    source: Source,
    files: DataFiles,
    out: Path,
    options: ConvertOptions | None = None,
    on_progress: Callable[[int], None] = lambda records: None,
) -> Manifest:
    """Convert a source into a folder of shards with a manifest, going on where an interrupted call stopped.

    A complete conversion with the same options is left as it is.

    Args:
        source: what is converted.
        files: its raw files.
        out: the folder; ``OUT.partial`` until it is complete.
        options: what to keep and to check.
        on_progress: called with the number of raw records taken, those of an earlier call included.

    Raises:
        MissingFileError: a raw file is not there.
        DataError: columns other than the documented ones, no usable row at all, or a folder that holds something else.
        WorkError: another process writes the folder, or it was converted with other options.
    """
    options = options or ConvertOptions()
    about = source.repository
    header = SourceHeader(name=source.name, repository=about.id, revision=files.revision, licence=about.licence)
    asked = {"source": header.model_dump(), **asdict(options)}
    if source.read_as:
        asked["read_as"] = source.read_as.model_dump(mode="json")
    with open_work(out) as work:
        if done := read_manifest(out):
            found = {key: done.steps[0].get(key) if done.steps else None for key in asked}
            if unlike := differences(found, asked):
                raise WorkError(
                    f"{out} was converted with {'; '.join(unlike)}. Give the same, another --out, or delete it."
                )
            return done
        check_free(out)
        work.claim(Identity(task="convert", settings=asked))
        stored = work.records(key="shard")
        progress = _Progress.load(stored, work.folder)
        features = pair_features(decode=True) if source.kind == "pairs" else prompt_features(decode=True)
        records = _convert_records(source, files, work.folder, options, progress, on_progress)
        try:
            for shard in write_shards(records, work.folder, features, len(progress.shards)):
                progress.save(shard, stored)
            manifest = _make_manifest(source, header, progress, asked)
        finally:
            if not progress.shards:
                work.discard()
        publish(manifest, work)
        return manifest


def _convert_records(
    source: Source,
    files: DataFiles,
    folder: Path,
    options: ConvertOptions,
    progress: _Progress,
    on_progress: Callable[[int], None],
) -> Iterator[list[Row]]:
    """Yield the good rows of each further raw record; ``progress`` then counts that record and its drops."""
    store = image_store(options.images, folder)
    raws = iter(source.records(files))
    if (found := sum(1 for _ in islice(raws, progress.records))) < progress.records:
        raise DataError(
            f"{source.name} had {progress.records} records when its conversion was interrupted and has {found} now; "
            f"its files changed. Delete {folder} and start anew."
        )
    for raw in islice(raws, None if options.limit is None else options.limit - progress.records):
        place = f"{source.name}, record {progress.records}"
        rows = []
        for number, record in enumerate(_parse(source, files, raw, place, progress)):
            fallback = f"{source.name}-{progress.records}" + (f"-{number}" if number else "")
            try:
                row = _make_row(record, source, fallback, store, options.check)
            except RowError as error:
                progress.ledger.add(error.reason, f"{place}: {error}")
            else:
                rows.append(row)
                progress.multimodal += bool(row["images"] or row["videos"])
        progress.records += 1
        on_progress(progress.records)
        yield rows


def _parse(source: Source, files: DataFiles, raw: Raw, place: str, progress: _Progress) -> list[Mapping[str, Any]]:
    candidates: list[Mapping[str, Any]] = []
    try:
        candidates.extend(source.parse(raw, files))
        if not candidates:
            raise RowError("no_pair", "The record gives nothing.")
    except RowError as error:
        progress.refused += 1
        progress.ledger.add(error.reason, f"{place}: {error}")
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    progress.candidates += len(candidates)
    return candidates


def _make_row(
    record: Mapping[str, Any],
    source: Source,
    fallback_id: str,
    store: Callable[[Row], Row],
    check: Literal["full", "header", "none"],
) -> Row:
    row = (pack_row if source.kind == "pairs" else pack_prompt)(record, Path.cwd())
    row["id"] = row["id"] or fallback_id
    row["source"] = row["source"] or source.name
    if source.kind == "pairs":
        parse_row(row, 0)
    row_bytes(row)
    if check != "none":
        measure_media(row, check)
    return store(row)


def _check_same(done: Manifest, asked: Mapping[str, Any], out: Path) -> None:
    found = {key: done.steps[0].get(key) if done.steps else None for key in asked}
    if unlike := differences(found, asked):
        told = "; ".join(unlike)
        raise WorkError(f"{out} was converted with {told}. Give the same options, another --out, or delete it.")


def _make_manifest(source: Source, header: SourceHeader, progress: _Progress, asked: dict[str, Any]) -> Manifest:
    rows = sum(shard.rows for shard in progress.shards)
    if not rows:
        raise DataError(
            f"None of {progress.records} records of {source.name} gives a usable row ({progress.ledger.tell()})."
        )
    counts = {"records": progress.records, "refused": progress.refused, "candidates": progress.candidates}
    return Manifest(
        kind="converted",
        holds=source.kind,
        name=source.name,
        rows=rows,
        multimodal=progress.multimodal,
        shards=tuple(progress.shards),
        sources=(header,),
        drops=progress.ledger.to_dict(),
        steps=({"step": "convert", **asked, **counts},),
        created_by=f"basereward {__version__}",
    )
