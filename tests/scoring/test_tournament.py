"""Tournaments: the paper's sum in closed form, places, copies, verdicts that are none, and what each way costs."""

from dataclasses import dataclass, field
from itertools import permutations

import pytest

from basereward.data.outcomes import About, Failure, Score, Verdict
from basereward.errors import ScoringError
from basereward.scoring.judged import Tournament
from basereward.scoring.spec import open_scorer
from basereward.scoring.tournament import (
    TournamentOptions,
    preference,
    question_count,
    round_robin,
    swiss_round,
    tournament_rewards,
)


@dataclass
class ScriptedJudge:
    """Says what a rule says of two texts, and remembers the questions and the calls."""

    rule: object
    asked: list = field(default_factory=list)
    calls: int = 0

    @property
    def about(self):
        return About("scripted", sees_images=True, identity={"judge": "scripted"})

    def compare(self, questions):
        self.calls += 1
        self.asked += [tuple(said[0].text for said in question.responses) for question in questions]
        found = [self.rule(*(said[0].text for said in question.responses)) for question in questions]
        return [one if isinstance(one, Failure) else Verdict(one, str(one)) for one in found]


def longer(first, second):
    return "tie" if len(first) == len(second) else int(len(second) > len(first))


def values(scores):
    return [score.value for score in scores]


TEXTS = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "hhhhhhhh"]


def test_the_papers_sum_over_56_ordered_pairs(make_group):
    judge = ScriptedJudge(longer)
    [scores] = Tournament(judge).score([make_group("Q", TEXTS)])
    # Each response beats as many others as are shorter.
    assert values(scores) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert sorted(judge.asked) == sorted(permutations(TEXTS, 2))
    assert (judge.calls, len(judge.asked)) == (1, question_count(8, TournamentOptions())) == (1, 56)
    assert scores[0].parts == {"asked": 7.0, "answered": 7.0}


def test_only_the_response_shown_first_counts_unless_both_do(make_group):
    judge = ScriptedJudge(lambda first, second: 0)
    group = make_group("Q", ["a", "bb", "ccc"])
    # Who prefers the first place prefers everyone equally: it cancels where both places count.
    for pairs, expected in (("first", 2.0), ("both", 2.0)):
        assert values(Tournament(judge, TournamentOptions(pairs=pairs)).score([group])[0]) == [expected] * 3
    signed = TournamentOptions(pairs="both", values="signed")
    assert values(Tournament(judge, signed).score([group])[0]) == [0.0] * 3


@pytest.mark.parametrize("pairs", ["first", "both", "single"])
def test_signed_rewards_of_a_strict_order_sum_to_zero(make_group, pairs):
    options = TournamentOptions(pairs=pairs, values="signed")
    rewards = values(Tournament(ScriptedJudge(longer), options).score([make_group("Q", TEXTS)])[0])
    weight = 2 if pairs == "both" else 1
    assert rewards == [weight * (2 * place - 7) for place in range(8)]


def test_signed_values_are_zero_one_values_stretched(make_group):
    group = make_group("Q", ["a", "bb", "cc", "dddd"])
    plain, signed = (
        values(Tournament(ScriptedJudge(longer), TournamentOptions(values=kind)).score([group])[0])
        for kind in ("zero_one", "signed")
    )
    assert plain == [0.0, 1.5, 1.5, 3.0]
    assert signed == [2 * reward - 3 for reward in plain]


def test_a_verdict_is_worth_what_is_stated():
    assert [preference(choice, True, "zero_one") for choice in (0, 1, "tie", "unparsable")] == [1.0, 0.0, 0.5, None]
    assert [preference(choice, False, "signed") for choice in (0, 1, "tie", "unparsable")] == [-1.0, 1.0, 0.0, None]


def test_the_order_of_responses_changes_no_reward(make_group):
    for pairs in ("first", "both", "single", "swiss"):
        tournament = Tournament(ScriptedJudge(longer), TournamentOptions(pairs=pairs))
        forward, backward = (tournament.score([make_group("Q", texts)])[0] for texts in (TEXTS, TEXTS[::-1]))
        assert forward == backward[::-1]


def test_copies_are_judged_once_and_are_ties_of_each_other(make_group):
    judge = ScriptedJudge(longer)
    [scores] = Tournament(judge).score([make_group("Q", ["a", "bb", "a", "bb", "ccc", "a", "a", "a"])])
    # Against 7 others: "a" has 4 copies of itself; "bb" beats the five "a" and has one copy; "ccc" beats all.
    assert values(scores) == [2.0, 5.5, 2.0, 5.5, 7.0, 2.0, 2.0, 2.0]
    assert sorted(judge.asked) == sorted(permutations(["a", "bb", "ccc"], 2))


