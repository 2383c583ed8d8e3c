"""What two processes, a kill at any moment, other settings and a full disk do to an output: nothing."""

import errno
import json
import os
import random
import signal
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from basereward.data import work as work_module
from basereward.data.identity import Identity, WorkInput, differences
from basereward.data.io import replacing
from basereward.data.work import IDENTITY, RECORDS, open_work
from basereward.errors import WorkError

ROWS = 400


def square(target, wait=lambda: None):
    """Write the squares of all numbers below ROWS, a few at a time; ``wait`` is called with the lock held."""
    with open_work(target) as work:
        wait()
        work.claim(Identity(task="square"))
        records = work.records(ROWS)
        missing = list(records.missing())
        for start in range(0, len(missing), 5):
            records.add([{"row": row, "square": row * row, "pad": "x" * 999} for row in missing[start : start + 5]])
            time.sleep(0.001)
        with replacing(work.target) as temporary, temporary.open("w") as file:
            for record in records.complete():
                file.write(json.dumps([record["row"], record["square"]]) + "\n")
        work.discard()


@contextmanager
def forked(function, *arguments):
    """A process that runs the function; killed at the end of the block."""
    child = os.fork()
    if child == 0:
        function(*arguments)
        os._exit(0)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    target, moments, known = tmp_path / "out.jsonl", random.Random(3), [0]
    path = tmp_path / "out.jsonl.partial" / RECORDS
    for _ in range(15):
        # Killed somewhere within or behind the next few records, whatever the machine is busy with.
        reached = path.stat().st_size if path.exists() else 0
        with forked(square, target):
            until = reached + moments.randrange(1, 20_000)
            while not path.exists() or path.stat().st_size < until:
                time.sleep(0.0005)
        assert not target.exists()
        known.append(path.read_bytes().count(b"\n"))
    assert known == sorted(known)
    assert 0 < known[-1] < ROWS, "the kills were at work"
    square(target)
    assert [json.loads(line) for line in target.read_text().splitlines()] == [[row, row * row] for row in range(ROWS)]
    assert names(tmp_path) == ["out.jsonl"]


def test_a_second_writer_is_refused_by_the_name_of_the_first(tmp_path):
    target, (ready, say) = tmp_path / "out.jsonl", os.pipe()
    with forked(square, target, lambda: (os.write(say, b"."), time.sleep(60))) as first:
        os.read(ready, 1)
        with pytest.raises(WorkError, match=rf"out\.jsonl is being written by process {first} on .* since 2"):
            square(target)
        assert not target.exists()
    square(target)
    assert len(target.read_text().splitlines()) == ROWS


