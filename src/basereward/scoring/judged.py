"""A judge as a scorer: the rewards of a tournament between the responses of each group."""

from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from basereward.data.outcomes import About, Judged, JudgeQuestion, Scored
from basereward.data.schema import Messages, ResponseGroup
from basereward.scoring.interface import Judge, checked_verdicts
from basereward.scoring.tournament import (
    Shown,
    TournamentOptions,
    round_robin,
    swiss_round,
    swiss_rounds,
    tournament_rewards,
)

PREFIX = "tournament:"


class Tournament:
    """Scores responses by how a judge prefers them to the other responses of their group.

    Args:
        judge: who is asked; once for all groups, or once a round of a Swiss tournament.
        options: which pairs are asked, and what a verdict is worth.
        name: what result files call it.
    """

    def __init__(self, judge: Judge, options: TournamentOptions | None = None, name: str | None = None) -> None:
        self.judge = judge
        self.options = options or TournamentOptions()
        facts: dict[str, JsonValue] = {"tournament": self.options.model_dump(), "judge": judge.about.facts}
        is_known = judge.about.identity is not None
        self.about = About(
            name or PREFIX + judge.about.name,
            judge.about.sees_images,
            facts if is_known else None,
            judge.about.data_record,
            compares=True,
            partial=None if is_known else facts,
        )

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return R of each response of each group, in order; a failure where the judge gave too few verdicts."""
        games = [_Game(group) for group in groups]
        for number in range(self._rounds(games)):
            shown = [game.next_questions(self.options, number) for game in games]
            questions = [game.question(one) for game, own in zip(games, shown, strict=True) for one in own]
            judged = iter(checked_verdicts(self.judge, questions) if questions else [])
            for game, own in zip(games, shown, strict=True):
                game.verdicts |= {one: next(judged) for one in own}
        return [game.rewards(self.options) for game in games]

    def _rounds(self, games: Sequence["_Game"]) -> int:
        if self.options.pairs != "swiss":
            return 1
        return max((swiss_rounds(len(game.copies), self.options.rounds) for game in games), default=0)


class _Game:
    """The tournament of one group: its different responses, how often each occurs, and the verdicts so far."""

    def __init__(self, group: ResponseGroup) -> None:
        self.group = group
        self.copies: Counter[Messages] = Counter(response.messages for response in group.responses)
        self.different = list(self.copies)
        self.names = ["".join(message.text for message in messages) for messages in self.different]
        self.verdicts: dict[Shown, Judged] = {}

    def next_questions(self, options: TournamentOptions, number: int) -> list[Shown]:
        if options.pairs != "swiss":
            return round_robin(self.names, options.pairs)
        return swiss_round(self.names, self.verdicts) if number < swiss_rounds(len(self.names), options.rounds) else []

    def question(self, shown: Shown) -> JudgeQuestion:
        responses = tuple(self.different[place] for place in shown)
        return JudgeQuestion(self.group.prompt, responses, self.group.images, self.group.videos)

    def rewards(self, options: TournamentOptions) -> list[Scored]:
        found = tournament_rewards(self.verdicts, list(self.copies.values()), options)
        known = dict(zip(self.different, found, strict=True))
        return [known[response.messages] for response in self.group.responses]
