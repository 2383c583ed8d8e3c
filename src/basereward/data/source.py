"""A training set: what it says about itself, and how its raw records become canonical pairs or prompts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from basereward.data.files import DataFiles, HubRepository, Raw
from basereward.data.reader import Recognised

Modality = Literal["text", "image", "image+video"]
RecordKind = Literal["pairs", "prompts"]
# Kept by the paper, left out by it, a part of a set it kept, or not in the paper's Table 4.
PaperVerdict = Literal["kept", "dropped", "part", "rl", "not in the paper"]


@dataclass(frozen=True, slots=True)
class Source:
    """A training set: its header, and how its raw records become canonical records.

    Args:
        name: what commands call it; also the ``source`` of its pairs.
        title: one line that says what it is.
        repository: hub id, licence, verified revision or None, and the files to download.
        paper_name: the row of the paper's Table 4, if it has one.
        paper_size: pairs that the table states.
        verdict: what became of it in the paper.
        remark: the reason of the verdict, or a trap, in one sentence.
        kind: ``pairs``, or ``prompts`` for reinforcement learning (prompt and answer, no responses).
        records: the raw records, in an order that does not depend on the machine; cheap enough to skip many. May raise
            ``MissingFileError`` or ``DataError`` (for columns other than expected, with those found).
        parse: canonical records of one raw record, as ``storage.write_rows`` takes them: none, one or several. Raises
            ``RowError`` for a record that gives none, ``DataError`` for a layout that is not the documented one.
        read_as: what a file of one's own was recognised as.
    """

    name: str
    title: str
    repository: HubRepository
    modality: Modality
    verdict: PaperVerdict
    remark: str
    records: Callable[[DataFiles], Iterable[Raw]]
    parse: Callable[[Raw, DataFiles], Iterable[dict[str, Any]]]
    paper_name: str | None = None
    paper_size: int | None = None
    kind: RecordKind = "pairs"
    read_as: Recognised | None = None
