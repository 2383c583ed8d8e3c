"""Where pairs lie: which split of a folder or hub data set is read, and that a changed file is noticed."""

import json
import os

import datasets
import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.data import places
from basereward.data.manifest import Manifest, describe_shard, write_manifest
from basereward.data.places import open_place
from basereward.data.storage import read_rows, write_rows
from basereward.errors import DataError, MissingFileError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def pair(name):
    return {"id": name, "prompt": "Why?", "chosen": f"Because of {name}.", "rejected": "No."}


def shards(folder, *names):
    """Parquet files of these names, each with one pair whose id is the name."""
    for name in names:
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([pair(name)]), path)
    return str(folder)


def ids(path, split="train"):
    return read_rows(path, split)["id"][:]


def test_a_snapshot_with_several_splits_for_training_is_an_error_that_names_them(tmp_path):
    names = [f"data/{split}-00000-of-00001" for split in ("train_gen", "train_prefs", "train_sft", "test_prefs")]
    hub = shards(tmp_path / "hub", *names)
    with pytest.raises(DataError, match=r"several splits for 'train'; found test_prefs, train_gen.*hub:train_gen"):
        read_rows(hub)
    assert ids(f"{hub}:train_prefs") == ["data/train_prefs-00000-of-00001"]
    assert ids(hub, "test") == ["data/test_prefs-00000-of-00001"]
    with pytest.raises(DataError, match=r"no split 'train_pref'; found .*train_prefs"):
        read_rows(f"{hub}:train_pref")


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], "train", [0, 1]),
        (["train_prefs-00000-of-00001-0123456789abcdef", "test_prefs-00000-of-00001"], "train", [0]),
        (["default/train/0000", "default/train/0001", "default/test/0000"], "train", [0, 1]),
        (["train", "test"], "test", [1]),
        (["shard-00000", "shard-00001"], "test", [0, 1]),
        (["part.0", "part.1"], "train", [0, 1]),
        (["0000", "0001"], "train", [0, 1]),
    ],
)
def test_shards_are_chosen_by_the_split_in_their_names(tmp_path, names, split, expected):
    assert ids(shards(tmp_path / "set", *names), split) == [names[place] for place in expected]


def test_a_split_in_several_folders_is_an_error(tmp_path):
    both = shards(tmp_path / "set", "en/train-00000-of-00001", "zh/train-00000-of-00001")
    with pytest.raises(DataError, match=r"the split train in several folders; give one of them: .*set/en, .*set/zh"):
        read_rows(both)
    assert len(ids(f"{both}/en")) == 1


def test_a_split_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no split 'dev'; found train"):
        read_rows(shards(tmp_path / "set", "train-00000-of-00001"), "dev")
    with pytest.raises(DataError, match="no split 'dev'; found shard"):
        read_rows(shards(tmp_path / "own", "shard-00000") + ":dev")


def test_saved_folders_and_files_take_a_split_where_they_have_any(tmp_path):
    one = datasets.Dataset.from_list([pair("a")])
    datasets.DatasetDict({"train_prefs": one, "train_sft": one}).save_to_disk(tmp_path / "saved")
    assert ids(f"{tmp_path / 'saved'}:train_prefs") == ["a"]
    with pytest.raises(DataError, match="several splits for 'train'"):
        read_rows(tmp_path / "saved")
    (tmp_path / "a.jsonl").write_text(json.dumps(pair("a")))
    (tmp_path / "a:b.jsonl").write_text(json.dumps(pair("b")))
    assert ids(tmp_path / "a:b.jsonl") == ["b"]
    with pytest.raises(DataError, match="is one file and has no split 'train'"):
        read_rows(f"{tmp_path / 'a.jsonl'}:train")
    with pytest.raises(MissingFileError, match=r"none\.jsonl:train does not exist.*:SPLIT"):
        read_rows(f"{tmp_path / 'none.jsonl'}:train")


def test_hub_data_sets_take_a_split(monkeypatch):
    asked = []
    monkeypatch.setattr(places, "_check_reachable", lambda name: None)
    one = datasets.Dataset.from_list([pair("a")])
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: asked.append((name, split)) or one)
    assert open_place("owner/name:train_prefs").name == "owner/name"
    open_place("owner/name")
    assert asked == [("owner/name", "train_prefs"), ("owner/name", "train")]


def test_a_hub_that_is_not_there_is_asked_once(monkeypatch):
    asked = []

    def refuse(self, name, timeout):
        asked.append(name)
        raise httpx2.ConnectError("Name or service not known")

    monkeypatch.setattr(places.HfApi, "dataset_info", refuse)
    with pytest.raises(MissingFileError, match=r"owner/name .* cannot be reached \(Name or service not known\)"):
        open_place("owner/name")
    assert asked == ["owner/name"]


@pytest.fixture
def converted(tmp_path):
    """A folder of one shard with a manifest."""
    folder = tmp_path / "set"
    folder.mkdir()
    write_rows([pair("a")], folder / "shard-00000.parquet")
    shard = describe_shard(folder / "shard-00000.parquet", 1)
    manifest = Manifest(
        kind="converted", name="set", rows=1, multimodal=0, shards=(shard,), sources=(), drops={}, created_by="test"
    )
    write_manifest(manifest, folder)
    return folder


def change(path, old, new):
    """Write other bytes at the same size and time."""
    stat = path.stat()
    data = path.read_bytes()
    assert data.count(old) > 0
    path.write_bytes(data.replace(old, new))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize("read_before", [True, False])
def test_a_shard_that_changed_at_equal_size_and_time_is_refused(converted, read_before):
    if read_before:
        assert ids(converted) == ["a"]
    change(converted / "shard-00000.parquet", b"Because", b"Whereas")
    with pytest.raises(DataError, match="does not have the hash of its manifest"):
        read_rows(converted)


def test_a_file_that_changed_at_equal_size_and_time_is_read_anew(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(pair("a")))
    assert ids(path) == ["a"]
    change(path, b'"id": "a"', b'"id": "b"')
    assert ids(path) == ["b"]
