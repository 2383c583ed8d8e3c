"""``README.md`` of a model folder: a generated part between two marks, and around it what people write."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from basereward.data.io import replacing
from basereward.errors import DataError
from basereward.models.card.facts import FILE_NAME as FACTS
from basereward.models.card.facts import CardFacts, former_card_facts, write_card_facts
from basereward.models.card.page import metadata, read_card, write_block

CARD = "README.md"
BEGIN, END = "<!-- basereward: what follows is generated -->", "<!-- basereward: what precedes is generated -->"
_METADATA = re.compile(r"---\r?\n(.*?\r?\n|)---\r?\n", re.DOTALL)


class CardText(NamedTuple):
    """A card taken apart: its metadata, what stands before the generated part, and what stands behind it."""

    metadata: dict[str, Any]
    before: str
    behind: str


def write_card(folder: Path, facts: CardFacts | None = None) -> Path:
    """Write the card of a model folder from the files in it, and return its path.

    What people wrote outside the marks stays, byte for byte; the same folder gives the same file.

    Args:
        facts: to be written to ``card.yaml`` first; by default what it holds.

    Raises:
        CheckpointError: no model of this library.
        DataError: the marks of the card are broken, or its metadata cannot be read.
    """
    path = folder / CARD
    text = split_card(_read(path), path)
    if facts is not None:
        write_card_facts(facts, folder)
    own = read_card(folder)
    before = text.before or f"# {own.name}\n\n"
    head = yaml.safe_dump(metadata(own, text.metadata), sort_keys=False, allow_unicode=True, width=120)
    with replacing(path) as temporary:
        content = f"---\n{head}---\n{before}{BEGIN}\n\n{write_block(own)}\n\n{END}{text.behind or chr(10)}"
        temporary.write_bytes(content.encode())
    return path


def carry_card(source: Path, folder: Path) -> Path:
    """Write the card of a model made of another one: it has that one's run and backbone, and none of its results."""
    return write_card(folder, former_card_facts(source).model_copy(update={"results": ()}))


def forget_card(folder: Path) -> None:
    """Delete what is said of the weights that a folder held before; what people wrote in the card stays."""
    (folder / FACTS).unlink(missing_ok=True)


def split_card(text: str, place: Path) -> CardText:
    """Return a card taken apart; one without a generated part is all before it.

    Raises:
        DataError: a mark is missing, twice there or in the wrong order, or the metadata are no mapping.
    """
    head: dict[str, Any] = {}
    if found := _METADATA.match(text):
        head = _read_metadata(found[1], place)
        text = text[found.end() :]
    if BEGIN not in text and END not in text:
        return CardText(head, f"{text.rstrip()}\n\n" if text.strip() else "", "")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(
            f"{place} needs the marks {BEGIN} and {END}, once each and in this order, around the generated part; put "
            "them back, or delete both with what is between them."
        )
    before, rest = text.split(BEGIN)
    return CardText(head, before, rest.split(END)[1])


def _read(path: Path) -> str:
    try:
        # As bytes: the ends of lines that a person wrote stay as they are.
        return path.read_bytes().decode() if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}); save it as such, or move it elsewhere.") from error


def _read_metadata(text: str, place: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise DataError(f"The metadata in front of {place} are no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(found, dict):
        raise DataError(f"The metadata in front of {place} are {type(found).__name__}; expected a mapping.")
    return found
