"""Images that a benchmark's file embeds, put into files of the cache, so that memory holds their names alone."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from basereward.benchmarks.items import BenchmarkRow
from basereward.data.cache import CACHE_VARIABLE, user_cache
from basereward.data.io import replacing
from basereward.errors import DataError


def put_images_on_disk(row: BenchmarkRow) -> BenchmarkRow:
    """Return the row with ``{"bytes": None, "path", "sha256"}`` for each image and frame that was bytes.

    The file is named by its SHA-256, so every image is written once on this machine.

    Raises:
        DataError: the cache cannot be written.
    """
    folder = user_cache() / "images"
    images = tuple(_put(image, folder) for image in row.images)
    videos = tuple(
        dataclasses.replace(video, frames=tuple(_put(frame, folder) for frame in video.frames)) for video in row.videos
    )
    own_images = tuple(tuple(_put(image, folder) for image in own) for own in row.own_images)
    return dataclasses.replace(row, images=images, videos=videos, own_images=own_images)


def _put(image: Any, folder: Path) -> Any:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        return image
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest[:2] / digest
    try:
        if not path.is_file() or path.stat().st_size != len(data):
            with replacing(path) as partial:
                partial.write_bytes(data)
    except OSError as error:
        raise DataError(
            f"Images of the benchmark cannot be written to {folder} ({error}); set {CACHE_VARIABLE} to another folder."
        ) from error
    return {"bytes": None, "path": str(path), "sha256": digest}
