"""What a checkpoint says of the data that it was trained on: ``data.json`` beside its weights."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from basereward.configuration import Section
from basereward.data.io import replacing, write_json
from basereward.data.manifest import JudgeUse, Manifest, SourceHeader, read_manifest
from basereward.data.overlap import OverlapSummary, is_older, merge_summaries
from basereward.errors import DataError

FILE_NAME, PAIRS_NAME = "data.json", "data.pairs.bin"


class TrainedOn(Section):
    """One place that training read: its name, the hash of its manifest and its sources, None without a manifest.

    ``judges`` wrote annotations or preferences of its pairs; ``rows`` is how many pairs it holds, None without a
    manifest; ``headers`` say where its sources come from, and under which licence.
    """

    name: str
    manifest_sha256: str | None
    sources: tuple[str, ...] | None
    judges: tuple[JudgeUse, ...] = ()
    rows: int | None = None
    headers: tuple[SourceHeader, ...] = ()


class TrainedBy(Section):
    """The recipe that trained a model: the hash of all that decides its weights but the seed; the seed; its name.

    Two models with equal hashes and other seeds are two runs of one recipe on the same data.
    """

    recipe_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    seed: int
    name: str


class DataRecord(Section):
    """The data of a training run: its fingerprint, where it came from, and its overlap with benchmarks.

    ``trained_by`` is the recipe of the last run; None of a model of an older version. ``contamination`` is an
    ``OverlapSummary`` as a dictionary; None, which is not clean, if any of the inputs was not checked. ``pairs`` are
    the fingerprints of the pairs as bytes (sorted uint64), empty if they are not known; they stand in a file of their
    own.
    """

    fingerprint: str
    inputs: tuple[TrainedOn, ...]
    contamination: dict[str, Any] | None
    trained_by: TrainedBy | None = None
    pairs: bytes = Field(default=b"", exclude=True, repr=False)

    @property
    def summary(self) -> OverlapSummary | None:
        """The overlap with benchmarks; None if it is unknown, or was looked for by an older version."""
        if self.contamination is None or is_older(self.contamination):
            return None
        return OverlapSummary.from_dict(self.contamination)


def record_data(paths: Sequence[str], fingerprint: str, pairs: bytes = b"") -> DataRecord:
    """Return the record of a run over these places, from their manifests.

    Args:
        pairs: fingerprints of the pairs, as in the record.

    Raises:
        DataError: a manifest is broken.
    """
    inputs, manifests = [], []
    for path in paths:
        manifest = read_manifest(Path(path))
        sources = tuple(source.name for source in manifest.sources) if manifest else None
        inputs.append(
            TrainedOn(
                name=manifest.name if manifest else Path(path).name,
                manifest_sha256=manifest.sha256 if manifest else None,
                sources=sources,
                judges=manifest.judges if manifest else (),
                rows=manifest.rows if manifest else None,
                headers=manifest.sources if manifest else (),
            )
        )
        manifests.append(manifest)
    overlap = merged_contamination(manifests)
    return DataRecord(fingerprint=fingerprint, inputs=tuple(inputs), contamination=overlap, pairs=pairs)


def continued_record(name: str, before: DataRecord | None, record: DataRecord) -> DataRecord:
    """Return the record of a model that was trained on from another.

    Args:
        name: of the other model, which stands for its data if it has no record; nothing is known of the whole then.
        before: the record of the other model.
        record: of the new run alone.
    """
    return _together(before or _unknown(name), record)


def united_record(members: Sequence[tuple[str, DataRecord | None]]) -> DataRecord:
    """Return the record of a model made of the weights of several: what any of them was trained on.

    Args:
        members: name and record of each, at least one; a name stands for data that nothing is known of.
    """
    known: dict[str, DataRecord] = {}
    for name, record in members:
        # Members of one run's data have it once.
        known.setdefault(record.fingerprint if record else f"unknown {name}", record or _unknown(name))
    first, *others = known.values()
    for other in others:
        first = _together(first, other)
    inputs = tuple({repr(one): one for one in first.inputs}.values())
    # What comes of several runs is no run of any one's recipe, although their data may be the same.
    return first.model_copy(update={"inputs": inputs, **({"trained_by": None} if len(members) > 1 else {})})


def _unknown(name: str) -> DataRecord:
    unknown = TrainedOn(name=name, manifest_sha256=None, sources=None)
    return DataRecord(fingerprint="", inputs=(unknown,), contamination=None)


def _together(before: DataRecord, record: DataRecord) -> DataRecord:
    fingerprint = hashlib.sha256(f"{before.fingerprint}-{record.fingerprint}".encode()).hexdigest()[:16]
    summaries = [one.summary for one in (before, record)]
    # Trained on twice, a set counts once.
    overlap = summaries[0] if summaries[0] == summaries[1] else merge_summaries(summaries)
    return DataRecord(
        fingerprint=fingerprint,
        inputs=(*before.inputs, *record.inputs),
        contamination=None if overlap is None else overlap.to_dict(),
        trained_by=record.trained_by,
        pairs=np.union1d(*(np.frombuffer(one.pairs, np.uint64) for one in (before, record))).tobytes(),
    )


def merged_contamination(manifests: Sequence[Manifest | None]) -> dict[str, Any] | None:
    """Return what manifests together say of the overlap with benchmarks, as a dictionary; None if one does not know.

    The folders of one curation all carry the summary of its inputs together, which counts once.

    Raises:
        DataError: a summary was changed.
    """
    known: dict[Any, OverlapSummary | None] = {}
    for manifest in manifests:
        if manifest is None or manifest.contamination is None or is_older(manifest.contamination):
            known[None] = None
        else:
            summary = OverlapSummary.from_dict(manifest.contamination)
            known[manifest.inputs, summary.sha256] = summary
    merged = merge_summaries(list(known.values()))
    return None if merged is None else merged.to_dict()


def write_record(record: DataRecord, folder: Path) -> None:
    """Write ``data.json`` into a model folder, and the fingerprints of the pairs if they are known."""
    write_json(folder / FILE_NAME, record.model_dump(mode="json"))
    if record.pairs:
        with replacing(folder / PAIRS_NAME) as temporary:
            temporary.write_bytes(record.pairs)
    else:
        (folder / PAIRS_NAME).unlink(missing_ok=True)


def read_record(folder: Path) -> DataRecord | None:
    """Return the record of a model folder, None if it has none.

    Raises:
        DataError: it is broken, or its summary was changed.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        record = DataRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{path} is no record of training data ({reason}); delete it to load without.") from error
    pairs = folder / PAIRS_NAME
    if pairs.is_file():
        record = record.model_copy(update={"pairs": pairs.read_bytes()})
    # Read here, so that a changed summary is found when the model is loaded.
    _ = record.summary
    return record
