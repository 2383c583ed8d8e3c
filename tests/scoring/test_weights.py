"""The hash of a model's files: content and nothing else, and no large file is read twice."""

import os
import shutil

import pytest

from basereward.errors import ScoringError
from basereward.scoring import weights
from basereward.scoring.spec import open_scorer
from basereward.scoring.store import KeyValueStore
from basereward.scoring.weights import KEPT_BYTES, Weights


@pytest.fixture
def folder(tmp_path):
    """A model of one large file and a small one."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(KEPT_BYTES) + b"end")
    (folder / "config.json").write_text("{}")
    (folder / "notes.md").write_text("not part of it")
    return folder


@pytest.fixture
def store(tmp_path):
    return KeyValueStore(tmp_path / "scores.sqlite")


@pytest.fixture
def read(monkeypatch):
    """The names of the files that were read whole."""
    names = []
    digest = weights.file_digest
    monkeypatch.setattr(weights, "file_digest", lambda path: names.append(path.name) or digest(path))
    return names


def test_a_large_file_is_read_once(folder, store, read):
    first = Weights([folder]).digest(store)
    assert Weights([folder]).digest(store) == first
    assert (read.count("model.safetensors"), read.count("config.json")) == (1, 2)


def test_a_copy_is_the_same_model(folder, store, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "notes.md").unlink()
    assert Weights([tmp_path / "copy"]).digest(store) == Weights([folder]).digest(store)


@pytest.mark.parametrize("way", ["write", "rename"])
def test_replaced_weights_of_the_same_size_and_time_are_noticed(folder, store, way):
    file = folder / "model.safetensors"
    before, stat = Weights([folder]).digest(store), file.stat()
    target = file if way == "write" else folder / "new"
    target.write_bytes(bytes(KEPT_BYTES) + b"END")
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    target.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert Weights([folder]).digest(store) != before


def test_configuration_and_base_count(folder, store, tmp_path):
    before = Weights([folder]).digest(store)
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"base")
    assert Weights([folder, base]).digest(store) != before
    (folder / "config.json").write_text('{"max_length": 1}')
    assert Weights([folder]).digest(store) != before


def test_files_that_change_after_loading_are_an_error(folder, store):
    loaded = Weights([folder])
    (folder / "config.json").write_text('{"more": 1}')
    with pytest.raises(ScoringError, match="has changed since the model was loaded"):
        loaded.digest(store)


def test_a_blob_of_the_hub_is_known_by_its_name(tmp_path, store, read):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    name = "0f" * 32
    (blobs / name).write_bytes(bytes(KEPT_BYTES))
    (snapshot / "model.safetensors").symlink_to(blobs / name)
    Weights([snapshot]).digest(store)
    assert read == []


def test_without_a_usable_store_the_files_are_read(folder, tmp_path, store, caplog):
    (tmp_path / "file").write_text("")
    broken = KeyValueStore(tmp_path / "file" / "scores.sqlite")
    assert Weights([folder]).digest(broken) == Weights([folder]).digest(store)
    assert "read each time" in caplog.text


def test_a_loaded_model_says_what_decides_its_scores(tmp_path, vl_backbone):
    from basereward.models.checkpoint import new_reward_model, save_reward_model

    folder = save_reward_model(new_reward_model(vl_backbone), tmp_path / "model")
    scorer, other = open_scorer(str(folder), "float32", "cpu"), open_scorer(str(folder), "bfloat16", "cpu")
    assert scorer.about.sees_images
    assert scorer.about.identity["weights"] == other.about.identity["weights"]
    assert (scorer.about.identity["dtype"], other.about.identity["dtype"]) == ("float32", "bfloat16")
    assert {"template", "max_length", "pixels", "backend", "torch"} <= scorer.about.identity.keys()
