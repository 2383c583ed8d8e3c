"""Whole conversations as texts: ``\\n\\nHuman: ...\\n\\nAssistant: ...``, as in Anthropic's HH-RLHF.

Source: Bai et al. (arXiv 2204.05862) and its data.
"""

import re
from collections.abc import Iterable
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import split_conversations
from basereward.data.formats.format import RecordFormat, file_pair
from basereward.errors import RowError

COLUMNS = ("chosen", "rejected")
_SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):")


def fits(record: Raw) -> bool:
    """Whether a record has texts as chosen and rejected that begin with a speaker, and no prompt."""
    texts = [record.get(name) for name in COLUMNS]
    return record.get("prompt") is None and all(isinstance(text, str) and _SPEAKER.search(text) for text in texts)


def parse(record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: as ``parse_transcript``, ``split_conversations`` and ``file_pair``.
    """
    branches = split_conversations(*(parse_transcript(record[column]) for column in COLUMNS))
    yield file_pair(record, name, branches, COLUMNS, marks=False, unread=("images", "image", "videos"))


def parse_transcript(text: Any) -> list[dict[str, str]]:
    """Return the messages of a text, without the white space around them.

    Raises:
        RowError: ``malformed`` if it does not begin with a speaker.
    """
    before, *spoken = _SPEAKER.split(text) if isinstance(text, str) else [""]
    if before.strip() or not spoken:
        raise RowError("malformed", f"Expected a text that begins with 'Human:' or 'Assistant:', found {text!r:.100}.")
    turns = zip(spoken[::2], spoken[1::2], strict=True)
    return [{"role": speaker, "content": said.strip()} for speaker, said in turns]


FORMAT = RecordFormat(
    name="transcript",
    title="chosen and rejected as texts of the form 'Human: ... Assistant: ...' (HH-RLHF)",
    columns=COLUMNS,
    fits=fits,
    parse=parse,
)
