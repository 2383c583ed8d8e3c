"""Folders that are written in one go: there when complete, whatever ends the writing, and of one writer."""

import os

import pytest

from basereward.data.shards import appearing
from basereward.data.work import open_work
from basereward.errors import DataError, WorkError


def test_a_folder_appears_with_what_was_written(tmp_path):
    with appearing(tmp_path / "out") as folder:
        (folder / "weights").write_text("all")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "weights").read_text() == "all"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
    def write():
        with appearing(tmp_path / "out") as folder:
            (folder / "weights").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_is_no_beginning(tmp_path):
    if not (child := os.fork()):
        with appearing(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            os._exit(0)
    os.waitpid(child, 0)
    with appearing(tmp_path / "out") as folder:
        (folder / "weights").write_text("all")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "weights"]


def test_two_writers_and_a_folder_that_is_taken_are_refused(tmp_path):
    with appearing(tmp_path / "out") as folder:
        (folder / "weights").write_text("all")
        with pytest.raises(WorkError, match="is being written by"), appearing(tmp_path / "out"):
            pass
    with pytest.raises(DataError, match="holds something else"), appearing(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "weights").read_text() == "all"


def test_temporary_files_of_a_neighbour_are_left_alone(tmp_path):
    own, theirs = tmp_path / ".scores.7.tmp", tmp_path / ".scores.jsonl.7.tmp"
    for path in (own, theirs):
        path.touch()
    with open_work(tmp_path / "scores"):
        assert not own.exists()
        assert theirs.exists()
