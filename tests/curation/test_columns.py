"""Numbers of stored pairs: equal to those of the parsed pairs, whatever is wrong with a row."""

import json

import numpy as np
import pytest

from basereward.curation.columns import find_repeats, read_columns
from basereward.data.pairs import load_pairs
from basereward.data.storage import read_rows, write_rows
from basereward.data.validation import parse_row
from basereward.errors import RowError

IMAGE, TEXT = {"type": "image"}, {"type": "text", "text": "and this?"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Files read into Arrow are cached in the folder of the test."""
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def store(tmp_path, rows, name="rows.jsonl"):
    """Write rows as they are, good or bad, and read them."""
    path = tmp_path / name
    path.write_text(
        "".join(json.dumps({"prompt": "Which?", "chosen": "this", "rejected": "that"} | row) + "\n" for row in rows)
    )
    return read_rows(path)


ODD_ROWS = [
    {},
    {"chosen": "  \n", "id": "blank"},
    {"rejected": ""},
    {"chosen": "that"},
    {"chosen": "THAT"},
    {"prompt": user(IMAGE, TEXT)},
    {"prompt": user(TEXT), "images": ["a.png"]},
    {"prompt": 7},
    {"chosen": [{"role": "assistant", "content": []}]},
    {"prompt": user({"type": "video"}), "videos": [{"frames": []}]},
    {"prompt": user({"type": "video"}), "videos": [{"frames": ["a.png"], "fps": -1}]},
    {"prompt": user(TEXT), "videos": [{"frames": ["a.png"]}]},
    {"scores": [4, 1.5], "margin": 0.25, "source": "rated"},
    {"scores": [4, 1, 2]},
    {"prompt": [*user(TEXT, TEXT), {"role": "assistant", "content": "naïve 東京 "}, *user(TEXT)], "source": "long"},
    {"chosen": [{"role": "assistant", "content": "a"}, *user(TEXT), {"role": "assistant", "content": "b"}]},
]


def test_columns_say_what_the_parsed_rows_say(tmp_path):
    rows = store(tmp_path, ODD_ROWS)
    columns = read_columns(rows)
    for number, row in enumerate(rows):
        try:
            pair = parse_row(row, number)
        except RowError:
            assert not columns.usable[number], ODD_ROWS[number]
            continue
        assert columns.usable[number], ODD_ROWS[number]
        texts = ["\n".join(message.text for message in side) for side in (pair.prompt, pair.chosen, pair.rejected)]
        assert columns.characters[number].tolist() == [len(text) for text in texts]
        assert columns.words[number].tolist() == [len(text.split()) for text in texts]
        assert columns.sources[columns.source[number]] == pair.source
        assert columns.images[number] == len(pair.images)
        assert columns.videos[number] == len(pair.videos)
        expected = pair.scores if len(pair.scores) == 2 else (np.nan, np.nan)
        np.testing.assert_array_equal(columns.scores[number], expected)
        np.testing.assert_array_equal(columns.margin[number], np.nan if pair.margin is None else pair.margin)


def test_reasons_and_messages_are_those_of_training(tmp_path):
    rows = store(tmp_path, [row for row in ODD_ROWS if not row.get("videos") and not row.get("images")])
    trained = load_pairs([tmp_path / "rows.jsonl"], check="header")
    columns = read_columns(rows)
    assert np.flatnonzero(columns.usable).tolist() == trained.pairs.rows
    assert columns.ledger == trained.ledger


def test_numbers_do_not_depend_on_batches(tmp_path, monkeypatch):
    rows = store(tmp_path, ODD_ROWS * 3)
    whole = read_columns(rows)
    monkeypatch.setattr("basereward.curation.columns._BATCH_ROWS", 5)
    parts = read_columns(rows)
    for name in ("usable", "characters", "words", "texts", "images", "source", "scores", "margin", "image_bytes"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert parts.ledger == whole.ledger


def test_equal_pictures_and_texts_repeat_wherever_the_picture_is(tmp_path, picture):
    for name, seed in (("first.png", 0), ("copy.png", 0), ("other.png", 1)):
        picture(seed=seed).save(tmp_path / name)
    shown = {"prompt": user(IMAGE, TEXT)}
    rows = store(
        tmp_path,
        [
            shown | {"images": ["first.png"]},
            shown | {"images": ["copy.png"], "chosen": "This!"},
            shown | {"images": ["other.png"]},
            shown | {"images": ["lost.png"]},
            {},
            {"rejected": "something else"},
            {"prompt": "which"},
        ],
    )
    repeats = find_repeats(read_columns(rows), rows)
    assert np.flatnonzero(repeats.is_copy).tolist() == [1, 6]
    assert not repeats.is_conflict.any()


def test_opposite_preferences_conflict_for_one_picture_only(tmp_path, picture):
    rows = [
        {"prompt": user(IMAGE, TEXT), "images": [picture(seed=seed)], "chosen": chosen, "rejected": rejected}
        for seed, chosen, rejected in ((0, "yes", "no"), (0, "no", "yes"), (1, "yes", "no"), (2, "no", "yes"))
    ]
    write_rows(rows, tmp_path / "rows.parquet")
    read = read_rows(tmp_path / "rows.parquet")
    columns = read_columns(read)
    assert (columns.image_bytes > 0).all()
    repeats = find_repeats(columns, read)
    assert repeats.is_conflict.tolist() == [True, True, False, False]
    assert not repeats.is_copy.any()
