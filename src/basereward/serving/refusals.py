"""What a client is told when something fails: by reason and place, in words that hold nothing of request or machine.

Messages of errors name paths, addresses and texts, which helps whoever runs a command. Whoever sends a request over the
network gets a sentence for the reason instead.
"""

from pydantic import BaseModel

from basereward.data.outcomes import Failure
from basereward.errors import BaseRewardError

INTERNAL = "internal"
REASONS: dict[str, str] = {
    "malformed": "This is no conversation that can be read: expected messages with a role (system, user or assistant) "
    "and content (text or parts) in Unicode, without tool calls or separate thoughts.",
    "placeholder_count": "The number of image or video parts is not the number of images or videos.",
    "video": "A video has no frames, too few, frames of several sizes, or a rate that is no positive number.",
    "image_missing": "An image is no bytes: expected base64 or a data URI; paths are never read, and addresses only "
    "where the server allows their host.",
    "image_unreadable": "An image is truncated, corrupt or in no supported format.",
    "image_animated": "An image has several frames; send the frame that you mean, or a video.",
    "image_limit": "An image has too many bytes or pixels, is too small, or is too long and narrow.",
    "too_long": "The prompt with this response is longer than this server or its model takes.",
    "template": "The model's chat template cannot render this conversation, or the model reads no images.",
    "text_only": "This model reads no images.",
    "failed_partner": "The model compares the responses to a prompt, and another one of them failed.",
    "long_group": "The model compares the responses to a prompt, and all of them together are longer than this server "
    "takes.",
    "no_route": "The model sends each prompt to one of several others, and none is there for this one; a prompt may "
    "name its task.",
    "not_finite": "The model gave no finite number; its weights or its precision are broken.",
    INTERNAL: "Something went wrong on the server; its log says what.",
}
_OTHER = "No score could be given."


class ErrorDetail(BaseModel):
    """What went wrong, in the form that OpenAI's and vLLM's clients read."""

    message: str
    type: str
    param: str | None = None
    code: int


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


class RequestError(BaseRewardError):
    """A request that is not answered with a result.

    Args:
        status: of HTTP.
        reason: a countable name.
        message: for people; holds nothing of the request but names of fields, and nothing of the machine.
        param: the place in the body, such as ``groups.0.messages.1``.
        retry_after: seconds after which another attempt may succeed.
    """

    def __init__(
        self, status: int, reason: str, message: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.answer = ErrorBody(error=ErrorDetail(message=message, type=reason, param=param, code=status))
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


def explain(reason: str) -> str:
    """Return what a client is told of a reason."""
    return REASONS.get(reason, _OTHER)


def refused(failure: Failure, param: str | None = None) -> RequestError:
    """Return the answer of a form that has no place for a failure beside its numbers."""
    return RequestError(500 if failure.reason == INTERNAL else 422, failure.reason, explain(failure.reason), param)
