"""The manifest of a folder of scores: which model, which inputs, which shards, and what failed for which reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq

from basereward import __version__
from basereward.configuration import Section
from basereward.data.identity import Identity
from basereward.data.io import read_json, write_json
from basereward.data.manifest import FILE_NAME, SCORES, Shard, describe_shard
from basereward.errors import WorkError
from basereward.scoring.shards import ShardTask


class ScoredInput(Section):
    """One file that was scored."""

    file: str
    rows: int
    sha256: str


class ScoredShard(Shard):
    """One file of scores: rows ``first`` to ``first + rows`` of an input, ``failed`` of them with an error."""

    source: str
    first: int
    failed: int


class ScoresManifest(Section):
    """What stands in a folder of scores; it is written last.

    ``identity`` is everything that decides the scores; ``failures`` counts rows by the reason of their error.
    """

    format: Literal[1] = 1
    kind: Literal["scores"] = "scores"
    identity: Identity
    inputs: tuple[ScoredInput, ...]
    shards: tuple[ScoredShard, ...]
    rows: int
    failed: int
    failures: dict[str, int]
    created_by: str


def describe_scores(
    identity: Identity, plan: Sequence[ShardTask], digests: Mapping[str, str], folder: Path
) -> ScoresManifest:
    """Return the manifest of a folder from its files; all shards must be there, and nothing else.

    Args:
        digests: SHA-256 of every input file by its name, those without rows included.

    Raises:
        WorkError: a shard is missing or has another number of rows, or one is there that nobody asked for.
    """
    found, wanted = {path.name for path in folder.iterdir()}, {task.path.name for task in plan}
    if found != wanted:
        unlike = sorted(found ^ wanted)
        raise WorkError(f"{folder} should hold {len(wanted)} shards; missing or strange: {', '.join(unlike[:4])}.")
    failures: Counter[str] = Counter()
    shards, rows = [], Counter(dict.fromkeys(digests, 0))
    for task in plan:
        reasons = _reasons(folder / task.path.name, task.piece.rows)
        failures += reasons
        rows[task.name] += task.piece.rows
        shard = describe_shard(folder / task.path.name, task.piece.rows).model_dump()
        shards.append(ScoredShard(**shard, source=task.name, first=task.piece.first, failed=reasons.total()))
    return ScoresManifest(
        identity=identity,
        inputs=tuple(ScoredInput(file=name, rows=rows[name], sha256=digest) for name, digest in digests.items()),
        shards=tuple(shards),
        rows=rows.total(),
        failed=failures.total(),
        failures=dict(sorted(failures.items())),
        created_by=f"basereward {__version__}",
    )


def write_scores_manifest(manifest: ScoresManifest, folder: Path) -> None:
    """Write ``manifest.json``, whole or not at all."""
    write_json(folder / FILE_NAME, manifest.model_dump(mode="json"))


def read_scores_manifest(folder: Path) -> ScoresManifest | None:
    """Return the manifest of a folder of scores, None for a folder that holds something else or nothing.

    Raises:
        DataError: ``manifest.json`` is not JSON.
    """
    content: Any = read_json(folder / FILE_NAME) if (folder / FILE_NAME).is_file() else None
    if not isinstance(content, dict) or content.get("kind") != SCORES:
        return None
    return ScoresManifest.model_validate(content)


def _reasons(path: Path, expected: int) -> Counter[str]:
    errors = pq.read_table(path, columns=["error"])["error"]
    if len(errors) != expected:
        raise WorkError(f"{path} holds {len(errors)} rows, expected {expected}; delete it and give the command again.")
    counts = pc.value_counts(pc.struct_field(errors, "reason").drop_null()).to_pylist()
    return Counter({item["values"]: item["counts"] for item in counts})
