"""Rankings of the lab, and the table of objectives."""

import numpy as np
import pytest

from basereward.lab.descriptions import grade, read_facts
from basereward.lab.objectives import BASELINE, ROWS, ObjectiveSizes, plan_objectives, ranked_pairs, ranking_shares


def _text(messages):
    return messages[-1].content[0].text


def test_ratings_are_what_is_right_in_a_description():
    pairs = list(ranked_pairs(20, 5))
    assert [pair.id for pair in pairs] == [pair.id for pair in ranked_pairs(20, 5)]
    assert len({pair.id for pair in pairs}) == 120
    for pair in pairs:
        assert pair.scores[0] > pair.scores[1]
    best = {pair.images[0].tobytes(): _text(pair.chosen) for pair in pairs if pair.scores[0] == 3}
    assert len(best) == 20
    for pair in pairs:
        truth = best[pair.images[0].tobytes()]
        assert read_facts(truth)
        for said, score in zip((pair.chosen, pair.rejected), pair.scores, strict=True):
            assert grade(_text(said), truth) == pytest.approx(score / 3)


def test_wrong_labels_exchange_responses_and_keep_the_ratings_in_order():
    right, wrong = list(ranked_pairs(200, 5)), list(ranked_pairs(200, 5, 0.2))
    swapped = [a.chosen != b.chosen for a, b in zip(right, wrong, strict=True)]
    assert 0.15 < np.mean(swapped) < 0.25
    for a, b, is_swapped in zip(right, wrong, swapped, strict=True):
        assert a.scores == b.scores
        assert (a.chosen, a.rejected) == ((b.rejected, b.chosen) if is_swapped else (b.chosen, b.rejected))


def test_shares_count_ties_as_wrong():
    rewards = np.array([[3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 0.5, 2.0]])
    found = ranking_shares(rewards)
    # Of the second picture two of six are in order: the first and the second before the third.
    assert found["pairs"] == pytest.approx(8 / 12)
    assert found["best"] == pytest.approx(0.5)
    assert found["one error apart"] == pytest.approx(4 / 6)


def test_the_table_trains_on_rankings_right_and_wrong(tmp_path):
    plan = plan_objectives(ObjectiveSizes(steps=1, pictures=8, test_pictures=3))
    for row in ("Plackett-Luce", "unbiased, 20% wrong"):
        assert plan.run(row, 0, tmp_path).keys() == {"pairs", "best", "one error apart", "spread"}, row
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == ["noisy.parquet", "train.parquet"]
    assert set(plan.rows) == set(ROWS)
    assert {claim.better for claim in plan.claims} == {row for row in ROWS if not row.startswith(BASELINE)}
