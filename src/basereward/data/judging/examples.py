"""Pairs as questions with answers: what a judge is shown in each order, and what it should say."""

from typing import NamedTuple

from basereward.data.annotations import Thoughts, thoughts_of
from basereward.data.judging.prompts import JudgePrompt
from basereward.data.outcomes import JudgeQuestion
from basereward.data.schema import Messages, PreferencePair, messages_from_text
from basereward.errors import RowError


class JudgeExample(NamedTuple):
    """A question about a pair, the answer that is right, and the same answer with the other verdict."""

    question: JudgeQuestion
    asked: Messages
    right: Messages
    wrong: Messages


def question_of(pair: PreferencePair, is_chosen_first: bool) -> JudgeQuestion:
    """Return the question about a pair in one of its orders; images of responses follow those of the prompt."""
    order = (1, 2) if is_chosen_first else (2, 1)
    sides = (pair.chosen, pair.rejected)
    images, videos = pair.dealt_images, pair.dealt_videos
    return JudgeQuestion(
        pair.prompt,
        tuple(sides[place - 1] for place in order),
        sum((images[place] for place in order), images[0]),
        sum((videos[place] for place in order), videos[0]),
    )


def judge_examples(pair: PreferencePair, prompt: JudgePrompt, needs_thoughts: bool) -> list[JudgeExample]:
    """Return what a judge learns from a pair: both orders, or with thoughts those orders that have one.

    Raises:
        RowError: ``no_thoughts``: thoughts are needed, and the pair has none. ``malformed``: as ``thoughts_of``, or a
            thought that the form of the prompt cannot hold.
    """
    thoughts = thoughts_of(pair) if needs_thoughts else Thoughts("", "")
    if thoughts is None:
        raise RowError("no_thoughts", "The pair has no thoughts; write them with basereward data annotate.")
    given = ((True, thoughts.chosen_first), (False, thoughts.rejected_first))
    return [_example(pair, prompt, first, thought) for first, thought in given if thought is not None]


def _example(pair: PreferencePair, prompt: JudgePrompt, is_chosen_first: bool, thought: str) -> JudgeExample:
    if not prompt.format.holds(thought):
        raise RowError(
            "malformed",
            f"The thought {thought[:100]!r} brings tags or a verdict of its own, behind which the answer would not be "
            f"read as {prompt.format.name}; expected the words between the tags alone.",
        )
    question = question_of(pair, is_chosen_first)
    places = (0, 1) if is_chosen_first else (1, 0)
    right, wrong = (messages_from_text(prompt.format.write(thought, place), "assistant") for place in places)
    return JudgeExample(question, prompt.ask(question), right, wrong)
