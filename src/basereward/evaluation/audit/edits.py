"""Changes of an item that keep its shape: of the texts of responses, of the prompt, and of images."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from basereward.benchmarks.items import BenchmarkItem
from basereward.data.schema import Message, Messages, Part, Response, ResponseGroup, response_id

TextChange = Callable[[str], str]


def change_text(message: Message, change: TextChange) -> Message:
    """Return a message with its last text changed; one without a text gets one behind its other parts."""
    places = [place for place, part in enumerate(message.content) if part.type == "text"]
    if not places:
        return replace(message, content=(*message.content, Part("text", change(""))))
    parts = list(message.content)
    parts[places[-1]] = Part("text", change(parts[places[-1]].text))
    return replace(message, content=tuple(parts))


def change_responses(item: BenchmarkItem, change: TextChange, rejected_only: bool = False) -> BenchmarkItem:
    """Return an item with the last text of its responses changed: of both, or of the rejected one alone."""
    changed = item.rows[0].rejected if rejected_only else range(len(item.responses))
    groups, place = [], 0
    for group in item.groups:
        responses = []
        for response in group.responses:
            responses.append(_changed(group, response, change) if place in changed else response)
            place += 1
        groups.append(replace(group, responses=tuple(responses)))
    return replace(item, groups=tuple(groups))


def change_prompt(item: BenchmarkItem, change: Callable[[Messages], Messages]) -> BenchmarkItem:
    """Return an item with another prompt."""
    prompt = change(item.prompt)
    return replace(item, groups=tuple(replace(group, prompt=prompt) for group in item.groups))


def change_images(item: BenchmarkItem, change: Callable[[Any], Any]) -> BenchmarkItem:
    """Return an item with every image, and every frame of a video, changed.

    Raises:
        RowError: an image cannot be read.
    """
    groups = (
        replace(
            group,
            images=tuple(map(change, group.images)),
            videos=tuple(replace(video, frames=tuple(map(change, video.frames))) for video in group.videos),
        )
        for group in item.groups
    )
    return replace(item, groups=tuple(groups))


def turn_responses(item: BenchmarkItem) -> BenchmarkItem:
    """Return an item with the responses of its only group in the other order."""
    (group,), (row,) = item.groups, item.rows
    last = len(group.responses) - 1
    correct, rejected = (tuple(last - place for place in side) for side in (row.correct, row.rejected))
    turned = replace(group, responses=group.responses[::-1])
    return BenchmarkItem((turned,), (replace(row, correct=correct, rejected=rejected),))


def has_images(item: BenchmarkItem) -> bool:
    """Return whether an item shows an image or a video."""
    return bool(item.images)


def rejected_text(item: BenchmarkItem) -> str:
    """Return the text of the rejected response."""
    return item.responses[item.rows[0].rejected[0]].text


def _changed(group: ResponseGroup, response: Response, change: TextChange) -> Response:
    messages = (*response.messages[:-1], change_text(response.messages[-1], change))
    return Response(response_id(group.id, messages), messages)
