"""ms-swift's records: a conversation that ends with the chosen answer, and the rejected one.

``messages`` is a list of ``{role, content}``; ``rejected_response`` is a text, a message, or a list of texts, each of
which makes a pair; or ``rejected_messages`` is a conversation that differs in its last message. ``images`` holds as
many images as the texts have ``<image>``.

Source: ms-swift, "Custom dataset".
"""

from collections.abc import Iterable, Mapping
from typing import Any

from basereward.data.files import Raw
from basereward.data.formats.conversations import split_conversations
from basereward.data.formats.format import RecordFormat, file_pair
from basereward.errors import RowError

REJECTED = ("rejected_response", "rejected_messages")
READ = ("messages", "rejected_images", *REJECTED)


def fits(record: Raw) -> bool:
    """Whether a record has messages and one of the two forms of the rejected answer."""
    return isinstance(record.get("messages"), list) and any(record.get(name) is not None for name in REJECTED)


def parse(record: Raw, name: str) -> Iterable[dict[str, Any]]:
    """Return the pair of a record, one for each rejected answer.

    Raises:
        RowError: as ``split_conversations`` and ``file_pair``; ``prefix_mismatch`` for other ``rejected_images``.
    """
    given = [record.get(column) or [] for column in ("images", "rejected_images")]
    if given[1] and given[1] != given[0]:
        raise RowError("prefix_mismatch", "The rejected conversation has images of its own.")
    messages = record["messages"]
    others = _rejected(record)
    for place, other in enumerate(others):
        branches = split_conversations(messages, other)
        own = f"{name}-0-{place}" if len(others) > 1 else name
        yield file_pair(record, own, branches, READ, unread=("videos", "objects"))


def _rejected(record: Raw) -> list[list[Any]]:
    """Return the conversations that end with a rejected answer."""
    if record.get("rejected_messages") is not None:
        return [record["rejected_messages"]]
    given, prompt = record["rejected_response"], record["messages"][:-1]
    if isinstance(given, list) and given and all(isinstance(answer, Mapping) for answer in given):
        return [[*prompt, *given]]
    answers = given if isinstance(given, list) else [given]
    return [
        [*prompt, answer if isinstance(answer, Mapping) else {"role": "assistant", "content": answer}]
        for answer in answers
    ]


FORMAT = RecordFormat(
    name="swift",
    title="messages that end with the chosen answer, and rejected_response or rejected_messages (ms-swift)",
    columns=("messages", "rejected_response"),
    fits=fits,
    parse=parse,
    reads=READ,
)
