"""Critiques: a critic is shown each response alone, and both critiques stay where its ratings agree with the label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from basereward.data.annotations import CRITIQUES
from basereward.data.judging.ratings import CriticPrompt, Rating
from basereward.data.outcomes import Judged, JudgeQuestion, Verdict
from basereward.data.schema import PreferencePair
from basereward.scoring.annotation.task import Read, lost_reason


@dataclass(frozen=True, slots=True)
class CritiqueTask:
    """Critiques of both responses of a pair; a pair whose chosen response is not rated higher is dropped.

    Args:
        prompt: how the critic is asked. Where it asks for no rating, nothing is checked against the label.
    """

    prompt: CriticPrompt
    step: Literal["annotate"] = "annotate"
    wrote: Literal["critiques"] = "critiques"
    places: tuple[str, str] = ("chosen", "rejected")

    def questions(self, pair: PreferencePair) -> tuple[JudgeQuestion, JudgeQuestion]:
        """Return the same question about each response, which does not know of the other one."""
        images, videos = pair.dealt_images, pair.dealt_videos
        chosen, rejected = (
            JudgeQuestion(pair.prompt, (side,), images[0] + images[place], videos[0] + videos[place])
            for place, side in enumerate((pair.chosen, pair.rejected), 1)
        )
        return chosen, rejected

    def read(self, pair: PreferencePair, answers: Sequence[Judged]) -> Read:
        """Return the pair with its critiques, ratings left out."""
        first, second = (self._reason(judged) for judged in answers)
        if first or second:
            return Read(None, (first, second))
        chosen, rejected = map(self._rating, answers)
        if chosen.value is not None and rejected.value is not None and chosen.value <= rejected.value:
            against = "undecided" if chosen.value == rejected.value else "contradicts"
            return Read(None, (against, against))
        texts = {"chosen": chosen.critique, "rejected": rejected.critique}
        return Read(replace(pair, extra={**pair.extra, CRITIQUES: texts}), (None, None))

    def details(self, facts: Sequence[Any]) -> Mapping[str, Any]:
        """Return whether critiques were checked at all."""
        return {"checked_against_label": self.prompt.rating.is_checked}

    def _reason(self, judged: Judged) -> str | None:
        if lost := lost_reason(judged):
            return lost
        rating = self._rating(judged)
        if self.prompt.rating.is_checked and rating.value is None:
            return "unparsable"
        return None if rating.critique else "no_words"

    def _rating(self, judged: Judged) -> Rating:
        return self.prompt.rating.read(judged.text if isinstance(judged, Verdict) else "")
