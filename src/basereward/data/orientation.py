"""Which way up a picture is, from its header alone, the same for a file and for a PIL image made of it."""

import os
from typing import Any

from PIL import ExifTags, Image

# More chunks than any picture has; a hostile file may have millions of empty ones.
_PNG_CHUNKS = 100_000
# What turns a picture of an EXIF orientation upright.
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def find_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1-8, without decoding; Pillow itself turns TIFF files."""
    if image.format == "TIFF":
        return 1
    try:
        value = _exif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF is common in good photographs; without it the picture stays as stored
        return 1
    return value if value in TRANSPOSE else 1


def _exif(image: Image.Image) -> Image.Exif:
    """Return what ``getexif`` gives; Pillow decodes a whole PNG in search of EXIF behind its pixels."""
    if image.format != "PNG":
        return image.getexif()
    file = getattr(image, "fp", None)
    if "exif" not in image.info and file is not None and (late := _png_chunk(file, b"eXIf")):
        exif = Image.Exif()
        exif.load(b"Exif\x00\x00" + late)
        return exif
    # Of the base class, which reads what the header holds, XMP included.
    return Image.Image.getexif(image)


def _png_chunk(file: Any, name: bytes) -> bytes | None:
    """Return the content of a chunk of a PNG file, wherever it stands; pixels are skipped."""
    place = file.tell()
    try:
        file.seek(8)
        for _ in range(_PNG_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                return None
            size = int.from_bytes(head[:4], "big")
            if head[4:] == name:
                return file.read(size)
            # Content, and its checksum.
            file.seek(size + 4, os.SEEK_CUR)
        return None
    finally:
        file.seek(place)
