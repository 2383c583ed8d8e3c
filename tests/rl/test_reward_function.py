"""The reward function: each different response once, one call for many groups, and what it refuses."""

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.errors import RewardError, ScoringError
from basereward.rl import RewardFunction
from basereward.rl.options import RewardOptions
from basereward.rl.rewards import squash


@dataclass
class Scripted:
    """Gives what a rule says of a text, and remembers the calls."""

    rule: object = len
    calls: list = field(default_factory=list)

    @property
    def about(self):
        return About("scripted", sees_images=False)

    def score(self, groups):
        self.calls.append([[response.text for response in group.responses] for group in groups])
        found = [[self.rule(response.text) for response in group.responses] for group in groups]
        return [[one if isinstance(one, Failure) else Score(float(one)) for one in own] for own in found]


def rewards(function, *groups):
    return [list(own.rewards) for own in function(groups)]


def test_different_responses_are_scored_once_in_one_call(rollouts):
    scorer = Scripted()
    groups = rollouts(["aa", "b", "aa", "b"]), rollouts(["aa", "ccc"])
    assert rewards(RewardFunction(scorer), *groups) == [[2.0, 1.0, 2.0, 1.0], [2.0, 3.0]]
    assert scorer.calls == [[["aa", "b"], ["aa", "ccc"]]]


@pytest.mark.parametrize("scheme", ["rule", "model", "hybrid"])
def test_groups_together_are_worth_what_each_is_alone(rollouts, scheme):
    function = RewardFunction("baseline:longer", scheme)
    groups = [rollouts(["red", "blue", "red"], "red"), rollouts(["1", "2"], "2"), rollouts([], "x")]
    assert rewards(function, *groups) == [rewards(function, group)[0] for group in groups]


def test_a_rule_needs_no_model_and_may_have_one_for_the_record(rollouts):
    group = rollouts(["red", "blue"], "red")
    assert rewards(RewardFunction(None, "rule"), group) == [[1.0, 0.0]]
    [watched] = RewardFunction(Scripted(lambda text: Failure("timeout", "")), "rule")([group])
    assert watched.rewards == (1.0, 0.0)
    assert set(watched.failures) == {0, 1}


def test_hybrid_asks_the_model_where_there_is_no_right_answer(rollouts):
    function = RewardFunction(Scripted(), "hybrid", RewardOptions(offset=2.0))
    assert rewards(function, rollouts(["red", "blue"], "red"), rollouts(["a"])) == [[1.0, squash(2.0)], [squash(-1.0)]]


def test_strict_and_robust_are_named_choices(rollouts):
    group = rollouts([r"\boxed{red}", "red"], "red")
    assert rewards(RewardFunction(None, "rule"), group) == [[1.0, 1.0]]
    assert rewards(RewardFunction(None, "rule", RewardOptions(matcher="strict")), group) == [[0.0, 1.0]]


