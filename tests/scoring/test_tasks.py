"""Records with several chosen and rejected responses: each response is computed once, with its prompt."""

import json
from pathlib import Path

import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.errors import DataError
from basereward.scoring.files import score_file

RM_BENCH = Path(__file__).parents[3] / "shared" / "data" / "rm_bench" / "chat_filtered.json"


class LengthScorer:
    """Scores by length; 'fail' fails; it remembers the groups."""

    def __init__(self):
        self.about = About("length", sees_images=False)
        self.seen = []

    def score(self, groups):
        self.seen += groups
        return [[self._score(one.text) for one in group.responses] for group in groups]

    def _score(self, text):
        return Failure("too_long", "shorten it") if text == "fail" else Score(float(len(text)))


def scored(folder, records, scorer=None, form="json"):
    source, target = folder / f"in.{form}", folder / "out.jsonl"
    text = json.dumps(records) if form == "json" else "\n".join(map(json.dumps, records))
    source.write_text(text)
    score_file(scorer or LengthScorer(), source, target)
    return [json.loads(line) for line in target.read_text().splitlines()]


def test_lists_gain_the_lowest_the_highest_and_all_scores(tmp_path):
    scorer = LengthScorer()
    record = {"id": 8, "prompt": "?", "chosen": ["four", "sixsix", "four"], "rejected": ["a", "sevenxx"]}
    [row] = scored(tmp_path, [record], scorer)
    assert (row["chosen_score"], row["rejected_score"], row["error"]) == (4.0, 7.0, None)
    assert row["scores"] == [4.0, 6.0, 1.0, 7.0]
    [group] = scorer.seen
    assert [one.text for one in group.responses] == ["four", "sixsix", "a", "sevenxx"]
    assert row["chosen"] == record["chosen"]


def test_a_failure_leaves_its_own_score_out(tmp_path):
    [row] = scored(tmp_path, [{"prompt": "?", "chosen": ["fail", "good"], "rejected": ["a"]}])
    assert (row["chosen_score"], row["rejected_score"]) == (None, 1.0)
    assert (row["scores"], row["error"]) == ([None, 4.0, 1.0], "too_long: shorten it")


def test_one_record_with_several_answers_among_records_with_one_is_no_pair(tmp_path):
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "good"}]
    records = [{"messages": said, "rejected_response": "bad"}] * 70
    records.append({"messages": said, "rejected_response": ["bad", "worse"]})
    rows = scored(tmp_path, records, form="jsonl")
    assert [row["error"] for row in rows[:70]] == [None] * 70
    assert "malformed: The record gives 2 pairs" in rows[70]["error"]


def asked(role):
    return json.dumps([{"from": role, "value": "?"}])


def test_prompts_with_responses_are_read_like_pairs(tmp_path):
    records = [
        {
            "prompt": json.dumps([{"from": "human", "value": "?"}]),
            "responses": ["a", {"role": "model", "content": "bb"}],
        },
        {"prompt": json.dumps([{"from": "human", "value": "?"}]), "responses": ["ccc"], "tools": [{"name": "f"}]},
        {"prompt": json.dumps([{"from": "robot", "value": "?"}]), "responses": ["a"]},
    ]
    scorer = LengthScorer()
    first, second, third = scored(tmp_path, records, scorer)
    assert (first["scores"], first["error"]) == ([1.0, 2.0], None)
    assert "tools" in second["error"]
    assert "'robot'" in third["error"]
    assert [group.prompt[0].text for group in scorer.seen] == ["?"]


def test_a_column_that_several_scores_would_replace_is_refused(tmp_path):
    with pytest.raises(DataError, match="column scores would be replaced"):
        scored(tmp_path, [{"prompt": "?", "chosen": ["a", "b"], "rejected": ["c"], "scores": [1]}])


@pytest.mark.skipif(not RM_BENCH.exists(), reason="../shared/data is not here")
def test_rm_bench_is_scored_as_it_is(tmp_path):
    # Its own column "error" would be replaced.
    records = [{key: value for key, value in one.items() if key != "error"} for one in json.loads(RM_BENCH.read_text())]
    rows = scored(tmp_path, records)
    assert {row["error"] for row in rows} == {None}
    for record, row in zip(records, rows, strict=True):
        chosen, rejected = ([len(text) for text in record[side]] for side in ("chosen", "rejected"))
        assert (row["chosen_score"], row["rejected_score"]) == (min(chosen), max(rejected))
