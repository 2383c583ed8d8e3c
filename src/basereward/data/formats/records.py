"""What sources share: raw records with their place, and canonical records from messages, texts and media."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.files import DataFiles
from basereward.data.io import read_records
from basereward.data.media import find_image
from basereward.errors import RowError

# A field that no raw record has: where the record stands, as "<file>-<number>".
PLACE = "@place"
_MEDIA = re.compile(r"<(image|video)>")


class Turn(NamedTuple):
    """What one side says, its images and videos marked by ``<image>`` and ``<video>``."""

    role: str
    text: Any


def located_records(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the records of all files, each with its ``PLACE``, which is a unique id if no two files share a name."""
    for path in paths:
        for number, record in enumerate(read_records(path)):
            record[PLACE] = f"{path.stem}-{number}"
            yield record


def records_in(*patterns: str) -> Callable[[DataFiles], Iterator[dict[str, Any]]]:
    """Return how the records of a source's files are read: those of each pattern in turn, with their ``PLACE``.

    The function raises ``MissingFileError`` for a pattern without a file.
    """
    return lambda files: located_records([path for pattern in patterns for path in files.find(pattern)])


def find_media(value: Any, files: DataFiles) -> Any:
    """Return an image as a canonical record takes it: embedded bytes as they are, a path found among the files.

    Raises:
        RowError: ``image_missing`` for a null or a path that leads nowhere, ``malformed`` for anything else.
    """
    if isinstance(value, Mapping):
        if value.get("bytes") is not None:
            return dict(value)
        value = value.get("path")
    if value is None:
        raise RowError("image_missing", "The record has neither the bytes nor the path of its image.")
    if not isinstance(value, str):
        raise RowError("malformed", f"Expected an image as a path or as bytes, found {type(value).__name__}.")
    return find_image(files, value)


def make_pair(
    source: Any,
    id: str,
    prompt: Any,
    chosen: Any,
    rejected: Any,
    images: Sequence[Any] = (),
    videos: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[float] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a canonical pair of messages; extra columns without a value are left out."""
    record: dict[str, Any] = {
        "id": id,
        "source": source,
        "images": list(images),
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
    }
    if videos:
        record["videos"] = list(videos)
    if scores:
        record["scores"] = list(scores)
    return record | {key: value for key, value in (extra or {}).items() if value is not None}


def pair_record(
    source: str,
    id: str,
    prompt: Sequence[Turn],
    chosen: Any,
    rejected: Any,
    images: Sequence[Any] = (),
    videos: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[float] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a canonical pair of texts, those of the prompt with marks of images and videos.

    Raises:
        RowError: ``malformed`` if something is no text, or as ``media_messages``.
    """
    return make_pair(
        source,
        id,
        media_messages(prompt, len(images), len(videos)),
        [_message("assistant", [_text_part(chosen, "the chosen response")])],
        [_message("assistant", [_text_part(rejected, "the rejected response")])],
        images,
        videos,
        scores,
        extra,
    )


def media_messages(turns: Sequence[Turn], images: int, videos: int = 0) -> list[dict[str, Any]]:
    """Return the messages of turns, with media parts where the texts have ``<image>`` and ``<video>``.

    One image or video without any mark stands in front of the first user turn. Marks stand for nothing else: line
    breaks that set them apart at the edge of a turn go with them.

    Raises:
        RowError: ``placeholder_count`` if marks and media differ in number, ``malformed`` for a text that is none or
            a last turn that is not the user's.
    """
    if not turns or turns[-1].role != "user":
        found = ", ".join(turn.role for turn in turns) or "no turn"
        raise RowError("malformed", f"Expected a prompt whose last turn is the user's, found {found}.")
    marks = {"image": 0, "video": 0}
    messages = []
    for turn in turns:
        parts = _split_marks(_text_part(turn.text, f"the text of the {turn.role}")["text"])
        for part in parts:
            if part["type"] != "text":
                marks[part["type"]] += 1
        messages.append(_message(turn.role, parts))
    for kind, count in (("video", videos), ("image", images)):
        if count == 1 and not marks[kind]:
            first = next(message for message in messages if message["role"] == "user")
            first["content"].insert(0, {"type": kind})
        elif count != marks[kind]:
            raise RowError("placeholder_count", f"The prompt marks {marks[kind]} {kind}s and the record has {count}.")
    return messages


def _split_marks(text: str) -> list[dict[str, str]]:
    pieces = _MEDIA.split(text)  # texts at even places, kinds at odd ones
    if len(pieces) == 1:
        return [{"type": "text", "text": text}]
    if not pieces[0].strip():
        lead = next((place for place in range(2, len(pieces), 2) if pieces[place].strip()), 0)
        pieces[lead] = pieces[lead].lstrip("\r\n")
    if not pieces[-1].strip():
        tail = next((place for place in range(len(pieces) - 3, -1, -2) if pieces[place].strip()), 0)
        pieces[tail] = pieces[tail].rstrip("\r\n")
    marked = enumerate(pieces)
    parts = [{"type": piece} if place % 2 else {"type": "text", "text": piece} for place, piece in marked]
    return [part for part in parts if part["type"] != "text" or part["text"].strip()]


def _text_part(text: Any, what: str) -> dict[str, str]:
    if not isinstance(text, str):
        raise RowError("malformed", f"Expected a text as {what}, found {str(text)[:100]!r}.")
    return {"type": "text", "text": text}


def _message(role: str, content: list[dict[str, str]]) -> dict[str, Any]:
    return {"role": role, "content": content}
