"""A scorer from which images are withheld: what the texts alone give away."""

from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue

from basereward.data.outcomes import About, Scored
from basereward.data.schema import ResponseGroup
from basereward.data.withheld import withhold_images
from basereward.scoring.interface import Scorer
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.spec import open_spec


class BlindScorer:
    """Asks a scorer about the texts of groups, without their images and videos.

    Args:
        scorer: any; its name and identity are passed on with ``images: withheld``.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    @property
    def about(self) -> About:
        """What it is."""
        own = self._scorer.about
        facts: dict[str, JsonValue] = {**own.facts, "images": "withheld"}
        known = {"partial": facts} if own.identity is None else {"identity": facts}
        return replace(own, name=f"{own.name} without images", sees_images=False, **known)  # type: ignore[arg-type]

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order."""
        return self._scorer.score([withhold_images(group) for group in groups])


def open_blind(member: ModelSpec) -> BlindScorer:
    """Open a spec and withhold images from it.

    Raises:
        BaseRewardError: as ``open_spec``.
    """
    return BlindScorer(open_spec(member))