def test_two_writers_of_one_process_and_two_names_of_one_place_exclude_each_other(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with open_work(tmp_path / "real" / "out"):
        with pytest.raises(WorkError, match="being written"), open_work(tmp_path / "link" / "out"):
            pass
        with open_work(tmp_path / "real" / "other"):
            pass
    with open_work(tmp_path / "link" / "out"):
        pass
    assert names(tmp_path / "real") == []


def test_a_forked_child_that_outlives_its_parent_holds_nothing(tmp_path):
    """Loader processes are forked; a killed run must not stay locked until the last of them has noticed."""
    ready, say = os.pipe()

    def work_with_a_child():
        with open_work(tmp_path / "out"):
            if os.fork() == 0:
                os.write(say, os.getpid().to_bytes(8, "big"))
                time.sleep(60)
                os._exit(0)
            time.sleep(60)

    with forked(work_with_a_child):
        child = int.from_bytes(os.read(ready, 8), "big")
    try:
        os.kill(child, 0)
        with open_work(tmp_path / "out"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_killed_finishes_left_is_deleted_and_nothing_else(tmp_path):
    work_folder = tmp_path / "out.jsonl.partial"
    work_folder.mkdir()
    for left in (tmp_path / ".out.jsonl.77.tmp", work_folder / ".shard.77.tmp"):
        left.touch()
    others = [tmp_path / ".out.jsonl2.77.tmp", tmp_path / "out.jsonl.tmp", work_folder / "shard"]
    for other in others:
        other.touch()
    with open_work(tmp_path / "out.jsonl"):
        pass
    assert names(tmp_path) == [".out.jsonl2.77.tmp", "out.jsonl.partial", "out.jsonl.tmp"]
    assert names(work_folder) == ["shard"]


def make(**settings):
    return Identity(task="score", weights={"sha256": "ab"}, settings=settings)


def test_equal_work_goes_on_and_other_work_is_refused_by_what_differs(tmp_path):
    asked = make(optimizer={"rate": 1e-4, "steps": 4}, seed=0, names=("a", "b"))
    with open_work(tmp_path / "out") as work:
        assert not work.claim(asked)
        work.records().add([{"row": 0}])
    with open_work(tmp_path / "out") as work:
        assert work.claim(asked)
        other = make(optimizer={"rate": 1e-5, "steps": 9}, seed=0, names=("a", "b"), dtype="bfloat16")
        with pytest.raises(WorkError) as caught:
            work.claim(other, may_change=["optimizer.steps"])
        told = str(caught.value)
        assert "out.partial holds work with optimizer.rate 0.0001, not 1e-05; dtype None, not 'bfloat16'." in told
        assert "steps" not in told
        assert "delete" in told
        with pytest.raises(WorkError, match=r"weights.sha256 'ab', not 'cd'"):
            work.claim(asked.model_copy(update={"weights": {"sha256": "cd"}}))
        with pytest.raises(WorkError, match=r"versions.basereward .* not '9'"):
            work.claim(asked.model_copy(update={"versions": {"basereward": "9"}}))
        assert work.claim(other, may_change=["optimizer", "dtype"]), "a section may change as a whole"
        assert work.identity().settings["dtype"] == "bfloat16"


def test_an_identity_without_work_binds_nobody_and_a_broken_one_is_named(tmp_path):
    with open_work(tmp_path / "out") as work:
        work.claim(make(seed=0))
        assert not work.claim(make(seed=1))
        (work.folder / IDENTITY).write_text("{")
        with pytest.raises(WorkError, match=r"identity\.json is no identity"):
            work.claim(make(seed=1))


def test_differences_name_absent_values_and_cut_long_ones():
    found, asked = {"a": 1, "b": "x" * 200, "c.d": 1}, {"b": "y", "c.d": 1, "e": None}
    assert differences(found, asked) == ["a 1, not None", f"b {'x'.join([chr(39), 'x' * 75])}..., not 'y'"]
    assert differences(found, asked, ["a", "b"]) == []


def test_inputs_are_known_by_content_and_not_by_name():
    facts = [
        Identity(task="t", inputs=(WorkInput(name=name, sha256=sha),)).facts()
        for name, sha in (("a", "1"), ("b", "1"), ("a", "2"), ("o/a", None), ("o/b", None))
    ]
    assert differences(facts[0], facts[1]) == []
    assert differences(facts[0], facts[2]) == ["inputs.0 '1', not '2'"]
    assert differences(facts[3], facts[4]) == ["inputs.0 'o/a', not 'o/b'"]


def test_a_folder_is_published_without_the_marks_of_work(tmp_path):
    with open_work(tmp_path / "out") as work:
        work.claim(make())
        work.records().add([{"row": 0}])
        (work.folder / "content").touch()
        work.publish()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["content"]


def test_a_run_folder_holds_its_own_work(tmp_path):
    with open_work(tmp_path / "run", tmp_path / "run") as work:
        assert not work.claim(make())
        work.discard()
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == [IDENTITY]


def test_a_file_where_the_work_would_stand_is_named(tmp_path):
    (tmp_path / "out.partial").touch()
    with pytest.raises(WorkError, match=r"out\.partial is a file"), open_work(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "some/file"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_so_with_the_path(tmp_path, error):
    wrapped = ValueError("of a library")
    wrapped.__cause__ = error
    told = r"The disk is full while .*out\.partial is written .*again"
    with pytest.raises(WorkError, match=told), open_work(tmp_path / "out"):
        raise wrapped
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EFBIG, os.strerror(errno.EFBIG)), ValueError("I/O error: File too large (os error 27)")],
)
def test_a_file_that_becomes_too_large_says_so_with_the_path(tmp_path, error):
    told = r"A file of .*out\.partial becomes larger than its file system or a limit .*Raise the limit"
    with pytest.raises(WorkError, match=told), open_work(tmp_path / "out"):
        raise error


def test_an_error_that_only_says_that_a_write_failed_is_one_of_the_disk_when_that_is_full(tmp_path, monkeypatch):
    error = RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")
    with pytest.raises(RuntimeError, match=r"^PytorchStreamWriter"), open_work(tmp_path / "out"):
        raise error
    monkeypatch.setattr(work_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(WorkError, match=r"disk is full .*PytorchStreamWriter"), open_work(tmp_path / "out"):
        raise error
