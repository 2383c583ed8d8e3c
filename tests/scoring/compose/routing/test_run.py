"""From members and pairs to outcomes: failures, kinds of prompts, copies of prompts, and what is refused."""

from dataclasses import dataclass, replace

import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.data.schema import messages_from_text
from basereward.errors import DataError, ScoringError
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.routing.run import RouteSettings, member_costs, route
from basereward.scoring.model_spec import ModelSpec
from tests.scoring.compose.routing.worlds import TOLD, plant

COSTS = {"one": 1.0, "two": 2.0}


@dataclass
class Rule:
    """Prefers what a rule says of a text; its weights are some bytes."""

    rule: object
    weight_bytes: int = 0
    about = About("rule", sees_images=False)

    def score(self, groups):
        return [[self.rule(response.text) for response in group.responses] for group in groups]


def good(text):
    return Score(float(text == "good"))


def members(only=None, one=good, sizes=(0, 0)):
    rules = {"one": Rule(one, sizes[0]), "two": Rule(lambda text: Score(0.0), sizes[1])}
    specs = [ModelSpec(model="one", only=only), ModelSpec(model="two")]
    return Members(specs, lambda spec: rules[spec.model])


def train(members, pairs, **settings):
    return route(members, pairs, RouteSettings(3.0, COSTS, forced=True, **settings)).record


@pytest.fixture
def pairs():
    return plant(TOLD, 30, 0).pairs


def test_ties_are_halves_and_failures_are_not_right(pairs):
    def breaks(text):
        return Failure("too_long", "shorten it") if text == "bad" else Score(1.0)

    record = train(members(), pairs)
    assert [own.accuracy.value for own in record.experts.values()] == [1.0, 0.5]
    assert (record.oracle.value, record.oracle_cost, record.router.value, record.router_cost) == (1, 1, 1, 1)
    record = train(members(one=breaks), pairs)
    assert (record.experts["one"].accuracy.value, record.experts["one"].failed) == (0.0, 30)
    assert (record.router.value, record.experts["one"].chosen) == (0.5, 0.0)


def test_a_member_of_some_prompts_is_asked_about_these_alone(pairs, picture):
    shown = [replace(pair, prompt=messages_from_text("Which?", images=1), images=(picture(),)) for pair in pairs[:15]]
    record = train(members(only="text"), [*shown, *pairs[15:]])
    assert record.experts["one"].accuracy.value == record.experts["one"].chosen == 0.5
    assert (record.router.value, record.cheapest, record.router_cost) == (0.75, 1.5, 1.5)
    with pytest.raises(ScoringError, match="None of 30 pairs is of a kind that one scores"):
        train(members(only="images"), pairs)


def test_copies_of_a_prompt_are_one_prompt(pairs):
    copies = [replace(pair, id=f"{pair.id}-copy") for pair in pairs]
    assert (train(members(), [*pairs, *copies]).pairs, train(members(), [*pairs, *copies]).prompts) == (60, 30)
    with pytest.raises(DataError, match="4 prompts"):
        train(members(), pairs[:4])


def test_costs_are_given_or_those_of_the_weights():
    assert member_costs(members(sizes=(200, 500))) == {"one": 1.0, "two": 2.5}
    with pytest.raises(ScoringError, match=r"one has no weights.*--cost one=1 --cost two=1"):
        member_costs(members(sizes=(0, 500)))


def test_every_prompt_needs_a_member(pairs):
    rules = {"one": Rule(good), "two": Rule(good)}
    specs = [ModelSpec(model=name, only="images") for name in rules]
    with pytest.raises(ScoringError, match="No member scores the prompts of 0, 1, 2"):
        train(Members(specs, lambda spec: rules[spec.model]), pairs)


def test_a_wrong_state_is_told_before_anything_is_scored(pairs):
    def never(text):
        raise AssertionError

    with pytest.raises(ScoringError, match="one has no states"):
        train(members(one=never), pairs, state_of="one")
