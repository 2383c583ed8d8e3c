"""The remote rewards of OpenRLHF, and of LightRFT, which sends images: texts of a chat template in, rewards out.

Source: OpenRLHF 0.11, ``openrlhf/utils/agent.py``; LightRFT 0.1, ``lightrft/utils/remote_rm_utils.py``.
"""

from collections.abc import Sequence

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, FiniteFloat

from basereward.data.outcomes import Failure
from basereward.data.schema import ResponseGroup
from basereward.serving.dialects.texts import check_ignored, single_rewards, text_group
from basereward.serving.engines import Outcome
from basereward.serving.forms import Form, Served
from basereward.serving.refusals import RequestError


class GetRewardRequest(BaseModel):
    """Prompts with their responses as texts; ``labels`` and other keys are ignored.

    OpenRLHF says ``query``, LightRFT ``queries``. ``prompts`` are their beginnings; with them nothing that a response
    spells can be taken for a turn. ``images`` has for each text an image, a list of them, or null.
    """

    model_config = ConfigDict(extra="allow")

    query: list[str] = Field(validation_alias=AliasChoices("query", "queries"))
    prompts: list[str] | None = None
    images: list[str | list[str] | None] | None = None


class GetRewardAnswer(BaseModel):
    """A reward for each text; ``scores`` are the same."""

    rewards: list[FiniteFloat]
    scores: list[FiniteFloat]
    extra_logs: dict[str, list[FiniteFloat]] = {}


def read_queries(served: Served, sent: GetRewardRequest) -> list[ResponseGroup | Failure]:
    """Return each text as a group of one response.

    Raises:
        RequestError: 400 for a text of another template, lists of unequal lengths, images under another name, or a
            model that compares.
    """
    served.check_single()
    check_ignored(sent.model_extra)
    given = {"prompts": sent.prompts, "images": sent.images}
    for name, values in given.items():
        if values is not None and len(values) != len(sent.query):
            raise RequestError(400, "malformed", "Expected one entry for each text of query.", name)
    groups = [
        text_group(
            served,
            text,
            prompt=sent.prompts[place] if sent.prompts else None,
            images=_listed(sent.images[place]) if sent.images else (),
            place=f"query.{place}",
        )
        for place, text in enumerate(sent.query)
    ]
    return served.reader.groups(groups, "query")


def write_rewards(served: Served, sent: GetRewardRequest, outcomes: Sequence[Sequence[Outcome]]) -> GetRewardAnswer:
    """Return the rewards.

    Raises:
        RequestError: 422 if a text has none.
    """
    rewards = single_rewards(outcomes, "query")
    return GetRewardAnswer(rewards=rewards, scores=rewards)


def _listed(images: str | list[str] | None) -> list[str]:
    return [images] if isinstance(images, str) else images or []


FORMS = (
    Form(
        "/get_reward",
        "As OpenRLHF and LightRFT: remote rewards",
        GetRewardRequest,
        GetRewardAnswer,
        read_queries,
        write_rewards,
    ),
)
