"""Images from any source to RGB pixels, or a ``RowError`` that names what is wrong.

Alpha and transparent palettes are composited on white, 16-bit grey is scaled to 8 bits (and refused where its values
have another range), EXIF orientation is applied.
"""

import base64
import binascii
import hashlib
import os
import re
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from basereward.data.colors import to_rgb
from basereward.data.io import replacing
from basereward.data.orientation import TRANSPOSE, find_orientation
from basereward.errors import RowError

# Pillow's other readers are left out on purpose: EPS starts Ghostscript, and icons or fonts are no photographs.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
_BASE64 = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk|SUkq|TU0A|AAAA)[A-Za-z0-9+/\s]{60,}={0,2}\s*")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may be; ``max_aspect`` is the ratio above which Qwen's image processor refuses."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 128 * 10**6
    min_side: int = 2
    max_aspect: float = 200.0


class ImageSize(NamedTuple):
    """Width and height in pixels, after EXIF orientation."""

    width: int
    height: int


class VideoSize(NamedTuple):
    """Frames of a video, and the width and height that they share."""

    frames: int
    width: int
    height: int


DEFAULT_LIMITS = ImageLimits()


class LazyImage(Mapping[str, Any]):
    """``{"bytes", "path"}`` of an image of which only the place is held; its bytes are read when they are asked for.

    Args:
        path: what its file calls it.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path

    @abstractmethod
    def read(self) -> bytes | None:
        """Return the encoded bytes; whoever knows the place says how."""

    def __getitem__(self, key: str) -> Any:
        if key == "bytes":
            return self.read()
        if key == "path":
            return self.path
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"


def load_image(source: Any, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode one image completely and return it as RGB, upright, on white where it was transparent.

    Args:
        source: a path, bytes, a base64 string or data URI, a PIL image, or ``{"bytes", "path"}``.
        limits: sizes checked from the header, before anything is decoded.

    Raises:
        RowError: ``image_missing``, ``image_unreadable``, ``image_animated`` or ``image_limit``.
    """
    with open_image(source, limits) as image:
        orientation = find_orientation(image)
        with _readable(source, limits):
            image.load()
            upright = image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image
            pixels = to_rgb(upright)
            # An orientation left behind would turn the picture again where it is loaded once more.
            pixels.info = {}
            return pixels


def hold_image(source: Any, limits: ImageLimits = DEFAULT_LIMITS) -> Any:
    """Return an image that no longer changes with its file: a PIL image as it is, any other as ``{"bytes", "path"}``.

    Raises:
        RowError: ``image_missing``, ``image_unreadable``, or ``image_limit`` for too many bytes.
    """
    if isinstance(source, Image.Image):
        return source
    found = _locate(source)
    _check_bytes(found, _name(source), limits)
    with _readable(source, limits):
        data = found if isinstance(found, bytes) else found.read_bytes()
    path = source.get("path") if isinstance(source, Mapping) else source
    return {"bytes": data, "path": str(path) if isinstance(found, Path) or isinstance(source, Mapping) else None}


def image_size(source: Any, limits: ImageLimits = DEFAULT_LIMITS) -> ImageSize:
    """Return the size that ``load_image`` would give, reading the header alone.

    Raises:
        RowError: as ``load_image``, except what only decoding finds.
    """
    with open_image(source, limits) as image:
        width, height = image.size
        return ImageSize(height, width) if find_orientation(image) >= 5 else ImageSize(width, height)


def load_frames(frames: Sequence[Any], limits: ImageLimits = DEFAULT_LIMITS) -> tuple[Image.Image, ...]:
    """Decode the frames of one video, each as ``load_image`` does.

    Raises:
        RowError: as ``load_image``, or ``video`` if there are no frames or their sizes differ.
    """
    decoded = tuple(load_image(frame, limits) for frame in frames)
    video_size([ImageSize(*image.size) for image in decoded])
    return decoded


def video_size(frames: Sequence[ImageSize]) -> VideoSize:
    """Return the size of a video from those of its frames.

    Raises:
        RowError: ``video`` if there are no frames or their sizes differ.
    """
    if not frames:
        raise RowError("video", "Found a video without frames; expected at least one.")
    if len(set(frames)) > 1:
        found = ", ".join(f"{width}x{height}" for width, height in sorted(set(frames))[:3])
        raise RowError("video", f"The frames of a video have several sizes ({found}); resize them to one.")
    return VideoSize(len(frames), *frames[0])


