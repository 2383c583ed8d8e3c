"""Scored files: the same rows in the same order plus scores, however often the work was interrupted."""

import base64
import json
from io import BytesIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.data.io import count_records, read_records
from basereward.data.outcomes import Score
from basereward.errors import DataError, MissingFileError, ScoringError
from basereward.models.checkpoint import new_reward_model
from basereward.scoring import files
from basereward.scoring.files import score_file
from basereward.scoring.local import LocalScorer
from tests.scoring.conftest import LengthScorer, WritingScorer, lines, pair, write


def test_pairs_gain_two_scores_and_keep_everything_else(tmp_path, many):
    scored = score_file(LengthScorer(), many, tmp_path / "out.jsonl")
    assert scored == (150, 0)
    rows, before = lines(tmp_path / "out.jsonl"), lines(many)
    for row, old in zip(rows, before, strict=True):
        assert (row.pop("chosen_score"), row.pop("rejected_score")) == (float(len(old["chosen"])), 2.0)
        assert row.pop("error") is None
        assert row == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.jsonl", "out.jsonl"]


def test_rows_with_responses_gain_a_list(tmp_path):
    rows = [
        {
            "id": "a",
            "prompt": "Which?",
            "responses": ["one", "a long one", [{"role": "assistant", "content": "three"}]],
        },
        {"id": "b", "prompt": [{"role": "user", "content": "Which?"}], "responses": []},
        {"id": "c", "prompt": "Which?", "responses": "one"},
    ]
    scored = score_file(LengthScorer(), write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    assert scored == (3, 2)
    first, second, third = lines(tmp_path / "out.jsonl")
    assert (first["scores"], first["error"]) == ([3.0, None, 5.0], "too_long: shorten it")
    assert (second["scores"], second["error"]) == ([], None)
    assert third["scores"] is None
    assert "malformed" in third["error"]
    assert "'c'" in third["error"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_what_a_scorer_writes_stands_beside_its_scores(tmp_path, many, suffix):
    """Also where the work was interrupted; a scorer that writes nothing gains no column."""
    target, silent = tmp_path / f"out{suffix}", tmp_path / f"silent{suffix}"

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_file(WritingScorer(), many, target, stop)
    last = WritingScorer()
    score_file(last, many, target)
    assert len(last.seen) == 150 - 64
    rows = list(read_records(target))
    assert [(row["chosen_critique"], row["rejected_critique"]) for row in rows] == [
        (f"on {row['chosen']}", "on no") for row in rows
    ]
    score_file(LengthScorer(), many, silent)
    names = {name for row in read_records(silent) for name in row}
    assert {name for row in rows for name in row} - names == {"chosen_critique", "rejected_critique"}


def test_what_is_written_belongs_to_the_response_with_the_score(tmp_path):
    source = write(tmp_path / "lists.jsonl", [{"prompt": "?", "chosen": ["aaa", "b"], "rejected": ["cc", "dddd"]}] * 2)
    score_file(WritingScorer(), source, tmp_path / "out.parquet")
    [row, _] = read_records(tmp_path / "out.parquet")
    assert (row["chosen_score"], row["chosen_critique"]) == (1, "on b")
    assert (row["rejected_score"], row["rejected_critique"]) == (4, "on dddd")
    assert row["response_critiques"] == ["on aaa", "on b", "on cc", "on dddd"]
    source = write(tmp_path / "groups.jsonl", [{"prompt": "?", "responses": ["a", "long"]}])
    score_file(WritingScorer(), source, tmp_path / "groups-out.jsonl")
    [row] = lines(tmp_path / "groups-out.jsonl")
    assert (row["scores"], row["response_critiques"]) == ([1, None], ["on a", None])
    assert "chosen_critique" not in row
    source = write(tmp_path / "pairs.jsonl", [pair(0, rejected="long"), pair(1, chosen_critique="mine")])
    with pytest.raises(DataError, match="chosen_critique would be replaced"):
        score_file(WritingScorer(), source, tmp_path / "pairs-out.jsonl")
    source = write(tmp_path / "pair.jsonl", [pair(0, rejected="long")])
    score_file(WritingScorer(), source, tmp_path / "pair-out.jsonl")
    [row] = lines(tmp_path / "pair-out.jsonl")
    assert (row["chosen_critique"], row["rejected_critique"]) == ("on answer ", None)


def test_bad_rows_keep_their_place_with_a_reason(tmp_path, picture):
    picture(30, 40).save(tmp_path / "here.png")
    shown = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    rows = [
        {"prompt": "no answers"},
        pair(1, prompt=shown, images=["here.png"]),
        pair(2, prompt=shown, images=["gone.png"]),
        pair(3, prompt=shown),
        pair(4, chosen="no"),
        pair(5, chosen=7),
        pair(6, images=6),
        pair(7, videos=[{"frames": ["here.png"], "fps": 1}]),
        {"prompt": [{"role": "user", "content": [{"type": "video"}]}], "responses": ["a"]},
        {"prompt": "?", "responses": [[{"role": "assistant", "content": [{"type": "image"}]}]], "images": ["here.png"]},
        pair(10, videos="here.mp4"),
        pair(11),
    ]
    scored = score_file(LengthScorer(), write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    out = lines(tmp_path / "out.jsonl")
    assert scored == (12, 10)
    assert [row["prompt"] for row in out] == [row["prompt"] for row in rows]
    reasons = [row["error"] and row["error"].partition(":")[0] for row in out]
    expected = ["malformed", None, "image_missing", "placeholder_count", "equal_responses"]
    assert reasons == [*expected, "malformed", "malformed", *["placeholder_count"] * 2, "malformed", "malformed", None]
    assert out[1]["rejected_score"] == 3002.0
    assert all(row["chosen_score"] is None for row in out if row["error"] and "chosen" in row)
    assert "has no chosen, rejected" in out[0]["error"]


def test_videos_and_images_are_found_beside_the_file(tmp_path, picture):
    picture(30, 40).save(tmp_path / "a.png")
    content = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "?"}]
    shown = {"prompt": [{"role": "user", "content": content}], "images": ["a.png"]}
    shown["videos"] = [{"frames": ["a.png", "a.png"], "fps": 2}]
    rows = [{**shown, "chosen": "a", "rejected": "b"}, {**shown, "responses": ["a"]}]
    scorer = LengthScorer()
    assert score_file(scorer, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl") == (2, 0)
    for group in scorer.seen:
        assert [image["path"] for image in group.images] == [str(tmp_path / "a.png")]
        assert [frame["path"] for frame in group.videos[0].frames] == [str(tmp_path / "a.png")] * 2
        assert group.videos[0].fps == 2


def test_a_row_without_an_id_is_called_by_its_number_in_the_file(tmp_path, many):
    scorer = LengthScorer()
    score_file(scorer, many, tmp_path / "out.jsonl")
    assert [group.id for group in scorer.seen] == [str(number) for number in range(150)]
    scorer = LengthScorer()
    score_file(scorer, write(tmp_path / "zero.jsonl", [pair(0), pair(1, id=0)]), tmp_path / "out.jsonl")
    assert [group.id for group in scorer.seen] == ["0", "0"]


def test_a_broken_last_line_is_found_before_anything_is_scored(tmp_path, many):
    with many.open("a") as file:
        file.write('{"prompt": \n')
    scorer = LengthScorer()
    with pytest.raises(DataError, match="line 151 is not JSON"):
        score_file(scorer, many, tmp_path / "out.jsonl")
    assert scorer.seen == []


def test_parquet_keeps_its_types(tmp_path):
    types = {"prompt": pa.string(), "chosen": pa.string(), "rejected": pa.string(), "n": pa.int8(), "t": pa.date32()}
    table = pa.Table.from_pylist([pair(n, n=n % 100, t=n) for n in range(600)], pa.schema(types, {"who": "me"}))
    table = table.append_column("kind", pa.array(["a", "b"] * 300).dictionary_encode())
    pq.write_table(table, tmp_path / "in.parquet")
    score_file(LengthScorer(), tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == [*table.column_names, "chosen_score", "rejected_score", "error"]
    assert found.select(table.column_names).equals(pq.read_table(tmp_path / "in.parquet"))
    assert found.schema.metadata[b"who"] == b"me"
    assert found["chosen_score"].to_pylist() == [float(len(row["chosen"])) for row in table.to_pylist()]
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups > 1


@pytest.mark.parametrize("bad_first", [True, False])
def test_all_four_ways_between_formats_agree(tmp_path, bad_first):
    rows = [pair(n, extra={"n": n} if n % 2 else None) for n in range(130)]
    rows[0 if bad_first else 70]["chosen"] = None
    write(tmp_path / "in.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    found = {}
    for start in ("jsonl", "parquet"):
        for end in ("jsonl", "parquet"):
            out = tmp_path / f"{start}.{end}"
            assert score_file(LengthScorer(), tmp_path / f"in.{start}", out) == (130, 1)
            found[start, end] = list(read_records(out))
    assert all(own == found["jsonl", "jsonl"] for own in found.values())


def test_images_in_parquet_are_read_and_survive_as_base64(tmp_path, picture):
    content = BytesIO()
    picture(30, 40).save(content, "PNG")
    shown = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    image = {"bytes": content.getvalue(), "path": None}
    pq.write_table(pa.Table.from_pylist([pair(1, prompt=shown, images=[image])]), tmp_path / "in.parquet")
    assert score_file(LengthScorer(), tmp_path / "in.parquet", tmp_path / "out.jsonl") == (1, 0)
    [row] = lines(tmp_path / "out.jsonl")
    assert base64.b64decode(row["images"][0]["bytes"]) == image["bytes"]
    again = {key: row[key] for key in ("prompt", "chosen", "rejected", "images")}
    score_file(LengthScorer(), write(tmp_path / "again.jsonl", [again]), tmp_path / "second.jsonl")
    assert lines(tmp_path / "second.jsonl")[0]["rejected_score"] == row["rejected_score"] == 3002.0


def test_what_parquet_stores_as_json_is_parsed(tmp_path):
    """Content that is sometimes a text and sometimes a list is JSON text in files of ``datasets``."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "parts"}]}]
    rows = [pair(1, prompt=parts), pair(2, prompt=[{"role": "user", "content": "text"}])]
    datasets.Dataset.from_list(rows, on_mixed_types="use_json").to_parquet(tmp_path / "in.parquet")
    scorer = LengthScorer()
    score_file(scorer, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert [group.prompt[0].text for group in scorer.seen] == ["parts", "text"]
    assert [row["prompt"][0]["content"] for row in lines(tmp_path / "out.jsonl")] == [parts[0]["content"], "text"]


def test_half_a_surrogate_pair_does_not_stop_the_file(tmp_path):
    source = write(tmp_path / "in.jsonl", [pair(1, note="half \ud83d"), pair(2, note="whole 😀")])
    assert score_file(LengthScorer(), source, tmp_path / "out.jsonl") == (2, 0)
    assert [row["note"] for row in lines(tmp_path / "out.jsonl")] == ["half \ud83d", "whole 😀"]
    with pytest.raises(DataError, match=r"write \.jsonl instead"):
        score_file(LengthScorer(), source, tmp_path / "out.parquet")


def test_rows_that_fit_no_table_are_refused_before_they_are_scored(tmp_path):
    scorer = LengthScorer()
    source = write(tmp_path / "in.jsonl", [pair(n, mixed=n if n < 299 else ["list"]) for n in range(300)])
    with pytest.raises(DataError, match="Rows 250 to 299"):
        score_file(scorer, source, tmp_path / "out.parquet")
    assert scorer.seen == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{**pair(1), "imges": ["a.png"]}], "unknown column 'imges'.*'images'"),
        ([pair(1), {"prompt": "?", "response": ["a"]}], "row 1: unknown column 'response'.*'responses'"),
        ([pair(1, choosen="x")], None),
        ([pair(1, response="mine", image_id=3)], None),
        ([pair(1, chosen_score=0.5)], "column chosen_score would be replaced"),
        ([{"prompt": "?", "responses": ["a"], "scores": [1]}], "column scores would be replaced"),
        ([pair(1, scores=[1, 2])], None),
        ([pair(1, error="mine")], "column error would be replaced"),
    ],
)
def test_columns_are_neither_misread_nor_replaced(tmp_path, rows, words):
    source = write(tmp_path / "in.jsonl", rows)
    if words is None:
        assert score_file(LengthScorer(), source, tmp_path / "out.jsonl").failed == 0
        return
    with pytest.raises(DataError, match=words):
        score_file(LengthScorer(), source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_wrong_files_are_named(tmp_path, many):
    scorer = LengthScorer()
    with pytest.raises(MissingFileError, match=r"none\.jsonl"):
        score_file(scorer, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match=r"'out\.csv'.*\.jsonl or \.parquet"):
        score_file(scorer, many, tmp_path / "out.csv")
    with pytest.raises(DataError, match="would replace it"):
        score_file(scorer, many, many)
    (tmp_path / "bad.jsonl").write_bytes(b'{"prompt": "\xff"}\n')
    (tmp_path / "list.jsonl").write_text("\n[1]\n")
    (tmp_path / "bad.parquet").write_text("PAR1")
    for name, words in (
        ("bad.jsonl", "line 1 is not JSON"),
        ("list.jsonl", "line 2.*list"),
        ("bad.parquet", "no readable"),
    ):
        with pytest.raises(DataError, match=words):
            score_file(scorer, tmp_path / name, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_scorer_that_loses_a_score_or_returns_nan(tmp_path, many):
    class Lossy(LengthScorer):
        def score(self, groups):
            return super().score(groups)[1:]

    class Broken(LengthScorer):
        def _score(self, group, response):
            return Score(float("inf"))

    with pytest.raises(ScoringError, match="length"):
        score_file(Lossy(), many, tmp_path / "lossy.jsonl")
    assert score_file(Broken(), many, tmp_path / "broken.jsonl") == (150, 150)
    assert lines(tmp_path / "broken.jsonl")[149]["error"].startswith("not_finite")


def test_no_more_than_a_batch_of_rows_is_read_ahead(tmp_path, many, monkeypatch):
    read, ahead = [], []

    def count(path):
        read.clear()
        return (read.append(1) or row for row in read_records(path))

    monkeypatch.setattr(files, "read_records", count)
    score_file(LengthScorer(), many, tmp_path / "out.jsonl", lambda done, total: ahead.append(len(read) - done))
    assert ahead == [0, 0, 0]


def test_empty_lines_and_a_byte_order_mark_are_no_rows(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(
        b"\xef\xbb\xbf" + json.dumps(pair(1)).encode() + b"\n\n" + json.dumps(pair(2)).encode()
    )
    assert count_records(tmp_path / "in.jsonl") == 2
    assert score_file(LengthScorer(), tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl") == (2, 0)
    (tmp_path / "none.jsonl").touch()
    assert score_file(LengthScorer(), tmp_path / "none.jsonl", tmp_path / "none.parquet") == (0, 0)


def test_a_model_scores_rows_with_images_beside_the_file(tmp_path, vl_backbone, picture):
    picture(56, 56).save(tmp_path / "a.png")
    shown = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    rows = [
        pair(1, prompt=shown, images=["a.png"]),
        {"prompt": shown, "images": ["a.png"], "responses": ["no", "answer x", "no"]},
    ]
    model = new_reward_model(vl_backbone)
    scored = score_file(LocalScorer(model, "m"), write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    assert scored == (2, 0)
    first, second = lines(tmp_path / "out.jsonl")
    expected = [first["rejected_score"], first["chosen_score"], first["rejected_score"]]
    # Rewards of new heads are near 0, where rounding is not relative to them.
    assert second["scores"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert second["scores"][0] != second["scores"][1]
