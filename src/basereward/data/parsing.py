"""A canonical record parsed into a pair, and what the schema promises of every pair."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from basereward.data.messages import parse_messages
from basereward.data.schema import PAIR_KEYS, Message, Messages, PartType, PreferencePair, Video, count_parts
from basereward.errors import DataError, RowError
from basereward.registry import close_names

# Similarity above which an extra column is taken for a misspelt one: 'imges' (0.91), but not 'image_id' (0.71).
MISSPELT = 0.85


def check_columns(names: Iterable[str], known: Sequence[str], place: str) -> None:
    """Refuse columns that look like a misspelt known one; other extra columns are data of the user and are kept.

    Raises:
        DataError: a near miss of a known column that is not there; names both.
    """
    given = list(names)
    absent = [key for key in known if key not in given]
    for name in given:
        if name not in known and (hint := close_names(name, absent, MISSPELT)):
            raise DataError(f"{place}: unknown column {name!r}.{hint} Known: {', '.join(known)}.")


def parse_pair(row: Mapping[str, Any], fallback_id: str) -> PreferencePair:
    """Parse one canonical record and check what the schema promises.

    Raises:
        RowError: ``malformed``, ``empty_response``, ``equal_responses``, ``placeholder_count`` or ``video``.
    """
    extra = {key: value for key, value in row.items() if key not in PAIR_KEYS and value is not None}
    pair = PreferencePair(
        id=str(row.get("id") or fallback_id),
        source=str(row.get("source") or "unknown"),
        prompt=parse_messages(row.get("prompt"), "user"),
        chosen=parse_response(row.get("chosen")),
        rejected=parse_response(row.get("rejected")),
        images=tuple(row.get("images") or ()),
        margin=row.get("margin"),
        extra=extra,
        videos=parse_videos(row.get("videos")),
        scores=tuple(row.get("scores") or ()),
    )
    _check_pair(pair)
    return pair


def parse_response(value: Any) -> Messages:
    """Parse a response: a text, or messages of which the first and the last are by the assistant.

    Raises:
        RowError: ``malformed``.
    """
    messages = parse_messages(value, "assistant")
    if {messages[0].role, messages[-1].role} != {"assistant"}:
        roles = ", ".join(message.role for message in messages)
        raise RowError("malformed", f"Expected a response by the assistant, found one by {roles}.")
    return messages


def parse_videos(value: Any) -> tuple[Video, ...]:
    """Parse a list of ``{"frames": images, "fps": number or null}``; nothing at all is an empty one.

    Raises:
        RowError: ``malformed`` for another form, ``video`` for no frames or a rate that is no positive number.
    """
    if not isinstance(value, (list, tuple, type(None))):
        raise RowError("malformed", f"Expected a list under 'videos', found {str(value)[:100]!r}.")
    return tuple(_parse_video(video) for video in value or ())


def check_placeholders(messages: Messages, images: Sequence[Any], videos: Sequence[Any]) -> None:
    """Check that messages have as many parts for images and videos as there are.

    Raises:
        RowError: ``placeholder_count``.
    """
    given: dict[PartType, int] = {"image": len(images), "video": len(videos)}
    for kind, count in given.items():
        if (parts := count_parts(messages, kind)) != count:
            raise RowError("placeholder_count", f"Found {parts} {kind} parts and {count} {kind}s.")


def _parse_video(video: Any) -> Video:
    if isinstance(video, Video):
        return video
    frames = video.get("frames") if isinstance(video, Mapping) else None
    if not isinstance(frames, Sequence) or isinstance(frames, str):
        raise RowError("malformed", f"Expected a video as {{'frames', 'fps'}}, found {str(video)[:100]!r}.")
    fps = video.get("fps")
    if not frames:
        raise RowError("video", "Found a video without frames; expected at least one.")
    if fps is not None and not (isinstance(fps, (int, float)) and math.isfinite(fps) and fps > 0):
        raise RowError("video", f"Expected frames per second as a positive number or null, found {fps!r}.")
    return Video(tuple(frames), fps)


def _check_pair(pair: PreferencePair) -> None:
    for name, messages in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if not any(_says_something(message) for message in messages):
            raise RowError("empty_response", f"The {name} response is empty.")
    if _say_the_same(pair.chosen, pair.rejected):
        raise RowError("equal_responses", "Chosen and rejected are the same text.")
    check_placeholders(pair.prompt + pair.chosen + pair.rejected, pair.images, pair.videos)


def _says_something(message: Message) -> bool:
    return any(part.type != "text" or part.text.strip() for part in message.content)


def _say_the_same(first: Messages, second: Messages) -> bool:
    if any(count_parts(messages, kind) for messages in (first, second) for kind in ("image", "video")):
        return False
    stripped = [[(message.role, message.text.strip()) for message in messages] for messages in (first, second)]
    return stripped[0] == stripped[1]