def content_hash(source: Any, limits: ImageLimits = DEFAULT_LIMITS) -> str:
    """Return the SHA-256 of size and RGB pixels: lossless copies of a picture are equal.

    Raises:
        RowError: as ``load_image``.
    """
    image = load_image(source, limits)
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()


def decode_text(text: str) -> bytes | str:
    """Return the bytes of a data URI or base64 string, or the path that any other text is.

    Raises:
        RowError: ``image_unreadable`` for a broken data URI, ``image_missing`` for a web address.
    """
    if text.startswith(("http://", "https://")):
        raise RowError("image_missing", f"Image {text[:100]!r} is a web address; download it and give the file.")
    is_uri = text.startswith("data:")
    if not is_uri and not _BASE64.fullmatch(text):
        return text.removeprefix("file://")
    body = text.partition(",")[2] if is_uri else text
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError("image_unreadable", f"{_name(text)} is not valid base64: {error}.") from error


def pack_image(source: Any, folder: Path) -> dict[str, Any]:
    """Return ``{"bytes", "path"}`` as Arrow stores it, undecoded, with the path resolved against ``folder``.

    Raises:
        RowError: ``malformed`` for what is no image source, or as ``decode_text``.
    """
    if isinstance(source, LazyImage):
        # It goes on as a place: what needs its size alone does not read it.
        return source  # type: ignore[return-value]
    if isinstance(source, Mapping):
        data, path = source.get("bytes"), source.get("path")
        if isinstance(data, (str, bytes, bytearray, memoryview)):
            return {"bytes": decode_text(f"data:,{data}") if isinstance(data, str) else bytes(data), "path": path}
        if data is not None:
            raise RowError("malformed", f"Expected image bytes or base64 under 'bytes', found {type(data).__name__}.")
        source = path
    if isinstance(source, Image.Image):
        file = BytesIO()
        load_image(source).save(file, "PNG")
        source = file.getvalue()
    if isinstance(source, str):
        source = decode_text(source)
    if isinstance(source, bytes):
        return {"bytes": source, "path": None}
    if not isinstance(source, (str, Path)):
        raise RowError("malformed", f"Expected an image as path, base64 or {{'bytes', 'path'}}, found {source!r}.")
    return {"bytes": None, "path": str(folder / source)}


def pack_images(value: Any, folder: Path) -> list[dict[str, Any]]:
    """Return ``pack_image`` of each image of a row; no list at all is an empty one.

    Raises:
        RowError: ``malformed``, or as ``pack_image``.
    """
    if not isinstance(value, (list, tuple, type(None))):
        raise RowError("malformed", f"Expected a list under 'images', found {str(value)[:100]!r}.")
    return [pack_image(image, folder) for image in value or ()]


def pack_videos(value: Any, folder: Path) -> list[dict[str, Any]]:
    """Return the videos of a row as ``{"frames", "fps"}``, their frames as ``pack_image`` gives them.

    Raises:
        RowError: ``malformed``, or as ``pack_image``.
    """
    try:
        return [{"frames": pack_images(video["frames"], folder), "fps": video.get("fps")} for video in value or ()]
    except (TypeError, KeyError, AttributeError) as error:
        raise RowError("malformed", "Expected a list of {'frames', 'fps'} under 'videos'.") from error


def image_bytes(stored: Mapping[str, Any]) -> bytes:
    """Return the encoded bytes of an image of ``pack_image``.

    Raises:
        RowError: ``image_missing``.
    """
    if stored["bytes"] is not None:
        return stored["bytes"]
    try:
        return Path(stored["path"]).read_bytes()
    except OSError as error:
        raise RowError("image_missing", f"Image {stored['path']} cannot be read: {error}.") from error


def place_image(stored: Mapping[str, Any], folder: Path) -> str:
    """Return the path, relative to ``folder``, of an image of ``pack_image``; bare bytes are written to ``images/``.

    Raises:
        RowError: ``image_missing``, or ``image_unreadable`` for bytes in no known format.
    """
    if stored["bytes"] is None:
        if not Path(stored["path"]).is_file():
            raise RowError("image_missing", f"Image {stored['path']} does not exist; restore it or drop the row.")
        return Path(os.path.relpath(stored["path"], folder)).as_posix()
    data = stored["bytes"]
    with _readable(stored, DEFAULT_LIMITS), _open(BytesIO(data)) as image:
        suffix = str(image.format).lower()
    path = folder / "images" / f"{hashlib.sha256(data).hexdigest()[:32]}.{suffix}"
    if not path.exists():
        with replacing(path) as partial:
            partial.write_bytes(data)
    return path.relative_to(folder).as_posix()


