"""TRL's preference records, plain or conversational, with or without a prompt of their own.

``prompt``, ``chosen`` and ``rejected`` are texts or lists of messages; without ``prompt``, or where chosen and rejected
begin with it, they are whole conversations, and the prompt is what they share. ``images`` is optional. The canonical
record is one of these.

Source: TRL, "Dataset formats and types".
"""

from collections.abc import Iterable
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import Branches, message_roles, split_conversations
from basereward.data.formats.format import RecordFormat, file_pair
from basereward.data.messages import is_message, parse_messages
from basereward.data.schema import REQUIRED_KEYS
from basereward.errors import RowError


def fits(record: Raw) -> bool:
    """Whether a record has chosen and rejected, and tells its prompt."""
    sides = [record.get("chosen"), record.get("rejected")]
    if None in sides or record.get("conversations") is not None or any(map(_is_list_of_texts, sides)):
        return False
    return record.get("prompt") is not None or isinstance(sides[0], list)


def parse(record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return the pair of a record.

    Raises:
        RowError: as ``find_prompt`` and ``file_pair``.
    """
    yield file_pair(record, name, find_prompt(record), REQUIRED_KEYS, marks=False)


def find_prompt(record: Raw) -> Branches:
    """Return prompt, chosen and rejected of a record, whichever way it tells the prompt.

    Raises:
        RowError: as ``split_conversations``; ``prefix_mismatch`` if whole conversations do not hold the prompt.
    """
    prompt, chosen, rejected = record.get("prompt"), record["chosen"], record["rejected"]
    if not is_whole(chosen):
        return Branches(prompt, chosen, rejected)
    branches = split_conversations(chosen, rejected)
    if prompt is None:
        return branches
    told, held = _texts(prompt), _texts(branches.prompt)
    if len(told) > len(held) and told[-len(held) :] == held:
        return branches._replace(prompt=prompt)
    if not all(text in held for text in told):
        raise RowError("prefix_mismatch", f"The prompt {str(prompt)[:100]!r} is not in the conversations.")
    return branches


def is_whole(chosen: Any) -> bool:
    """Whether a response is a whole conversation: a list of messages that does not begin with an answer."""
    return isinstance(chosen, list) and message_roles(chosen, "chosen")[:1] != ["assistant"]


def _texts(said: Any) -> list[str]:
    # Without marks of images, which a prompt and the conversation may show in different ways.
    return [message.text.replace("<image>", "").strip() for message in parse_messages(said, "user")]


def _is_list_of_texts(side: Any) -> bool:
    return isinstance(side, list) and not any(map(is_message, side)) and any(isinstance(item, str) for item in side)


FORMAT = RecordFormat(
    name="trl",
    title="prompt, chosen, rejected as texts or messages, or chosen and rejected as whole conversations",
    columns=REQUIRED_KEYS,
    fits=fits,
    parse=parse,
)
