"""What the answers of a judge that thinks are worth: format, answer and consistency, as pure functions of texts."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from basereward.data.judging.formats import FORMATS
from basereward.data.outcomes import Choice
from basereward.rl.rewards import Reward

# Of two responses; what the thought holds is free, but no other tag of the form.
# Between them stands what the template of the policy writes there: Qwen3's two line breaks.
_FORM = re.compile(r"<think>(?P<thought>.*?)</think>\s*<answer>(?P<answer>.*?)</answer>", re.DOTALL)
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_TWO = 2


class ThoughtVerdict(NamedTuple):
    """An answer in form: what was thought, and the verdict behind it."""

    thought: str
    choice: Choice


def split_answer(text: str) -> ThoughtVerdict | None:
    """Return thought and verdict of ``<think>...</think><answer>...</answer>``; None for any other form.

    Every tag stands there exactly once, and nothing but white space is in front of the first, between thought and
    answer, or behind the last.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or any(text.count(tag) != 1 for tag in _TAGS):
        return None
    return ThoughtVerdict(match["thought"], read_choice(text))


def read_choice(text: str, is_cut_off: bool = False) -> Choice:
    """Return the place of the response that an answer prefers, counted from 0, ``tie`` or ``unparsable``.

    An answer that was cut off has not come to its verdict.
    """
    return FORMATS.get("think").read(text, _TWO, is_cut_off).choice


def format_rewards(texts: Sequence[str]) -> list[float]:
    """Return 1 for answers in form, else 0.

    Source: R1-Reward (arXiv 2505.02835), section 3, formatting reward.
    """
    return [float(split_answer(text) is not None) for text in texts]


def answer_rewards(texts: Sequence[str], right: int, cut: Sequence[bool] = ()) -> list[float]:
    """Return 1 for answers whose verdict is the right one, else 0: a tie or an unparsable answer is no match.

    Args:
        texts: answers to one question.
        right: the place of the better response, counted from 0.
        cut: which answers the limit of tokens cut off; none if nothing is given.

    Source: R1-Reward (arXiv 2505.02835), section 3, result reward.
    """
    ends = cut or [False] * len(texts)
    return [float(read_choice(text, is_cut) == right) for text, is_cut in zip(texts, ends, strict=True)]


def consistency(choice: Choice, supported: int | None) -> float:
    """Return 1 if thoughts support the verdict, -1 if they support the other response, 0 if neither is known.

    Args:
        choice: the verdict.
        supported: the response that the thoughts support, by its place; None for none.
    """
    if supported is None or not isinstance(choice, int):
        return 0.0
    return 1.0 if choice == supported else -1.0


def judge_rewards(
    formats: Sequence[float],
    answers: Sequence[float],
    consistencies: Sequence[Reward],
    format_weight: float = 0.5,
    consistency_weight: float = 0.5,
) -> list[Reward]:
    """Return ``answer (1 + consistency_weight consistency) + format_weight format`` of each answer.

    Consistency multiplies: a wrong verdict gains nothing by thoughts that support it. With weights of 0.5 the values
    are 0 or 0.5 for a wrong verdict, and from 0.5 to 2 for a right one. None where consistency is not known.

    Source: R1-Reward (arXiv 2505.02835), section 3, and ``math_verifier_mllm.py`` of its code, where consistency is
    1, 0 or -1.
    """
    return [
        None if known is None else answer * (1 + consistency_weight * known) + format_weight * form
        for form, answer, known in zip(formats, answers, consistencies, strict=True)
    ]
