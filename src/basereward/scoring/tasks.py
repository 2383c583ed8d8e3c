"""What is to be scored of each record of a file, and the columns that its scores become."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from basereward.data.formats.group import parse_group
from basereward.data.media import locate_image
from basereward.data.outcomes import Failure, Score, Scored
from basereward.data.parsing import check_columns
from basereward.data.reader import Reader
from basereward.data.rows import pack_row
from basereward.data.schema import PreferencePair, Response, ResponseGroup, response_id, task_of
from basereward.data.validation import parse_row
from basereward.errors import DataError, RowError
from basereward.scoring.interface import Scorer, checked_scores

GROUP_KEYS = ("id", "source", "images", "image", "videos", "prompt", "responses", "system")
# Rows whose groups are scored together; part of what decides the last bits of a score, so one number for everyone.
BATCH_ROWS = 64
SCORE_TYPES = pa.schema(
    {
        "chosen_score": pa.float64(),
        "rejected_score": pa.float64(),
        "scores": pa.list_(pa.float64()),
        "best": pa.int64(),
    }
)
# What stands beside them where a scorer writes. The column ``critiques`` is taken: from it critics learn.
TEXT_TYPES = pa.schema(
    {
        "chosen_critique": pa.string(),
        "rejected_critique": pa.string(),
        "response_critiques": pa.list_(pa.string()),
    }
)
ERROR_TYPES = pa.schema({"error": pa.string()})


def added_types(writes: bool) -> pa.Schema:
    """Return every column that records may gain, in order, with its type.

    Args:
        writes: the scores hold texts.
    """
    return pa.schema([*SCORE_TYPES, *(TEXT_TYPES if writes else ()), *ERROR_TYPES])


class ScoreTask(NamedTuple):
    """The groups of one record, and the places of its chosen and rejected responses through all of them.

    Without such places the responses are only scored, in their order.
    """

    groups: tuple[ResponseGroup, ...]
    chosen: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()


class RecordTasks:
    """Turns the records of one file into tasks, and scores into columns.

    Args:
        reader: of the file; None for one without records.
        folder: of its images.
        writes: the scores hold texts, which are kept beside them.
    """

    def __init__(self, reader: Reader | None, folder: Path, writes: bool = False) -> None:
        self._reader = reader
        self._folder = folder
        self._writes = writes
        self._several = reader is not None and reader.several

    def check_names(self, record: Mapping[str, Any], place: str) -> None:
        """Refuse columns of a record that look like a misspelt known one, and those that scores would replace.

        Raises:
            DataError: there is one.
        """
        self.check_spelling(record, place)
        names = tuple(record)
        if taken := [name for name in self.gained(names) if name in names]:
            raise DataError(f"{place}: column {', '.join(taken)} would be replaced; rename or remove it.")

    def check_spelling(self, record: Mapping[str, Any], place: str) -> None:
        """Refuse columns of a record that look like a misspelt known one.

        Raises:
            DataError: there is one.
        """
        expected = set(self._reader.columns if self._reader else ()) - {"prompt"}
        if not expected & set(record):
            check_columns(tuple(record), GROUP_KEYS, place)
        elif self._reader:
            with suppress(RowError):
                self._reader.prepare(record)

    def gained(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the columns that a record with these columns gains."""
        is_group = "responses" in names
        is_pair = not is_group or bool({"chosen", "rejected"} & set(names))
        is_list = is_group or self._several
        kinds = {"error": True, "best": is_group, "chosen": is_pair, "rejected": is_pair}
        return tuple(name for name in added_types(self._writes).names if kinds.get(name.partition("_")[0], is_list))

    def types(self, names: Sequence[str]) -> pa.Schema:
        """Return the types of the columns that a record with these columns gains."""
        known = added_types(self._writes)
        return pa.schema([known.field(name) for name in self.gained(names)])

    def task(self, record: Mapping[str, Any], number: int) -> ScoreTask | RowError:
        """Return what is to be scored of a record, or why nothing is.

        Args:
            number: of the record in its file; the id of a record without one.
        """
        name = str(number) if record.get("id") is None else str(record["id"])
        try:
            if self._reader is None:
                raise RowError("malformed", "The file had no records when it was opened.")
            if record.get("responses") is not None:
                return ScoreTask((parse_group(self._reader.prepare(record), name, self._folder),))
            pairs = [self._parse(pair, number) for pair in self._reader.read(record, name)]
            if len(pairs) == 1:
                comparison = pairs[0].comparison()
                return ScoreTask(comparison.groups, (comparison.chosen,), (comparison.rejected,))
            return self._join(pairs, name)
        except RowError as error:
            return error

    def columns(self, task: ScoreTask, scores: Sequence[Scored]) -> dict[str, Any]:
        """Return the new columns of a record from the scores of all responses of its groups.

        Of several chosen and rejected ones ``chosen_score`` is the lowest and ``rejected_score`` the highest, and
        ``scores`` are all, chosen ones first. Of responses without a preference ``best`` is the place of the highest
        score, the first of equal ones, null if one has failed. Texts are those of the same responses. Under ``error``
        stand its failures, each once, in order.
        """
        error = tuple(dict.fromkeys(score for score in scores if isinstance(score, Failure)))
        if not task.chosen:
            return {**self._list(scores), "best": _best(scores), "error": error}
        chosen, rejected = ([scores[place] for place in side] for side in (task.chosen, task.rejected))
        columns = {**self._side("chosen", _extreme(min, chosen)), **self._side("rejected", _extreme(max, rejected))}
        return {**columns, **(self._list([*chosen, *rejected]) if self._several else {}), "error": error}

    def _side(self, name: str, score: Score | None) -> dict[str, Any]:
        texts = {f"{name}_critique": score and score.text} if self._writes else {}
        return {f"{name}_score": score and score.value, **texts}

    def _list(self, scores: Sequence[Scored]) -> dict[str, Any]:
        known = [score if isinstance(score, Score) else None for score in scores]
        texts = {"response_critiques": [score and score.text for score in known]} if self._writes else {}
        return {"scores": [score and score.value for score in known], **texts}

    def _parse(self, pair: Mapping[str, Any], number: int) -> PreferencePair:
        images = [locate_image(image, self._folder) for image in pair["images"]]
        return parse_row(pack_row({**pair, "images": images}, self._folder), number)

    def _join(self, pairs: Sequence[PreferencePair], name: str) -> ScoreTask:
        """Return one task for pairs of one prompt: each response once, chosen ones first."""
        if not self._several:
            raise RowError("malformed", f"The record gives {len(pairs)} pairs, where the first records give one.")
        sides = [dict.fromkeys(getattr(pair, side) for pair in pairs) for side in ("chosen", "rejected")]
        answers = list(dict.fromkeys([*sides[0], *sides[1]]))
        responses = tuple(Response(response_id(name, answer), answer) for answer in answers)
        first = pairs[0]
        group = ResponseGroup(name, first.prompt, responses, first.images, first.videos, task_of(first.extra))
        return ScoreTask((group,), *(tuple(answers.index(answer) for answer in side) for side in sides))


