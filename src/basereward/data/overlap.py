"""What a training set shares with benchmarks, as manifests and checkpoints hold it: kinds of matches, counts, items."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from basereward.configuration import Section
from basereward.errors import DataError

MatchKind = Literal[
    "same_pair",
    "provenance",
    "same_question",
    "near_question",
    "contained_question",
    "same_response",
    "same_image_new_question",
    "same_question_like_image",
    "same_question_other_image",
]
KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
# What makes an item known: the model was trained on its question, or on the preference about one of its responses.
CONTAMINATING: tuple[MatchKind, ...] = KINDS[:6]
EXPLANATIONS: dict[MatchKind, str] = {
    "same_pair": "The question and one of the item's responses; and the same images, or a response long enough.",
    "provenance": "The same id or file name in the set that the item was taken from, and the item's question.",
    "same_question": "A turn that is the question, and the same images or none on both sides.",
    "near_question": "A turn that is nearly the question, and the same images or none on both sides.",
    "contained_question": "A turn that holds the question, and the same images or none on both sides.",
    "same_response": "One of the item's responses, a long one, to another question.",
    "same_image_new_question": "Another question about the same images.",
    "same_question_like_image": "The question, about images that look alike: turned, cut at a side, or others.",
    "same_question_other_image": "The question, but about other images, or images that cannot be compared.",
}
# Grows with what a summary holds and with what is looked for.
FORMAT: Literal[2] = 2
_HASH_KEY = "sha256"


class KnownItem(Section):
    """A benchmark item that a pair of the training set matches; ``item`` is its ``item_key``."""

    item: str
    rows: tuple[int, ...]
    kind: MatchKind


class BenchmarkOverlap(Section):
    """What pairs share with one benchmark.

    ``found`` and ``found_rows`` count pairs and rows of the benchmark by their strongest kind, before any pair is
    dropped. ``known`` lists the items that pairs left in the set match by a contaminating kind.
    """

    items_sha256: str
    is_file: bool = False
    """Whether it is a file of pairs, called by its path, and no benchmark with a name of its own."""
    items: int
    rows: int
    unreadable: int
    """Items with images that could not be read: only texts and ids could match them."""
    found: dict[MatchKind, int]
    found_rows: dict[MatchKind, int]
    known: tuple[KnownItem, ...]


class OverlapSummary(Section):
    """The overlap of a set of pairs with benchmarks; ``dropped`` are the kinds whose pairs are not in the set."""

    format: Literal[2] = FORMAT
    pairs: int
    dropped: tuple[MatchKind, ...]
    method: dict[str, float]
    benchmarks: dict[str, BenchmarkOverlap]

    @property
    def sha256(self) -> str:
        """SHA-256 of the content as canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the content and its own hash, as manifests and checkpoints hold it."""
        return {**self.model_dump(mode="json"), _HASH_KEY: self.sha256}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "OverlapSummary":
        """Return the summary of a manifest or checkpoint.

        Raises:
            DataError: it is none of this version, or was changed.
        """
        if is_older(content):
            raise DataError(f"The contamination summary has format {content['format']}, not {FORMAT}; check again.")
        stored = dict(content)
        digest = stored.pop(_HASH_KEY, None)
        try:
            summary = cls.model_validate(stored)
        except ValueError as error:
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"The contamination summary is none of this version ({reason}); check again.") from error
        if summary.sha256 != digest:
            raise DataError("The contamination summary does not have the hash that it states; it was changed.")
        return summary


def is_older(content: Mapping[str, Any]) -> bool:
    """Return whether a stored summary is of an older format: of what was not looked for then it knows nothing."""
    return content.get("format") in range(1, FORMAT)


def merge_summaries(summaries: Sequence[OverlapSummary | None]) -> OverlapSummary | None:
    """Return what is known of several sets together.

    A benchmark stays if all sets were checked against the same items of it by the same method; where one set was not
    checked at all nothing is known of the whole.
    """
    checked = [summary for summary in summaries if summary is not None]
    if not checked or len(checked) < len(summaries) or any(one.method != checked[0].method for one in checked):
        return None
    first, *others = checked
    benchmarks = {}
    for name, own in first.benchmarks.items():
        parts = [own, *(one.benchmarks[name] for one in others if name in one.benchmarks)]
        if len(parts) == len(checked) and len({part.items_sha256 for part in parts}) == 1:
            benchmarks[name] = _merge_overlaps(parts)
    dropped = tuple(kind for kind in KINDS if all(kind in one.dropped for one in checked))
    pairs = sum(one.pairs for one in checked)
    return OverlapSummary(pairs=pairs, dropped=dropped, method=first.method, benchmarks=benchmarks)


def _merge_overlaps(parts: Sequence[BenchmarkOverlap]) -> BenchmarkOverlap:
    known: dict[str, KnownItem] = {}
    for item in sorted((item for part in parts for item in part.known), key=lambda item: KINDS.index(item.kind)):
        known.setdefault(item.item, item)
    found: dict[MatchKind, int] = {kind: sum(part.found.get(kind, 0) for part in parts) for kind in KINDS}
    # A row may be found by several sets; the largest count is sure.
    rows: dict[MatchKind, int] = {kind: max(part.found_rows.get(kind, 0) for part in parts) for kind in KINDS}
    changes = {"found": present_kinds(found), "found_rows": present_kinds(rows), "known": sort_items(known.values())}
    return parts[0].model_copy(update=changes)


def sort_items(items: Iterable[KnownItem]) -> tuple[KnownItem, ...]:
    """Return items by their rows."""
    return tuple(sorted(items, key=lambda item: (item.rows, item.item)))


def present_kinds(counts: dict[MatchKind, int]) -> dict[MatchKind, int]:
    """Return the counts that are not zero."""
    return {kind: count for kind, count in counts.items() if count}
