"""Small images inside a page: at most 256 pixels wide or high, as data addresses."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

MAX_EDGE = 256


class Thumbnail(NamedTuple):
    """An image as a ``data:`` address, and its size in pixels."""

    address: str
    width: int
    height: int


def make_thumbnail(path: Path, max_edge: int = MAX_EDGE) -> Thumbnail | None:
    """Return the image, shrunken if it is larger, or ``None`` if the file is missing or no image."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((max_edge, max_edge))
            return Thumbnail(_encode(upright), *upright.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _encode(image: Image.Image) -> str:
    flat = image.convert("RGBA" if image.has_transparency_data else "RGB")
    # Drawings of few colours are smaller and sharper as PNG, photographs as JPEG.
    is_drawing = flat.mode == "RGBA" or flat.getcolors(256) is not None
    buffer = io.BytesIO()
    if is_drawing:
        flat.save(buffer, "PNG", optimize=True)
    else:
        flat.save(buffer, "JPEG", quality=80)
    kind = "png" if is_drawing else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
