"""What a page shows of rows: ``items.jsonl`` with their texts, and small images beside it."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from basereward.benchmarks.items import BenchmarkItem, ItemFacts, ItemRow, SeenImage
from basereward.benchmarks.records import RowRecord, reading_order
from basereward.data.io import replacing, write_lines
from basereward.data.media import at_equal_distances
from basereward.data.schema import Message, Messages, Part
from basereward.data.thumbnails import shrink_image
from basereward.evaluation.result import ITEMS, ItemLine

THUMBNAILS = "thumbnails"
# Of each video.
FRAMES = 4
# A page holds far fewer; thumbnails of a million rows would take hours and gigabytes.
PICTURED_ROWS = 10_000
# Items whose images are shrunk at once, so that memory holds few of them.
BATCH_ITEMS = 64
_UNSEEN = "[image]"


def write_items(folder: Path, items: Sequence[BenchmarkItem], facts: ItemFacts, records: Sequence[RowRecord]) -> None:
    """Write ``items.jsonl``, one line for each row in order, and the thumbnails that it names.

    In place of an image that is not there or cannot be read stands null. A thumbnail is named by the hash of its image;
    one that is there is not made again. Of very many rows only those that are read first have images.
    """
    pictured = {record.item for record in sorted(records, key=reading_order)[:PICTURED_ROWS]}
    lines: dict[int, ItemLine] = {}
    names: dict[str, str | None] = {}
    # Decoding lets other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), BATCH_ITEMS):
            some = {number: items[number] for number in range(start, min(start + BATCH_ITEMS, len(items)))}
            shown = {
                number: dict(_shown_images(item, facts.images[number])) if number in pictured else {}
                for number, item in some.items()
            }
            fresh = {key: image for own in shown.values() for key, image in own.items() if key not in names}
            made = pool.map(lambda entry: _write_thumbnail(folder, *entry), fresh.items())
            names |= dict(zip(fresh, made, strict=True))
            for number, item in some.items():
                images = [names[key] for key in shown[number]]
                texts = _texts(item, facts.images[number], list(shown[number]))
                lines |= {row.row: _line(row, item, texts, images) for row in item.rows}
    with replacing(folder / ITEMS) as temporary:
        write_lines(temporary, (lines[row].model_dump() for row in sorted(lines)))


def read_text(messages: Messages) -> str:
    """Return messages as a reader wants them: the text of one, or all of them with their roles."""
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _texts(item: BenchmarkItem, seen: Sequence[SeenImage], shown: Sequence[str]) -> list[str]:
    """Return the text of each response; where one shows an image, that image's number among those of the line."""
    known = iter(seen)
    texts = []
    for group in item.groups:
        keys = [next(known).key for _ in group.images]
        for video in group.videos:
            keys += [next(known).key for _ in video.frames]
        own = keys[len(group.prompt_images) : len(group.images)]
        marks = iter(f"[image {shown.index(key) + 1}]" if key in shown else _UNSEEN for key in own)
        texts += [read_text(_mark(response.messages, marks)) for response in group.responses]
    return texts


def _mark(messages: Messages, marks: Iterator[str]) -> Messages:
    return tuple(
        Message(
            message.role,
            tuple(
                Part("text", f" {next(marks, _UNSEEN)} ") if part.type == "image" else part for part in message.content
            ),
        )
        for message in messages
    )


def _line(row: ItemRow, item: BenchmarkItem, texts: Sequence[str], images: list[str | None]) -> ItemLine:
    return ItemLine(
        row=row.row,
        id=row.id,
        subset=row.subset,
        prompt=read_text(item.prompt),
        correct=[texts[place] for place in row.correct],
        rejected=[texts[place] for place in row.rejected],
        images=images,
    )


def _shown_images(item: BenchmarkItem, seen: Sequence[SeenImage]) -> Iterator[tuple[str, Any]]:
    """Yield the images to show with their hashes: all images, and some frames of each video; None for an unread one."""
    known = iter(seen)
    for group in item.groups:
        shown = [(next(known), image) for image in group.images]
        for video in group.videos:
            shown += at_equal_distances([(next(known), frame) for frame in video.frames], FRAMES)
        yield from ((own.key, image if own.is_read else None) for own, image in shown)


def _write_thumbnail(folder: Path, digest: str, image: Any) -> str | None:
    if image is None:
        return None
    stem = digest[:32]
    for kind in ("jpeg", "png"):
        if (folder / THUMBNAILS / f"{stem}.{kind}").is_file():
            return f"{THUMBNAILS}/{stem}.{kind}"
    if (small := shrink_image(image)) is None:
        return None
    name = f"{THUMBNAILS}/{stem}.{small.format}"
    with replacing(folder / name) as partial:
        partial.write_bytes(small.data)
    return name
