"""Benchmark items: response groups, and which of their responses each row of the benchmark calls correct.

A row of a benchmark is keyed by its place in the file, because ids repeat. Rows with the same prompt, images and
videos are one item: their responses form one group, and equal responses of an item are scored once. A response that
shows images stands in a group of its own behind it, because the images of a group are those of its one beginning.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

from basereward.data.digests import image_digest, image_key
from basereward.data.messages import parse_messages
from basereward.data.schema import (
    Message,
    Messages,
    Part,
    Response,
    ResponseGroup,
    Video,
    count_parts,
    response_id,
)
from basereward.errors import DataError

Side = Literal["correct", "rejected"]


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One row as a loader reads it: a prompt, its correct and its rejected responses in the order of the file.

    ``subset`` is the finest category that the file gives; protocols group it. ``first`` is the side that the file shows
    first, where the official protocol asks a judge in that order. ``own_images`` are the images that each response
    shows, of the correct ones first; empty if none shows any. Of a ``tied`` row the label calls both responses equal:
    one stands on each side, and only a tie is right.
    """

    id: str
    subset: str
    prompt: Messages
    correct: tuple[Messages, ...]
    rejected: tuple[Messages, ...]
    images: tuple[Any, ...] = ()
    videos: tuple[Video, ...] = ()
    first: Side | None = None
    own_images: tuple[tuple[Any, ...], ...] = ()
    tied: bool = False


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One row within an item: places of its responses in the item; places repeat where texts are equal."""

    row: int
    id: str
    subset: str
    correct: tuple[int, ...]
    rejected: tuple[int, ...]
    first: Side | None = None
    tied: bool = False


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

    def take_row(self, row: ItemRow) -> "BenchmarkItem":
        """Return the item of a row alone: its responses in their order, and none that other rows compare."""
        kept = sorted({*row.correct, *row.rejected})
        groups = []
        first = 0
        for group in self.groups:
            own = tuple(response for place, response in enumerate(group.responses, first) if place in kept)
            first += len(group.responses)
            groups += [replace(group, responses=own)] if own else []
        correct, rejected = (tuple(kept.index(place) for place in side) for side in (row.correct, row.rejected))
        return BenchmarkItem(tuple(groups), (replace(row, correct=correct, rejected=rejected),))

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

    Responses are ordered by a hash of their content, so that a position can leak no label: first the group of those
    that show no image, then a group for each that does.

    Raises:
        DataError: a row without a correct or a rejected response, or whose responses show more or fewer images than
            they have.
    """
    blocks: dict[Hashable, list[tuple[int, BenchmarkRow]]] = {}
    for number, row in enumerate(rows):
        if not row.correct or not row.rejected:
            raise DataError(
                f"Row {number} ({row.id!r}) of {name} has {len(row.correct)} correct and {len(row.rejected)} rejected "
                "responses; expected at least one of each."
            )
        _check_own_images(f"Row {number} ({row.id!r}) of {name}", row)
        blocks.setdefault(_prompt_key(row), []).append((number, row))
    return [_build_item(f"{name}-{block[0][0]}", block) for block in blocks.values()]


class _ItemAnswer(NamedTuple):
    """A response within an item: its messages, and its images by their content."""

    messages: Messages
    images: tuple[str, ...]


def _check_own_images(place: str, row: BenchmarkRow) -> None:
    answers = (*row.correct, *row.rejected)
    shown = [count_parts(messages, "image") for messages in answers]
    held = [len(own) for own in row.own_images] or [0] * len(answers)
    if shown != held:
        raise DataError(f"{place} has responses with {held} images and {shown} places for them; expected as many.")


def _keyed(row: BenchmarkRow) -> list[_ItemAnswer]:
    """Return the responses of a row in the order of the file, correct ones first."""
    answers = (*row.correct, *row.rejected)
    own = row.own_images or ((),) * len(answers)
    # By their bytes: in an order by paths, the same file would be other items on another machine.
    return [
        _ItemAnswer(messages, tuple(see_image(image).key for image in images))
        for messages, images in zip(answers, own, strict=True)
    ]


def _build_item(group_id: str, block: Sequence[tuple[int, BenchmarkRow]]) -> BenchmarkItem:
    keyed = {number: _keyed(row) for number, row in block}
    images = {
        answer: own
        for number, row in block
        for answer, own in zip(keyed[number], row.own_images or ((),) * len(keyed[number]), strict=True)
    }
    ids = {answer: response_id(group_id, answer.messages, answer.images) for answer in images}
    # By hash: in the order of the file the correct response would come first, and a bias for the first would be right.
    ordered = sorted(ids, key=lambda answer: (bool(answer.images), ids[answer]))
    first = block[0][1]
    task = first.subset if len({row.subset for _, row in block}) == 1 else None
    shared = tuple(Response(ids[answer], answer.messages) for answer in ordered if not answer.images)
    groups = [ResponseGroup(group_id, first.prompt, shared, first.images, first.videos, task)] if shared else []
    groups += [
        ResponseGroup(
            f"{group_id}/{ids[answer]}",
            first.prompt,
            (Response(ids[answer], answer.messages),),
            first.images + images[answer],
            first.videos,
            task,
        )
        for answer in ordered
        if answer.images
    ]
    places = {answer: place for place, answer in enumerate(ordered)}
    rows = []
    for number, row in block:
        own = [places[answer] for answer in keyed[number]]
        sides = tuple(own[: len(row.correct)]), tuple(own[len(row.correct) :])
        rows.append(ItemRow(number, row.id, row.subset, *sides, row.first, row.tied))
    return BenchmarkItem(tuple(groups), tuple(rows))


def _prompt_key(row: BenchmarkRow) -> Hashable:
    videos = tuple(tuple(map(image_key, video.frames)) for video in row.videos)
    return row.prompt, tuple(map(image_key, row.images)), videos


class SeenImage(NamedTuple):
    """An image by the SHA-256 of its bytes, or by its file name where it cannot be read."""

    key: str
    is_read: bool


def see_image(image: Any) -> SeenImage:
    """Return an image by its bytes, wherever they lie."""
    digest = image_digest(image)
    return SeenImage(digest or Path(image_key(image)).name, digest is not None)


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
            seen.append(see_image(image))
            if not seen[-1].is_read and not (name := Path(image_key(image))).is_file():
                missing.add(str(name))
        rows = [
            [row.row, row.id, row.subset, row.correct, row.rejected, *(["tied"] if row.tied else [])]
            for row in item.rows
        ]
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
