"""Alpaca's instructions with two answers, as LLaMA-Factory reads them.

``instruction`` and the optional ``input`` are the question, ``chosen`` and ``rejected`` texts (older files hold both in
``output``); ``history`` is a list of earlier questions with their answers, ``system`` a text. ``images`` holds as many
images as the texts have ``<image>``.

Source: LLaMA-Factory, ``data/README.md``.
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import Branches
from basereward.data.formats.format import RecordFormat, file_pair
from basereward.errors import RowError

COLUMNS = ("instruction", "chosen", "rejected")
READS = ("input", "history", "output")


def fits(record: Raw) -> bool:
    """Whether a record has an instruction and two answers as texts."""
    return record.get("prompt") is None and isinstance(record.get("instruction"), str) and len(_answers(record)) == 2


def parse(record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: ``malformed`` for a history that is none, or as ``file_pair``.
    """
    question = "\n".join(text for text in (record["instruction"], record.get("input")) if text)
    history = record.get("history") or []
    if not all(isinstance(turn, (list, tuple)) and len(turn) == 2 for turn in history):
        raise RowError("malformed", f"Expected a history of questions with their answers, found {history!r:.100}.")
    texts = [*(text for turn in history for text in turn), question]
    prompt = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    read = ("instruction", "input", "history", *(COLUMNS[1:] if _has_sides(record) else ("output",)))
    yield file_pair(record, name, Branches(prompt, *_answers(record)), read, unread=("videos",))


def _has_sides(record: Raw) -> bool:
    return all(isinstance(record.get(name), str) for name in COLUMNS[1:])


def _answers(record: Raw) -> list[Any]:
    """Return the chosen and the rejected text, or nothing."""
    if _has_sides(record):
        return [record[name] for name in COLUMNS[1:]]
    output = record.get("output")
    return output if isinstance(output, list) and all(isinstance(text, str) for text in output) else []


FORMAT = RecordFormat(
    name="alpaca",
    title="instruction, input, chosen, rejected as texts (LLaMA-Factory)",
    columns=COLUMNS,
    fits=fits,
    parse=parse,
    reads=READS,
)
