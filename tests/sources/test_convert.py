"""Conversions account for every record, and end the same however often they were interrupted."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from basereward.data import shards
from basereward.data.manifest import read_manifest
from basereward.data.pairs import load_pairs
from basereward.data.storage import read_rows
from basereward.errors import DataError, MissingFileError, WorkError
from basereward.sources.convert import ConvertOptions, convert


@pytest.fixture(autouse=True)
def small_shards(tmp_path, monkeypatch):
    """Shards of five rows, and a cache of our own."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 5)
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def contents(folder):
    """The bytes of every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(source, stop):
    """The source, with someone who presses Ctrl-C at a record."""

    def records(files):
        for number, record in enumerate(source.records(files)):
            if number == stop:
                raise KeyboardInterrupt
            yield record

    return replace(source, records=records)


def test_every_record_and_every_candidate_is_accounted_for(toy, raw, mixed_records, tmp_path):
    records = mixed_records(30)
    manifest = convert(toy, raw(records), tmp_path / "out")
    step = manifest.steps[0]
    ties = sum(record["bad"] == ["TIE"] for record in records)
    candidates = sum(len(record["bad"]) for record in records) - ties
    broken = sum(len(r["bad"]) for r in records if "b.png" in r.get("images", []) and r["bad"] != ["TIE"])
    missing = sum(len(r["bad"]) for r in records if "none.png" in r.get("images", []) and r["bad"] != ["TIE"])
    equal = sum(r["bad"].count("yes") for r in records)
    counts = {reason: entry["count"] for reason, entry in manifest.drops["reasons"].items()}
    assert counts == {"tie": ties, "image_unreadable": broken, "image_missing": missing, "equal_responses": equal}
    assert min(counts.values()) > 0
    assert (step["records"], step["refused"], step["candidates"]) == (30, ties, candidates)
    assert manifest.drops["total"] == step["refused"] + step["candidates"] - manifest.rows
    assert manifest.rows == sum(shard.rows for shard in manifest.shards) == len(read_rows(tmp_path / "out"))


def test_a_conversion_is_read_as_training_data(toy, raw, mixed_records, tmp_path):
    manifest = convert(toy, raw(mixed_records(30)), tmp_path / "out")
    loaded = load_pairs([tmp_path / "out"])
    assert (len(loaded.pairs), loaded.ledger.total) == (manifest.rows, 0)
    assert loaded.pairs.sources() == {"toy": manifest.rows}
    assert sum(pair.is_multimodal for pair in loaded.pairs) == manifest.multimodal > 0
    assert len({pair.id for pair in loaded.pairs}) == manifest.rows
    assert loaded.pairs[0].extra == {"number": 0}
    raw_folder = tmp_path / "raw"
    (raw_folder / "a.png").unlink()
    assert load_pairs([tmp_path / "out"]).ledger.total == 0, "images are inside the shards"


def test_a_folder_is_read_by_its_manifest(toy, raw, mixed_records, tmp_path):
    manifest = convert(toy, raw(mixed_records(30)), tmp_path / "out")
    (tmp_path / "out" / "test-00000.parquet").write_bytes(b"of no concern")
    assert len(read_rows(tmp_path / "out")) == manifest.rows
    (tmp_path / "out" / manifest.shards[1].file).unlink()
    with pytest.raises(DataError, match=r"shard-00001.parquet is missing"):
        read_rows(tmp_path / "out")


def test_order_is_that_of_the_records(toy, raw, tmp_path):
    records = [{"q": str(number), "good": "yes", "bad": ["a", "b"]} for number in range(8)]
    convert(toy, raw(records), tmp_path / "out")
    rows = read_rows(tmp_path / "out")
    assert rows["id"] == [f"toy-{number}{tail}" for number in range(8) for tail in ("", "-1")]
    sizes = [pq.ParquetFile(path).metadata.num_rows for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert sizes == [6, 6, 4], "pairs of one record stay together"


@pytest.mark.parametrize("images", ["bytes", "paths"])
@pytest.mark.parametrize("stop", [0, 1, 4, 6, 13, 22, 29])
def test_an_interrupted_conversion_goes_on_to_the_same_bytes(toy, raw, mixed_records, tmp_path, stop, images):
    files, options = raw(mixed_records(30)), ConvertOptions(images=images)
    whole = convert(toy, files, tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        convert(interrupted(toy, stop), files, tmp_path / "again", options)
    assert not (tmp_path / "again").exists()
    calls = []
    again = convert(toy, files, tmp_path / "again", options, calls.append)
    assert again == whole
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")
    assert calls[-1] == 30
    if stop >= 13:
        assert calls[0] > 1, "what was done is not done again"


@pytest.mark.parametrize("point", ["shard", "progress", "manifest", "publish"])
def test_a_kill_inside_a_write_changes_nothing(toy, raw, mixed_records, tmp_path, monkeypatch, point):
    files = raw(mixed_records(30))
    convert(toy, files, tmp_path / "whole")
    target = {
        "shard": "basereward.data.shards.describe_shard",
        "progress": "basereward.sources.convert._Progress.save",
        "manifest": "basereward.data.shards.write_manifest",
        "publish": "pathlib.Path.rename",
    }[point]

    def die(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, die)
        with pytest.raises(KeyboardInterrupt):
            convert(toy, files, tmp_path / "again")
    convert(toy, files, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


KILLED = """
import os, sys
from pathlib import Path
from basereward.data import shards
from basereward.sources.convert import convert
from basereward.data.files import DataFiles, HubRepository
from basereward.data.source import Source

