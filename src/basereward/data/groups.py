"""What a Python call asks to score, as a response group; of a wrong value the error shows the right one."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from basereward.data.messages import parse_messages
from basereward.data.schema import Messages, Response, ResponseGroup, messages_from_text, response_id
from basereward.errors import DataError
from basereward.registry import close_names

KEYS = ("prompt", "responses", "images")
_MARK = re.compile(r"<(image|video)>")
_ONE_IMAGE = (str, bytes, Path, Mapping, Image.Image)


def read_group(asked: ResponseGroup | Mapping[str, Any], name: str) -> ResponseGroup:
    """Return a group as it is, or make it of ``{"prompt", "responses", "images"}``.

    Raises:
        DataError: another kind of value, an unknown or a missing key, or as ``make_group``.
    """
    if isinstance(asked, ResponseGroup):
        return asked
    if not isinstance(asked, Mapping):
        raise DataError(f"Found {_kind(asked)} as {name}; expected {{'prompt': ..., 'responses': [...]}}.")
    for key in asked.keys() - set(KEYS):
        raise DataError(f"Unknown key {key!r} in {name}.{close_names(key, [*KEYS])} Known: {', '.join(KEYS)}.")
    if missing := [key for key in KEYS[:2] if key not in asked]:
        raise DataError(f"{name.capitalize()} has no {' and no '.join(missing)}; expected {', '.join(KEYS)}.")
    return make_group(asked["prompt"], asked["responses"], asked.get("images"), name)


def make_group(prompt: Any, responses: Any, images: Any = None, name: str = "score") -> ResponseGroup:
    """Return the group of a prompt and the texts that answer it.

    Args:
        prompt: the user's text (images come before it), or messages whose image parts ``images`` fill.
        responses: texts.
        images: a list of paths, bytes, base64 strings or PIL images.

    Raises:
        DataError: a value of another kind.
    """
    pictures = _check_images(images)
    texts = _check_responses(responses)
    answers = [messages_from_text(text, "assistant") for text in texts]
    named = tuple(Response(response_id(name, answer), answer) for answer in answers)
    return ResponseGroup(name, _read_prompt(prompt, len(pictures)), named, pictures)


def _read_prompt(prompt: Any, images: int) -> Messages:
    if isinstance(prompt, Mapping):
        raise DataError("Found one message as prompt; expected a text or a list of messages: prompt=[message].")
    if not isinstance(prompt, str):
        if not isinstance(prompt, Iterable):
            raise DataError(f"Found {_kind(prompt)} as prompt; expected a text or a list of messages.")
        return parse_messages(list(prompt), "user")
    if found := _MARK.search(prompt):
        kind = found.group(1)
        raise DataError(
            f"The prompt holds the mark {found.group()!r}, which would be read as text. The images of a prompt that is "
            f"a text come before it: leave the mark out. To place them, or to mean the word, give messages: "
            f"[{{'role': 'user', 'content': [{{'type': '{kind}'}}, {{'type': 'text', 'text': '...'}}]}}]."
        )
    return messages_from_text(prompt, images=images)


def _check_responses(responses: Any) -> list[str]:
    if isinstance(responses, (str, bytes, Mapping)) or not isinstance(responses, Iterable):
        raise DataError(f"Found {_kind(responses)} as responses; expected a list of texts: responses=['...', '...'].")
    texts = list(responses)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"Found {_kind(text)} as response {place}; expected its text (of messages, the content of the "
                "assistant's)."
            )
    return texts


def _check_images(images: Any) -> tuple[Any, ...]:
    if images is None:
        return ()
    if isinstance(images, _ONE_IMAGE) or not isinstance(images, Iterable):
        raise DataError(f"Found {_kind(images)} as images; expected a list, also of one: images=[image].")
    return tuple(images)


def _kind(value: Any) -> str:
    name = "text" if isinstance(value, str) else type(value).__name__
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"
