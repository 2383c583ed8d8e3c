"""What an image or file is, as text: its SHA-256, or where nothing may be read its name."""

import hashlib
import io
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from basereward.data.images import decode_text
from basereward.data.orientation import find_orientation
from basereward.data.schema import Video
from basereward.errors import RowError

# Images of one size from one program begin alike; where the data end they differ.
_END_BYTES = 4096


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
        image = _picture_bytes(image)
    return hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else str(image)


def _picture_bytes(image: Image.Image) -> bytes:
    # Colours of a palette, what is seen through and which way is up stand beside the pixels.
    beside = image.getpalette("RGBA" if image.has_transparency_data else "RGB") if image.mode in ("P", "PA") else None
    seen = image.info.get("transparency")
    return f"{image.mode} {image.size} {find_orientation(image)} {beside} {seen}".encode() + image.tobytes()


def short_digest(data: bytes) -> int:
    """Return the first 8 bytes of the SHA-256 of an image's bytes as a number.

    Of ten million images two have the same one with a probability of 3e-6, and what goes by it compares more.
    """
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little")


def ends_hash(images: Iterable[Any]) -> int:
    """Return a hash of image files, whatever their order: of the size and both ends of each, 0 for none.

    An image that is not there, or is no file, counts nothing.
    """
    return sum(map(_file_hash, images)) % 2**64


def _file_hash(image: Any) -> int:
    if isinstance(image, Mapping):
        data = image.get("bytes")
        image = image["path"] if data is None else data
    if isinstance(image, bytes):
        return _ends_hash(io.BytesIO(image), len(image))
    if isinstance(image, (str, Path)) and _is_file(image):
        with Path(image).open("rb") as file:
            return _ends_hash(file, Path(image).stat().st_size)
    return 0


def _ends_hash(file: BinaryIO, size: int) -> int:
    head = file.read(_END_BYTES)
    file.seek(max(0, size - _END_BYTES))
    digest = hashlib.blake2b(head + file.read(), digest_size=8, salt=size.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        # Base64 text instead of a path is too long for one.
        return False


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
