"""What each paradigm computes for the rewards of one group: lengths in tokens, and operations by formula."""

from typing import NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt

from basereward.configuration import Section
from basereward.encoding.groups import GroupLength
from basereward.models.flops import BackboneSize
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.tournament import Shown, TournamentOptions, round_robin
from basereward.speed.workloads import Workload

NAIVE, CRITIC, GRM, LONGCOT = "Naive-RM", "Critic-RM", "GRM", "LongCoT-GRM"


class ParadigmLengths(Section):
    """Tokens of a group and of what is written about it; the end of an answer is one of its tokens."""

    prompt: PositiveInt = 1200
    """Of the prompt, its image included."""
    response: PositiveInt = 200
    """Of a response, in the mean."""
    jitter: float = Field(default=0.0, ge=0, le=1)
    """Responses vary by this share around the mean."""
    group: int = Field(default=8, ge=2)
    """Responses."""
    with_image: bool = True
    """Whether the prompt has an image, of 1,024 tokens in 1,200."""
    asking: NonNegativeInt = 32
    """What a critic or judge reads beside prompt and responses: the question, roles and turns."""
    critique: PositiveInt = 100
    """What a critic writes about each response."""
    thought: NonNegativeInt = 200
    """What a LongCoT-GRM writes before its verdict."""
    verdict: PositiveInt = 2
    """A digit and its end."""
    batch_tokens: PositiveInt = JudgeOptions().batch_tokens
    """Memory cap: tokens, answers included, that are held at once while something is written."""

    def draw(self) -> GroupLength:
        """Return the lengths of the group."""
        [length] = Workload(self.prompt, self.response, self.group, 1, self.jitter, self.with_image).lengths()
        return length


class ParadigmCost(Section):
    """What a paradigm computes for a group, by its lengths alone."""

    questions: int
    """Answers that are written."""
    read_tokens: int
    """Tokens that pass the model together, each prompt once for all that goes on from it."""
    written_tokens: int
    """Tokens of all answers, one after the other in each."""
    flops_per_response: float
    """Floating-point operations; a multiply-add counts as two."""


class Paradigm(NamedTuple):
    """What one paradigm computes for a group.

    Args:
        opened: the tree behind whose suffixes something is written, None if nothing is.
        written: tokens behind each of them.
        scored: the tree whose responses the reward head reads, None if it reads none.
        shown: the ordered pairs of responses that a judge is asked about, one for each suffix of ``opened``.
    """

    name: str
    responses: int
    opened: GroupLength | None = None
    written: int = 0
    scored: GroupLength | None = None
    shown: tuple[Shown, ...] = ()

    def cost(self, size: BackboneSize) -> ParadigmCost:
        """Return what it computes: ``writing_flops`` of what is opened and ``forward_flops`` of what is scored.

        The reward head, two layers once a response, is left out.
        """
        questions = len(self.opened.suffixes) if self.opened else 0
        writing = size.writing_flops(self.opened, self.written) if self.opened else 0.0
        reading = size.forward_flops(self.scored) if self.scored else 0.0
        return ParadigmCost(
            questions=questions,
            read_tokens=sum(length.total for length in (self.opened, self.scored) if length),
            written_tokens=questions * self.written,
            flops_per_response=(writing + reading) / self.responses,
        )


def plan_paradigms(lengths: ParadigmLengths) -> list[Paradigm]:
    """Return what each paradigm computes for one group; judges are asked about every ordered pair of responses.

    Source: paper, section 3.1, and Appendix C.O.1 for the tournament.
    """
    group, count = lengths.draw(), lengths.group
    sizes = group.suffixes
    opened = group._replace(suffixes=tuple(size + lengths.asking for size in sizes))
    criticised = opened._replace(suffixes=tuple(size + lengths.critique for size in opened.suffixes))
    shown = tuple(round_robin([str(place) for place in range(count)], TournamentOptions().pairs))
    asked = group._replace(suffixes=tuple(sizes[first] + sizes[second] + lengths.asking for first, second in shown))
    return [
        Paradigm(NAIVE, count, scored=group),
        Paradigm(CRITIC, count, opened, lengths.critique, criticised),
        Paradigm(GRM, count, asked, lengths.verdict, shown=shown),
        Paradigm(LONGCOT, count, asked, lengths.thought + lengths.verdict, shown=shown),
    ]