def test_options_of_a_question_are_read_from_it(make_group):
    from basereward.rl.rewards import Rollouts

    group = make_group("Which?\nA. a dog\nB. a cat", ["a cat", "B", "a dog"])
    assert rewards(RewardFunction(None, "rule"), Rollouts(group, "B")) == [[1.0, 1.0, 0.0]]
    assert rewards(RewardFunction(None, "rule"), Rollouts(group, "a cat")) == [[1.0, 1.0, 0.0]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_what_is_no_finite_number_is_a_failure_and_no_reward(rollouts, value):
    function = RewardFunction(Scripted(lambda text: value if text == "b" else 1.0))
    [found] = function([rollouts(["a", "b"])])
    assert found.rewards == (1.0, None)
    assert found.failures[1].reason == "not_finite"
    assert function.summary.failures == {"not_finite": 1}


def test_an_answer_that_was_cut_off_never_matches(rollouts):
    group = rollouts(["red", "red"], "red", truncated=(False, True))
    function = RewardFunction(None, "rule")
    [found] = function([group])
    assert found.rewards == (1.0, 0.0)
    assert found.matches[1] == (False, "red", "truncated")
    assert function.summary.metrics()["truncated"] == 0.5
    assert rewards(RewardFunction(Scripted(), "hybrid"), group) == [[1.0, squash(3.0)]]
    excluded = RewardFunction(Scripted(), "model", RewardOptions(truncated="exclude"))
    assert rewards(excluded, group) == [[3.0, None]]


def test_terms_are_added_with_their_weights(rollouts):
    options = RewardOptions(
        length_limit=10, length_buffer=4, length_weight=2.0, format_pattern=r"<b>.*</b>", format_weight=0.5
    )
    [found] = RewardFunction(None, "rule", options)([rollouts(["<b>r</b>", "r" * 10, "r"], "r")])
    assert found.terms == {"length": (-0.5, -1.0, 0.0), "format": (1.0, 0.0, 0.0)}
    assert found.rewards == (0.0 - 1.0 + 0.5, -2.0, 1.0)


def test_a_run_without_any_reward_is_stopped_with_the_reason(rollouts):
    scorer = Scripted(lambda text: Failure("image_missing", "no scene.png"))
    function = RewardFunction(scorer, options=RewardOptions(patience=2))
    assert rewards(function, rollouts(["a"])) == [[None]]
    with pytest.raises(RewardError, match=r"2 calls in a row.*image_missing: no scene\.png"):
        function([rollouts(["a"])])
    # One reward in between, or a call without responses, is not such a call.
    function = RewardFunction(
        Scripted(lambda text: 1.0 if text == "b" else Failure("x", "")), options=RewardOptions(patience=2)
    )
    for text in "abab":
        function([rollouts([text])])
        function([])


def test_what_cannot_be_rewarded_is_refused(rollouts):
    with pytest.raises(RewardError, match="no right answer"):
        RewardFunction(None, "rule")([rollouts(["a"])])
    with pytest.raises(RewardError, match="right answer is empty"):
        RewardFunction(None, "rule")([rollouts(["a"], " ")])
    with pytest.raises(RewardError, match="list of right answers is empty"):
        RewardFunction(None, "rule")([rollouts(["a"], ())])
    with pytest.raises(RewardError, match="hybrid needs a model"):
        RewardFunction(None, "hybrid")
    with pytest.raises(RewardError, match="'best'; expected rule, model"):
        RewardFunction("baseline:longer", "best")
    with pytest.raises(RewardError, match="no regular expression"):
        RewardFunction("baseline:longer", options=RewardOptions(format_pattern="("))
    with pytest.raises(ScoringError, match="tournament:judge"):
        RewardFunction("judge:x")


def test_copies_count_as_ties_in_a_tournament(rollouts, longer_judge):
    function = RewardFunction(longer_judge, "tournament")
    [mixed, equal] = function([rollouts(["aaa", "b", "b", "cc"]), rollouts(["same"] * 3)])
    # Against the two copies, each half a point to the other; the judge is asked once about each different pair.
    assert mixed.rewards == (3.0, 0.5, 0.5, 2.0)
    # All equal: two ties each, and no failure.
    assert equal.rewards == (1.0, 1.0, 1.0)
    assert len(longer_judge.asked) == 6


def test_a_tournament_takes_a_judge(rollouts, longer_judge):
    function = RewardFunction(longer_judge, "tournament", RewardOptions(tournament={"values": "signed"}))
    assert rewards(function, rollouts(["a", "bb", "ccc"])) == [[-2.0, 0.0, 2.0]]
    with pytest.raises(RewardError, match="use scheme='tournament'"):
        RewardFunction(longer_judge)
    with pytest.raises(RewardError, match="needs a judge"):
        RewardFunction("baseline:longer", "tournament")


def test_async_is_the_same_as_sync(rollouts):
    class Served(Scripted):
        async def score_async(self, groups):
            return self.score(groups)

    groups = [rollouts(["red", "blue"], "red"), rollouts(["a"], "b")]
    for scorer in (Scripted(), Served()):
        function = RewardFunction(scorer, "hybrid")
        assert asyncio.run(function.call_async(groups)) == function(groups)


def test_a_call_is_summed_up_and_observed(rollouts):
    function = RewardFunction(Scripted(lambda text: 9.0 if text == "blue" else 0.0), "hybrid")
    seen = []
    function.observers.append(lambda own, rewarded: seen.append((own, rewarded)))
    groups = [rollouts(["red", "blue", " ", "red"], "red", images=("a.png",)), rollouts(["blue"])]
    found = function(groups)
    assert seen == [(groups, found)]
    assert function.summary.metrics() == {
        "distinct": 0.8,
        "without_image": 0.2,
        "empty": 0.2,
        "unrewarded": 0.0,
        "matched": 0.4,
        "match_timeout": 0.0,
        # Of three that do not match, both "blue".
        "saturated": pytest.approx(2 / 3),
    }


def test_a_model_sees_the_images(checkpoint, reward_model, rollouts, picture):
    images = [picture(seed=seed) for seed in range(2)]
    texts = ["red", "a blue ball", "red"]
    function = RewardFunction(checkpoint)
    own, other = rewards(function, *(rollouts(texts, images=(image,)) for image in images))
    expected = [reward_model.score("Q?", images=[image], responses=texts) for image in images]
    assert own == pytest.approx([float(value) for value in expected[0]], abs=1e-5)
    assert other == pytest.approx([float(value) for value in expected[1]], abs=1e-5)
    assert min(abs(one - two) for one, two in zip(own, other, strict=True)) > 1e-4
