"""``items.jsonl``: the texts of every row in order, and thumbnails that are there."""

import json

import pytest
from PIL import Image

from basereward.benchmarks.items import BenchmarkRow, build_items, see_image, survey, text_row
from basereward.benchmarks.records import RowRecord
from basereward.data.schema import Message, Part, Video
from basereward.evaluation.items import read_text, write_items


@pytest.fixture
def items(tmp_path, picture):
    """Three rows: two about one picture, one with a missing picture and a video."""
    for number in range(9):
        picture(300, 150, number).save(tmp_path / f"{number}.png")
    shown = [str(tmp_path / "0.png")]
    video = Video(tuple(str(tmp_path / f"{number}.png") for number in range(9)))
    rows = [
        text_row("a", "first", "What?", ["a cat", "a tom"], ["a dog"], shown),
        text_row("b", "last", "Why?", ["so"], ["no"], ["absent.png", *shown], [video]),
        text_row("a", "first", "What?", ["a cat"], ["a cow"], shown),
    ]
    return build_items("x", rows)


def scored(items):
    """Records of all rows; the last one is wrong."""
    sides = {row.row: (number, row) for number, item in enumerate(items) for row in item.rows}
    return [
        RowRecord(place, row.id, row.subset, number, (1.0,) * len(row.correct), (0.0 if place < 2 else 2.0,))
        for place, (number, row) in sorted(sides.items())
    ]


def read(folder):
    return [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]


def test_a_line_for_each_row_in_order(tmp_path, items):
    write_items(tmp_path / "out", items, survey(items), scored(items))
    lines = read(tmp_path / "out")
    assert [(line["row"], line["id"], line["subset"]) for line in lines] == [
        (0, "a", "first"),
        (1, "b", "last"),
        (2, "a", "first"),
    ]
    assert (lines[0]["prompt"], lines[0]["correct"], lines[0]["rejected"]) == ("What?", ["a cat", "a tom"], ["a dog"])
    assert lines[2]["images"] == lines[0]["images"]


def test_thumbnails_are_small_distinct_and_of_four_frames(tmp_path, items):
    write_items(tmp_path / "out", items, survey(items), scored(items))
    lines = read(tmp_path / "out")
    assert len(lines[0]["images"]) == 1
    # The picture is also the first frame; the missing one has no thumbnail, and its place stays.
    shown = [name for name in lines[1]["images"] if name is not None]
    assert (len(shown), lines[1]["images"].count(None)) == (4, 1)
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out/thumbnails").iterdir())
    assert made == sorted(shown)
    with Image.open(tmp_path / "out" / made[0]) as image:
        assert image.size == (256, 128)


def test_thumbnails_are_made_once(tmp_path, items, monkeypatch):
    write_items(tmp_path / "out", items, survey(items), scored(items))
    first = read(tmp_path / "out")
    monkeypatch.setattr("basereward.evaluation.items.shrink_image", lambda image: pytest.fail("made again"))
    write_items(tmp_path / "out", items, survey(items), scored(items))
    assert read(tmp_path / "out") == first


def test_of_very_many_rows_only_those_that_are_read_first_have_images(tmp_path, items, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.items.PICTURED_ROWS", 1)
    write_items(tmp_path / "out", items, survey(items), scored(items))
    # The wrong row and the one that shares its prompt.
    assert [bool(line["images"]) for line in read(tmp_path / "out")] == [True, False, True]


def test_several_messages_are_read_with_their_roles(say):
    assert read_text((say("user", "Hello"),)) == "Hello"
    assert read_text((say("system", "Be brief."), say("user", "Hello"))) == "system: Be brief.\n\nuser: Hello"


def test_the_text_of_a_response_says_which_image_it_shows(tmp_path, picture):
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        picture(seed=seed).save(path)
    shows = Message("assistant", (Part("text", "See"), Part("image"), Part("text", "there.")))
    prompt = (Message("user", (Part("image"), Part("text", "Where?"))),)
    sides = ((shows,),), ((shows,),)
    given = [str(path) for path in paths]
    row = BenchmarkRow("0", "s", prompt, *sides, (given[0],), own_images=((given[1],), (given[2],)))
    items = build_items("x", [row])
    facts = survey(items)
    write_items(tmp_path / "out", items, facts, [])
    for pictured in (False, True):
        records = [RowRecord(0, "0", "s", 0, (1.0,), (0.0,))] if pictured else []
        write_items(tmp_path / "out", items, facts, records)
        [line] = [json.loads(text) for text in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
        if not pictured:
            assert line["correct"] == line["rejected"] == ["See [image] there."]
            continue
        for side, path in (("correct", given[1]), ("rejected", given[2])):
            place = int(line[side][0].split("[image ")[1][0]) - 1
            assert see_image(path).key[:32] in line["images"][place]
