"""Slices of files: every row once and in order, whatever the form, and never of a file that has changed."""

import gzip
import json
import os
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.data.io import read_records
from basereward.data.places import open_place
from basereward.data.slices import cut_file, read_slice
from basereward.errors import DataError, MissingFileError

ROWS = [{"n": number, "text": "é\u2028" * (number % 5)} for number in range(23)]


def write(folder, form):
    path = folder / f"rows.{form}"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n\n" * (row["n"] % 3 == 0) + "\n" for row in ROWS)
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=4)
    elif form == "json":
        path.write_text(json.dumps(ROWS))
    elif form == "jsonl":
        path.write_bytes(b"\xef\xbb\xbf\n" + lines.encode().rstrip(b"\n"))
    else:
        path.write_bytes(gzip.compress(lines.encode()))
    return path


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "json", "parquet"])
@pytest.mark.parametrize("most", [1, 4, 5, 22, 23, 100])
def test_slices_are_the_rows_of_the_file(tmp_path, form, most):
    path = write(tmp_path, form)
    pieces = cut_file(path, most)
    assert list(read_records(path)) == ROWS
    assert [(piece.first, piece.rows) for piece in pieces] == [(n, min(most, 23 - n)) for n in range(0, 23, most)]
    assert list(chain.from_iterable(map(read_slice, pieces))) == ROWS
    assert list(read_slice(pieces[-1])) == ROWS[pieces[-1].first :]


def test_only_the_row_groups_of_a_slice_are_read(tmp_path, monkeypatch):
    path, read = write(tmp_path, "parquet"), []
    iterate = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda self, **given: read.append(given["row_groups"]) or iterate(self, **given)
    )
    assert [row["n"] for row in read_slice(cut_file(path, 6)[1])] == list(range(6, 12))
    assert read == [[1, 2]]


def test_a_broken_line_is_called_by_its_number_in_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 0}\n\n{"n": 1}\n{"n": \n')
    with pytest.raises(DataError, match="line 4 is not JSON"):
        list(read_slice(cut_file(path, 1)[2]))


def test_a_file_that_has_changed_or_gone_is_refused(tmp_path):
    path = write(tmp_path, "jsonl")
    piece = cut_file(path, 10)[1]
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="changed since"):
        list(read_slice(piece))
    path.unlink()
    with pytest.raises(DataError, match="changed since"):
        list(read_slice(piece))
    with pytest.raises(MissingFileError):
        cut_file(path, 10)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write(tmp_path, "jsonl")
    rows = read_slice(cut_file(path, 10)[0])
    next(rows)
    with path.open("a") as file:
        file.write('\n{"n": 23}\n')
    with pytest.raises(DataError, match="changed since"):
        list(rows)


def test_a_folder_of_lines_is_a_place_unless_it_has_parquet(tmp_path):
    for name in ("b/two.jsonl", "one.jsonl.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        data = f'{{"n": "{name}"}}\n'.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (tmp_path / "notes.txt").touch()
    assert [row["n"] for row in open_place(tmp_path).records()] == ["b/two.jsonl", "one.jsonl.gz"]
    pq.write_table(pa.Table.from_pylist([{"n": "three"}]), tmp_path / "three.parquet")
    assert [row["n"] for row in open_place(tmp_path).records()] == ["three"]
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{split}-00000-of-00001.jsonl").write_text(f'{{"n": "{split}"}}\n')
    (tmp_path / "three.parquet").unlink()
    assert [row["n"] for row in open_place(f"{tmp_path}:test").records()] == ["test"]
