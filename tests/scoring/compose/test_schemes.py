"""The schemes of Table 7 on scores of single pairs, against accuracies that were computed by hand."""

import json

import pytest

from basereward.benchmarks.pairs import PairItems
from basereward.data.outcomes import About, Score
from basereward.data.schema import PreferencePair, messages_from_text
from basereward.evaluation.runner import score_items
from basereward.scoring.compose.ensemble import Ensemble
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.specs import EnsembleOptions
from basereward.scoring.model_spec import ModelSpec

# Margins of two members on four validation pairs: accuracy 3/4 and 3/4, mean margin 1 and 2.
VALIDATION = [(2, 1), (1, 3), (-1, 5), (2, -1)]
# On six test pairs. Sums: 3, 2, 0.5, -3, -0.5, 2.5; the first plus twice the second: 2, 5, -1, -4, -2, 4.5.
TEST = [(4, -1), (-1, 3), (2, -1.5), (-2, -1), (1, -1.5), (0.5, 2)]


class Printed:
    """Gives a chosen response the margin that stands in its prompt, and a rejected one 0."""

    def __init__(self, name, place):
        self.about = About(name, sees_images=False)
        self.place = place

    def score(self, groups):
        return [[self._score(group, response) for response in group.responses] for group in groups]

    def _score(self, group, response):
        margins = json.loads(group.prompt[0].text)
        return Score(float(margins[self.place]) if response.text == "chosen" else 0.0)


def pair(number, margins):
    prompt = messages_from_text(json.dumps(margins))
    sides = [messages_from_text(text, "assistant") for text in ("chosen", "rejected")]
    return PreferencePair(str(number), "test", prompt, *sides)


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({}, 4),
        ({"weights": "accuracy"}, 4),
        ({"weights": "confidence"}, 3),
        ({"rule": "min"}, 1),
        ({"rule": "vote"}, 1),
        ({"rule": "vote", "ties": "mean"}, 4),
    ],
)
def test_each_scheme_ranks_as_many_pairs_right_as_by_hand(tmp_path, options, right):
    if "weights" in options:
        rows = [{"prompt": json.dumps(own), "chosen": "chosen", "rejected": "rejected"} for own in VALIDATION]
        file = tmp_path / "validation.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = {**options, "validation": str(file)}
    scorers = {"a": Printed("a", 0), "b": Printed("b", 1)}
    members = Members([ModelSpec(model=name) for name in scorers], lambda spec: scorers[spec.model])
    whole = Ensemble(members, EnsembleOptions(**options), "both")
    records = score_items(whole, PairItems([pair(number, own) for number, own in enumerate(TEST)]))
    assert sum(record.outcome == "correct" for record in records) == right
