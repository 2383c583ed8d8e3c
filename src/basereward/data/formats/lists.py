"""A prompt with a list of chosen and a list of rejected texts, as in RM-Bench: each chosen one with each rejected one.

Source: RM-Bench, ``data/total_dataset.json``.
"""

from collections.abc import Iterable
from itertools import product
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import Branches
from basereward.data.formats.format import RecordFormat, file_pair
from basereward.data.schema import REQUIRED_KEYS


def fits(record: Raw) -> bool:
    """Whether a record has a prompt, and lists of texts as chosen and rejected."""
    return record.get("prompt") is not None and all(_are_texts(record.get(name)) for name in ("chosen", "rejected"))


def parse(record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return a pair for each two texts.

    Raises:
        RowError: as ``file_pair``.
    """
    for (better, chosen), (worse, rejected) in product(enumerate(record["chosen"]), enumerate(record["rejected"])):
        branches = Branches(record["prompt"], chosen, rejected)
        yield file_pair(record, f"{name}-{better}-{worse}", branches, REQUIRED_KEYS, marks=False)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


FORMAT = RecordFormat(
    name="lists",
    title="prompt, chosen and rejected as lists of texts: each chosen one with each rejected one (RM-Bench)",
    columns=REQUIRED_KEYS,
    fits=fits,
    parse=parse,
)
