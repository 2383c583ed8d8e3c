"""What an image or file is, as text: its SHA-256, or where nothing may be read its name."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from basereward.data.images import decode_text
from basereward.data.schema import Video
from basereward.errors import RowError


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_key(image: Any) -> str:
    """Return what tells an image from others without reading a file: the SHA-256 of its bytes, or its path."""
    if isinstance(image, Mapping):
        data = image.get("bytes")
        # An image that was written to a file under its own hash has that beside its path.
        return image.get("sha256") or image_key(image["path"] if data is None else data)
    if isinstance(image, Image.Image):
        image = f"{image.mode} {image.size}".encode() + image.tobytes()
    return hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else str(image)


def media_key(images: Sequence[Any], videos: Sequence[Video]) -> Hashable:
    """Return what tells the images and videos of prompts apart, as ``image_key`` does."""
    return tuple(map(image_key, images)), tuple((video.fps, *map(image_key, video.frames)) for video in videos)


def image_digest(image: Any) -> str | None:
    """Return the SHA-256 of an image's bytes wherever they are, or None if they cannot be read."""
    path = image.get("path") if isinstance(image, Mapping) and image.get("bytes") is None else image
    if isinstance(image, Mapping) and image.get("sha256"):
        return image["sha256"]
    try:
        found = decode_text(path) if isinstance(path, str) else path
        return file_digest(Path(found)) if isinstance(found, (str, Path)) else image_key(found)
    except (OSError, ValueError, RowError):
        return None