shards.SHARD_ROWS = 4
def records(files):
    for number in range(40):
        if number == int(sys.argv[2]):
            os._exit(9)
        yield {"n": number}
def parse(record, files):
    yield {"prompt": str(record["n"]), "chosen": "yes" * (record["n"] % 5), "rejected": "no"}
repository = HubRepository("a/b", "MIT")
source = Source("s", "S", repository, "text", "kept", "", records, parse)
convert(source, DataFiles(Path("."), repository), Path(sys.argv[1]))
"""


def test_a_process_that_is_killed_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    def call(out, stop):
        monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path / out), str(stop)])
        exec(KILLED, {})

    call("whole", 99)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "again"), "27"]
    killed = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert killed.returncode == 9
    assert [path.name for path in tmp_path.glob("again*")] == ["again.partial"]
    call("again", 99)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_a_complete_conversion_is_left_alone_and_other_options_are_refused(toy, raw, mixed_records, tmp_path):
    files = raw(mixed_records(10))
    first = convert(toy, files, tmp_path / "out")
    unread = replace(toy, records=lambda files: pytest.fail("converted twice"))
    assert convert(unread, files, tmp_path / "out") == first
    with pytest.raises(DataError, match=r"limit None, not 3.*--out"):
        convert(toy, files, tmp_path / "out", ConvertOptions(limit=3))


def test_an_unfinished_conversion_is_not_read_as_data(toy, raw, mixed_records, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        convert(interrupted(toy, 20), raw(mixed_records(30)), tmp_path / "data" / "out")
    assert list((tmp_path / "data" / "out.partial").glob("*.parquet"))
    for place in (tmp_path / "data" / "out.partial", tmp_path / "data"):
        with pytest.raises(DataError, match=r"out\.partial is unfinished"):
            read_rows(place)


def test_a_folder_of_sets_is_not_read_as_one_set(toy, raw, mixed_records, tmp_path):
    for name in ("one", "two"):
        convert(toy, raw(mixed_records(12)), tmp_path / "data" / name)
    with pytest.raises(DataError, match=r"one by one: .*data/one, .*data/two"):
        read_rows(tmp_path / "data")


def test_an_unfinished_conversion_takes_no_other_options(toy, raw, mixed_records, tmp_path):
    files = raw(mixed_records(30))
    with pytest.raises(KeyboardInterrupt):
        convert(interrupted(toy, 20), files, tmp_path / "out")
    with pytest.raises(DataError, match=r"check 'header', not 'full'"):
        convert(toy, files, tmp_path / "out", ConvertOptions(check="full"))


def test_a_second_conversion_into_one_folder_is_refused(toy, raw, mixed_records, tmp_path):
    files, refused = raw(mixed_records(30)), []

    def start_another(done):
        with pytest.raises(WorkError, match="being written by process") as caught:
            convert(toy, files, tmp_path / "out", ConvertOptions(limit=3))
        refused.append(caught)

    convert(toy, files, tmp_path / "out", on_progress=start_another)
    assert len(refused) == 30
    convert(toy, files, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_files_that_shrank_since_are_an_error(toy, raw, mixed_records, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        convert(interrupted(toy, 20), raw(mixed_records(30)), tmp_path / "out")
    files = raw(mixed_records(3))
    with pytest.raises(DataError, match=r"records when its conversion was interrupted and has 3 now"):
        convert(toy, files, tmp_path / "out")


def test_a_limit_takes_the_first_records(toy, raw, mixed_records, tmp_path):
    manifest = convert(toy, raw(mixed_records(30)), tmp_path / "out", ConvertOptions(limit=7))
    assert manifest.steps[0]["records"] == 7
    whole = convert(toy, raw(mixed_records(30)), tmp_path / "whole")
    assert read_rows(tmp_path / "out")["id"] == read_rows(tmp_path / "whole")["id"][: manifest.rows]
    assert whole.rows > manifest.rows


def test_the_check_decides_which_images_are_found_broken(toy, raw, picture, tmp_path):
    files = raw([{"q": "q", "good": "yes", "bad": ["no"], "images": [name]} for name in ("a.png", "b.png", "c.png")])
    picture(64, 64).save(files.folder / "c.png")
    whole = (files.folder / "c.png").read_bytes()
    (files.folder / "c.png").write_bytes(whole[: len(whole) // 2])
    kept = {
        check: convert(toy, files, tmp_path / check, ConvertOptions(check=check)).rows
        for check in ("full", "header", "none")
    }
    assert kept == {"full": 1, "header": 2, "none": 3}


def test_paths_lead_to_the_images_wherever_the_folder_is_read_from(toy, raw, mixed_records, tmp_path, monkeypatch):
    convert(toy, raw(mixed_records(12)), tmp_path / "out", ConvertOptions(images="paths"))
    stored = pq.read_table(tmp_path / "out" / "shard-00000.parquet")["images"].to_pylist()
    assert [image for images in stored for image in images] == [{"bytes": None, "path": "../raw/a.png"}] * 2
    monkeypatch.chdir(tmp_path / "raw")
    assert load_pairs([tmp_path / "out"]).ledger.total == 0


def test_other_columns_stop_the_conversion(toy, raw, tmp_path):
    records = [{"q": "q", "good": "yes", "bad": ["no"]}, {"question": "q", "good": "yes", "bad": ["no"]}]
    with pytest.raises(DataError, match=r"toy, record 1: .*no 'q'; found the fields question, good, bad"):
        convert(toy, raw(records), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "no_pair 1"),
        (["TIE"], "tie 1"),
        (["\ud800"], "malformed 1"),
        ([""], "empty_response 1"),
        ([5], "malformed"),
    ],
)
def test_a_source_without_a_usable_row_is_an_error_that_says_why(toy, raw, tmp_path, given, reason):
    with pytest.raises(DataError, match=rf"None of 1 records of toy gives a usable row \({reason}"):
        convert(toy, raw([{"q": "q", "good": "yes", "bad": given}]), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_pairs_in_front_of_a_refusal_are_kept(toy, raw, tmp_path):
    manifest = convert(toy, raw([{"q": "q", "good": "yes", "bad": ["a", "b", "TIE"]}]), tmp_path / "out")
    step = manifest.steps[0]
    assert (manifest.rows, step["refused"], step["candidates"], manifest.drops["total"]) == (2, 1, 2, 1)


def test_missing_files_name_the_command(toy, raw, tmp_path):
    files = raw([])
    (files.folder / "raw.jsonl").unlink()
    with pytest.raises(MissingFileError, match="hf download someone/toy"):
        convert(toy, files, tmp_path / "out")


def test_what_stands_at_the_target_is_not_touched(toy, raw, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(DataError, match="something else"):
        convert(toy, raw([{"q": "q", "good": "yes", "bad": ["no"]}]), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["diary.txt"]


def test_rows_are_not_held_in_memory(toy, tmp_path, raw, monkeypatch):
    """However many records there are, a record is taken when those before it are written or in an open batch."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 400)
    alive, most = [0], [0]

    class Text(str):
        def __new__(cls, value):
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            return super().__new__(cls, value)

        def __del__(self):
            alive[0] -= 1

    many = replace(
        toy,
        records=lambda files: ({"n": number} for number in range(4000)),
        parse=lambda record, files: [{"prompt": Text(record["n"]), "chosen": "yes", "rejected": "no"}],
    )
    assert convert(many, raw([]), tmp_path / "out").rows == 4000
    assert 200 < most[0] <= 402


