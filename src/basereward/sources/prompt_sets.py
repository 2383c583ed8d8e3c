"""Sets of prompts with right answers, read once through the rules for pairs, checked, and memory-mapped."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa

from basereward.data.arrangement import rename
from basereward.data.cache import user_cache
from basereward.data.formats.conversations import Branches
from basereward.data.formats.format import file_pair
from basereward.data.formats.registry import DETECTED, FORMATS
from basereward.data.io import read_json, replacing, write_json
from basereward.data.manifest import check_shards
from basereward.data.media import locate_image
from basereward.data.places import Place
from basereward.data.reader import SAMPLE
from basereward.data.rows import batch_rows, stored_features
from basereward.data.sidecar import measure_media
from basereward.data.validation import DropLedger
from basereward.errors import RowError
from basereward.sources.prompts import pack_prompt, prompt_features

LAYOUT_VERSION = 2
# Stands where a pair has its other response; none of a benchmark says it.
NO_RESPONSE = "(this prompt came without responses)"
_NEEDED = ("prompt", "answer")
_log = logging.getLogger(__name__)


class PromptRows(NamedTuple):
    """Prompts in the stored layout, and what was dropped on the way."""

    rows: datasets.Dataset
    ledger: DropLedger


def holds_prompts(place: Place, names: Mapping[str, str]) -> bool:
    """Return whether the first records of a place hold prompts with answers, and none that is a pair.

    Args:
        names: ``prompt``, ``answer``, ``id`` and ``image``, each with its column where that has another name.
    """
    first = [rename(record, names) for record in islice(place.records(), SAMPLE)]
    if not any(_is_prompt(record) for record in first):
        return False
    return not any(FORMATS.get(name).fits(record) for name in DETECTED for record in first)


def read_prompts(place: Place, names: Mapping[str, str], limit: int | None = None) -> PromptRows:
    """Read the prompts of a place; what cannot be used, an image that cannot be opened too, is dropped and counted.

    Args:
        names: as ``holds_prompts``.
        limit: only the first prompts.

    Raises:
        DataError: a broken file.
    """
    facts = [LAYOUT_VERSION, dict(names), limit, place.key]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    target = user_cache() / "prompts" / f"{key}.arrow"
    about = target.with_suffix(".json")
    if not (target.exists() and about.exists()):
        _log.info("Reading %s into %s", place.name, target)
        if place.manifest:
            check_shards(place.manifest.shards, place.folder, verify=True)
        ledger = DropLedger()
        _write(_usable(place, names, limit, ledger), target)
        write_json(about, ledger.to_dict()["reasons"])
    reasons = read_json(about)
    ledger = DropLedger(
        {name: entry["count"] for name, entry in reasons.items()},
        {name: entry["examples"] for name, entry in reasons.items()},
    )
    rows = datasets.Dataset(datasets.table.MemoryMappedTable.from_file(str(target)), fingerprint=key)
    return PromptRows(rows, ledger)


def as_pairs(prompts: datasets.Dataset) -> datasets.Dataset:
    """Return the rows of ``read_prompts`` in the stored layout of pairs, for what compares pairs with something.

    The right answer is the chosen response, ``NO_RESPONSE`` the rejected one.
    """
    schema = stored_features().arrow_schema
    answers = prompts.with_format("arrow")["answer"]
    made = {
        "chosen": [_said(answer) for answer in answers.to_pylist()],
        "rejected": [_said(NO_RESPONSE)] * len(prompts),
        "videos": [[]] * len(prompts),
        "scores": [[]] * len(prompts),
    }
    missing = [name for name in schema.names if name not in prompts.column_names]
    columns = {name: pa.array(made.get(name, [None] * len(prompts)), schema.field(name).type) for name in missing}
    # Beside the mapped columns, which stay on disk: other processes map them too instead of being sent images.
    added = datasets.table.InMemoryTable(pa.table(columns))
    table = datasets.table.concat_tables([prompts.data, added], axis=1).select(schema.names)
    info = datasets.DatasetInfo(features=stored_features())
    return datasets.Dataset(table, info, fingerprint=f"{prompts._fingerprint}-pairs")


def _is_prompt(record: Mapping[str, Any]) -> bool:
    return all(record.get(name) is not None for name in _NEEDED)


def _said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def _usable(place: Place, names: Mapping[str, str], limit: int | None, ledger: DropLedger) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(islice(place.records(), limit)):
        name = f"{place.name}-{number}"
        try:
            yield _pack(record, names, place, name)
        except RowError as error:
            ledger.add(error.reason, f"{name}: {error}")


def _pack(found: Mapping[str, Any], names: Mapping[str, str], place: Place, name: str) -> dict[str, Any]:
    record = rename(found, names)
    if missing := [needed for needed in _NEEDED if record.get(needed) is None]:
        wanted = names.get(missing[0], missing[0])
        raise RowError("malformed", f"Expected {wanted!r} in a prompt, found {', '.join(found)}.")
    # Read as a pair whose responses do not matter: all rules for prompts, images and what would be lost are the same.
    branches = Branches(record["prompt"], "", "")
    read = file_pair(record, str(record.get("id") or name), branches, ("answer",), marks=False)
    images = [locate_image(image, place.folder) for image in read["images"]]
    extra = {key: value for key, value in read.items() if key not in ("chosen", "rejected", "videos")}
    packed = pack_prompt({**extra, "images": images, "answer": record["answer"]}, place.folder)
    packed["source"] = packed["source"] or place.name
    # A policy that meets an image that cannot be opened ends the run hours later.
    measure_media(packed, "full")
    return packed


def _write(rows: Iterable[dict[str, Any]], target: Path) -> None:
    schema = prompt_features().arrow_schema
    with (
        replacing(target) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_stream(file, schema) as writer,
    ):
        for batch in batch_rows(rows):
            writer.write_table(pa.Table.from_pylist(batch, schema))
