"""The rows that a reader sees of a probe: texts and small images, as they are and changed."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basereward.benchmarks.items import BenchmarkItem
from basereward.benchmarks.records import RowRecord
from basereward.data.io import replacing
from basereward.data.media import at_equal_distances
from basereward.data.thumbnails import shrink_image
from basereward.evaluation.audit.result import ProbeExample, ShownPair
from basereward.evaluation.items import FRAMES, THUMBNAILS, read_text

EXAMPLES = 5


def show_example(
    folder: Path,
    before: tuple[BenchmarkItem, RowRecord],
    after: tuple[BenchmarkItem, RowRecord] | None,
) -> ProbeExample:
    """Return a row as it is and changed; thumbnails of its images are written into the folder."""
    row = before[0].rows[0]
    return ProbeExample(
        row=row.row,
        id=row.id,
        subset=row.subset,
        before=_show(folder, *before),
        after=None if after is None else _show(folder, *after),
    )


def _show(folder: Path, item: BenchmarkItem, record: RowRecord) -> ShownPair:
    row = item.rows[0]
    correct, rejected = (read_text(item.responses[place].messages) for (place,) in (row.correct, row.rejected))
    return ShownPair(
        prompt=read_text(item.prompt),
        correct=correct,
        rejected=rejected,
        images=[_write_thumbnail(folder, image) for image in _shown_images(item)],
        scores=(record.correct[0], record.rejected[0]),
        outcome=record.outcome,
    )


def _shown_images(item: BenchmarkItem) -> Sequence[Any]:
    """Return the images of an item, and some frames of its videos."""
    return [
        image
        for group in item.groups
        for image in (
            *group.images,
            *(frame for video in group.videos for frame in at_equal_distances(video.frames, FRAMES)),
        )
    ]


def _write_thumbnail(folder: Path, image: Any) -> str | None:
    small = shrink_image(image)
    if small is None:
        return None
    name = f"{THUMBNAILS}/{hashlib.sha256(small.data).hexdigest()[:32]}.{small.format}"
    if not (folder / name).is_file():
        with replacing(folder / name) as partial:
            partial.write_bytes(small.data)
    return name
