"""ShareGPT's turns with two answers, as LLaMA-Factory reads them.

``conversations`` is a list of ``{from, value}``, ``chosen`` and ``rejected`` are one such turn each or its text.
``images`` holds as many images as the texts have ``<image>``; ``system`` is an optional text.

Source: LLaMA-Factory, ``data/README.md``.
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import Branches
from basereward.data.formats.format import RecordFormat, file_pair

COLUMNS = ("conversations", "chosen", "rejected")


def fits(record: Raw) -> bool:
    """Whether a record has the three fields, the first as a list."""
    return isinstance(record.get("conversations"), list) and None not in (record.get("chosen"), record.get("rejected"))


def parse(record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: as ``file_pair``.
    """
    branches = Branches(*(record[column] for column in COLUMNS))
    yield file_pair(record, name, branches, COLUMNS, unread=("videos",))


FORMAT = RecordFormat(
    name="sharegpt",
    title="conversations of {from, value}, chosen and rejected as such turns (LLaMA-Factory)",
    columns=COLUMNS,
    fits=fits,
    parse=parse,
)
