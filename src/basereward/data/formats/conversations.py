"""Conversations in the forms that sets and files use, split where they part, with parts where images are marked.

In text alone ``<image>`` stands for nothing and stays as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from basereward.data.formats.records import Turn, make_pair, media_messages
from basereward.data.messages import message_content, message_role, parse_messages
from basereward.data.parsing import parse_response
from basereward.data.schema import Messages
from basereward.errors import DataError, RowError


class Branches(NamedTuple):
    """What is said before two answers, and the two answers, each a text or a list of messages."""

    prompt: Any
    chosen: Any
    rejected: Any


def split_conversations(chosen: Any, rejected: Any) -> Branches:
    """Split two whole conversations into what they share and their last messages.

    Raises:
        RowError: ``malformed`` if one is no list of messages or ends with no answer to a user, ``prefix_mismatch`` if
            anything before the last messages differs.
    """
    for name, messages in (("chosen", chosen), ("rejected", rejected)):
        roles = message_roles(messages, name)
        if roles[-2:] != ["user", "assistant"]:
            raise RowError("malformed", f"Expected {name} to end with user, assistant; found {', '.join(roles)}.")
    if chosen[:-1] != rejected[:-1]:
        raise RowError(
            "prefix_mismatch",
            f"Chosen ({len(chosen)} messages) and rejected ({len(rejected)}) differ before their last message.",
        )
    return Branches(chosen[:-1], chosen[-1:], rejected[-1:])


def message_roles(messages: Any, name: str) -> list[str]:
    """Return the roles of a list of messages.

    Raises:
        RowError: ``malformed`` for anything else.
    """
    if not isinstance(messages, list):
        raise RowError("malformed", f"Expected a list of messages as {name}, found {str(messages)[:100]!r}.")
    return [message_role(message) for message in messages]


def text_pair(
    source: str | None,
    id: str,
    prompt: Any,
    chosen: Any,
    rejected: Any,
    scores: Sequence[float] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a canonical pair without media; each side is a text or a list of messages.

    Raises:
        RowError: ``malformed`` for anything else.
    """
    sides = (parse_messages(prompt, "user"), parse_response(chosen), parse_response(rejected))
    said, better, worse = ([message.to_dict() for message in messages] for messages in sides)
    return make_pair(source, id, said, better, worse, scores=scores, extra=extra)


def prompt_messages(prompt: Any, images: int, marks: bool = False) -> Messages:
    """Return the messages of a prompt, a text or a list of messages, with parts for its images.

    Parts stay as they are. Without image parts, images stand where the texts have ``<image>``, a single unmarked one
    in front of the first question.

    Args:
        marks: whether ``<image>`` stands for an image where there is none too, so that such a prompt is refused.

    Raises:
        RowError: ``malformed``, or ``placeholder_count`` if marks and images differ in number.
    """
    messages = parse_messages(prompt, "user")
    if (images > 0 or marks) and all(part.type == "text" for message in messages for part in message.content):
        return parse_messages(
            media_messages([Turn(message.role, message.text) for message in messages], images), "user"
        )
    return messages


def sharegpt_turn(value: Any) -> Turn:
    """Return a turn of the form ``{from, value}``.

    Raises:
        DataError: another form.
        RowError: ``malformed`` for a speaker who is neither system, user nor assistant.
    """
    if not isinstance(value, Mapping) or not {"from", "value"} <= value.keys():
        raise DataError(f"Expected a turn as {{'from', 'value'}}, found {str(value)[:200]}.")
    return Turn(message_role(value), message_content(value))
