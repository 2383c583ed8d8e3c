"""Each multimodal source gives the expected pairs from three raw records in its layout, and refuses other layouts."""

import json

import pytest

from basereward.data.formats.records import PLACE
from basereward.data.parsing import parse_pair
from basereward.data.places import iterate_rows
from basereward.data.storage import read_rows, unpack_row, write_rows
from basereward.data.validation import DROP_REASONS
from basereward.errors import DataError, MissingFileError, RowError
from basereward.sources.prompts import pack_prompt
from basereward.sources.registry import SOURCES

# Source -> (parts of the prompt, chosen, rejected, number of images and frames) of each pair, and reasons of drops.
# In a prompt <image> and <video> are parts of their own.
EXPECTED = {
    "mmif": (
        [
            ("<image>Name the colour in one word.", "Green.", "The colour is a light green.", 1),
            ("Count the cups, with a full stop.<image>", "One.", "Two", 1),
            ("Left <image> or right <image>?|What for?|Tea.", "Left.", "Right.", 2),
        ],
        [],
    ),
    "omnialign_v_dpo": (
        [
            ("<image>Which bar is higher?", "The second.", "The first.", 1),
            *(
                (f"<image>Tell of the {name}.", "A long tale.", "No tale.", 1)
                for name in ("creation", "diagram", "ins_follow", "knowledge", "poster")
            ),
        ],
        ["image_missing"],
    ),
    "rlaif_v": (
        [
            ("<image>What colour?", "It is red.", "It is blue.", 1),
            ("<image>What shape?", "A square.", "A square ring.", 1),
        ],
        ["image_missing"],
    ),
    "rlhf_v": (
        [
            ("<image>What is there?", "A red field.", "A red field and a dog.", 1),
            ("<image>Is it blue?", "Yes.", "No.", 1),
        ],
        ["malformed"],
    ),
    "vlfeedback": (
        [
            ("<image>What is it?", "A cup.", "A jug.", 1),
            ("<image>What is it?", "A mug.", "A jug.", 1),
        ],
        ["tie", "unrated"],
    ),
    "mm_rlhf": (
        [("<image>What colour?", "Red.", "Blue.", 1), ("<video>Who walks?", "A dog.", "A cat.", 3)],
        ["image_missing"],
    ),
    "r1_reward_rl": (
        [
            ("<image>What colour?", "Red.", "Blue.", 1),
            ("<image>What shape?", "A square.", "A ring,\n\nno doubt.", 1),
        ],
        ["unknown_label"],
    ),
    "mmpr": (
        [
            ("<image>What colour?", "Red.", "Blue.", 1),
            ("Image-1: <image>\nImage-2: <image>\nWhich is blue?", "The second.", "The first.", 2),
            *[("What is 2 + 2?", "4", "5", 0), ("What is 3 + 3?", "6", "7", 0)] * 2,
            ("<video>Who walks?", "A dog.", "A cat.", 2),
        ],
        ["placeholder_count"],
    ),
}
PROMPTS = {
    "vstar": [("<image>What colour is the flag?", "Red."), ("<image>Where is the bird?", "On the left.")],
    "arxivqa": [
        ("<image>Which curve rises?\nA. the red\nB. the blue", "A"),
        ("<image>What is the unit?\nA. m\nB. s", "B"),
    ],
    "thinklite_vl": [
        ("<image>Reason, then box the answer.\nQuestion:\nHow many sides?", "4"),
        ("Be exact.|<image>Reason, then box the answer.\nQuestion:\nWhat angle?", "90"),
    ],
}
MULTIMODAL = [*EXPECTED, *PROMPTS]


def text_of(messages):
    """The parts of messages as one text, the messages apart by ``|``."""
    return "|".join(
        "".join(part["text"] if part["type"] == "text" else f"<{part['type']}>" for part in message["content"])
        for message in messages
    )


def summary(record):
    """``(prompt, chosen, rejected, images and frames)`` of a canonical record."""
    frames = sum(len(video["frames"]) for video in record.get("videos") or ())
    sides = [text_of(record[side]) for side in ("prompt", "chosen", "rejected")]
    return (*sides, len(record["images"]) + frames)


