"""The manifest of a folder of shards: what it holds, what it was made from, and what was dropped on the way."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from basereward.configuration import Section
from basereward.data.digests import file_digest
from basereward.data.io import write_json
from basereward.errors import DataError

FILE_NAME = "manifest.json"
# The kind of a folder that ``basereward score`` wrote: other content under the same name.
SCORES = "scores"
_HASH_KEY = "sha256"
_COSTS = ("requests", "failed", "without_usage", "prompt_tokens", "completion_tokens", "price", "cost")


class Shard(Section):
    """One Parquet file of the folder."""

    file: str
    rows: int
    bytes: int
    sha256: str


class SourceHeader(Section):
    """Where rows come from, and under which licence."""

    name: str
    repository: str
    revision: str | None
    licence: str


class Input(Section):
    """What a derived folder was made from, and the hash of its manifest; None for a file without one."""

    name: str
    sha256: str | None


class JudgeUse(Section):
    """What a judge wrote into a set of pairs, how it was asked, and what that took."""

    name: str
    wrote: Literal["critiques", "thoughts", "preferences"]
    prompt: str
    """The name of its prompt; its digest is in ``identity``."""
    identity: dict[str, JsonValue]
    """Everything that is known to decide its answers."""
    pairs: int
    """With an answer that was kept."""
    requests: int
    """Questions that it was asked."""
    failed: int
    """Questions without an answer."""
    without_usage: int
    """Answers of which no server told the tokens, those of a model in this process among them."""
    prompt_tokens: int
    completion_tokens: int
    price: tuple[float, float] | None
    """Of a million tokens of prompts, and of answers, as it was given."""
    cost: float | None
    """Of the tokens that were told; in the unit of the price."""


class Manifest(Section):
    """What stands in a folder of shards.

    ``multimodal`` counts the rows with images or videos; ``drops`` is a ``DropLedger`` as a dictionary; ``steps`` says
    what was done, in order, each with its name under ``step``; ``judges`` wrote annotations or preferences of its rows,
    here or in an input; ``contamination`` is a summary of overlaps with benchmarks, if they were looked for.
    """

    format: Literal[1] = 1
    kind: Literal["converted", "curated", "mixed", "split", "annotated", "distilled"]
    holds: Literal["pairs", "prompts"] = "pairs"
    name: str
    rows: int
    multimodal: int
    shards: tuple[Shard, ...]
    sources: tuple[SourceHeader, ...]
    inputs: tuple[Input, ...] = ()
    drops: dict[str, Any]
    steps: tuple[dict[str, Any], ...] = ()
    judges: tuple[JudgeUse, ...] = ()
    contamination: dict[str, Any] | None = None
    created_by: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the content as canonical JSON, without the writing version, examples of drops and costs.

        The examples name files of this machine; all else is the same wherever the same data are made.
        """
        content = self.model_dump(mode="json", exclude={"created_by"})
        for judge in content["judges"]:
            for name in _COSTS:
                del judge[name]
        if not content["judges"]:
            # So that folders without judges keep the hash that they have.
            del content["judges"]
        for reason in content["drops"].get("reasons", {}).values():
            reason.pop("examples", None)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def describe_shard(path: Path, rows: int) -> Shard:
    """Return the manifest entry of a shard on disk."""
    return Shard(file=path.name, rows=rows, bytes=path.stat().st_size, sha256=file_digest(path))


def merged_judges(manifests: Iterable[Manifest | None]) -> tuple[JudgeUse, ...]:
    """Return what judges wrote into any of several sets, each use once."""
    return tuple({repr(use): use for one in manifests if one for use in one.judges}.values())


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write ``manifest.json`` with its own hash, whole or not at all."""
    write_json(folder / FILE_NAME, {**manifest.model_dump(mode="json"), _HASH_KEY: manifest.sha256})


def read_manifest(folder: Path, verify: bool = False) -> Manifest | None:
    """Return the manifest of a folder, or None if it has none.

    Args:
        folder: a folder of shards.
        verify: read every shard and compare its hash too.

    Raises:
        DataError: the manifest is broken or was changed by hand; a shard is missing, or of another size or hash.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("kind") == SCORES:
            raise DataError(f"{folder} holds scores of basereward score, not the rows that were scored; give those.")
        stored = content.pop(_HASH_KEY)
        manifest = Manifest.model_validate(content)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{path} is no manifest of this version ({reason}); make the folder again.") from error
    if manifest.sha256 != stored:
        raise DataError(f"{path} does not have the hash that it states; it was changed. Make the folder again.")
    check_shards(manifest.shards, folder, verify)
    return manifest


def check_shards(shards: tuple[Shard, ...], folder: Path, verify: bool = False) -> None:
    """Check that shards are there with their size, and with their hash if asked to ``verify``.

    Raises:
        DataError: one is not.
    """
    for shard in shards:
        path = folder / shard.file
        if not path.is_file():
            raise DataError(f"The shard {path} is missing; its manifest states {shard.rows} rows. Restore the file.")
        if (found := path.stat().st_size) != shard.bytes:
            raise DataError(f"The shard {path} has {found} bytes, its manifest states {shard.bytes}. Restore the file.")
    if verify:
        check_digests(shards, folder, [file_digest(folder / shard.file) for shard in shards])


def check_digests(shards: tuple[Shard, ...], folder: Path, digests: Sequence[str]) -> None:
    """Check that shards have the SHA-256 that their manifest states.

    Raises:
        DataError: one has not.
    """
    for shard, digest in zip(shards, digests, strict=True):
        if digest != shard.sha256:
            path = folder / shard.file
            raise DataError(f"The shard {path} does not have the hash of its manifest. Restore the file.")
