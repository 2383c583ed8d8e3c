"""Interrupted scoring goes on with the same scores for the same rows, by one process at a time."""

import os

import pytest

from basereward.data.work import RECORDS
from basereward.errors import DataError, WorkError
from basereward.scoring import files
from basereward.scoring.files import score_file
from tests.scoring.conftest import LengthScorer, lines, pair, write


def interrupt(many, target, after):
    def stop(done, total):
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_file(LengthScorer(), many, target, stop)


@pytest.mark.parametrize("torn", [0, 1, 25])
def test_interrupted_work_goes_on_where_it_stopped(tmp_path, many, torn):
    score_file(LengthScorer(), many, tmp_path / "whole.jsonl")
    target, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial" / RECORDS
    interrupt(many, target, after=64)
    assert not target.exists()
    if torn:
        partial.write_bytes(partial.read_bytes()[:-torn])
    scorer, seen = LengthScorer(), []
    assert score_file(scorer, many, target, lambda done, total: seen.append(done)) == (150, 0)
    left = 150 - 64 + bool(torn)
    assert len(scorer.seen) == left
    assert scorer.seen[0].id == str(150 - left)
    assert seen[0] > 64
    assert seen[-1] == 150
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not partial.parent.exists()


def test_scores_belong_to_their_rows_wherever_they_stand(tmp_path, many):
    """Lost, doubled and shuffled lines, as two writers leave them: each row gets its own score, once."""
    score_file(LengthScorer(), many, tmp_path / "whole.jsonl")
    target, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial" / RECORDS
    interrupt(many, target, after=128)
    stored = partial.read_text().splitlines(keepends=True)
    partial.write_text("".join([*reversed(stored[:40]), *stored[45:], *stored[50:60]]))
    scorer = LengthScorer()
    assert score_file(scorer, many, target) == (150, 0)
    assert [group.id for group in scorer.seen] == [str(row) for row in (*range(40, 45), *range(128, 150))]
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_second_scorer_of_one_output_is_refused_and_the_first_is_right(tmp_path, many):
    refused = []

    def start_another(done, total):
        with pytest.raises(WorkError, match=r"out\.jsonl is being written by process \d+") as caught:
            score_file(LengthScorer("other"), many, tmp_path / "out.jsonl")
        refused.append(caught)

    assert score_file(LengthScorer(), many, tmp_path / "out.jsonl", start_another) == (150, 0)
    assert len(refused) == 3
    assert all(row["chosen_score"] == len(row["chosen"]) for row in lines(tmp_path / "out.jsonl"))


def test_work_killed_before_its_first_score_starts_anew(tmp_path, many):
    interrupt(many, tmp_path / "out.jsonl", after=64)
    (tmp_path / "out.jsonl.partial" / RECORDS).unlink()
    assert score_file(LengthScorer("other"), many, tmp_path / "out.jsonl") == (150, 0)


@pytest.mark.parametrize("other", ["model", "settings", "file", "rows"])
def test_scores_of_something_else_are_not_mixed(tmp_path, many, other):
    target = tmp_path / "out.jsonl"
    interrupt(many, target, after=64)
    partial = tmp_path / "out.jsonl.partial"
    before = {path.name: path.read_bytes() for path in partial.iterdir()}
    scorer = LengthScorer("other" if other == "model" else "length")
    settings = {"dtype": "bfloat16"} if other == "settings" else None
    source = write(tmp_path / "else.jsonl", [pair(1)]) if other == "file" else many
    if other == "rows":
        many.write_text(many.read_text().replace("Question 7?", "Question 8?"))
    named = {"model": "weights.name 'length', not 'other'", "settings": "dtype None, not 'bfloat16'"}
    with pytest.raises(WorkError, match=rf"out\.jsonl\.partial holds work with {named.get(other, 'inputs.0 ')}"):
        score_file(scorer, source, target, settings=settings)
    assert {path.name: path.read_bytes() for path in partial.iterdir()} == before
    assert not target.exists()


def test_rows_that_change_meanwhile_give_no_file(tmp_path, many):
    def change(done, total):
        if done == 150:
            many.write_text(many.read_text().replace("Question 7?", "Question 8?"))

    with pytest.raises(DataError, match="changed while"):
        score_file(LengthScorer(), many, tmp_path / "out.jsonl", change)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_may_be_touched_and_moved_but_not_away_from_its_images(tmp_path, many):
    interrupt(many, tmp_path / "out.jsonl", after=64)
    os.utime(many, ns=(1, 1))
    renamed = many.rename(tmp_path / "renamed.jsonl")
    scorer = LengthScorer()
    (tmp_path / "else").mkdir()
    moved = write(tmp_path / "else" / "renamed.jsonl", lines(renamed))
    with pytest.raises(WorkError, match="folder"):
        score_file(scorer, moved, tmp_path / "out.jsonl")
    assert score_file(scorer, renamed, tmp_path / "out.jsonl") == (150, 0)
    assert len(scorer.seen) == 150 - 64


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path, many, monkeypatch):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    monkeypatch.setattr(files, "write_lines", lambda path, rows: path.write_text(str(next(iter(rows)))) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_file(LengthScorer(), many, target)
    assert target.read_text() == "old"
    monkeypatch.undo()
    scorer = LengthScorer()
    assert score_file(scorer, many, target) == (150, 0)
    assert scorer.seen == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.jsonl", "out.jsonl"]
