"""Every reader of files gives the same records in bounded memory, and a file is written whole or not at all."""

import errno
import gzip
import io
import json
import os
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.data.io import count_records, json_line, read_records, replacing, write_json, write_lines
from basereward.data.parquet import read_batches
from basereward.errors import DataError, MissingFileError
from basereward.speed.resident import resident_bytes

RECORDS = [{"id": str(number), "n": number, "parts": [{"a": number, "b": "x" * number}]} for number in range(40)]


def write(folder, name):
    """``RECORDS`` in the form that the name says."""
    path, lines = folder / name, "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    contents = {
        "a.jsonl": lines,
        "bom.jsonl": b"\xef\xbb\xbf" + lines.replace(b"\n", b"\n\n"),
        "list.json": json.dumps(RECORDS, indent=1).encode(),
        "wrapped.json": json.dumps({"version": 1, "pairs": RECORDS}).encode(),
        "lines.json": lines,
        "a.jsonl.gz": gzip.compress(lines),
        "list.json.gz": gzip.compress(json.dumps(RECORDS).encode()),
    }
    if name in contents:
        path.write_bytes(contents[name])
    elif name == "a.jsonl.zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(lines)
    else:
        pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "a.jsonl",
        "bom.jsonl",
        "list.json",
        "wrapped.json",
        "lines.json",
        "a.jsonl.gz",
        "list.json.gz",
        "a.jsonl.zst",
        "a.parquet",
    ],
)
def test_all_forms_of_a_file_give_the_same_records(tmp_path, name):
    path = write(tmp_path, name)
    assert list(read_records(path)) == RECORDS
    assert count_records(path) == len(RECORDS)


def test_one_object_is_one_record(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(RECORDS[3], indent=1))
    assert list(read_records(tmp_path / "a.json")) == [RECORDS[3]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": ', "line 2 is not JSON"),
        ("a.jsonl", '{"a": 1}\n7\n', "line 2: expected an object, found int"),
        ("a.jsonl", '[{"a": 1}]', "A list of records is a .json file"),
        ("a.jsonl", '{"a": "\xff"}'.encode("latin-1"), "line 1 is not JSON"),
        ("a.json", '[{"a": 1}, 2]', "record 2: expected an object"),
        ("a.json", '[{"a": 1},]', "not JSON after 1 records"),
        ("a.json", '[{"a": 1}', "not JSON after 1 records"),
        ("a.json", '[{"a": 1}] {', "not JSON after 1 records"),
        ("a.json", '{"a": ', "not JSON after 0 records"),
        ("a.jsonl.gz", "no gzip", "cannot be decompressed"),
        ("a.parquet", "PAR1", "no readable Parquet"),
        ("a.parquet.gz", "x", r"suffix '\.gz', expected"),
        ("a.csv", "a,b", r"suffix '\.csv', expected a \.jsonl"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        list(read_records(tmp_path / name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"no file .*none\.jsonl"):
        list(read_records(tmp_path / "none.jsonl"))


def test_a_long_value_is_read_over_many_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.data.io._BUFFER_BYTES", 3)
    path = write(tmp_path, "list.json")
    assert list(read_records(path)) == RECORDS
    path.write_text("[12345]")
    with pytest.raises(DataError, match="found int 12345"):
        list(read_records(path))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_a_row_group_and_a_list_are_not_held_at_once(tmp_path):
    """A file of 120 MB in one row group or one list grows the process by less than its half."""
    data = np.random.default_rng(0).bytes(100_000)
    rows = [{"id": str(number), "image": number.to_bytes(4, "big") + data} for number in range(1200)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", use_dictionary=False, write_batch_size=10)
    with (tmp_path / "a.json").open("w") as file:
        file.write("[" + ",".join(json.dumps({"id": str(n), "text": "x" * 100_000}) for n in range(1200)) + "]")
    del rows
    for name in ("a.parquet", "a.json"):
        assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 1
        before = resident_bytes()
        held = [resident_bytes() - before for record in read_records(tmp_path / name) if record["id"].endswith("0")]
        assert len(held) == 120
        assert max(held) < 60e6


def test_batches_are_small_where_rows_are_large(tmp_path):
    pq.write_table(pa.table({"a": [b"x" * 2**20 + bytes([n]) for n in range(12)]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": list(range(5000)), "b": ["y"] * 5000}), tmp_path / "b.parquet")
    assert [batch.num_rows for batch in read_batches(tmp_path / "a.parquet")] == [3, 3, 3, 3]
    assert [batch.num_rows for batch in read_batches(tmp_path / "b.parquet", ["b", "c"])] == [1000] * 5
    assert next(read_batches(tmp_path / "b.parquet", ["b", "c"])).schema.names == ["b"]
    # The image that all rows share stands in the file once.
    pq.write_table(pa.table({"images": [[{"bytes": b"x" * 10_000}]] * 200}), tmp_path / "c.parquet")
    assert (tmp_path / "c.parquet").stat().st_size < 20_000
    assert max(batch.num_rows for batch in read_batches(tmp_path / "c.parquet")) == 32


def test_maps_are_dictionaries_and_other_values_have_a_text(tmp_path):
    kind = pa.map_(pa.string(), pa.int64())
    table = pa.table({"m": pa.array([[("a", 1), ("b", 2)], None], kind), "s": [{"t": date(2025, 1, 2)}, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = read_records(tmp_path / "a.parquet")
    assert (first["m"], second["m"]) == ({"a": 1, "b": 2}, None)
    values = {"b": b"\x00\xff", "d": Decimal("1.10"), "t": time(3, 4), "x": timedelta(seconds=1), **first}
    expected = {
        "b": "AP8=",
        "d": "1.10",
        "t": "03:04:00",
        "x": "0:00:01",
        "m": {"a": 1, "b": 2},
        "s": {"t": "2025-01-02"},
    }
    assert json.loads(json_line(values)) == expected
    assert json.loads(json_line({"half": "\ud83d"})) == {"half": "\ud83d"}
    with pytest.raises(TypeError, match="found object"):
        json_line({"a": object()})


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError), replacing(path) as temporary:
        write_lines(temporary, [{"b": 2}, {"c": object()}])
    with pytest.raises(TypeError):
        write_json(path, io.BytesIO())
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_write_that_finds_no_room_names_the_file(tmp_path, number):
    with pytest.raises(OSError, match=r"out\.json") as caught, replacing(tmp_path / "out.json"):
        raise OSError(number, os.strerror(number))
    assert caught.value.filename == str(tmp_path / "out.json")
    with pytest.raises(OSError, match="Input/output error") as caught, replacing(tmp_path / "out.json"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert caught.value.filename is None, "it may have come from what was read"
