"""How messages are read: the spellings of roles, turns and parts that files use become canonical messages.

Nothing that a chat template would render is left out: what a ``Message`` does not hold is refused by its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from basereward.data.schema import PART_TYPES, Message, Messages, Part
from basereward.errors import RowError

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
# Keys of a message that chat templates render and a Message does not hold; other keys are taken for remarks about it.
_READ = ("type", "text")
UNREAD_KEYS = (
    *("tool_calls", "function_call", "tool_call_id", "tool_responses", "tools"),
    *("reasoning_content", "reasoning", "reasoning_details", "thinking", "thought", "thoughts"),
    *("images", "image", "videos", "video", "audio", "audios", "documents", "refusal"),
)


def parse_messages(value: Any, role: str) -> Messages:
    """Parse a text, a message or a list of messages; text content becomes one text part.

    Args:
        value: ``"text"``, or messages ``{"role", "content"}`` or ``{"from", "value"}`` with a text or parts; messages
            that are parsed already stay as they are.
        role: the role of a bare text.

    Raises:
        RowError: ``malformed``, also for an unknown role and for what would be lost.
    """
    if isinstance(value, str):
        return (Message(role, (Part("text", value),)),)
    if isinstance(value, tuple) and value and isinstance(value[0], Message):
        return value
    if isinstance(value, Mapping):
        return (_parse_message(value),)
    if not isinstance(value, Sequence) or not value:
        raise RowError("malformed", f"Expected a text or a non-empty list of messages, found {value!r:.200}.")
    return tuple(_parse_message(message) for message in value)


def is_message(value: Any) -> bool:
    """Whether a value has a role and content, under whichever keys."""
    return (
        isinstance(value, Mapping) and ("role" in value or "from" in value) and ("content" in value or "value" in value)
    )


def message_role(message: Any) -> str:
    """Return the canonical role of a message.

    Raises:
        RowError: ``malformed`` for no message, or a role that is none of ``ROLES``.
    """
    if not is_message(message):
        raise RowError("malformed", f"Expected a message with 'role' and 'content', found {message!r:.200}.")
    # Arrow fills the keys that only other messages of a file have with nulls.
    role = message.get("role")
    role = message.get("from") if role is None else role
    known = ROLES.get(role) or ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise RowError("malformed", f"Found the role {role!r}; expected one of {', '.join(ROLES)}.")
    return known


def message_content(message: Mapping[str, Any]) -> Any:
    """Return what a message says: a text or a list of parts."""
    content = message.get("content")
    return message.get("value") if content is None else content


def _parse_message(message: Any) -> Message:
    role = message_role(message)
    if len(message) > 2 and (unread := [key for key in UNREAD_KEYS if message.get(key)]):
        raise RowError("malformed", f"A message has {', '.join(unread)}, which would be lost; write it as text parts.")
    content = message_content(message)
    if isinstance(content, str):
        return Message(role, (Part("text", content),))
    if not isinstance(content, Sequence):
        raise RowError("malformed", f"Expected message content as a text or a list of parts, found {content!r:.200}.")
    return Message(role, tuple(_parse_part(part) for part in content))


def _parse_part(part: Any) -> Part:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind not in PART_TYPES:
        raise RowError("malformed", f"Expected a part with type {', '.join(PART_TYPES)}; found {part!r:.200}.")
    text = part.get("text") if kind == "text" else ""
    if not isinstance(text, str):
        raise RowError("malformed", f"Expected a string under 'text' in a text part, found {part!r:.200}.")
    known = 2 if kind == "text" else 1
    if len(part) > known and (lost := [key for key, value in part.items() if value and key not in _READ[:known]]):
        raise RowError("malformed", f"A part of type {kind} has {', '.join(lost)}, which would be lost: {part!r:.200}.")
    return Part(kind, text)
