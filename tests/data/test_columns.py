"""What columns say of rows is what parsing says: nothing that it would refuse or change is passed over."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.data import ingest
from basereward.data.columns import must_be_parsed, must_be_read, run_sums
from basereward.data.places import iterate_rows
from basereward.data.rows import pair_features, stored_features
from basereward.data.storage import read_rows
from basereward.data.validation import parse_row
from basereward.errors import RowError

IMAGE = {"bytes": b"x", "path": None}


def text(words):
    return {"type": "text", "text": words}


def message(role, *parts):
    return {"role": role, "content": list(parts)}


def row(**changes):
    sides = {"chosen": [message("assistant", text("a"))], "rejected": [message("assistant", text("b"))]}
    return {
        "id": "i",
        "source": "s",
        "images": [],
        "videos": [],
        "prompt": [message("user", text("q"))],
        **sides,
        "scores": [],
        "margin": None,
        "extra_json": None,
        "read_error": None,
        **changes,
    }


SHOWN, FILM = {"type": "image", "text": None}, {"type": "video", "text": None}
# Each is a stored row that something may be wrong with.
ODD = {
    "fine": row(),
    "an image": row(prompt=[message("user", SHOWN, text("q"))], images=[IMAGE]),
    "an image with an empty text": row(prompt=[message("user", {**SHOWN, "text": ""}, text("q"))], images=[IMAGE]),
    "an image with a text": row(prompt=[message("user", {**SHOWN, "text": "q"})], images=[IMAGE]),
    "an image too few": row(prompt=[message("user", SHOWN, text("q"))]),
    "an image too many": row(images=[IMAGE]),
    "an image in the answer": row(chosen=[message("assistant", SHOWN)], images=[IMAGE]),
    "an image in a file": row(prompt=[message("user", SHOWN)], images=[{"bytes": None, "path": "a.png"}]),
    "a video": row(prompt=[message("user", FILM)], videos=[{"frames": [IMAGE], "fps": 2.0}]),
    "a still video": row(prompt=[message("user", FILM)], videos=[{"frames": [], "fps": 2.0}]),
    "a video too many": row(videos=[{"frames": [IMAGE], "fps": None}]),
    "another role": row(prompt=[message("human", text("q"))]),
    "an unknown role": row(prompt=[message("narrator", text("q"))]),
    "no role": row(prompt=[message(None, text("q"))]),
    "another part": row(prompt=[message("user", {"type": "sound", "text": None})]),
    "no type": row(prompt=[message("user", {"type": None, "text": "q"})]),
    "no text": row(prompt=[message("user", {"type": "text", "text": None})]),
    "no content": row(prompt=[{"role": "user", "content": None}]),
    "an empty prompt": row(prompt=[]),
    "no prompt": row(prompt=None),
    "no chosen": row(chosen=None),
    "an answer by the user": row(chosen=[message("user", text("a"))]),
    "a whole conversation": row(
        chosen=[message("user", text("q")), message("assistant", text("a"))],
        rejected=[message("user", text("q")), message("assistant", text("b"))],
    ),
    "two messages": row(chosen=[message("assistant", text("a")), message("assistant", text("c"))]),
    "equal": row(rejected=[message("assistant", text("a"))]),
    "equal but for space": row(rejected=[message("assistant", text("\u3000a \x1c\n"))]),
    "equal in parts": row(
        chosen=[message("assistant", text("x"), text("y"))], rejected=[message("assistant", text("xy"))]
    ),
    "empty": row(rejected=[message("assistant", text("\x85\u2003\t"))]),
    "nothing": row(rejected=[message("assistant")]),
    "no id": row(id=None),
    "no source": row(source=""),
    "tools": row(extra_json=json.dumps({"tools": [{"name": "f"}]})),
    "ratings": row(extra_json=json.dumps({"score_chosen": 2, "score_rejected": 1})),
    "another column": row(extra_json=json.dumps({"tool": 1, "topic": "cats"})),
    "refused": row(read_error={"reason": "tie", "message": "Both."}, prompt=None),
    "an infinite score": row(scores=[1.0, float("inf")]),
    "an infinite margin": row(margin=float("-inf")),
}


def refused(stored):
    try:
        parse_row(stored, 0)
    except RowError:
        return True
    return False


@pytest.mark.parametrize("name", ODD)
def test_what_parsing_refuses_is_parsed(name):
    table = pa.Table.from_pylist([row(), ODD[name], row()], stored_features().arrow_schema)
    mask = must_be_parsed(table)
    assert mask[[0, 2]].tolist() == [False, False]
    if refused(ODD[name]):
        assert mask[1]
    # Slices, as data sets hand them out, have the same columns from another place on.
    assert must_be_parsed(table.slice(1, 1)).tolist() == mask[1:2].tolist()


def test_few_rows_are_parsed_for_nothing():
    asked = {name for name, stored in ODD.items() if must_be_parsed(stored_table([stored]))[0]}
    # What is mapped, answers that are a picture alone, and answers of several messages.
    assert asked - {name for name, stored in ODD.items() if refused(stored)} == {
        "another role",
        "an image with an empty text",
        "an image in the answer",
        "two messages",
    }


def stored_table(rows):
    return pa.Table.from_pylist(rows, stored_features().arrow_schema)


def test_sums_of_empty_runs_are_zero():
    assert run_sums(np.array([1, 2, 3, 4]), np.array([0, 2, 0, 1, 1, 0])).tolist() == [0, 3, 0, 3, 4, 0]


@pytest.fixture
def read(tmp_path, monkeypatch):
    """``read(rows)``: a Parquet file in the stored layout, read by columns and record by record."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no image")

    def both(rows):
        table = pa.Table.from_pylist(rows, pair_features().arrow_schema)
        pq.write_table(table, folder / "a.parquet", row_group_size=7)
        found = []
        for name, by_columns in (("columns", True), ("records", False)):
            monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / name))
            with monkeypatch.context() as patch:
                if not by_columns:
                    patch.setattr(ingest, "is_stored", lambda path: False)
                found.append(list(iterate_rows(read_rows(folder / "a.parquet"))))
        return found

    return both


def test_reading_by_columns_is_reading(read):
    rows = [{key: value for key, value in stored.items() if key != "read_error"} for stored in ODD.values()]
    rows = [{**stored, "id": stored["id"] and f"i{place}"} for place, stored in enumerate(rows)]
    # Odd ones between fine ones.
    mixed = [one for place, stored in enumerate(rows) for one in (stored, {**row(), "id": f"f{place}"})]
    by_columns, by_records = read([{key: one[key] for key in pair_features()} for one in mixed])
    assert by_columns == by_records
    assert len(by_columns) == len(mixed)


def test_canonical_rows_are_not_read_one_by_one(read, monkeypatch):
    calls = []
    monkeypatch.setattr(ingest, "read_record", lambda *asked: calls.append(asked) or iter(()))
    rows = [ODD[name] for name in ("fine", "an image", "another column", "equal", "empty")]
    assert not must_be_read(stored_table(rows)).any()
    by_columns, by_records = read([{key: one[key] for key in pair_features()} for one in rows * 10])
    assert (len(by_columns), by_records, len(calls)) == (50, [], 50)
