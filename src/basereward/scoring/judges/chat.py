"""Messages as chat endpoints take them: text as a string, images and frames of videos as data URIs."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from basereward.data.images import image_bytes, load_image, open_image, pack_image
from basereward.data.outcomes import JudgeQuestion
from basereward.data.schema import Message, Part
from basereward.errors import RowError

# Formats that servers read; others are sent as PNG.
SENT_AS_THEY_ARE = ("PNG", "JPEG", "WEBP")


def data_uri(source: Any) -> str:
    """Return an image of any form as a data URI: its own bytes where a server reads them as we do, else PNG.

    Raises:
        RowError: as ``load_image``.
    """
    data = image_bytes(pack_image(source, Path()))
    with open_image(data) as image:
        form = str(image.format)
        is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    if form not in SENT_AS_THEY_ARE or not is_upright:
        form, data = "PNG", image_bytes(pack_image(load_image(data), Path()))
    return f"data:{Image.MIME[form]};base64,{base64.b64encode(data).decode()}"


def chat_message(message: Message, question: JudgeQuestion) -> dict[str, Any]:
    """Return a message as chat endpoints take it, with the images and videos of its question where their parts stand.

    Raises:
        RowError: an image cannot be read, or there are more or fewer than places for them.
    """
    images, videos = iter(question.images), iter(question.videos)
    content = [entry for part in message.content for entry in _entries(part, images, videos)]
    if any(True for _ in (*images, *videos)):
        raise RowError("placeholder_count", "There are more images or videos than places for them in the messages.")
    if all(entry["type"] == "text" for entry in content):
        return {"role": message.role, "content": "".join(entry["text"] for entry in content)}
    return {"role": message.role, "content": content}


def _entries(part: Part, images: Iterator[Any], videos: Iterator[Any]) -> list[dict[str, Any]]:
    """Return the entries of a part; a video is its frames in order, because servers sample videos of their own."""
    if part.type == "text":
        return [{"type": "text", "text": part.text}]
    try:
        shown = [next(images)] if part.type == "image" else next(videos).frames
    except StopIteration:
        raise RowError("placeholder_count", f"There are fewer {part.type}s than places for them.") from None
    return [{"type": "image_url", "image_url": {"url": data_uri(image)}} for image in shown]
