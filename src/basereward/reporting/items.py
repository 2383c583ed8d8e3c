"""Items that a page shows one by one: prompts, images, responses with their scores, as JSON inside the page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from basereward.reporting.thumbnails import make_thumbnail


class ShownAnswer(NamedTuple):
    """A response, the side that it is on, and its score by each scorer (``None`` where it has none)."""

    side: str
    text: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One row: what it is, how it ended, its texts and its images; ``kind`` is one more word to filter by.

    An image that is missing is None, and the page says so in its place.
    """

    row: int
    id: str
    source: str
    outcome: str
    margin: float | None
    prompt: str
    answers: tuple[ShownAnswer, ...]
    images: tuple[Path | bytes | None, ...] = ()
    failure: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class CardList:
    """Items for a page, those that it must show first; ``rule`` says in words which are left out if it is full.

    ``filters`` is what a reader calls all sources, all outcomes and all kinds of items; ``order`` names the order in
    which they stand at first, if not by margin.
    """

    title: str
    items: Sequence[Card]
    rule: str
    scorers: tuple[str, ...]
    margin: str = "margin"
    filters: tuple[str, str, str] = ("all subsets", "all outcomes", "all kinds")
    order: str = ""


class EmbeddedItems(NamedTuple):
    """The JSON of the items that fit, safe inside a ``script`` element, and how many they are."""

    text: str
    shown: int


def embed_items(listed: CardList, limit: int) -> EmbeddedItems:
    """Return the first items whose JSON and images, each image once, take at most ``limit`` bytes."""
    head = {"scorers": listed.scorers, "margin": listed.margin, "filters": listed.filters, "order": listed.order}
    parts: list[str] = []
    images: list[str] = []
    places: dict[Path | bytes | None, int | None] = {None: None}
    left = limit - len(_dump({**head, "items": [], "images": []}).encode())
    for item in listed.items:
        fresh: list[str] = []
        for path in item.images:
            if path is not None and path not in places:
                thumbnail = make_thumbnail(path)
                places[path] = None if thumbnail is None else len(images) + len(fresh)
                fresh += [] if thumbnail is None else [_dump(thumbnail)]
        part = _dump(_fields(item) | {"images": [places[path] for path in item.images]})
        # A comma follows each of them.
        left -= sum(len(text.encode("utf-8", "replace")) + 1 for text in (part, *fresh))
        if left < 0:
            break
        parts.append(part)
        images += fresh
    text = f'{_dump(head)[:-1]},"items":[{",".join(parts)}],"images":[{",".join(images)}]}}'
    return EmbeddedItems(text, len(parts))


def _fields(card: Card) -> dict[str, Any]:
    return {field.name: getattr(card, field.name) for field in fields(card)}


def _dump(value: Any) -> str:
    # Inside a string "<" could end the script element or begin a comment.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
