"""Each source of text gives the expected pairs from raw records in its layout, and refuses other layouts."""

import pytest

from basereward.data.formats.records import PLACE
from basereward.data.parsing import parse_pair
from basereward.data.places import iterate_rows
from basereward.data.storage import read_rows, unpack_row, write_rows
from basereward.data.validation import DROP_REASONS
from basereward.errors import DataError, MissingFileError, RowError
from basereward.sources.registry import SOURCES

# Source -> (prompt, chosen, rejected, scores) of each pair, and the reasons of drops.
EXPECTED = {
    "ultra_all": (
        [
            ("Name a <image> tag.", "Good.", "Bad.", [8, 2]),
            ("Name a <image> tag.", "Also good.", "Bad.", [8, 2]),
            ("Name a <image> tag.", "Good.", "Also bad.", [8, 2]),
            ("Name a <image> tag.", "Also good.", "Also bad.", [8, 2]),
            ("2 + 2?", "4", "5", [9, 1]),
            ("Sing.", "La la.", "La.", [4, 3]),
        ],
        ["tie", "unrated", "no_pair"],
    ),
    "ultra_hard": (
        [
            ("Name a <image> tag.", "Good.", "Bad.", [8, 2]),
            ("2 + 2?", "4", "5", [9, 1]),
            ("Sing.", "La la.", "La.", [4, 3]),
        ],
        ["tie", "unrated", "no_pair"],
    ),
    "shp": (
        [("Question of c1?", "Feed it.", "Ignore it.", [8, 2]), ("Question of c1?", "Wait.", "Shout.", [9, 3])],
        ["unknown_label"],
    ),
    "tulu3": (
        [
            ("Say hi in one word.", "Hi", "Hi there", None),
            ("Be kind.|What <image>?|That.|Why?", "So.", "No.", None),
        ],
        ["prefix_mismatch"],
    ),
    "olmo2": ([("A?", "Yes.", "No.", [4.5, 2]), ("B?|B.|C?", "C.", "D.", None)], ["tie"]),
    "wildchat": ([("One?", "1", "2", None), ("Two?", "2", "3", None), ("Three?", "3", "4", None)], ["malformed"]),
    "swe_arena": (
        [("Write a loop.", "while True: pass", "for", None), ("Sort.", "sorted(x)", "x", None)],
        ["tie", "unknown_label", "prefix_mismatch"],
    ),
}
# Source -> extra columns of its first pair.
EXTRA = {
    "ultra_all": {"subset": "evol_instruct", "chosen_model": "b", "rejected_model": "a"},
    "ultra_hard": {"subset": "evol_instruct", "chosen_model": "b", "rejected_model": "a"},
    "shp": {
        "post_id": "c1",
        "domain": "askcats_train",
        "upvote_ratio": 0.9,
        "score_ratio": 4.0,
        "seconds_difference": 9.0,
    },
    "tulu3": {"original_id": "t-1"},
    "olmo2": {
        "original_id": "o-1",
        "subset": "ai2-adapt-dev/wildchat",
        "chosen_model": "big",
        "rejected_model": "small",
    },
    "wildchat": {"original_id": "w-1", "subset": "wildchat_if"},
    "swe_arena": {"original_id": "s-1", "chosen_model": "m-b", "rejected_model": "m-a"},
}


def summary(record):
    """``(prompt, chosen, rejected, scores)`` of a canonical record, messages apart by ``|``."""
    pair = parse_pair(record, "")
    sides = ["|".join(message.text for message in side) for side in (pair.prompt, pair.chosen, pair.rejected)]
    return (*sides, list(pair.scores) or None)


def test_every_source_of_text_is_tested():
    assert {name for name in SOURCES.names() if SOURCES.get(name).modality == "text"} == set(EXPECTED) == set(EXTRA)


@pytest.mark.parametrize("name", EXPECTED)
def test_pairs_are_as_expected_and_outlive_storage(name, multimodal, tmp_path):
    pairs, drops = EXPECTED[name]
    records, reasons = multimodal.parse_all(name, multimodal.lay_out(name))
    assert [summary(record) for record in records] == pairs
    assert reasons == drops
    assert set(reasons) <= DROP_REASONS.keys()
    assert len({record["id"] for record in records}) == len(records)
    assert {record["source"] for record in records} == {name}
    assert parse_pair(records[0], "").extra == EXTRA[name]
    for suffix in ("jsonl", "parquet"):
        path = tmp_path / f"pairs.{suffix}"
        assert write_rows(records, path) == len(records)
        stored = [unpack_row(row) for row in iterate_rows(read_rows(path))]
        assert [summary(row) for row in stored] == pairs
        assert parse_pair(stored[0], "").extra == EXTRA[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_other_columns_are_an_error_with_those_found_and_expected(name, multimodal):
    source, files = SOURCES.get(name), multimodal.lay_out(name)
    place = next(iter(source.records(files)))[PLACE]
    with pytest.raises(DataError, match=r"found the fields .*unheard_of.*, expected ") as caught:
        list(source.parse({PLACE: place, "unheard_of": 1}, files))
    assert not isinstance(caught.value, RowError)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_missing_file_names_the_command_that_brings_it(name, multimodal, tmp_path):
    (tmp_path / "empty").mkdir()
    files = multimodal.lay_out(name)
    empty = type(files)(tmp_path / "empty", files.repository)
    with pytest.raises(MissingFileError, match=f"hf download {SOURCES.get(name).repository.id}"):
        list(SOURCES.get(name).records(empty))


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_downloaded_is_what_is_read(name, multimodal):
    files = multimodal.lay_out(name)
    kept = {path for pattern in files.repository.patterns for path in files.folder.glob(pattern)}
    before = len(list(SOURCES.get(name).records(files)))
    for path in sorted(files.folder.rglob("*.*")):
        if path not in kept:
            path.unlink()
    assert len(list(SOURCES.get(name).records(files))) == before
