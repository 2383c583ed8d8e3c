"""Evaluates a scorer on a file of pairs into a folder, beside trivial baselines and its image-blind self."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from basereward.data.pairs import load_pairs
from basereward.data.schema import PreferencePair
from basereward.errors import DataError
from basereward.evaluation.blind import permute_images
from basereward.evaluation.files import (
    PARTIAL_RECORDS,
    RESULT,
    append_records,
    read_records,
    write_json,
    write_records,
)
from basereward.evaluation.pairs import PairRecord, evaluate_pairs
from basereward.scoring.baselines import BASELINES
from basereward.scoring.interface import Scorer

Progress = Callable[[int, int], None]
IMAGE_BLIND = "image_blind"


def evaluate_file(
    scorer: Scorer,
    path: str | Path,
    folder: Path,
    references: bool = True,
    limit: int | None = None,
    strict: bool = False,
    resume: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a file of canonical pairs; write ``records.jsonl`` and ``result.json`` and return the latter.

    Args:
        references: also evaluate the trivial baselines and the image-blind model.
        resume: go on from the records of an interrupted call with the same scorer and file.
        on_progress: called with the number of pairs done and of all pairs.

    Raises:
        DataError: no usable pair, a bad row when ``strict``, or records of other pairs in the folder.
    """
    loaded = load_pairs([path], split="test", limit=limit, strict=strict)
    partial = folder / PARTIAL_RECORDS
    known = read_records(folder) if resume and partial.exists() else []
    if not resume:
        partial.unlink(missing_ok=True)
    done = len(known)

    def keep(fresh: Sequence[PairRecord], total: int) -> None:
        nonlocal done
        append_records(folder, fresh)
        done += len(fresh)
        on_progress(done, total)

    benchmark = Path(path).stem
    evaluation = evaluate_pairs(scorer, loaded.pairs, on_progress=keep, known=known, benchmark=benchmark)
    others = evaluate_references(scorer, loaded.pairs, benchmark) if references else {}
    result = {
        **evaluation.summary,
        "scorer": scorer.name,
        "dropped": loaded.ledger.counts,
        "failures": evaluation.failures,
        "evaluations": {"model": evaluation.summary, **others},
    }
    write_records(folder, evaluation.records)
    write_json(folder / RESULT, result)
    return result


def evaluate_references(
    scorer: Scorer, pairs: Sequence[PreferencePair], benchmark: str, image_blind: bool = True
) -> dict[str, dict[str, Any]]:
    """Return summaries of the trivial baselines and, if any pair has images, of the model with images exchanged.

    Args:
        image_blind: whether to score all pairs a second time for it.
    """
    summaries = {}
    for name in BASELINES.names():
        baseline = BASELINES.get(name)
        summaries[baseline.name] = evaluate_pairs(baseline, pairs, benchmark=benchmark).summary
    if image_blind and any(pair.images for pair in pairs):
        blind = evaluate_pairs(scorer, permute_images(pairs), benchmark=benchmark)
        summaries = {IMAGE_BLIND: blind.summary, **summaries}
    return summaries


def accuracy_of(summary: dict[str, Any]) -> float:
    """Return the strict accuracy of a summary.

    Raises:
        DataError: nothing was scored.
    """
    value = summary["metrics"]["accuracy"]["value"]
    if value is None:
        raise DataError(f"No pair of {summary['benchmark']} could be scored; see the failures in records.jsonl.")
    return value
