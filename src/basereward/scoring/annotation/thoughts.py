"""Thoughts: a judge is shown a pair in both orders, and what it thinks stays where its verdict is the label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from basereward.data.annotations import THOUGHTS
from basereward.data.judging.examples import question_of
from basereward.data.judging.prompts import JudgePrompt
from basereward.data.outcomes import Judged, JudgeQuestion, Verdict
from basereward.data.schema import PreferencePair
from basereward.errors import RecipeError
from basereward.scoring.annotation.task import Read, lost_reason

NO_THOUGHTS = ("digit",)


@dataclass(frozen=True, slots=True)
class ThoughtTask:
    """Thoughts for the orders of a pair whose verdict is right; a pair without any is dropped.

    Args:
        prompt: how the judge is asked.

    Raises:
        RecipeError: the prompt asks for a digit alone.
    """

    prompt: JudgePrompt
    step: Literal["annotate"] = "annotate"
    wrote: Literal["thoughts"] = "thoughts"
    places: tuple[str, str] = ("chosen_first", "rejected_first")

    def __post_init__(self) -> None:
        if self.prompt.format.name in NO_THOUGHTS:
            raise RecipeError(f"The prompt {self.prompt.format.name!r} asks for no thoughts; give think, for one.")

    def questions(self, pair: PreferencePair) -> tuple[JudgeQuestion, JudgeQuestion]:
        """Return both orders."""
        return question_of(pair, True), question_of(pair, False)

    def read(self, pair: PreferencePair, answers: Sequence[Judged]) -> Read:
        """Return the pair with the thoughts that came to its label."""
        first, second = (self._reason(judged, right) for right, judged in enumerate(answers))
        thoughts = {
            place: self._thought(judged)
            for place, judged, reason in zip(self.places, answers, (first, second), strict=True)
            if reason is None
        }
        kept = replace(pair, extra={**pair.extra, THOUGHTS: thoughts}) if thoughts else None
        return Read(kept, (first, second))

    def details(self, facts: Sequence[Any]) -> Mapping[str, Any]:
        """Return nothing: the counts tell all."""
        return {}

    def _reason(self, judged: Judged, right: int) -> str | None:
        if (lost := lost_reason(judged)) or not isinstance(judged, Verdict):
            return lost
        if judged.choice in ("unparsable", "tie"):
            return "undecided" if judged.choice == "tie" else "unparsable"
        if judged.choice != right:
            return "contradicts"
        return None if self._thought(judged) else "no_words"

    def _thought(self, judged: Judged) -> str:
        return self.prompt.format.thought(judged.text) if isinstance(judged, Verdict) else ""
