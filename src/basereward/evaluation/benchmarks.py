"""Evaluates a scorer on a benchmark into a folder: score every response once, keep records, apply the protocol."""

import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basereward import __version__
from basereward.data.benchmarks.items import BenchmarkItem, items_fingerprint, missing_images
from basereward.errors import DataError
from basereward.evaluation.files import (
    PARTIAL_IDENTITY,
    PARTIAL_RECORDS,
    RECORDS,
    RESULT,
    read_json,
    read_jsonl,
    write_json,
    write_text,
)
from basereward.evaluation.given import read_scores
from basereward.evaluation.plugins import EvaluationSet
from basereward.evaluation.protocols.registry import Protocol, define, subset_summary, summarize
from basereward.evaluation.records import RowRecord, item_records
from basereward.scoring.baselines import BASELINES
from basereward.scoring.interface import Scorer, checked_scores
from basereward.statistics import Ties

BATCH_GROUPS = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """How a benchmark is evaluated.

    Args:
        data_root: folder of local copies; without it the files come from the hub.
        protocol: name of the protocol, the official one by default.
        ties: rule for ties; that of the protocol by default.
        references: also evaluate the trivial baselines.
        limit: only the first items.
        resume: go on from the records of an interrupted call; failed items are tried again.
        from_scores: file of scores made elsewhere, instead of a scorer.
        settings: what else than the scorer's name decides a score, such as its dtype.
    """

    data_root: Path | None = None
    protocol: str | None = None
    ties: Ties | None = None
    references: bool = True
    limit: int | None = None
    resume: bool = False
    from_scores: Path | None = None
    settings: Mapping[str, Any] | None = None


def evaluate_benchmark(
    scorer: Scorer | None,
    chosen: EvaluationSet,
    folder: Path,
    options: BenchmarkOptions = BenchmarkOptions(),
    on_progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a benchmark; write ``records.jsonl`` and ``result.json`` and return the latter.

    Args:
        scorer: what scores; None with ``options.from_scores``.
        on_progress: called with the number of items done and to do.

    Raises:
        MissingFileError: a file of the benchmark is not there.
        UnknownNameError: no such protocol.
        DataError: a bad record, neither or both of scorer and scores, or records of another run in the folder.
    """
    if (scorer is None) == (options.from_scores is None):
        raise DataError("An evaluation needs either a model or a file of scores.")
    protocol = chosen.protocol(options.protocol)
    benchmark = chosen.benchmark
    items = benchmark.load(options.data_root, protocol.parts, options.limit)
    if scorer is None:
        assert options.from_scores is not None
        name, records = str(options.from_scores), read_scores(options.from_scores, items)
    else:
        name = scorer.name
        settings = dict(options.settings or {})
        identity = {"scorer": name, "settings": settings, "data": items_fingerprint(items)}
        store = RecordStore(folder, identity, options.resume)
        records = list(score_items(scorer, items, store, on_progress))
    result = _result(name, chosen, protocol, items, records, options)
    write_text(folder / RECORDS, _lines(records))
    write_json(folder / RESULT, result)
    RecordStore.remove(folder)
    return result


class RecordStore:
    """The records of a running evaluation, item by item, so that an interrupted one can go on.

    Raises:
        DataError: with ``resume``, the folder holds records of another identity.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], resume: bool) -> None:
        self._path = folder / PARTIAL_RECORDS
        self.known: dict[int, RowRecord] = {}
        owner = folder / PARTIAL_IDENTITY
        if resume and self._path.is_file():
            found = read_json(owner) if owner.is_file() else None
            if found != json.loads(json.dumps(identity)):
                raise DataError(
                    f"{self._path} holds records of {found}, but this is {dict(identity)}; evaluate into another "
                    "folder, or without --resume."
                )
            records = [RowRecord.from_dict(line) for line in read_jsonl(self._path)]
            self.known = {record.row: record for record in records if record.failure is None}
        self.remove(folder)
        write_json(owner, identity)
        self.add([self.known[row] for row in sorted(self.known)])

    def add(self, records: Sequence[RowRecord]) -> None:
        """Append records to the partial file."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_lines(records))

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove the partial files."""
        for name in (PARTIAL_RECORDS, PARTIAL_IDENTITY):
            (folder / name).unlink(missing_ok=True)


def score_items(
    scorer: Scorer,
    items: Sequence[BenchmarkItem],
    store: RecordStore | None = None,
    on_progress: Progress | None = None,
) -> Iterator[RowRecord]:
    """Yield the records of all rows, item by item; what the store knows is not computed again.

    Raises:
        ScoringError: the scorer did not return one score for each response.
    """
    known = store.known if store else {}
    for start in range(0, len(items), BATCH_GROUPS):
        numbers = range(start, min(start + BATCH_GROUPS, len(items)))
        todo = [number for number in numbers if any(row.row not in known for row in items[number].rows)]
        scores = checked_scores(scorer, [items[number].group for number in todo]) if todo else []
        fresh = {number: item_records(items[number], number, own) for number, own in zip(todo, scores, strict=True)}
        if store:
            store.add([record for number in todo for record in fresh[number]])
        for number in numbers:
            yield from fresh.get(number) or [known[row.row] for row in items[number].rows]
        if on_progress:
            on_progress(numbers.stop, len(items))


def _result(
    name: str,
    chosen: EvaluationSet,
    protocol: Protocol,
    items: Sequence[BenchmarkItem],
    records: Sequence[RowRecord],
    options: BenchmarkOptions,
) -> dict[str, Any]:
    benchmark, ties = chosen.benchmark, options.ties
    summary = summarize(benchmark.name, protocol, records, ties)
    others = {}
    if options.references:
        for baseline in map(BASELINES.get, BASELINES.names()):
            others[baseline.name] = summarize(benchmark.name, protocol, list(score_items(baseline, items)), ties)
    return {
        **summary,
        "scorer": name,
        "items": len(items),
        "responses": sum(len(item.group.responses) for item in items),
        "definitions": define(protocol, records, ties),
        "subsets": subset_summary(protocol, records, ties),
        "failures": dict(Counter(record.failure for record in records if record.failure is not None)),
        "notes": _notes(chosen, protocol, items, options),
        "settings": dict(options.settings or {}),
        "data": {"sha256": items_fingerprint(items), "parts": _parts(chosen, protocol), "limit": options.limit},
        "versions": {"basereward": __version__, "python": platform.python_version()},
        "evaluations": {"model": summary, **others},
    }


def _parts(chosen: EvaluationSet, protocol: Protocol) -> dict[str, dict[str, str | None]]:
    parts = chosen.benchmark.parts
    wanted = protocol.parts or (next(iter(parts)),)
    return {name: {"hub_id": parts[name].repository.id, "revision": parts[name].repository.revision} for name in wanted}


def _notes(
    chosen: EvaluationSet, protocol: Protocol, items: Sequence[BenchmarkItem], options: BenchmarkOptions
) -> list[str]:
    missing = missing_images(items)
    if not missing:
        return []
    part = chosen.benchmark.parts[next(iter(_parts(chosen, protocol)))]
    place = part.folder if options.data_root is None else options.data_root / part.folder
    return [
        f"{len(missing)} image or video files are missing, {missing[0]} first; what looks at them fails. They are in "
        f"the hub data set {part.repository.id}: {part.repository.command(place)}"
    ]


def _lines(records: Sequence[RowRecord]) -> str:
    return "".join(json.dumps(record.to_dict(), allow_nan=False) + "\n" for record in records)
