"""What dialects share that send texts of a chat template: texts as groups of one response, and rewards or an error."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from basereward.data.outcomes import Failure, Score
from basereward.data.schema import count_parts
from basereward.errors import RowError
from basereward.serving.engines import Outcome
from basereward.serving.forms import Served
from basereward.serving.refusals import RequestError, explain, refused
from basereward.serving.wire import PlaceholderPart, TextPart, WireGroup, WireMessage

_MEDIA = re.compile("image|video|audio|pixel|multi_?modal|media", re.IGNORECASE)


def text_group(
    served: Served, text: str, prompt: str | None = None, images: Sequence[str] = (), place: str | None = None
) -> WireGroup:
    """Return the group of a text that holds prompt and response; images without a place come before the question.

    Raises:
        RequestError: 400 if the model's chat template did not write the text.
    """
    if served.rendered is None:
        raise RequestError(
            400, "malformed", "This model has no chat template of its own; send messages to /v1/score.", place
        )
    try:
        served.reader.check_text(text)
        read = served.rendered.read(text, prompt)
    except RowError as error:
        if error.reason == "too_long":
            raise RequestError(422, error.reason, explain(error.reason), place) from error
        raise RequestError(400, "malformed", str(error), place) from error
    messages = [
        WireMessage(
            role=message.role,
            content=[
                TextPart(type="text", text=part.text) if part.type == "text" else PlaceholderPart(type=part.type)
                for part in message.content
            ],
        )
        for message in read.prompt
    ]
    if images and not count_parts(read.prompt, "image"):
        if read.is_rendered:
            raise RequestError(400, "placeholder_count", explain("placeholder_count"), place)
        [question] = messages
        shown = [PlaceholderPart(type="image") for _ in images]
        messages = [question.model_copy(update={"content": [*shown, *question.content]})]
    return WireGroup(messages=messages, responses=[read.response], images=list(images))


def check_ignored(extra: Mapping[str, Any] | None) -> None:
    """Refuse unknown keys that hold images, videos or sounds; other ones are ignored, as these forms have many.

    Raises:
        RequestError: 400. Without what it shows a conversation would get the reward of another one.
    """
    for name, value in (extra or {}).items():
        if _MEDIA.search(name) and _has_content(value):
            raise RequestError(400, "unsupported", "An unknown key holds images, videos or sounds; use images.")


def single_rewards(outcomes: Sequence[Sequence[Outcome]], field: str) -> list[float]:
    """Return the reward of every item, each of one response.

    Raises:
        RequestError: one of them has none; these forms have no place for that beside numbers.
    """
    rewards = []
    for place, [outcome] in enumerate(outcomes):
        if isinstance(outcome, Failure):
            raise refused(outcome, f"{field}.{place}")
        assert isinstance(outcome, Score)
        rewards.append(outcome.value)
    return rewards


def _has_content(value: Any) -> bool:
    """Return whether there is more than numbers, such as those of images, and flags."""
    if isinstance(value, (list, dict)):
        return any(map(_has_content, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and bool(value)
