"""How a critic is asked for its critique of one response: a turn of the user behind that response."""

import hashlib
from dataclasses import replace
from typing import NamedTuple

from basereward.data.schema import Messages, Response, ResponseGroup, messages_from_text
from basereward.registry import Registry

# A critique of a few sentences; the longest answer of a critic.
CRITIQUE_TOKENS = 512


class CritiqueRequest(NamedTuple):
    """A way to ask for a critique."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """The digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


REQUESTS: Registry[CritiqueRequest] = Registry(
    "critique request",
    {
        entry.name: entry
        for entry in (
            CritiqueRequest(
                "detailed",
                "Critique your last answer: say what in it is true and what is not, given the request and the images "
                "in it, what it leaves out, and whether it is clear and safe. Do not repeat it.",
            ),
            CritiqueRequest("short", "Is this answer right?"),
        )
    },
)
DEFAULT_REQUEST = "detailed"


def ask_for_critiques(group: ResponseGroup, request: CritiqueRequest) -> ResponseGroup:
    """Return the group with the request behind every response, which a critic answers with its critique."""
    asked = messages_from_text(request.text)
    return _continued(group, [asked] * len(group.responses))


def with_critiques(group: ResponseGroup, request: CritiqueRequest, critiques: list[str]) -> ResponseGroup:
    """Return the group with the request and a critique behind every response: what the head of a critic scores."""
    asked = messages_from_text(request.text)
    return _continued(group, [asked + messages_from_text(text, "assistant") for text in critiques])


def _continued(group: ResponseGroup, turns: list[Messages]) -> ResponseGroup:
    responses = tuple(
        Response(response.id, response.messages + more) for response, more in zip(group.responses, turns, strict=True)
    )
    return replace(group, responses=responses)
