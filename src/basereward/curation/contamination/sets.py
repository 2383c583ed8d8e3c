"""What training data are compared with: benchmarks by name, and any file of pairs or of prompts with answers."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import datasets

from basereward.benchmarks.items import BenchmarkItem, ItemRow, MadeItems
from basereward.benchmarks.pairs import PairItems
from basereward.benchmarks.plugins import benchmark_names, open_benchmark
from basereward.data.messages import parse_messages
from basereward.data.pairs import PairDataset
from basereward.data.places import iterate_rows, open_place
from basereward.data.rowset import DatasetRows
from basereward.data.schema import Response, ResponseGroup, messages_from_text, response_id
from basereward.data.storage import read_rows
from basereward.data.validation import DropLedger, parse_row
from basereward.errors import DataError, RowError
from basereward.sources.prompt_sets import as_pairs, holds_prompts, read_prompts

_log = logging.getLogger(__name__)


class EvaluationItems(NamedTuple):
    """The items of one benchmark, and whether it is a file of pairs or of prompts."""

    items: Sequence[BenchmarkItem]
    is_file: bool


class AnswerSet(NamedTuple):
    """A benchmark of answers: its hub id, its split, and the columns that prompts have under other names."""

    place: str
    split: str
    names: Mapping[str, str]


_MATHVISTA = {"id": "pid", "prompt": "question", "image": "decoded_image"}
_VSTAR = {"id": "question_id", "prompt": "text", "answer": "label"}
# Benchmarks of policies, which rank no responses: no reward model is evaluated on them.
ANSWER_SETS = {
    "mathvista": AnswerSet("AI4Math/MathVista", "testmini", _MATHVISTA),
    "vstar": AnswerSet("lmms-lab/vstar-bench", "test", _VSTAR),
}


def load_items(spec: str, data_root: Path | None = None, answer: str = "answer") -> EvaluationItems:
    """Return the items of a benchmark in its default part, or what a file, a folder or a hub data set holds.

    Args:
        spec: a name, also of ``ANSWER_SETS``; ``file.py:NAME``; or a place of pairs or of prompts with answers: an own
            test set, another training set.
        data_root: folder of local copies of benchmarks.
        answer: the column of the right answer, in a place of prompts.

    Raises:
        UnknownNameError: no such benchmark, and no such place.
        MissingFileError: files are not there; names the command that brings those of a benchmark.
        DataError: no usable pair or prompt.
    """
    if spec in ANSWER_SETS:
        known = ANSWER_SETS[spec]
        own = data_root and data_root / spec
        place = str(own) if own and own.is_dir() else known.place
        items = _read_answers(f"{place}:{known.split}", known.names)
        return EvaluationItems(items, is_file=False)
    if not _is_place(spec):
        return EvaluationItems(open_benchmark(spec).load(data_root), is_file=False)
    names = answer_names(answer)
    holds_answers = holds_prompts(open_place(spec, "test"), names)
    return EvaluationItems(_read_answers(spec, names) if holds_answers else _read_pairs(spec), is_file=True)


def load_rows(path: str | Path, answer: str = "answer") -> datasets.Dataset:
    """Return the rows of a training set: of pairs as they are, of prompts for a policy as ``as_pairs`` gives them.

    Raises:
        MissingFileError: there is nothing at ``path``.
        DataError: it cannot be read, or no prompt of it can be used.
    """
    place, names = open_place(path), answer_names(answer)
    if not holds_prompts(place, names):
        return read_rows(path)
    return as_pairs(_usable_prompts(str(path), "train", names))


def answer_names(answer: str) -> dict[str, str]:
    """Return the names of columns of prompts whose right answer stands in the column ``answer``."""
    return {} if answer == "answer" else {"answer": answer}


class AnswerItems(MadeItems):
    """The items of prompts with answers, made when asked for; the answer is their only response.

    Args:
        prompts: rows of ``read_prompts``.
    """

    def __init__(self, prompts: datasets.Dataset) -> None:
        self._prompts = prompts

    def __len__(self) -> int:
        return len(self._prompts)

    def make(self, index: int) -> BenchmarkItem:
        """Return the item of a prompt."""
        [row] = iterate_rows(self._prompts.select([index]))
        said = messages_from_text(row["answer"], "assistant")
        response = Response(response_id(row["id"], said), said)
        prompt = parse_messages(row["prompt"], "user")
        group = ResponseGroup(row["id"], prompt, (response,), images=tuple(row["images"] or ()))
        return BenchmarkItem((group,), (ItemRow(index, row["id"], row["source"], (0,), ()),))


def _is_place(spec: str) -> bool:
    if spec in benchmark_names() or spec.rpartition(":")[0].endswith(".py"):
        return False
    path = Path(spec).expanduser()
    return "/" in spec or bool(path.suffix) or path.exists()


def _read_pairs(place: str) -> PairItems:
    rows = read_rows(place, split="test")
    kept, ledger = [], DropLedger()
    for number, row in enumerate(iterate_rows(rows)):
        try:
            parse_row(row, number)
        except RowError as error:
            ledger.add(error.reason, str(error))
        else:
            kept.append(number)
    if not kept:
        raise DataError(f"None of the {len(rows)} rows of {place} is a pair to compare with ({ledger.tell()}).")
    if ledger.total:
        _log.warning(
            "%s of %s rows of %s are no pairs and not compared: %s", ledger.total, len(rows), place, ledger.tell()
        )
    return PairItems(PairDataset(DatasetRows(rows), kept), kept)


def _read_answers(place: str, names: Mapping[str, str]) -> AnswerItems:
    return AnswerItems(_usable_prompts(place, "test", names))


def _usable_prompts(path: str, split: str, names: Mapping[str, str]) -> datasets.Dataset:
    rows, ledger = read_prompts(open_place(path, split), names)
    if not len(rows):
        raise DataError(f"No prompt of {path} can be used ({ledger.tell()}).")
    if ledger.total:
        _log.warning("%s prompts of %s cannot be used and are not compared: %s", ledger.total, path, ledger.tell())
    return rows