def _name(source: Any) -> str:
    if isinstance(source, Mapping):
        data = source.get("bytes")
        return _name(source.get("path") or (data if data is not None else "without path or bytes"))
    if isinstance(source, bytes):
        return f"Image of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return f"PIL image {source.mode} {source.width}x{source.height}"
    text = str(source)
    return f"Image {text if len(text) <= 200 else text[:40] + '...'!r}"


def _locate(source: Any) -> bytes | Path:
    if isinstance(source, Mapping):
        data = source.get("bytes")
        source = data if data is not None else source.get("path")
        if source is None:
            raise RowError("image_missing", "The image has neither 'bytes' nor 'path'; give one of them.")
    if isinstance(source, str):
        source = decode_text(source)
    if isinstance(source, (bytes, bytearray)):
        return bytes(source)
    if isinstance(source, (str, Path)):
        return Path(source)
    raise RowError(
        "image_unreadable",
        f"Found {type(source).__name__} as image; expected a path, bytes, base64, PIL image or {{'bytes', 'path'}}.",
    )


def _check_bytes(found: bytes | Path, name: str, limits: ImageLimits) -> None:
    try:
        size = len(found) if isinstance(found, bytes) else found.stat().st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RowError("image_missing", f"{name} does not exist; restore the file or remove the row.") from error
    except (OSError, ValueError) as error:
        raise RowError("image_unreadable", f"{name} cannot be opened: {error}.") from error
    if size > limits.max_bytes:
        raise RowError("image_limit", f"{name} has {size} bytes, at most {limits.max_bytes} are allowed; shrink it.")


@contextmanager
def _readable(source: Any, limits: ImageLimits) -> Iterator[None]:
    """Turn whatever Pillow raises into a ``RowError``: its readers raise a dozen kinds on hostile bytes."""
    try:
        # Sizes are checked against our own limit; Pillow's warning below it would only be noise.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except RowError:
        raise
    except Image.DecompressionBombError as error:
        expected = f"at most {limits.max_pixels} pixels are allowed"
        raise RowError("image_limit", f"{_name(source)} is a decompression bomb: {error} {expected}.") from error
    except Exception as error:
        # Pillow names bytes in memory by their address.
        is_unknown = isinstance(error, UnidentifiedImageError)
        what = "no image format" if is_unknown else f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise RowError(
            "image_unreadable", f"{_name(source)} cannot be decoded ({what}); expected one of {', '.join(FORMATS)}."
        ) from error


@contextmanager
def open_image(source: Any, limits: ImageLimits = DEFAULT_LIMITS) -> Iterator[Image.Image]:
    """Yield the image with its header read and checked, its pixels not yet; PIL images of the caller stay open.

    Raises:
        RowError: as ``load_image``, except what only decoding finds.
    """
    if isinstance(source, Image.Image):
        _check_header(source, source, limits)
        yield source
        return
    found = _locate(source)
    _check_bytes(found, _name(source), limits)
    with _readable(source, limits):
        image = _open(BytesIO(found) if isinstance(found, bytes) else found)
    with image:
        _check_header(image, source, limits)
        yield image


def _open(file: Path | BytesIO) -> Image.Image:
    # Pillow loads few readers by itself, and raises KeyError for a format named before its reader is loaded.
    Image.init()
    return Image.open(file, formats=[form for form in FORMATS if form in Image.OPEN])


def _check_header(image: Image.Image, source: Any, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        found = f"{_name(source)} has {width}x{height} pixels"
        raise RowError("image_limit", f"{found}, at most {limits.max_pixels} are allowed; shrink it.")
    if min(width, height) < limits.min_side:
        raise RowError("image_limit", f"{_name(source)} is {width}x{height}; each side needs {limits.min_side} pixels.")
    if max(width, height) > limits.max_aspect * min(width, height):
        found = f"{_name(source)} is {width}x{height}"
        raise RowError("image_limit", f"{found}; the sides may differ by a factor of {limits.max_aspect:g} at most.")
    # An MPO file is a photograph with a second view or a preview behind it, not a film.
    with _readable(source, limits):
        animated = image.format != "MPO" and getattr(image, "is_animated", False)
    if animated:
        found = f"{_name(source)} has several frames"
        raise RowError("image_animated", f"{found}; expected one still picture, save the frame you mean.")
