"""What every scorer and judge must return and say of itself, and what is done with one that does not."""

import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.data.record import DataRecord
from basereward.errors import ScoringError
from basereward.models.checkpoint import new_reward_model
from basereward.scoring.cache import CachedScorer
from basereward.scoring.interface import checked_scores, checked_verdicts, finite
from basereward.scoring.local import LocalScorer
from basereward.scoring.store import KeyValueStore


class Says:
    """Returns what it is told, whatever it is asked."""

    about = About(
        "says",
        sees_images=False,
        identity={"weights": "0"},
        data_record=DataRecord(fingerprint="f", inputs=(), contamination=None),
    )

    def __init__(self, answers):
        self.answers = answers

    def score(self, groups):
        return self.answers

    def compare(self, questions):
        return self.answers


@pytest.mark.parametrize(("answers", "words"), [([[Score(1.0)]], "[1] scores"), ([[1.0, 2.0]], "returned a float")])
def test_a_scorer_that_breaks_its_promise_is_named(answers, words, make_group):
    with pytest.raises(ScoringError, match=r"Scorer 'says' returned") as caught:
        checked_scores(Says(answers), [make_group("Which?", ["a", "b"])])
    assert words in str(caught.value)


def test_a_judge_that_loses_a_question_is_named():
    with pytest.raises(ScoringError, match="Judge 'says' returned 0 verdicts on 2 questions"):
        checked_verdicts(Says([]), [None, None])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308])
def test_a_number_that_no_fp32_reward_can_be_is_a_failure(value):
    assert finite(Score(value)).reason == "not_finite"
    assert finite(Score(3.4e38)) == Score(3.4e38)
    assert finite(Failure("x", "y")) == Failure("x", "y")


@pytest.mark.parametrize(("kind", "sees"), [("vl_backbone", True), ("text_backbone", False)])
def test_only_a_backbone_with_a_vision_tower_sees_images(kind, sees, request):
    model = new_reward_model(request.getfixturevalue(kind))
    assert LocalScorer(model, "m").about == About("m", sees_images=sees, identity=None)


def test_a_wrapper_says_what_is_behind_it(tmp_path):
    assert CachedScorer(Says([]), KeyValueStore(tmp_path / "s.sqlite")).about is Says.about


def test_a_critique_and_its_parts_are_remembered(make_group, tmp_path):
    store, group = KeyValueStore(tmp_path / "s.sqlite"), make_group("Which?", ["a", "b"])
    scores = [[Score(1.5, "Because.", {"first": 1.0, "second": 2.0}), Score(-0.5)]]
    assert CachedScorer(Says(scores), store).score([group]) == scores
    assert CachedScorer(Says(None), store).score([group]) == scores
