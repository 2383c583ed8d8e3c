"""Who reads whether a judge's thoughts support its verdict: rules, or another judge that is asked."""

from collections.abc import Mapping, Sequence

from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion, Score, Scored
from basereward.data.schema import ResponseGroup, messages_from_text
from basereward.errors import RewardError
from basereward.rl.judge_rewards import ThoughtVerdict, consistency, split_answer
from basereward.rl.thoughts import supported_response
from basereward.scoring.interface import Judge, Scorer, checked_verdicts
from basereward.scoring.spec import is_judge, open_judge

STATEMENTS, NO_READER = "statements", "none"
_QUESTION = (
    "Somebody compared two responses, called Response 1 and Response 2, and noted the thoughts below. Which statement "
    "do the thoughts come to? Do not judge the responses yourself. If the thoughts come to neither, it is a tie.\n\n"
    "--- Thoughts ---\n{thought}"
)
_STATEMENTS = tuple(messages_from_text(f"Response {number} is better.", "assistant") for number in (1, 2))


class StatementReader:
    """Scores answers with 1, 0 or -1 by what their thoughts state, as ``thoughts.supported_response`` reads it."""

    about = About("thoughts read by statements", sees_images=False, identity={"reader": STATEMENTS, "version": 2})

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return the consistency of each answer; 0 for one that is not in form."""
        return [[Score(_read(split_answer(one.text))) for one in group.responses] for group in groups]


class AskingReader:
    """Scores answers with 1, 0 or -1 by which of two statements another judge finds in their thoughts.

    That judge sees neither the verdict, which could lead it, nor the responses or their images, which are not the
    question. An answer of its own that is unparsable gives 0, one that failed a failure.

    Args:
        judge: who is asked; once for each different thought.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    @property
    def about(self) -> About:
        """The judge that is asked, and what."""
        asked = self.judge.about
        identity = None if asked.identity is None else {**asked.identity, "asked": _QUESTION}
        return About(f"thoughts read by {asked.name}", sees_images=False, identity=identity)

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return the consistency of each answer; 0 for one that is not in form, or thinks nothing."""
        answers = [[split_answer(one.text) for one in group.responses] for group in groups]
        said = [one for own in answers for one in own if one and one.thought.strip() and isinstance(one.choice, int)]
        thoughts = list(dict.fromkeys(one.thought for one in said))
        questions = [
            JudgeQuestion(messages_from_text(_QUESTION.format(thought=thought)), _STATEMENTS) for thought in thoughts
        ]
        judged = checked_verdicts(self.judge, questions) if questions else []
        found = dict(zip(thoughts, judged, strict=True))
        return [[_judge(one, found) for one in own] for own in answers]


def open_reader(spec: str) -> Scorer | None:
    """Return who reads thoughts: ``statements``, ``judge:...``, or nobody for ``none``.

    Raises:
        RewardError: something else.
        BaseRewardError: the judge cannot be opened, as ``scoring.spec.open_judge``.
    """
    if spec == NO_READER:
        return None
    if spec == STATEMENTS:
        return StatementReader()
    if not is_judge(spec):
        raise RewardError(f"Found the reader {spec!r} of thoughts; expected {STATEMENTS}, {NO_READER} or judge:...")
    return AskingReader(open_judge(spec))


def _read(answer: ThoughtVerdict | None) -> float:
    return 0.0 if answer is None else consistency(answer.choice, supported_response(answer.thought))


def _judge(answer: ThoughtVerdict | None, found: Mapping[str, Judged]) -> Scored:
    judged = found.get(answer.thought) if answer else None
    if answer is None or judged is None:
        return Score(0.0)
    if isinstance(judged, Failure):
        return judged
    return Score(consistency(answer.choice, judged.choice if isinstance(judged.choice, int) else None))
