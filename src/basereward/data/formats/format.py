"""A form in which preference data are kept in files of one's own, and what its readers share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import Branches, prompt_messages
from basereward.data.formats.pairing import parse_score
from basereward.data.formats.records import PLACE, make_pair
from basereward.data.messages import message_content, parse_messages
from basereward.data.parsing import parse_response
from basereward.data.schema import REQUIRED_KEYS, Messages, count_parts
from basereward.errors import RowError

# Fields that change what a template renders, or that hold what would be lost.
UNREAD = ("tools", "functions", "function_call", "tool_calls", "chat_template_kwargs", "audio", "audios", "video")
# Ratings of chosen and rejected in fields of their own.
RATINGS = ("score_chosen", "score_rejected")
# What every format reads besides its own fields.
COMMON = ("id", "source", "images", "image", "videos", "scores", "margin", "weight", "system", *RATINGS)
# Parts of a message that name their image, and the keys that name it.
_IMAGE_PARTS, _NAMES = ("image", "image_url"), ("image", "image_url", "url", "path")


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """A form of preference data.

    Args:
        name: what ``--format`` calls it.
        title: one line that says what it is and which fields it has.
        columns: the fields that a record needs.
        fits: whether a record may have this form, by its fields and their types.
        parse: canonical pairs of one record, whose id is given; several pairs have the id with numbers behind it.
        reads: the fields that it knows besides ``columns`` and ``COMMON``.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    fits: Callable[[Raw], bool]
    parse: Callable[[Raw, str], Iterable[dict[str, Any]]]
    reads: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """All fields that it reads."""
        return (*self.columns, *self.reads, *COMMON)


def file_pair(
    record: Raw, name: str, branches: Branches, read: Sequence[str], marks: bool = True, unread: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the canonical pair of a record from its prompt and its two responses, each a text or messages.

    Args:
        name: id of the pair.
        read: the fields of the format; all others but the common ones are kept as extra columns.
        marks: whether ``<image>`` stands for an image in a record without any, so that such a record is refused.
        unread: more fields that would be lost.

    Raises:
        RowError: ``malformed``, also for what would be lost, or ``placeholder_count``.
    """
    refuse_unread(record, unread)
    videos = record.get("videos") or ()
    if not isinstance(videos, (list, tuple)):
        raise RowError("malformed", f"Expected a list under 'videos', found {videos!r:.100}.")
    images = record_images(record)
    sides, named = zip(*map(lift_images, branches), strict=True)
    images = _join_images(images, [image for own in named for image in own])
    chosen, rejected = map(parse_response, sides[1:])
    # What the responses show is not the prompt's.
    asked = len(images) - count_parts(chosen + rejected, "image")
    return make_pair(
        record.get("source"),
        name,
        _with_system(record, prompt_messages(sides[0], asked, marks)),
        chosen,
        rejected,
        images=images,
        videos=videos,
        scores=_ratings(record),
        extra=extra_fields(record, read),
    )


def refuse_unread(record: Raw, more: Sequence[str] = ()) -> None:
    """Check that a record has nothing that would be lost.

    Raises:
        RowError: ``malformed``; names the field.
    """
    if found := [name for name in (*UNREAD, *more) if record.get(name)]:
        raise RowError("malformed", f"The record has {', '.join(found)}, which would be lost.")


def record_images(record: Raw) -> list[Any]:
    """Return what stands under ``images`` or ``image``, one or a list.

    Raises:
        RowError: ``malformed`` for both at once, or for a value that is no image.
    """
    given = [record[name] for name in ("images", "image") if record.get(name) not in (None, [], ())]
    if len(given) > 1:
        raise RowError("malformed", "The record has images under 'images' and under 'image'; expected one of them.")
    if not given:
        return []
    images = list(given[0]) if isinstance(given[0], (list, tuple)) else [given[0]]
    if wrong := [image for image in images if image is None or isinstance(image, (bool, int, float, list))]:
        raise RowError("malformed", f"Expected images as paths, bytes or {{'bytes', 'path'}}, found {wrong[0]!r:.100}.")
    return images


def extra_fields(record: Raw, read: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a record that were not read; those with a name that a pair needs as ``original_<name>``."""
    taken = {"id", "source", "image", "images", "videos", "system", PLACE, *read}
    if _ratings(record):
        taken |= {"scores", *RATINGS}
    unread = {name: value for name, value in record.items() if name not in taken}
    return {f"original_{name}" if name in REQUIRED_KEYS else name: value for name, value in unread.items()}


def lift_images(said: Any) -> tuple[Any, list[Any]]:
    """Return messages whose image parts name nothing, and what they named, None for a part that named nothing."""
    if not isinstance(said, list):
        return said, []
    found = [_lift_message(message) for message in said]
    return [message for message, _ in found], [image for _, own in found for image in own]


def _lift_message(message: Any) -> tuple[Any, list[Any]]:
    content = message_content(message) if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return message, []
    parts, named = [], []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") not in _IMAGE_PARTS:
            parts.append(part)
            continue
        name = next((part[key] for key in _NAMES if part.get(key) is not None), None)
        named.append(name.get("url", name) if isinstance(name, Mapping) else name)
        rest = {key: value for key, value in part.items() if key not in _NAMES and value is not None}
        parts.append({**rest, "type": "image"})
    key = "content" if message.get("content") is not None else "value"
    return {**message, key: parts}, named


def _join_images(given: list[Any], named: list[Any]) -> list[Any]:
    """Return the images of a record that lists them, names them in its parts, or both in the same order."""
    if not any(image is not None for image in named):
        return given
    if given and given != named:
        raise RowError("malformed", f"Image parts name {named!r:.100}, 'images' holds {given!r:.100}.")
    if None in named:
        raise RowError("malformed", f"Some image parts name an image and others do not: {named!r:.100}.")
    return named


def _with_system(record: Raw, prompt: Messages) -> Messages:
    system = record.get("system")
    if system is None or system == "":
        return prompt
    own = parse_messages(system, "system")
    if prompt[0].role != "system":
        return own + prompt
    if prompt[:1] != own:
        raise RowError("malformed", "The record has one system prompt under 'system' and another one in its messages.")
    return prompt


def _ratings(record: Raw) -> list[float]:
    """Return the ratings that stand under ``RATINGS``, both as numbers; a record's own ``scores`` go before them."""
    if record.get("scores") is not None or not record.keys() >= set(RATINGS):
        return []
    found = [parse_score(record[name]) for name in RATINGS]
    if None in found:
        return []
    return [score for score in found if score is not None]
