"""The canonical types: messages, preference pairs and response groups.

A pair is TRL's conversational preference record with images. A group is what shares compute: one
prompt with its images, and the responses to it. A comparison says which of the responses is chosen.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

PartType = Literal["text", "image", "video"]
PART_TYPES: tuple[str, ...] = get_args(PartType)
PAIR_KEYS = ("id", "source", "images", "videos", "prompt", "chosen", "rejected", "scores", "margin")
REQUIRED_KEYS = ("prompt", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message: a text, or the place of the next image or video."""

    type: PartType
    text: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the part as chat templates read it; image and video parts carry no ``text`` key."""
        return {"type": "text", "text": self.text} if self.type == "text" else {"type": self.type}


@dataclass(frozen=True, slots=True)
class Message:
    """A role and the parts that it says, in order."""

    role: str
    content: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the message as chat templates read it."""
        return {"role": self.role, "content": [part.to_dict() for part in self.content]}

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.content if part.type == "text")


Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Video:
    """Frames in order, each an image of any form; ``fps`` of them pass in a second, None if that is unknown."""

    frames: tuple[Any, ...]
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to a prompt: usually one assistant message; continuations may have several."""

    id: str
    messages: Messages

    @property
    def text(self) -> str:
        """The text of all messages, joined."""
        return "".join(message.text for message in self.messages)


@dataclass(frozen=True, slots=True)
class ResponseGroup:
    """One prompt with its images and videos, and the responses that share it: the unit of all computation.

    ``task`` is what kind of prompt the record says it is; no model sees it, a router may go by it.
    """

    id: str
    prompt: Messages
    responses: tuple[Response, ...]
    images: tuple[Any, ...] = ()
    videos: tuple[Video, ...] = ()
    task: str | None = None

    @property
    def prompt_images(self) -> tuple[Any, ...]:
        """The images of the prompt, without those that a response shows."""
        return self.images[: count_parts(self.prompt, "image")]

    @property
    def prompt_videos(self) -> tuple[Video, ...]:
        """The videos of the prompt, without those that a response shows."""
        return self.videos[: count_parts(self.prompt, "video")]


class Comparison(NamedTuple):
    """Groups to compute together, and which of their responses (counted through all groups) is chosen."""

    groups: tuple[ResponseGroup, ...]
    chosen: int
    rejected: int


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One human or model preference: ``chosen`` is better than ``rejected`` for this prompt.

    ``images`` fill the image parts of prompt, chosen and rejected in this order; each is a path, bytes,
    a base64 string, a PIL image or ``{"bytes", "path"}``. ``videos`` fill the video parts in the same way.
    ``margin`` is a target difference of rewards; ``scores`` are ratings that the source gives, kept as they are.
    """

    id: str
    source: str
    prompt: Messages
    chosen: Messages
    rejected: Messages
    images: tuple[Any, ...] = ()
    margin: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    videos: tuple[Video, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def is_multimodal(self) -> bool:
        """Whether the pair has at least one image or video."""
        return bool(self.images or self.videos)

    def comparison(self) -> Comparison:
        """Return the groups to compute and the places of chosen and rejected.

        One group of two, its responses ordered by a hash of their content, so that a position can leak
        no label. A response that holds images or videos of its own shares nothing: then two groups of one.
        """
        answers = (self.chosen, self.rejected)
        named = [Response(response_id(self.id, messages), messages) for messages in answers]
        task = task_of(self.extra)
        shared_images, *own_images = self.dealt_images
        shared_videos, *own_videos = self.dealt_videos
        if any(own_images) or any(own_videos):
            groups = [
                ResponseGroup(
                    f"{self.id}/{answer.id}",
                    self.prompt,
                    (answer,),
                    shared_images + images,
                    shared_videos + videos,
                    task,
                )
                for answer, images, videos in zip(named, own_images, own_videos, strict=True)
            ]
            return Comparison(tuple(groups), 0, 1)
        order = sorted((0, 1), key=lambda index: named[index].id)
        responses = tuple(named[index] for index in order)
        group = ResponseGroup(self.id, self.prompt, responses, shared_images, shared_videos, task)
        return Comparison((group,), order.index(0), order.index(1))

    @property
    def dealt_images(self) -> list[tuple[Any, ...]]:
        """The images of the prompt, of chosen and of rejected."""
        return self._deal(self.images, "image")

    @property
    def dealt_videos(self) -> list[tuple[Video, ...]]:
        """The videos of the prompt, of chosen and of rejected."""
        return self._deal(self.videos, "video")

    def _deal(self, items: tuple[Any, ...], kind: PartType) -> list[tuple[Any, ...]]:
        """Deal images or videos to prompt, chosen and rejected."""
        own = [count_parts(messages, kind) for messages in (self.prompt, self.chosen, self.rejected)]
        if not own[1] and not own[2]:
            return [items, (), ()]
        first, second = own[0], own[0] + own[1]
        return [items[:first], items[first:second], items[second:]]


def task_of(record: Mapping[str, Any]) -> str | None:
    """Return the text in the column ``task`` of a record; None without one."""
    task = record.get("task")
    return task if isinstance(task, str) and task else None


def response_id(group_id: str, messages: Messages, images: Sequence[str] = ()) -> str:
    """Return a hash of the response within its group: equal text has an equal id.

    Args:
        images: keys of the images that the response shows, where responses differ by these alone.
    """
    said = [group_id, [message.to_dict() for message in messages], *([list(images)] if images else [])]
    content = json.dumps(said, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def count_parts(messages: Messages, kind: PartType) -> int:
    """Count the parts of one type."""
    return sum(part.type == kind for message in messages for part in message.content)


def messages_text(messages: Messages) -> str:
    """Return the texts of messages, one after the other."""
    return "\n".join(message.text for message in messages)


def messages_from_text(text: str, role: str = "user", images: int = 0) -> Messages:
    """Return one message: ``images`` image parts, then the text."""
    parts: Iterator[Part] = (Part("image") for _ in range(images))
    return (Message(role, (*parts, Part("text", text))),)
