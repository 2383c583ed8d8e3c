"""What a kill leaves of a model folder of the lab is made anew, and what stands there before is replaced."""

import errno
import os

import pytest

from basereward.errors import WorkError
from basereward.lab import backbone as backbone_module
from basereward.lab.rows import made_backbone
from basereward.lab.written import is_written, writing


def write(folder, **files):
    with writing(folder) as written:
        for name, text in files.items():
            (written / f"{name}.json").write_text(text)


def test_a_backbone_that_a_kill_cut_off_is_made_anew(tmp_path, monkeypatch):
    folder, begun = tmp_path / "seed-0" / "backbone", []

    def cut_off(folder, *_):
        begun.append(folder)
        folder.joinpath("config.json").write_text("{}")
        os._exit(0)

    monkeypatch.setattr(backbone_module, "world_texts", list)
    # As in transformers, the configuration comes first.
    monkeypatch.setattr(backbone_module, "_WRITERS", {"qwen2": cut_off})
    if not (child := os.fork()):
        made_backbone(folder, "qwen2", 0, "test")
    os.waitpid(child, 0)
    assert not is_written(folder)
    monkeypatch.setattr(
        backbone_module,
        "_WRITERS",
        {"qwen2": lambda folder, *_: [folder.joinpath(f"{name}.json").write_text("{}") for name in ("config", "rest")]},
    )
    made_backbone(folder, "qwen2", 0, "test")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "rest.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["backbone"]


def test_files_of_an_earlier_model_are_replaced_and_others_stay(tmp_path):
    write(tmp_path / "model", config="old", weights="old")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    write(tmp_path / "model", config="new", weights="new")
    files = {path.name: path.read_text() for path in (tmp_path / "model").iterdir()}
    assert files == {"config.json": "new", "weights.json": "new", "notes.txt": "mine"}


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    write(tmp_path / "model", config="old")

    def fill(written):
        (written / "config.json").write_text("new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(WorkError, match="The disk is full"), writing(tmp_path / "model") as written:
        fill(written)
    assert (tmp_path / "model" / "config.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_while_files_take_their_places_leaves_no_model(tmp_path, monkeypatch):
    write(tmp_path / "model", config="old", weights="old")
    if not (child := os.fork()):
        monkeypatch.setattr(type(tmp_path), "replace", lambda *_: os._exit(0))
        write(tmp_path / "model", config="new", weights="new")
    os.waitpid(child, 0)
    assert not is_written(tmp_path / "model")