def score_rows(scorer: Scorer, rows: Mapping[int, Mapping[str, Any]], tasks: RecordTasks) -> Iterator[dict[str, Any]]:
    """Yield the new columns of each row, with its failures under ``error``.

    Args:
        rows: by their number in the file.

    Raises:
        ScoringError: as ``checked_scores``.
    """
    asked = [tasks.task(row, number) for number, row in rows.items()]
    groups = [group for task in asked if isinstance(task, ScoreTask) for group in task.groups]
    scores = iter(checked_scores(scorer, groups))
    for row, task in zip(rows.values(), asked, strict=True):
        if isinstance(task, RowError):
            yield {**dict.fromkeys(tasks.gained(tuple(row))), "error": (Failure(task.reason, str(task)),)}
        else:
            yield tasks.columns(task, [score for _ in task.groups for score in next(scores)])


def error_text(failures: Sequence[Failure]) -> str | None:
    """Return the failures of a row as one text, None if there are none."""
    return "; ".join(f"{failure.reason}: {failure.message}" for failure in failures) or None


def _best(scores: Sequence[Scored]) -> int | None:
    known = [score.value for score in scores if isinstance(score, Score)]
    return known.index(max(known)) if known and len(known) == len(scores) else None


def _extreme(choose: Any, scores: Sequence[Scored]) -> Score | None:
    """Return the lowest or highest score, None if one has failed."""
    known = [score for score in scores if isinstance(score, Score)]
    return choose(known, key=lambda score: score.value) if len(known) == len(scores) else None
