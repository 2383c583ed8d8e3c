"""A member that decides an ensemble alone is named; members that count alike are not."""

from random import Random

import pytest

from basereward.benchmarks.records import RowRecord
from basereward.evaluation.dominance import decided_by, dominance_notes


def records(scales, rows=400, seed=0):
    """Rows of members with independent margins of these scales; the score is their mean."""
    draw = Random(seed)
    found = []
    for row in range(rows):
        parts = {name: draw.gauss(0.3, 1) * scale for name, scale in scales.items()}
        mean = sum(parts.values()) / len(parts)
        zero = dict.fromkeys(parts, 0.0)
        found.append(
            RowRecord(row, str(row), "a", row, (mean,), (0.0,), correct_parts=(parts,), rejected_parts=(zero,))
        )
    return found


def test_a_member_of_a_hundred_times_the_scale_is_named():
    scales = {"a": 1.0, "b": 100.0, "c": 1.0}
    [note] = dominance_notes(records(scales), list(scales))
    assert note.startswith("b decides alone: it prevails in ")
    shares = {one.member: one.prevails / one.disagreements for one in decided_by(records(scales), list(scales))}
    assert shares["b"] > 0.97
    assert shares["a"] < 0.1


@pytest.mark.parametrize("scales", [{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.5, "c": 0.8}, {"a": 5.0}])
def test_members_that_count_alike_are_not(scales):
    assert dominance_notes(records(scales), list(scales)) == []


def test_two_of_one_scale_decide_half_each():
    for one in decided_by(records({"a": 1.0, "b": 1.0}, rows=4000), ["a", "b"]):
        assert one.prevails / one.disagreements == pytest.approx(0.5, abs=0.04)


def test_too_few_disagreements_tell_nothing():
    assert dominance_notes(records({"a": 1.0, "b": 100.0}, rows=20), ["a", "b"]) == []


def test_a_member_that_decides_is_named_where_another_is_left_out():
    # As in the last row of Table 7: all prompts show images, and the third member scores text alone.
    rows = records({"a": 1.0, "b": 100.0})
    [note] = dominance_notes(rows, ["a", "b", "text"])
    assert note.startswith("b decides alone")
    assert decided_by(rows, ["a", "b", "text"])[2].disagreements == 0


def test_rows_of_one_member_do_not_count():
    assert all(one.disagreements == 0 for one in decided_by(records({"a": 1.0}), ["a", "b"]))
