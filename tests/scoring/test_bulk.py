"""Scores in bulk: every record once, whatever is killed, changed, left over or started twice."""

import json
import os
import shutil
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.data.arrangement import ReadOptions
from basereward.data.manifest import read_manifest
from basereward.data.outcomes import About
from basereward.data.places import open_place
from basereward.data.slices import cut_file
from basereward.errors import DataError, MissingExtraError, MissingFileError, WorkError
from basereward.scoring import bulk, shards
from basereward.scoring.bulk import BulkSettings, score_bulk
from basereward.scoring.files import score_file
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.scores_manifest import read_scores_manifest
from basereward.scoring.shards import scorer_facts
from tests.scoring.conftest import LengthScorer, WritingScorer, folder_contents, kill_jobs, lines, pair, write

MEMBER = ModelSpec(model="baseline:longer")


def run(source, target, scorer=None, rows=40, **given):
    return score_bulk(
        MEMBER,
        str(source),
        target,
        lambda _: scorer or LengthScorer(),
        BulkSettings(shard_rows=rows, threads=1),
        **given,
    )


def stored(folder):
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def interrupt(source, target, after, scorer=None):
    def stop(done, total):
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, target, scorer, on_progress=stop)


def test_shards_say_of_every_record_what_a_scored_file_says(tmp_path, many):
    manifest = run(many, tmp_path / "out")
    score_file(LengthScorer(), many, tmp_path / "file.jsonl")
    rows = stored(tmp_path / "out")
    assert [row["record_id"] for row in rows] == [f"many.jsonl:{number}" for number in range(150)]
    for row, alone in zip(rows, lines(tmp_path / "file.jsonl"), strict=True):
        assert (row["chosen_score"], row["rejected_score"]) == (alone["chosen_score"], alone["rejected_score"])
    assert [(shard.file, shard.first, shard.rows) for shard in manifest.shards] == [
        (f"shard-0000{n}.parquet", 40 * n, min(40, 150 - 40 * n)) for n in range(4)
    ]
    assert (manifest.rows, manifest.failed, manifest.failures) == (150, 0, {})
    assert manifest == read_scores_manifest(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.jsonl", "many.jsonl", "out"]
    assert len({str(pq.read_schema(path)) for path in (tmp_path / "out").glob("*.parquet")}) == 1


def test_what_a_scorer_writes_is_in_every_shard(tmp_path, many):
    interrupt(many, tmp_path / "out", 80, WritingScorer())
    run(many, tmp_path / "out", WritingScorer())
    for row, own in zip(stored(tmp_path / "out"), lines(many), strict=True):
        assert row["chosen_critique"] == f"on {own['chosen']}"
        assert row["response_critiques"] is None
    run(many, tmp_path / "silent")
    assert not [name for name in stored(tmp_path / "silent")[0] if "critique" in name]


def test_failures_are_typed_and_counted_and_nothing_becomes_a_number(tmp_path):
    rows = [
        pair(0, id="a"),
        pair(1, chosen="no"),
        {"prompt": "no answers"},
        pair(3, chosen="a long one", rejected="long, too"),
        {"id": 7, "prompt": "?", "responses": ["four", "long", "sixsix"]},
    ]
    manifest = run(write(tmp_path / "in.jsonl", rows), tmp_path / "out", rows=2)
    found = stored(tmp_path / "out")
    assert [row["id"] for row in found] == ["a", None, None, None, "7"]
    reasons = [row["error"] and row["error"]["reason"] for row in found]
    assert reasons == [None, "equal_responses", "malformed", "too_long", "too_long"]
    assert "has no chosen, rejected" in found[2]["error"]["message"]
    assert found[3]["error"]["message"] == "shorten it"
    assert [row["chosen_score"] for row in found] == [7.0, None, None, None, None]
    assert found[4]["scores"] == [4.0, None, 6.0]
    assert manifest.failures == {"equal_responses": 1, "malformed": 1, "too_long": 2}
    assert [shard.failed for shard in manifest.shards] == [1, 2, 1]


def test_each_file_of_a_folder_has_its_own_shards(tmp_path, picture):
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    picture(30, 40).save(folder / "here.png")
    shown = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    rows = [pair(n, prompt=shown, images=["here.png"]) for n in range(50)]
    pq.write_table(pa.Table.from_pylist(rows[:30]), folder / "a.parquet", row_group_size=7)
    pq.write_table(pa.Table.from_pylist(rows[30:]), folder / "b" / "a.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:1]).slice(1), folder / "empty.parquet")
    manifest = run(folder, tmp_path / "out", rows=25)
    cut = [(shard.source, shard.first, shard.rows) for shard in manifest.shards]
    assert cut == [("a.parquet", 0, 25), ("a.parquet", 25, 5), ("b/a.parquet", 0, 20)]
    assert [(one.file, one.rows) for one in manifest.inputs] == [
        ("a.parquet", 30),
        ("b/a.parquet", 20),
        ("empty.parquet", 0),
    ]
    assert len({row["record_id"] for row in stored(tmp_path / "out")}) == 50
    # Images are found beside the folder that was named, wherever in it the file stands.
    assert all(row["rejected_score"] == 3002.0 for row in stored(tmp_path / "out"))


def test_a_killed_job_goes_on_with_the_shards_that_it_lacks(tmp_path, many):
    run(many, tmp_path / "whole")
    target = tmp_path / "out"
    interrupt(many, target, after=80)
    assert not target.exists()
    [folder] = (tmp_path / "out.partial").glob("*.partial")
    assert sorted(path.name for path in folder.iterdir()) == ["shard-00000.parquet", "shard-00001.parquet"]
    (folder / "shard-00000.parquet").unlink()
    stale = tmp_path / "out.partial" / ".shard-00002.parquet.host.1.tmp"
    stale.write_text("half")
    scorer, seen = LengthScorer(), []
    run(many, target, scorer, on_progress=lambda done, total: seen.append((done, total)))
    assert [group.id for group in scorer.seen] == [str(n) for n in (*range(40), *range(80, 150))]
    assert seen[0] == (40, 150)
    assert seen[-1] == (150, 150)
    assert folder_contents(target) == folder_contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.jsonl", "out", "whole"]


def test_a_finished_job_is_not_done_again(tmp_path, many):
    run(many, tmp_path / "out")
    scorer = LengthScorer()
    assert run(many, tmp_path / "out", scorer).rows == 150
    assert scorer.seen == []
    with pytest.raises(WorkError, match=r"out holds scores with weights\.name 'length', not 'other'"):
        run(many, tmp_path / "out", LengthScorer("other"))
    many.write_text(many.read_text() + json.dumps(pair(150)) + "\n")
    with pytest.raises(WorkError, match=r"out holds scores with inputs\.0 "):
        run(many, tmp_path / "out")


@pytest.mark.parametrize("other", ["model", "rows", "file", "name"])
def test_scores_of_something_else_are_not_mixed(tmp_path, many, other):
    interrupt(many, tmp_path / "out", after=80)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    source, rows = many, 41 if other == "rows" else 40
    if other == "file":
        many.write_text(many.read_text().replace("Question 7?", "Question 8?"))
    if other == "name":
        source = many.rename(tmp_path / "renamed.jsonl")
    with pytest.raises(WorkError, match=r"out\.partial holds work with "):
        run(source, tmp_path / "out", LengthScorer("other" if other == "model" else "length"), rows)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before


def test_a_second_job_on_one_folder_is_refused(tmp_path, many):
    refused = []

    def start_another(done, total):
        with pytest.raises(WorkError, match=r"out is being written by process \d+"):
            run(many, tmp_path / "out")
        refused.append(done)

    run(many, tmp_path / "out", on_progress=start_another)
    assert refused == [0, 40, 80, 120, 150]


def test_a_worker_that_outlives_its_job_does_no_harm(tmp_path, many, monkeypatch):
    """It comes late with a shard: into the same job, after the end, and when another job stands in its place."""
    late = []
    write_shard = shards.ShardScorer.write
    monkeypatch.setattr(
        shards.ShardScorer, "write", lambda self, task: late.append((self, task)) or write_shard(self, task)
    )
    interrupt(many, tmp_path / "out", after=80)
    scorer, task = late[0]
    first = task.path.read_bytes()
    scorer.scorer = LengthScorer("wrong")
    monkeypatch.setattr(LengthScorer, "_score", lambda self, group, response: shards.Failure("odd", "one"))
    write_shard(scorer, task)
    assert task.path.read_bytes() == first
    monkeypatch.undo()
    run(many, tmp_path / "out")
    whole = folder_contents(tmp_path / "out")
    with pytest.raises(DataError, match="the job is done or was started anew"):
        write_shard(scorer, task)
    assert folder_contents(tmp_path / "out") == whole
    interrupt(many, tmp_path / "again", after=40, scorer=LengthScorer("other"))
    gone = task._replace(path=tmp_path / "again.partial" / task.path.parent.name / task.path.name)
    with pytest.raises(DataError, match="the job is done or was started anew"):
        write_shard(scorer, gone)
    assert not list((tmp_path / "again.partial").glob(".*.tmp"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.partial", "many.jsonl", "out"]


def test_without_hard_links_files_are_renamed(tmp_path, many, monkeypatch):
    def refuse(*names):
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert run(many, tmp_path / "out").rows == 150


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "shard-00003.parquet").unlink(), r"missing or strange: shard-00003\.parquet"),
        (lambda folder: (folder / "shard-00004.parquet").touch(), r"missing or strange: shard-00004\.parquet"),
        (lambda folder: shutil.move(folder / "shard-00000.parquet", folder / "odd"), "missing or"),
        (lambda folder: shutil.copy(folder / "shard-00000.parquet", folder / "shard-00003.parquet"), "holds 40 rows"),
    ],
)
def test_shards_that_are_lost_or_strange_are_noticed(tmp_path, many, monkeypatch, spoil, words):
    describe = bulk.describe_scores
    monkeypatch.setattr(bulk, "describe_scores", lambda *given: (spoil(given[-1]), describe(*given))[1])
    with pytest.raises(WorkError, match=words):
        run(many, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_records_that_change_meanwhile_give_no_folder(tmp_path, many):
    def change(done, total):
        if done == 40:
            many.write_text(many.read_text().replace("Question 7?", "Question 8?"))

    with pytest.raises(DataError, match="changed since the work began"):
        run(many, tmp_path / "out", on_progress=change)

    def change_last(done, total):
        if done == 150:
            many.write_text(many.read_text().replace("Question 8?", "Question 9?"))

    with pytest.raises(DataError, match="changed while it was scored"):
        run(many, tmp_path / "else", on_progress=change_last)
    assert not (tmp_path / "else").exists()


@pytest.mark.parametrize(("place", "scored"), [(0, 0), (100, 80)])
def test_misspelt_columns_end_the_job_by_their_row(tmp_path, place, scored):
    rows = [{"prompt": "?", "responses": [str(n)]} for n in range(120)]
    rows[place]["imges"] = ["a.png"]
    scorer = LengthScorer()
    with pytest.raises(DataError, match=r"in\.jsonl(, row 100)?: unknown column 'imges'"):
        run(write(tmp_path / "in.jsonl", rows), tmp_path / "out", scorer)
    assert len(scorer.seen) == scored


def test_wrong_places_are_named_before_anything_is_scored(tmp_path, many):
    with pytest.raises(MissingFileError, match="none"):
        run(tmp_path / "none", tmp_path / "out")
    datasets.Dataset.from_list([pair(1)]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="to_parquet"):
        run(tmp_path / "saved", tmp_path / "out")
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.jsonl", [pair(1)])
    with pytest.raises(DataError, match="lies inside"):
        run(folder, folder / "out")
    with pytest.raises(DataError, match="holds the records"):
        run(folder, folder)
    with pytest.raises(DataError, match="holds something else"):
        run(many, folder)
    run(many, tmp_path / "out")
    with pytest.raises(DataError, match="holds scores"):
        read_manifest(tmp_path / "out")
    interrupt(many, tmp_path / "half", after=40)
    with pytest.raises(DataError, match="is unfinished"):
        open_place(tmp_path / "half.partial")


def test_no_records_give_a_folder_without_shards(tmp_path):
    (tmp_path / "none.jsonl").touch()
    assert run(tmp_path / "none.jsonl", tmp_path / "out").rows == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


def test_ray_is_asked_for_by_its_extra(tmp_path, many, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"basereward\[scale\]"):
        score_bulk(MEMBER, str(many), tmp_path / "out", lambda _: LengthScorer(), BulkSettings(engine="ray"))


def test_the_command_writes_a_folder_where_out_has_no_suffix(tmp_path, many, capsys, monkeypatch):
    from basereward.cli.main import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["basereward", "score", "baseline:longer", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            return ended.code
        return 0

    assert call(many, "--out", tmp_path / "out", "--shard-rows", "100", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["failed"], told["shards"]) == (150, 0, 2)
    assert call(tmp_path, "--out", tmp_path / "out.jsonl") == 1
    assert "its scores are a folder, too" in capsys.readouterr().err
    assert call(many, "--out", tmp_path / "out.jsonl", "--engine", "ray") == 2
    assert call(many, "--out", tmp_path / "more", "--engine", "spark") == 2
    bad = write(tmp_path / "bad.jsonl", [{**pair(1), "chosen": ""}])
    assert call(bad, "--out", tmp_path / "failed") == 1
    assert "None of 1 rows could be scored: 1 of empty_response" in capsys.readouterr().err


def test_jobs_killed_at_every_step_and_at_random_points_give_what_one_that_was_not_gives(tmp_path, records):
    kill_jobs(4, "baseline:longer", records, tmp_path, {"shard_rows": 20, "threads": 1})


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_kills(tmp_path, records, seed):
    told = kill_jobs(20, "baseline:longer", records, tmp_path, {"shard_rows": 20, "threads": 1}, seed=seed)
    assert len(set(told["done"])) > 5


@pytest.mark.slow
def test_a_model_killed_at_random_points_gives_the_same_bits(tmp_path, records, text_backbone):
    from basereward.models.checkpoint import new_reward_model, save_reward_model

    save_reward_model(new_reward_model(text_backbone), tmp_path / "model")
    told = kill_jobs(20, tmp_path / "model", records, tmp_path, {"shard_rows": 20, "threads": 1})
    assert len(set(told["done"])) > 5


def test_a_worker_with_another_model_is_refused_and_errors_come_back_as_text(tmp_path, many):
    """What Ray's workers do, without Ray."""
    job = shards.ScoringJob(MEMBER, str(many), ReadOptions(), Path.cwd(), threads=1)
    [piece, *_] = cut_file(many, 40)
    (tmp_path / "out.partial" / "key.partial").mkdir(parents=True)
    task = shards.ShardTask(0, piece, "many.jsonl", tmp_path / "out.partial" / "key.partial" / "shard-00000.parquet")
    open_spec = lambda _: LengthScorer()  # noqa: E731
    wrong = bulk.ShardActor(job, open_spec, {"name": "length", "weights": "0"}, {0: task})({"number": 0})
    assert "the model has another weights than where the job began" in wrong["error"]
    right = bulk.ShardActor(job, open_spec, {"name": "length"}, {0: task})
    assert right({"number": 0}) == {"number": 0, "error": ""}
    assert task.path.is_file()
    many.write_text(json.dumps(pair(1)))
    assert "changed since" in right({"number": 0})["error"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_threads_decide_where_any_member_runs_on_a_cpu(device):
    class Composed:
        about = About("all", True, partial={"ensemble": {"members": {"a": {"identity": {"device": device}}}}})

    assert scorer_facts(Composed(), 3).get("threads") == (3 if device == "cpu" else None)
