"""Prompts with right answers for a policy: read once through the door for prompts, and checked to be of one kind."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import datasets

from basereward.data.columns import column, list_counts
from basereward.data.images import load_image
from basereward.data.messages import parse_messages
from basereward.data.places import open_place
from basereward.data.rowset import DatasetRows, Rows
from basereward.data.schema import ResponseGroup
from basereward.data.validation import DropLedger
from basereward.errors import DataError
from basereward.sources.prompt_sets import read_prompts


class PolicyPrompts(Protocol):
    """What a policy is asked, one prompt for each of its rows."""

    @property
    def rows(self) -> datasets.Dataset:
        """What ``read`` takes."""
        ...

    @property
    def ledger(self) -> DropLedger:
        """What was dropped on the way."""
        ...

    @property
    def has_images(self) -> bool:
        """Whether the prompts show images; all of them do or none does."""
        ...

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as policies take it: ``prompt``, ``images`` if there are any, ``answer``, ``id``, ``source``."""
        ...


class Prompts(NamedTuple):
    """Prompts in the stored layout, and what was dropped on the way."""

    rows: datasets.Dataset
    ledger: DropLedger

    @property
    def has_images(self) -> bool:
        """Whether the prompts show images; all of them do or none does."""
        return bool(len(self.rows)) and bool(self.rows[0]["images"])

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as policies take it."""
        return policy_row(row)


def load_prompts(
    paths: Sequence[str], answer: str = "answer", limit: int | None = None, strict: bool = False
) -> Prompts:
    """Read prompts from files, folders of shards or the hub; what cannot be used is dropped and counted.

    Args:
        paths: as ``data.places.open_place``.
        answer: the column of the right answer.
        limit: of each place, only the first prompts.
        strict: fail on the first prompt that cannot be used.

    Raises:
        MissingFileError: there is nothing at a path.
        DataError: nothing is left, some prompts have images and others none, or with ``strict`` a bad prompt.
    """
    parts, ledger = [], DropLedger()
    for path in paths:
        rows, dropped = read_prompts(open_place(path), {} if answer == "answer" else {"answer": answer}, limit)
        ledger = ledger.merge(dropped)
        parts.append(rows)
    if ledger.total and strict:
        raise DataError(f"Found prompts that cannot be used: {ledger.tell()}; leave strict out to drop them.")
    rows = datasets.concatenate_datasets(parts)
    if not len(rows):
        told = f" ({ledger.tell()})" if ledger.total else ""
        raise DataError(f"No prompt of {', '.join(paths)} can be used{told}.")
    have_images(DatasetRows(rows))
    return Prompts(rows, ledger)


def have_images(rows: Rows) -> bool:
    """Return whether all of the rows have images, or none has.

    Raises:
        DataError: some have, and others have none.
    """
    shown = sum(map(bool, _image_counts(rows)))
    if 0 < shown < len(rows):
        raise DataError(
            f"{shown} of {len(rows)} prompts have images and the others none. A batch of a policy holds one kind: "
            "give prompts with images, or prompts without."
        )
    return shown > 0


def prompt_group(row: Mapping[str, Any]) -> ResponseGroup:
    """Return a stored prompt as a group without responses."""
    return ResponseGroup(row["id"], parse_messages(row["prompt"], "user"), (), images=tuple(row["images"] or ()))


def policy_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored prompt as policies take it: parts without empty keys, images decoded to RGB, extra columns."""
    messages = [message.to_dict() for message in parse_messages(row["prompt"], "user")]
    extra = {"images": [load_image(image) for image in row["images"]]} if row["images"] else {}
    return {"prompt": messages, "id": row["id"], "answer": row["answer"], "source": row["source"], **extra}


def _image_counts(rows: Rows) -> list[int]:
    tables = rows.tables(["images"])
    return [count for table in tables for count in list_counts(column(table, "images")).tolist()]
