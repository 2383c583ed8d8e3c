"""Benchmark items: response groups, and which of their responses each row of the benchmark calls correct.

A row of a benchmark is keyed by its place in the file, because ids repeat. Rows with the same prompt, images and
videos are one item: their responses form one group, and equal responses of a group are scored once. Responses that
hold images of their own share nothing, and stand in groups of their own.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

from basereward.data.digests import image_digest, image_key
from basereward.data.messages import parse_messages
from basereward.data.schema import Message, Messages, Part, Response, ResponseGroup, Video, response_id
from basereward.errors import DataError

Side = Literal["correct", "rejected"]


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One row as a loader reads it: a prompt, its correct and its rejected responses in the order of the file.

    ``subset`` is the finest category that the file gives; protocols group it. ``first`` is the side that the file shows
    first, where the official protocol asks a judge in that order.
    """

    id: str
    subset: str
    prompt: Messages
    correct: tuple[Messages, ...]
    rejected: tuple[Messages, ...]
    images: tuple[Any, ...] = ()
    videos: tuple[Video, ...] = ()
    first: Side | None = None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One row within an item: places of its responses in the item; places repeat where texts are equal."""

    row: int
    id: str
    subset: str
    correct: tuple[int, ...]
    rejected: tuple[int, ...]
    first: Side | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One prompt with all responses that the benchmark has for it, each once, and the rows that compare them."""

    groups: tuple[ResponseGroup, ...]
    rows: tuple[ItemRow, ...]

    @property
    def prompt(self) -> Messages:
        """The prompt, which all groups share."""
        return self.groups[0].prompt

    @property
    def responses(self) -> tuple[Response, ...]:
        """The responses of all groups, which places of rows count through."""
        return tuple(response for group in self.groups for response in group.responses)

    @property
    def images(self) -> list[Any]:
        """The images and the frames of videos, group by group."""
        return [
            image
            for group in self.groups
            for image in (*group.images, *(frame for video in group.videos for frame in video.frames))
        ]


class MadeItems(Sequence[BenchmarkItem]):
    """Items that are made when asked for, so that memory holds no image of the others."""

    @abstractmethod
    def make(self, index: int) -> BenchmarkItem:
        """Return the item at a place."""

    @overload
    def __getitem__(self, index: int) -> BenchmarkItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[BenchmarkItem]: ...
    def __getitem__(self, index: int | slice) -> BenchmarkItem | list[BenchmarkItem]:
        if isinstance(index, slice):
            return [self.make(place) for place in range(*index.indices(len(self)))]
        return self.make(index)


def text_row(
    id: str,
    subset: str,
    prompt: Any,
    correct: Sequence[Any],
    rejected: Sequence[Any],
    images: Sequence[Any] = (),
    videos: Sequence[Video] = (),
    first: Side | None = None,
) -> BenchmarkRow:
    """Return a row of texts or message lists; images and videos stand before the text of the prompt.

    Raises:
        RowError: ``malformed``, if a prompt or response is neither a text nor a list of messages.
    """
    messages = parse_messages(prompt, "user")
    parts = (*(Part("image") for _ in images), *(Part("video") for _ in videos))
    if parts:
        opening = messages[0]
        messages = (Message(opening.role, (*parts, *opening.content)), *messages[1:])
    right, wrong = (tuple(parse_messages(answer, "assistant") for answer in side) for side in (correct, rejected))
    return BenchmarkRow(str(id), str(subset), messages, right, wrong, tuple(images), tuple(videos), first)


def build_items(name: str, rows: Iterable[BenchmarkRow]) -> list[BenchmarkItem]:
    """Put rows of one prompt together; items stand in the order of their first row.

    The responses of a group are ordered by a hash of their content, so that a position can leak no label.

    Raises:
        DataError: a row without a correct or a rejected response.
    """
    blocks: dict[Hashable, list[tuple[int, BenchmarkRow]]] = {}
    for number, row in enumerate(rows):
        if not row.correct or not row.rejected:
            raise DataError(
                f"Row {number} ({row.id!r}) of {name} has {len(row.correct)} correct and {len(row.rejected)} rejected "
                "responses; expected at least one of each."
            )
        blocks.setdefault(_prompt_key(row), []).append((number, row))
    return [_build_item(f"{name}-{block[0][0]}", block) for block in blocks.values()]


def _build_item(group_id: str, block: Sequence[tuple[int, BenchmarkRow]]) -> BenchmarkItem:
    answers = {answer: response_id(group_id, answer) for _, row in block for answer in (*row.correct, *row.rejected)}
    # By hash: in the order of the file the correct response would come first, and a bias for the first would be right.
    ordered = sorted(answers, key=lambda answer: answers[answer])
    places = {answer: place for place, answer in enumerate(ordered)}
    first = block[0][1]
    responses = tuple(Response(answers[answer], answer) for answer in ordered)
    subsets = {row.subset for _, row in block}
    task = first.subset if len(subsets) == 1 else None
    group = ResponseGroup(group_id, first.prompt, responses, first.images, first.videos, task)
    rows = tuple(
        ItemRow(
            number,
            row.id,
            row.subset,
            tuple(places[answer] for answer in row.correct),
            tuple(places[answer] for answer in row.rejected),
            row.first,
        )
        for number, row in block
    )
    return BenchmarkItem((group,), rows)


def _prompt_key(row: BenchmarkRow) -> Hashable:
    videos = tuple(tuple(map(image_key, video.frames)) for video in row.videos)
    return row.prompt, tuple(map(image_key, row.images)), videos


class SeenImage(NamedTuple):
    """An image by the SHA-256 of its bytes, or by its file name where it cannot be read."""

    key: str
    is_read: bool


class ItemFacts(NamedTuple):
    """What one walk over items finds.

    Args:
        sha256: of all texts, labels, subsets and images, in order. An image counts by its bytes, wherever they lie, and
            one that is not there by its file name: a data set has the same hash on every machine.
        images: for each item its images and frames.
        shapes: for each item how many images and videos each of its groups shows.
        rows: for each item its rows.
        responses: how many there are.
        missing: the image files that do not exist, each once.
    """

    sha256: str
    images: list[tuple[SeenImage, ...]]
    shapes: list[tuple[tuple[int, int], ...]]
    rows: list[tuple[int, ...]]
    responses: int
    missing: list[str]


def survey(items: Iterable[BenchmarkItem]) -> ItemFacts:
    """Walk over items once and return what is known of them."""
    digest = hashlib.sha256()
    facts = ItemFacts("", [], [], [], 0, [])
    missing: set[str] = set()
    responses = 0
    for item in items:
        seen = []
        for image in item.images:
            if (found := image_digest(image)) is None:
                name = Path(image_key(image))
                missing.update([] if name.is_file() else [str(name)])
            seen.append(SeenImage(found or name.name, found is not None))
        rows = [[row.row, row.id, row.subset, row.correct, row.rejected] for row in item.rows]
        content = [[message.to_dict() for message in item.prompt], [own.id for own in item.responses], rows]
        content.append([own.key for own in seen])
        # Texts with half a surrogate pair exist in released files; they count as they are.
        digest.update(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        facts.images.append(tuple(seen))
        facts.shapes.append(tuple((len(group.images), len(group.videos)) for group in item.groups))
        facts.rows.append(tuple(row.row for row in item.rows))
        responses += len(item.responses)
    return facts._replace(sha256=digest.hexdigest(), responses=responses, missing=sorted(missing))


def items_fingerprint(items: Iterable[BenchmarkItem]) -> str:
    """Return the ``sha256`` of ``survey``."""
    return survey(items).sha256
