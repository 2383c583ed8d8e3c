"""Records that grow in a file: any order, any cut, exactly as many as there are rows."""

import json

import pytest

from basereward.data.partial import PartialRecords
from basereward.errors import WorkError


def record(row, **values):
    return {"row": row, "text": "ä\n" * row, **values}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


def test_records_come_back_by_number_whatever_their_order(path):
    records = PartialRecords(path, 6)
    assert list(records.missing()) == [0, 1, 2, 3, 4, 5]
    records.add([record(4), record(1)])
    records.add([record(0)])
    for again in (records, PartialRecords(path, 6)):
        assert [one["row"] for one in again] == [0, 1, 4]
        assert list(again.missing()) == [2, 3, 5]
        assert len(again) == 3
        assert 4 in again
        assert 5 not in again
        assert 99 not in again
    with pytest.raises(WorkError, match=r"has 3 of 6 records; number 2 is missing"):
        records.complete()
    records.add(map(record, (5, 3, 2)))
    assert list(PartialRecords(path, 6).complete()) == [record(row) for row in range(6)]


def test_a_later_record_replaces_an_earlier_one(path):
    PartialRecords(path, 2).add([record(1, score=1), record(0, score=2), record(1, score=3)])
    found = PartialRecords(path, 2)
    assert len(found) == 2
    assert [one["score"] for one in found.complete()] == [2, 3]


def test_records_that_failed_are_missing_until_they_succeed(path):
    def is_done(one):
        return one["failure"] is None

    records = PartialRecords(path, 2, is_done=is_done)
    records.add([record(0, failure="busy"), record(1, failure=None)])
    again = PartialRecords(path, 2, is_done=is_done)
    assert list(again.missing()) == [0]
    again.add([record(0, failure=None)])
    assert len(list(PartialRecords(path, 2, is_done=is_done).complete())) == 2
    assert len(PartialRecords(path, 2)) == 2
    again.add([record(0, failure="broken later")])
    assert list(again.missing()) == [0]


def test_a_file_that_ends_at_any_byte_keeps_its_whole_lines(path):
    PartialRecords(path, 3).add(map(record, range(3)))
    whole = path.read_bytes()
    ends = [0, *(at + 1 for at, byte in enumerate(whole) if byte == ord("\n"))]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        records = PartialRecords(path, 3)
        assert len(records) == sum(end <= cut for end in ends[1:])
        assert path.stat().st_size == max(end for end in ends if end <= cut)
        records.add([record(row) for row in records.missing()])
        assert path.read_bytes() == whole


def test_a_failed_write_leaves_no_half_line_in_front_of_the_next(path):
    records = PartialRecords(path, 2)
    records.add([record(0)])
    with path.open("ab") as file:
        file.write(b'{"row": 1, "te')
    records.add([record(1)])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [record(0), record(1)]


@pytest.mark.parametrize("bad", ["nonsense", "[1]", '{"no": 1}', '{"row": 7}', '{"row": -1}', '{"row": "a"}'])
def test_a_line_that_is_no_record_of_this_work_is_named(path, bad):
    path.write_text(json.dumps(record(0)) + "\n" + bad + "\n")
    with pytest.raises(WorkError, match=r"records\.jsonl, line 2 is no record"):
        PartialRecords(path, 5)


def test_a_bad_record_is_refused_before_anything_is_written(path):
    records = PartialRecords(path, 2)
    with pytest.raises(WorkError, match="record 2, expected numbers from 0 to 2"):
        records.add([record(0), record(2)])
    with pytest.raises(ValueError, match="JSON"):
        records.add([record(0, score=float("nan"))])
    assert not path.exists()
    assert len(records) == 0


def test_without_a_total_numbers_may_grow(path):
    records = PartialRecords(path, key="shard")
    records.add([{"shard": 2}])
    records.add([{"shard": 0}])
    assert [one["shard"] for one in PartialRecords(path, key="shard")] == [0, 2]
    assert list(records.missing()) == []


def test_memory_does_not_grow_with_the_records(path):
    import tracemalloc

    records = PartialRecords(path, 20_000)
    tracemalloc.start()
    for start in range(0, 20_000, 100):
        records.add({"row": row, "text": "x" * 500} for row in range(start, start + 100))
    again = PartialRecords(path, 20_000)
    assert sum(1 for _ in again.complete()) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000, "ten megabytes of records, eight bytes for each in memory"
