"""The native form of requests and answers; every other form is turned into it and back."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue


class _Sent(BaseModel):
    """Something that a client sends: an unknown key is an error, because what it means would be lost."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Sent):
    """A text."""

    type: Literal["text"]
    text: str


class ImageUrl(_Sent):
    """The image of an OpenAI-style part: a data URI, or an address where the server allows its host."""

    url: str
    detail: str | None = None
    """Accepted and without meaning: the model's own limits decide the resolution."""


class ImageUrlPart(_Sent):
    """An image in its place."""

    type: Literal["image_url"]
    image_url: ImageUrl


class PlaceholderPart(_Sent):
    """The place of the next image of ``images``, or video of ``videos``."""

    type: Literal["image", "video"]


WirePart = Annotated[TextPart | ImageUrlPart | PlaceholderPart, Field(discriminator="type")]


class WireMessage(_Sent):
    """Who says what."""

    role: str
    content: str | list[WirePart]
    name: None = None


WireResponse = str | list[WireMessage]


class WireVideo(_Sent):
    """Frames in order, as base64 or data URIs."""

    frames: list[str]
    fps: float | None = None


class WireGroup(_Sent):
    """A prompt and the responses to it; a bare text is one message of the user."""

    messages: str | list[WireMessage]
    responses: list[WireResponse]
    images: list[str] = []
    """Base64 or data URIs, in the order of the parts that are their places."""
    videos: list[WireVideo] = []
    task: str | None = None
    """What kind of prompt it is, for a model that routes by it."""


class ScoreRequest(_Sent):
    """Groups to score."""

    groups: list[WireGroup]
    model: str | None = None
    """If given, the name of the served model; another one is refused."""


class CompareRequest(_Sent):
    """Questions for a judge: each a prompt with two or more responses, in the order in which they are shown."""

    questions: list[WireGroup]
    model: str | None = None


class WireError(BaseModel):
    """Why a response has no score, or a question no verdict."""

    group: int
    response: int | None
    reason: str
    message: str


class Detail(BaseModel):
    """What a scorer says of a response beside its reward."""

    text: str | None = None
    parts: dict[str, FiniteFloat] | None = None


class ScoreAnswer(BaseModel):
    """Rewards by group and response, null where ``errors`` says why; ``details`` if the model gives any."""

    model: str
    fingerprint: str | None
    rewards: list[list[FiniteFloat | None]]
    errors: list[WireError]
    details: list[list[Detail | None]] | None = None


class WireVerdict(BaseModel):
    """What a judge said; ``choice`` is the place of the better response, counted from 0."""

    choice: int | Literal["tie", "unparsable"]
    text: str
    probabilities: list[FiniteFloat] | None = None
    mass: FiniteFloat | None = None
    is_cut_off: bool = False


class CompareAnswer(BaseModel):
    """A verdict for each question, null where ``errors`` says why."""

    model: str
    fingerprint: str | None
    verdicts: list[WireVerdict | None]
    errors: list[WireError]


class ModelCard(BaseModel):
    """The served model, as OpenAI's clients list it, with everything that decides its numbers."""

    id: str
    object: Literal["model"] = "model"
    owned_by: str = "basereward"
    kind: Literal["scorer", "judge"]
    sees_images: bool
    writes: bool
    """Whether scores hold texts: ``text`` of their details."""
    fingerprint: str | None
    """A hash of ``identity``; also in every answer."""
    identity: dict[str, JsonValue] | None
    data_record: dict[str, Any] | None
    compares: bool
    """Whether a reward depends on the other responses of its group."""
    partial: dict[str, JsonValue] | None = None
    """What is known to decide its numbers where there is no ``identity``."""


class ModelList(BaseModel):
    """All served models: one."""

    object: Literal["list"] = "list"
    data: Sequence[ModelCard]