def test_every_multimodal_source_is_tested():
    registered = {name for name in SOURCES.names() if SOURCES.get(name).modality != "text"}
    assert registered == set(MULTIMODAL)


@pytest.mark.parametrize("name", EXPECTED)
def test_pairs_are_as_expected_and_outlive_storage(name, multimodal, tmp_path):
    pairs, drops = EXPECTED[name]
    records, reasons = multimodal.parse_all(name, multimodal.lay_out(name))
    assert [summary(record) for record in records] == pairs
    assert reasons == drops
    assert set(reasons) <= DROP_REASONS.keys()
    assert len({record["id"] for record in records}) == len(records)
    for suffix in ("jsonl", "parquet"):
        path = tmp_path / f"pairs.{suffix}"
        assert write_rows(records, path) == len(records)
        stored = [unpack_row(row) for row in iterate_rows(read_rows(path))]
        assert [parse_pair(row, "").id for row in stored] == [record["id"] for record in records]
        assert [summary(row) for row in stored] == [summary(record) for record in records]


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_are_as_expected(name, multimodal, tmp_path):
    source, files = SOURCES.get(name), multimodal.lay_out(name)
    packed, reasons = [], []
    for record in source.records(files):
        try:
            packed += [pack_prompt(prompt, tmp_path) for prompt in source.parse(record, files)]
        except RowError as error:
            reasons.append(error.reason)
    assert [(text_of(row["prompt"]), row["answer"]) for row in packed] == PROMPTS[name]
    assert all(row["source"] == name and row["images"][0]["bytes"] for row in packed)
    assert (
        reasons == {"vstar": ["placeholder_count"], "arxivqa": ["malformed"], "thinklite_vl": ["empty_response"]}[name]
    )
    assert "index" in packed[0]["extra_json"]


@pytest.mark.parametrize("name", MULTIMODAL)
def test_other_columns_are_an_error_with_those_found_and_expected(name, multimodal):
    source, files = SOURCES.get(name), multimodal.lay_out(name)
    place = {key: value for key, value in next(iter(source.records(files))).items() if key.startswith("@")}
    with pytest.raises(DataError, match=r"fields .*unheard_of") as caught:
        list(source.parse({**place, "unheard_of": 1}, files))
    assert not isinstance(caught.value, RowError)
    assert "expected" in str(caught.value) or "no 'image'" in str(caught.value)


@pytest.mark.parametrize("name", MULTIMODAL)
def test_a_missing_file_names_the_command_that_brings_it(name, multimodal, tmp_path):
    (tmp_path / "empty").mkdir()
    source = SOURCES.get(name)
    files = multimodal.lay_out(name)
    empty = type(files)(tmp_path / "empty", files.repository)
    with pytest.raises(MissingFileError, match=f"hf download {source.repository.id}"):
        list(source.records(empty))


@pytest.mark.parametrize("name", ["mm_rlhf", "mmif", "mmpr", "omnialign_v_dpo", "r1_reward_rl"])
def test_an_image_that_is_nowhere_drops_its_record(name, multimodal):
    files = multimodal.lay_out(name)
    record = next(iter(SOURCES.get(name).records(files)))
    lost = {"images": ["no.png"]} if name == "mmif" else {"image": "no.png"}
    with pytest.raises(RowError, match=r"no\.png") as caught:
        list(SOURCES.get(name).parse({**record, **lost}, files))
    assert caught.value.reason == "image_missing"


@pytest.mark.parametrize("name", EXPECTED)
def test_origins_are_kept_under_plain_names(name, multimodal):
    records, _ = multimodal.parse_all(name, multimodal.lay_out(name))
    extra = [json.dumps({key: value for key, value in record.items() if key.endswith("_path")}) for record in records]
    shown = [place for place, record in enumerate(records) if record["images"]]
    # An image that came as bytes alone has no path.
    assert sum("image_path" in extra[place] for place in shown) >= len(shown) - (name == "r1_reward_rl")
    assert all(PLACE not in record for record in records)
