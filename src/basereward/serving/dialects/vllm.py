"""vLLM's pooling forms: ``/classify`` and ``/pooling`` with one label, whose value is the raw reward.

Source: vLLM 0.32, ``vllm/entrypoints/pooling``.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from basereward.data.outcomes import Failure
from basereward.data.schema import ResponseGroup
from basereward.serving.dialects.texts import check_ignored, single_rewards, text_group
from basereward.serving.engines import Outcome
from basereward.serving.forms import Form, Served
from basereward.serving.refusals import RequestError
from basereward.serving.wire import WireGroup, WireMessage

Outcomes = Sequence[Sequence[Outcome]]
# What would change a reward, and is refused instead of being ignored.
_CHANGING = (
    *("truncate_prompt_tokens", "chat_template", "chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs"),
    *("add_generation_prompt", "continue_final_message"),
)


class ClassifyRequest(BaseModel):
    """A conversation as messages, or texts that the model's chat template wrote; other keys are ignored.

    ``use_activation`` is without effect: a reward model has none.
    """

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    input: str | list[str] | None = None
    messages: list[WireMessage] | None = None
    task: Literal["classify"] | None = None
    truncate_prompt_tokens: int | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, object] | None = None
    mm_processor_kwargs: dict[str, object] | None = None
    media_io_kwargs: dict[str, object] | None = None
    add_generation_prompt: bool = False
    continue_final_message: bool = False

    @property
    def field(self) -> str:
        """The field that holds what is scored."""
        return "messages" if self.input is None else "input"


class ClassifyItem(BaseModel):
    """The reward of one conversation."""

    index: int
    label: Literal["reward"] = "reward"
    probs: list[FiniteFloat]
    num_classes: int = 1


class PoolingItem(BaseModel):
    """The reward of one conversation."""

    index: int
    object: Literal["pooling"] = "pooling"
    data: list[FiniteFloat]


class _Listed(BaseModel):
    id: str
    object: Literal["list"] = "list"
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str


class ClassifyAnswer(_Listed):
    """What vLLM's ``/classify`` answers, without ``usage``."""

    data: list[ClassifyItem]


class PoolingAnswer(_Listed):
    """What vLLM's ``/pooling`` answers, without ``usage``."""

    data: list[PoolingItem]


def read_conversations(served: Served, sent: ClassifyRequest) -> list[ResponseGroup | Failure]:
    """Return each conversation as a group of one response: its last message.

    Raises:
        RequestError: 400 for a setting that would change the reward, no conversation, or a model that compares; 404
            for another model.
    """
    served.check_model(sent.model)
    served.check_single()
    check_ignored(sent.model_extra)
    for name in _CHANGING:
        if getattr(sent, name):
            raise RequestError(400, "unsupported", "This would change the reward; leave it out.", name)
    if (sent.input is None) == (sent.messages is None):
        raise RequestError(400, "malformed", "Expected either messages or input.")
    return served.reader.groups(list(_groups(served, sent)), sent.field)


def _groups(served: Served, sent: ClassifyRequest) -> Sequence[WireGroup]:
    if sent.messages is not None:
        prompt, response = sent.messages[:-1], sent.messages[-1:]
        if not prompt or response[0].role != "assistant":
            raise RequestError(400, "malformed", "The last message is the assistant's, the one to score.", "messages")
        return [WireGroup(messages=prompt, responses=[response])]
    texts = [sent.input] if isinstance(sent.input, str) else sent.input or []
    return [text_group(served, text, place=f"input.{place}") for place, text in enumerate(texts)]


def write_classes(served: Served, sent: ClassifyRequest, outcomes: Outcomes) -> ClassifyAnswer:
    """Return the rewards as the probabilities of one class.

    Raises:
        RequestError: 422 if a conversation has no reward.
    """
    rewards = single_rewards(outcomes, sent.field)
    data = [ClassifyItem(index=index, probs=[reward]) for index, reward in enumerate(rewards)]
    return ClassifyAnswer(id=f"classify-{uuid.uuid4().hex}", model=served.card.id, data=data)


def write_pooled(served: Served, sent: ClassifyRequest, outcomes: Outcomes) -> PoolingAnswer:
    """Return the rewards as pooled vectors of one number.

    Raises:
        RequestError: 422 if a conversation has no reward.
    """
    rewards = single_rewards(outcomes, sent.field)
    data = [PoolingItem(index=index, data=[reward]) for index, reward in enumerate(rewards)]
    return PoolingAnswer(id=f"pool-{uuid.uuid4().hex}", model=served.card.id, data=data)


FORMS = (
    Form("/classify", "As vLLM: classify", ClassifyRequest, ClassifyAnswer, read_conversations, write_classes),
    Form("/pooling", "As vLLM: pooling", ClassifyRequest, PoolingAnswer, read_conversations, write_pooled),
)