def test_equal_responses_alone_ask_nothing(make_group):
    judge = ScriptedJudge(longer)
    tournament = Tournament(judge, TournamentOptions(values="signed"))
    assert values(tournament.score([make_group("Q", ["a", "a"])])[0]) == [0.0, 0.0]
    assert judge.calls == 0
    [[alone]] = tournament.score([make_group("Q", ["a"])])
    assert alone.reason == "alone"


def test_a_verdict_that_cannot_be_read_is_no_number(make_group):
    def rule(first, second):
        return "unparsable" if {first, second} == {"a", "ccc"} else longer(first, second)

    [scores] = Tournament(ScriptedJudge(rule)).score([make_group("Q", ["a", "bb", "ccc"])])
    # The one verdict on "a" stands for both: 0 of 1 is 0 of 2, and 1 of 1 is 2 of 2.
    assert values(scores) == [0.0, 1.0, 2.0]
    assert scores[2].parts == {"asked": 2.0, "answered": 1.0}


def test_too_few_verdicts_are_a_failure_with_its_reason(make_group):
    def rule(first, second):
        if "a" in (first, second):
            return "unparsable"
        return Failure("timeout", "nobody answered") if "bb" in (first, second) else longer(first, second)

    [scores] = Tournament(ScriptedJudge(rule)).score([make_group("Q", ["a", "bb", "ccc", "dddd"])])
    # Of three questions each of the last two has one verdict.
    assert all(isinstance(one, Failure) for one in scores)
    assert [one.reason for one in scores[:2]] == ["unparsable", "timeout"]
    assert "nobody answered" in scores[1].message


def test_single_order_asks_each_pair_once_and_favours_no_place():
    names = [f"response {number}" for number in range(40)]
    questions = round_robin(names, "single")
    assert len({frozenset(shown) for shown in questions}) == len(questions) == question_count(40, _options("single"))
    assert 0.45 < sum(one < other for one, other in questions) / len(questions) < 0.55


def test_swiss_finds_the_best_with_fewer_questions(make_group):
    judge = ScriptedJudge(longer)
    [scores] = Tournament(judge, _options("swiss")).score([make_group("Q", TEXTS)])
    assert (judge.calls, len(judge.asked)) == (3, 12)
    assert len({frozenset(shown) for shown in judge.asked}) == 12
    rewards = values(scores)
    assert max(rewards) == rewards[-1] == 7.0
    assert min(rewards) == rewards[0] == 0.0


def test_a_round_of_swiss_pairs_neighbours_who_have_not_met():
    verdicts = {(0, 1): Verdict(0, ""), (2, 3): Verdict(0, "")}
    shown = {frozenset(one) for one in swiss_round(["a", "b", "c", "d"], verdicts)}
    assert shown == {frozenset((0, 2)), frozenset((1, 3))}
    everyone = dict.fromkeys([(0, 1), (0, 2), (1, 2)], Verdict("tie", ""))
    assert swiss_round(["a", "b", "c"], everyone) == []


def test_groups_of_any_sizes_share_one_call(make_group):
    judge = ScriptedJudge(longer)
    groups = [make_group("P", ["a", "bb"]), make_group("Q", []), make_group("R", ["a", "bb", "ccc"])]
    scores = Tournament(judge).score(groups)
    assert [values(own) for own in scores] == [[0, 1], [], [0, 1, 2]]
    assert (judge.calls, len(judge.asked)) == (1, 8)


def test_rewards_are_pure_in_the_verdicts():
    verdicts = {(0, 1): Verdict("tie", ""), (1, 0): Verdict(1, "")}
    assert tournament_rewards(verdicts, [1, 1], TournamentOptions()) == [
        Score(0.5, parts={"asked": 1.0, "answered": 1.0}),
        Score(0.0, parts={"asked": 1.0, "answered": 1.0}),
    ]


def test_the_spec_of_a_judge_is_a_scorer(chat_server, make_group):
    server = chat_server(lambda request: "Verdict: 1")
    scorer = open_scorer(f"tournament:judge:{server.url}#m")
    assert scorer.about.name == f"tournament:judge:{server.url}#m"
    # A score of a tournament stands for no other group's, so it must not be cached.
    assert scorer.about.compares
    assert values(scorer.score([make_group("Q", ["a", "b", "c"])])[0]) == [2.0, 2.0, 2.0]


def test_what_is_no_judge_is_refused():
    with pytest.raises(ScoringError, match="expected tournament:judge"):
        open_scorer("tournament:baseline:longer")
    with pytest.raises(ScoringError, match="tournament:judge:x"):
        open_scorer("judge:x")


def _options(pairs):
    return TournamentOptions(pairs=pairs)
