"""A place of records is known by what lies there, whatever it is called."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.data.places import open_place


def test_a_file_is_known_by_its_bytes(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "?"}\n')
    known = open_place(tmp_path / "a.jsonl").describe().sha256
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert open_place(tmp_path / "b.jsonl").describe().sha256 == known
    (tmp_path / "b.jsonl").write_text('{"prompt": "!"}\n')
    assert open_place(tmp_path / "b.jsonl").describe().sha256 != known


def test_a_folder_is_known_by_the_files_of_its_split(tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"prompt": [split]}), tmp_path / f"{split}-00000-of-00001.parquet")
    known = {split: open_place(f"{tmp_path}:{split}").describe().sha256 for split in ("train", "test")}
    assert known["train"] != known["test"]
    assert open_place(tmp_path).describe().sha256 == known["train"]
    pq.write_table(pa.table({"prompt": ["other"]}), tmp_path / "test-00000-of-00001.parquet")
    assert open_place(tmp_path).describe().sha256 == known["train"]
    assert open_place(f"{tmp_path}:test").describe().sha256 != known["test"]


def test_a_set_is_known_by_its_manifest(toy, raw, mixed_records, tmp_path):
    from basereward.sources.convert import convert

    manifest = convert(toy, raw(mixed_records(10)), tmp_path / "out")
    assert open_place(tmp_path / "out").describe().sha256 == manifest.sha256
