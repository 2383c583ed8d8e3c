"""A form of requests and answers on one path: what every dialect is made of."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from basereward.data.outcomes import Failure
from basereward.serving.engines import Asked, Outcome
from basereward.serving.records import RequestReader
from basereward.serving.refusals import RequestError
from basereward.serving.rendered import RenderedReader
from basereward.serving.wire import ModelCard

S = TypeVar("S", bound=BaseModel)
# What stands in places of errors beside the names of fields: kinds of a union.
_FIELD = re.compile("[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class Served:
    """What forms know of the server.

    Args:
        card: the model.
        reader: reads groups in the native form.
        rendered: reads texts that a chat template wrote; None if the model tells none.
    """

    card: ModelCard
    reader: RequestReader
    rendered: RenderedReader | None

    def check_model(self, name: str | None) -> None:
        """Refuse a request for another model.

        Raises:
            RequestError: 404.
        """
        if name is not None and name != self.card.id:
            raise RequestError(404, "unknown_model", f"The served model is {self.card.id!r}.", "model")

    def check_single(self) -> None:
        """Refuse responses one by one where a reward depends on the others of a prompt.

        Raises:
            RequestError: 400.
        """
        if self.card.compares:
            raise RequestError(
                400, "unsupported", "This model compares the responses to a prompt; send them together to /v1/score."
            )


@dataclass(frozen=True, slots=True)
class Form:
    """A path with what is sent to it and answered.

    Args:
        path: of a POST.
        summary: one line for the documentation.
        sent: the body of a request.
        answer: the body of an answer.
        read: what is to be computed for a request, or why some of it cannot be; called in a thread.
        write: the answer to a request from the outcomes of everything that was read.
    """

    path: str
    summary: str
    sent: type[BaseModel]
    answer: type[BaseModel]
    read: Callable[[Served, Any], Sequence[Asked | Failure]]
    write: Callable[[Served, Any, Sequence[Sequence[Outcome]]], BaseModel]


def parse_body(kind: type[S], body: bytes) -> S:
    """Return what a body says.

    Raises:
        RequestError: 400; names the first place that is wrong.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_context=False, include_input=False)
        # Some messages repeat what was sent.
        message = "Expected another type of part." if first["type"] == "union_tag_invalid" else first["msg"]
        raise RequestError(400, "malformed", message, _place(first["loc"])) from error


def _place(location: Sequence[int | str]) -> str | None:
    """Return a place as ``groups.0.messages``; names that are no fields, which a client may have made up, are left."""
    return ".".join(str(part) for part in location if isinstance(part, int) or _FIELD.fullmatch(part)) or None
