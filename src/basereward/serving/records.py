"""From what a client sends to groups: the same reader as for files, but images are bytes, and limits hold."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from basereward.data.formats.group import parse_group
from basereward.data.outcomes import Failure, JudgeQuestion
from basereward.data.schema import ResponseGroup
from basereward.errors import RowError
from basereward.scoring.interface import failure_of
from basereward.serving.fetching import Fetcher
from basereward.serving.media import ImageReader
from basereward.serving.refusals import RequestError, explain
from basereward.serving.settings import RequestLimits
from basereward.serving.wire import ImageUrlPart, TextPart, WireGroup, WireMessage, WirePart

# What makes the whole request wrong; anything else is the failure of one group.
_OF_THE_REQUEST = ("malformed", "placeholder_count")


class RequestReader:
    """Turns groups of requests into canonical ones.

    Args:
        limits: what a request may hold.
        fetcher: fetches images from the web, where that is allowed.
    """

    def __init__(self, limits: RequestLimits, fetcher: Fetcher) -> None:
        self._limits = limits
        self._fetcher = fetcher

    def groups(self, sent: Sequence[WireGroup], field: str = "groups") -> list[ResponseGroup | Failure]:
        """Return each group, or why it cannot be scored.

        Raises:
            RequestError: 400 if a group is no group, 413 if there are too many, or too many responses.
        """
        _limit(len(sent), self._limits.max_groups, field)
        return [self._read(group, f"{field}.{place}") for place, group in enumerate(sent)]

    def questions(self, sent: Sequence[WireGroup]) -> list[JudgeQuestion | Failure]:
        """Return each group as a question for a judge, or why it cannot be asked.

        Raises:
            RequestError: as ``groups``, or 400 for fewer than two responses.
        """
        for place, group in enumerate(sent):
            if len(group.responses) < 2:
                place_name = f"questions.{place}.responses"
                raise RequestError(400, "malformed", "A question has two or more responses.", place_name)
        return [
            group
            if isinstance(group, Failure)
            else JudgeQuestion(
                group.prompt, tuple(response.messages for response in group.responses), group.images, group.videos
            )
            for group in self.groups(sent, "questions")
        ]

    def _read(self, sent: WireGroup, place: str) -> ResponseGroup | Failure:
        _limit(len(sent.responses), self._limits.max_responses, f"{place}.responses")
        try:
            self._check_size(sent)
            return self._parse(sent, place)
        except RowError as error:
            if error.reason in _OF_THE_REQUEST:
                raise RequestError(400, error.reason, explain(error.reason), place) from error
            return failure_of(error)

    def _check_size(self, sent: WireGroup) -> None:
        """Refuse what is too large before any of it is decoded or encoded."""
        for said in (sent.messages, *sent.responses):
            # Empty ones have no characters, and take their time all the same.
            if max(_count(said), 0 if isinstance(said, str) else len(said)) > self._limits.max_messages:
                raise RowError("too_long", "There are more messages or parts than the limit.")
        parts = [part for said in (sent.messages, *sent.responses) for part in _parts(said)]
        images = len(sent.images) + sum(isinstance(part, ImageUrlPart) for part in parts)
        frames = sum(len(video.frames) for video in sent.videos)
        if images > self._limits.max_images or frames > self._limits.max_frames:
            raise RowError("image_limit", "There are more images or frames than the limit.")
        if sum(map(len, _texts(sent))) > self._limits.max_characters:
            raise RowError("too_long", "There are more characters than the limit.")

    def _parse(self, sent: WireGroup, name: str) -> ResponseGroup:
        images = ImageReader(self._limits.image, self._limits.max_total_pixels, self._fetcher)
        record = {
            "prompt": _said(sent.messages, images),
            "responses": [_said(answer, images) for answer in sent.responses],
            "images": [images.read(image) for image in sent.images],
            "videos": [
                {"frames": [images.read(frame) for frame in video.frames], "fps": video.fps} for video in sent.videos
            ],
            "task": sent.task,
        }
        # No folder is ever looked into: whatever may be an image is bytes by now.
        return parse_group(record, name, Path())

    def check_text(self, text: str) -> None:
        """Refuse a text of prompt and response that is too long, before it is read.

        Raises:
            RowError: ``too_long``.
        """
        if len(text) > self._limits.max_characters:
            raise RowError("too_long", "There are more characters than the limit.")


def _said(messages: str | Sequence[WireMessage], images: ImageReader) -> str | list[dict[str, Any]]:
    if isinstance(messages, str):
        return messages
    return [
        {
            "role": message.role,
            "content": message.content
            if isinstance(message.content, str)
            else [_part(part, images) for part in message.content],
        }
        for message in messages
    ]


def _part(part: WirePart, images: ImageReader) -> dict[str, Any]:
    if isinstance(part, ImageUrlPart):
        return {"type": "image", "image": images.read(part.image_url.url)}
    return part.model_dump()


def _count(messages: str | Sequence[WireMessage]) -> int:
    return sum(1 for _ in _parts(messages))


def _parts(messages: str | Sequence[WireMessage]) -> Iterator[WirePart]:
    for message in () if isinstance(messages, str) else messages:
        yield from () if isinstance(message.content, str) else message.content


def _texts(sent: WireGroup) -> Iterator[str]:
    for messages in (sent.messages, *sent.responses):
        if isinstance(messages, str):
            yield messages
            continue
        for message in messages:
            yield message.content if isinstance(message.content, str) else ""
        yield from (part.text for part in _parts(messages) if isinstance(part, TextPart))


def _limit(found: int, most: int, param: str) -> None:
    if found > most:
        raise RequestError(413, "too_many", f"At most {most} are taken in one request; send several.", param)
