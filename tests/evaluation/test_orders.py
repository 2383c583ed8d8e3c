"""The certificate over orders: what sees none passes, a planted head that sees them is caught, judges are asked too."""

import json
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from basereward.benchmarks.items import build_items, text_row
from basereward.data.outcomes import About, Failure, Score, Verdict
from basereward.errors import DataError
from basereward.evaluation.orders import GroupsRead, certify_orders, draw_orders, read_groups
from basereward.evaluation.runner import score_items
from basereward.models.checkpoint import new_reward_model
from basereward.models.head import HeadSettings
from basereward.scoring.local import LocalScorer


@pytest.fixture(scope="module")
def read(make_group, picture):
    groups = [
        make_group(f"Which of these, {n}?", [f"{'very ' * (k % 3)}red {k}" for k in range(2 + n % 4)]) for n in range(6)
    ]
    shown = make_group("What is this?", ["noise", "a cat", "noise", "grey"], [picture(56, 84, 1)])
    return GroupsRead([*groups, shown], {"malformed": 2})


@pytest.fixture
def scorer(vl_backbone):
    def make(heads):
        torch.manual_seed(0)
        model = new_reward_model(vl_backbone, HeadSettings(cross_response=heads)).eval()
        torch.nn.init.normal_(model.head.layers[-1].weight, std=0.3)
        return LocalScorer(model, "m")

    return make


class CausalCross(torch.nn.Module):
    """A planted fault: a response sees those in front of it alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.heads = inner, inner.heads

    def forward(self, hidden, compared):
        found = self.inner(hidden, compared).clone()
        for members in compared.sets:
            own = members[members >= 0]
            for place in range(len(own)):
                before = compared._replace(sets=own[None, : place + 1], places=torch.tensor([place]))
                found[own[place]] = self.inner(hidden, before)[0]
        return found


@pytest.mark.parametrize("heads", [0, 2])
def test_what_sees_no_order_is_certified(scorer, read, heads):
    found = certify_orders(scorer(heads), read, orders=3)
    assert found.passes
    assert found.change.largest < 1e-5 * found.deviation + 1e-5
    assert (found.change.best, found.again.largest, found.compares) == (0, 0, heads > 0)
    assert (found.groups, found.left_out, found.failures) == (7, {"malformed": 2}, {})
    assert [(one.responses, one.groups) for one in found.sizes] == [(2, 2), (3, 2), (4, 2), (5, 1)]


def test_a_head_that_sees_the_order_is_caught(scorer, read):
    planted = scorer(2)
    planted.model.head.cross = CausalCross(planted.model.head.cross)
    found = certify_orders(planted, read, orders=3)
    assert not found.passes
    assert found.relative > 0.05
    assert found.again.largest == 0
    assert [one.largest > 0 for one in found.sizes] == [True] * 4


class First:
    """A judge that names what is shown first, but ties among colours and says nothing of cats."""

    about = About("first", sees_images=True)

    def compare(self, questions):
        texts = [{own[0].text for own in question.responses} for question in questions]
        return [Verdict("tie" if "very red 4" in own else "unparsable" if "a cat" in own else 0, "") for own in texts]


def test_a_judge_is_asked_for_the_best_of_all(read):
    found = certify_orders(First(), read)
    assert (found.is_judge, found.change.largest, found.deviation, found.relative) == (True, None, None, None)
    assert (found.groups, found.change.best, found.again.best) == (6, 5, 0)
    assert found.failures == {"unparsable": 1}
    assert not found.passes
    assert found.model_validate_json(found.model_dump_json()) == found


class Longest:
    """Scores by length; where it cannot read the second of several, all of that group is lost."""

    about = About("longest", sees_images=False)

    def score(self, groups):
        return [
            [Failure("gone", "") if "1" in own.text else Score(float(len(own.text))) for own in group.responses]
            for group in groups
        ]


def test_groups_without_an_answer_are_counted(read):
    found = certify_orders(Longest(), read)
    assert (found.groups, found.failures) == (1, {"gone": 6})
    assert found.passes
    lost = certify_orders(Longest(), GroupsRead(read.groups[:2], {}))
    assert (lost.groups, lost.passes, lost.change.largest) == (0, False, None)


def test_orders_are_all_different_and_never_the_given_one():
    assert draw_orders(2, 4, "0") == [(1, 0)]
    assert sorted(draw_orders(3, 99, "0")) == sorted(set(permutations(range(3))) - {(0, 1, 2)})
    found = draw_orders(6, 4, "0")
    assert found[0] == (5, 4, 3, 2, 1, 0)
    assert len(set(found)) == 4
    assert found == draw_orders(6, 4, "0") != draw_orders(6, 4, "1")


def test_files_of_pairs_and_of_responses_are_read(tmp_path):
    source = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": "?", "responses": ["a", "b", "c"]},
        {"prompt": "?", "responses": ["a", "a"]},
        {"prompt": "?", "responses": "a"},
        {"prompt": "!", "responses": ["d", "e"]},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    groups, left_out = read_groups(source)
    assert [len(group.responses) for group in groups] == [3, 2]
    assert left_out == {"one_response": 1, "malformed": 1}
    assert len(read_groups(source, limit=1).groups) == 1
    source.write_text(json.dumps({"prompt": "?", "chosen": "a", "rejected": "b"}) + "\n")
    assert len(read_groups(source).groups[0].responses) == 2
    source.write_text(json.dumps(rows[1]) + "\n")
    with pytest.raises(DataError, match="two different responses"):
        read_groups(source)


class Sized:
    """Scores by how many responses stand together, which it says that it compares, or does not."""

    def __init__(self, compares):
        self.about = replace(About("sized", sees_images=False), compares=compares)

    def score(self, groups):
        return [[Score(float(len(group.responses)))] * len(group.responses) for group in groups]


def test_what_compares_is_asked_row_by_row():
    rows = [text_row(name, "s", "?", [right], wrong) for name, right, wrong in (("1", "a", "bc"), ("2", "d", "a"))]
    items = build_items("made", rows)
    assert [len(item.rows) for item in items] == [2]
    together, apart = (score_items(Sized(compares), items) for compares in (False, True))
    assert [record.correct for record in together] == [(4.0,), (4.0,)]
    assert [(record.correct, record.rejected) for record in apart] == [((3.0,), (3.0, 3.0)), ((2.0,), (2.0,))]
    assert [record.row for record in apart] == [0, 1]
