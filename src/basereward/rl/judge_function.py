"""The reward function of a run that trains a judge: verdicts, their form, and what thoughts support."""

from collections.abc import Sequence

from basereward.data.outcomes import Failure, Score, Scored
from basereward.errors import RewardError
from basereward.rl.consistency import open_reader
from basereward.rl.judge_rewards import answer_rewards, format_rewards, judge_rewards, read_choice
from basereward.rl.matching.answer import NO_ANSWER, TRUNCATED, Match
from basereward.rl.options import RewardOptions
from basereward.rl.recipe import JudgeRewardRecipe
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import GroupRewards, Rollouts
from basereward.scoring.interface import Scorer

_VERDICT = "verdict"


class JudgeReward(RewardFunction):
    """Rewards a judge's answers to questions whose right verdict is known, ``1`` or ``2``.

    ``matches`` of a group say whether verdicts are right, ``terms`` hold ``format`` and ``consistency``. An answer that
    the limit cut off has neither form nor verdict. Where the reader failed there is no reward.

    Args:
        options: weights, and who reads thoughts.
        reader: in place of the one that the options name.

    Raises:
        RewardError: no such reader.
        BaseRewardError: as ``consistency.open_reader``.
    """

    def __init__(self, options: JudgeRewardRecipe | None = None, reader: Scorer | None = None) -> None:
        self.weights = options or JudgeRewardRecipe()
        super().__init__(scheme="rule", options=RewardOptions(patience=self.weights.patience))
        self.scorer = reader or open_reader(self.weights.reader)

    def _reward_group(self, own: Rollouts, scored: Sequence[Scored | None]) -> GroupRewards:
        texts = [response.text for response in own.group.responses]
        cut = tuple(map(own.is_truncated, range(len(texts))))
        right = _place(own)
        answers = answer_rewards(texts, right, cut)
        forms = [0.0 if is_cut else form for form, is_cut in zip(format_rewards(texts), cut, strict=True)]
        known = [one.value if isinstance(one, Score) else None if isinstance(one, Failure) else 0.0 for one in scored]
        rewards = judge_rewards(forms, answers, known, self.weights.format_weight, self.weights.consistency_weight)
        terms = {"format": tuple(forms)}
        if self.scorer is not None:
            terms["consistency"] = tuple(float("nan") if one is None else one for one in known)
        failed = tuple(one if isinstance(one, Failure) else None for one in scored)
        matches = tuple(map(_match, texts, answers, cut))
        return GroupRewards(tuple(rewards), failed, matches, cut, terms)


def _place(own: Rollouts) -> int:
    if own.answer not in ("1", "2"):
        raise RewardError(f"Prompt {own.group.id!r} has the right verdict {own.answer!r}; expected 1 or 2.")
    return int(own.answer) - 1


def _match(text: str, reward: float, is_cut: bool) -> Match:
    choice = read_choice(text, is_cut)
    if is_cut or choice == "unparsable":
        return Match(False, None, TRUNCATED if is_cut else NO_ANSWER)
    return Match(reward == 1, str(choice + 1) if isinstance(choice, int) else choice, _VERDICT)