def test_prompt_sets_have_their_own_columns(toy, raw, tmp_path):
    def parse(record, files):
        yield {"id": record["q"], "prompt": record["q"], "answer": record["good"], "images": [], "level": 3}

    prompts = replace(toy, kind="prompts", parse=parse)
    records = [{"q": "1 + 1?", "good": "2"}, {"q": "?", "good": " "}, {"q": "?", "good": 3}]
    manifest = convert(prompts, raw(records), tmp_path / "out")
    assert (manifest.holds, manifest.rows) == ("prompts", 1)
    assert {name: entry["count"] for name, entry in manifest.drops["reasons"].items()} == {
        "empty_response": 1,
        "malformed": 1,
    }
    (row,) = pq.read_table(tmp_path / "out" / "shard-00000.parquet").to_pylist()
    prompt = [{"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]}]
    extra = row.pop("extra_json")
    assert row == {"id": "1 + 1?", "source": "toy", "images": [], "prompt": prompt, "answer": "2"}
    assert json.loads(extra) == {"level": 3}


def test_the_manifest_says_where_the_rows_come_from(toy, raw, tmp_path):
    files = replace(raw([{"q": "q", "good": "yes", "bad": ["no"]}]), revision="abc")
    manifest = convert(toy, files, tmp_path / "out")
    header = {"name": "toy", "repository": "someone/toy", "revision": "abc", "licence": "CC0-1.0"}
    assert [source.model_dump() for source in manifest.sources] == [header]
    assert read_manifest(tmp_path / "out", verify=True) == manifest
