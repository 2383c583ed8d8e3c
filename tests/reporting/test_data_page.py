"""The page of a training set: its statistics, the pairs that it shows, and its limits."""

import json
import re

import numpy as np
import pytest

from basereward.curation.columns import find_repeats, read_columns
from basereward.data.manifest import Input, Manifest, SourceHeader
from basereward.data.overlap import BenchmarkOverlap, KnownItem, OverlapSummary
from basereward.data.storage import read_rows, write_rows
from basereward.data.validation import DropLedger
from basereward.errors import DataError
from basereward.reporting import data_plots, html
from basereward.reporting.data_page import SOURCES_SHOWN, build_data_report
from basereward.reporting.data_sample import draw_pairs, list_pairs
from basereward.reporting.data_statistics import chosen_longer, describe_manifest, describe_set, spread
from basereward.reporting.html import render
from basereward.statistics import wilson_interval

IMAGE = {"type": "image"}
ATTACK = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & <!--'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Files read into Arrow are cached in the folder of the test."""
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def make_row(number=0, source="a", chosen="longer one", rejected="short", images=(), **others):
    parts = [*[IMAGE] * len(images), {"type": "text", "text": f"question {number}"}]
    prompt = [{"role": "user", "content": parts}]
    row = {"id": f"{source}-{number}", "source": source, "prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {**row, "images": list(images), **others}


@pytest.fixture
def store(tmp_path):
    """``store(rows)``: their dataset and columns."""

    def write(rows):
        write_rows(rows, tmp_path / "rows.parquet")
        read = read_rows(tmp_path / "rows.parquet")
        return read, read_columns(read)

    return write


def make_page(rows, columns, samples=60, manifests=(), tokens=None):
    statistics = describe_set(rows, columns, find_repeats(columns, rows))
    statistics["manifests"] = [describe_manifest("data/set", manifest) for manifest in manifests]
    items = list_pairs(rows, columns, draw_pairs(columns, samples))
    return render(build_data_report("set", statistics, columns, items, tokens))


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_statistics_are_those_worked_out_by_hand(store, picture):
    rows, columns = store(
        [
            make_row(0, chosen="123456", rejected="1234", scores=[5, 2]),
            make_row(1, chosen="12", rejected="1234", images=[picture(30, 20)]),
            make_row(2, chosen="1 3", rejected="123", images=[picture(30, 20, 1), picture(50, 40)], scores=[1, 1.5]),
            make_row(0, "b", chosen="123456", rejected="12 45", margin=0.5),
            make_row(0, "b", chosen="123456", rejected="1234"),
        ]
    )
    found = describe_set(rows, columns, find_repeats(columns, rows))
    assert (found["rows"], found["pairs"], found["multimodal"], found["images"]) == (5, 5, 2, 3)
    low, high = wilson_interval(3, 4)
    assert found["chosen_longer"] == {"value": 0.75, "n": 4, "equal": 1, "low": low, "high": high}
    assert found["characters"]["chosen"]["mean"] == pytest.approx((6 + 2 + 3 + 6 + 6) / 5)
    assert found["words"]["rejected"]["max"] == 2
    assert found["length_difference"] == spread(np.array([2, -2, 0, 1, 2]))
    assert found["images_per_pair"] == {0: 3, 1: 1, 2: 1}
    assert found["prompts"] == {"distinct": 3, "pairs_that_share_one": 3, "pairs_in_several_sources": 3}
    assert (found["duplicates"], found["conflicts"], found["rated"]) == (1, 0, 2)
    assert (found["score_gap"]["min"], found["score_gap"]["max"]) == (-0.5, 3.0)
    assert found["margin"]["n"] == 1
    assert found["most_repeated"] == [{"prompt": "question 0", "pairs": 3}]
    assert found["image_sizes"]["sizes"] == [[30, 20, 2], [50, 40, 1]]
    assert found["sources"]["b"]["duplicates"] == 1
    assert found["sources"]["a"]["chosen_longer"]["value"] == 0.5
    assert sum(own["pairs"] for own in found["sources"].values()) == 5
    json.dumps(found, allow_nan=False)


def test_prompts_that_several_sources_ask_are_counted(store):
    asked = [(0, "a"), (0, "a"), (1, "a"), (1, "b"), (1, "b"), (2, "b")]
    rows, columns = store([make_row(number, source, chosen=f"answer {n}") for n, (number, source) in enumerate(asked)])
    found = describe_set(rows, columns, find_repeats(columns, rows))
    assert found["prompts"] == {"distinct": 3, "pairs_that_share_one": 5, "pairs_in_several_sources": 3}


def test_spread_is_that_of_the_numbers_and_leaves_out_what_is_missing():
    found = spread(np.array([3.0, np.nan, 1.0, 2.0]))
    assert found == {
        "n": 3,
        "mean": 2,
        "min": 1,
        "p5": pytest.approx(1.1),
        "median": 2,
        "p95": pytest.approx(2.9),
        "max": 3,
    }
    assert spread(np.array([np.nan])) is None


def test_there_is_no_share_of_the_longer_among_equally_long_responses():
    assert chosen_longer(np.array([2, 2]), np.array([2, 2])) == {"value": None, "n": 0, "equal": 2}


def test_a_sample_shows_every_source_and_depends_on_the_seed_alone(store):
    sizes = {"large": 80, "middle": 15, "one": 1, "two": 2}
    rows, columns = store([make_row(number, name) for name, size in sizes.items() for number in range(size)])
    drawn = draw_pairs(columns, 20)
    names = [columns.sources[code] for code in columns.source[drawn].tolist()]
    assert len(set(drawn.tolist())) == len(drawn) == 20
    assert set(names[:4]) == set(sizes)
    assert names.count("large") > names.count("middle") > names.count("one") == 1
    np.testing.assert_array_equal(draw_pairs(columns, 20), drawn)
    assert draw_pairs(columns, 20, seed=1).tolist() != drawn.tolist()
    assert sorted(draw_pairs(columns, 1000).tolist()) == list(range(98))
    assert len(draw_pairs(columns, 1)) == 4
    assert len(list_pairs(rows, columns, drawn).items) == 20


def test_an_unusable_row_is_counted_and_never_drawn(tmp_path):
    good = {"prompt": "q", "chosen": "x", "rejected": "y"}
    lines = [good, good | {"chosen": ""}, good | {"prompt": "r"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = read_rows(tmp_path / "rows.jsonl")
    columns = read_columns(rows)
    page = make_page(rows, columns)
    assert sorted(item["row"] for item in embedded(page)["items"]) == [0, 2]
    assert "of 3 rows" in page
    assert "empty_response" in page


def test_without_a_usable_row_there_is_no_page(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "q", "chosen": "", "rejected": "y"}\n')
    rows = read_rows(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match=r"None of 1 rows is usable \(empty_response 1, the first: Row 0"):
        make_page(rows, read_columns(rows))


def test_texts_of_a_set_are_never_markup(store):
    row = make_row(0, ATTACK, ATTACK, f"x{ATTACK}", prompt=ATTACK)
    page = make_page(*store([row, row]))
    item = embedded(page)["items"][0]
    assert item["answers"][0][1] == item["prompt"] == item["source"] == ATTACK
    assert "alert(1)</script>" not in page
    assert "<img src=x" not in page
    assert page.count("<script") == 2


def test_cards_show_lengths_ratings_pictures_and_what_is_missing(store, tmp_path, picture):
    rows = [make_row(0, images=[picture()], scores=[4, 3]), make_row(1, chosen="a", rejected="b")]
    picture(600, 300).save(tmp_path / "wide.png")
    rows.append(make_row(2, images=[str(tmp_path / "wide.png"), str(tmp_path / "lost.png")]))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    read = read_rows(tmp_path / "rows.jsonl")
    shown = embedded(make_page(read, read_columns(read)))
    wide = next(item for item in shown["items"] if item["row"] == 1)
    address, *size = shown["images"][wide["images"][0]]
    assert size == [256, 128]
    assert address.startswith("data:image/")
    assert wide["images"][1] is None
    rated = embedded(make_page(*store(rows[:2])))
    assert rated["scorers"] == ["characters", "words", "rating"]
    assert [answer[2] for answer in rated["items"][0]["answers"]] == [[10, 2, 4.0], [5, 1, 3.0]]
    assert {(item["kind"], item["outcome"]) for item in rated["items"]} == {
        ("images", "chosen longer"),
        ("text", "equal length"),
    }


def test_a_page_stays_within_its_limit_and_says_what_is_left_out(store, picture, monkeypatch):
    columns = store([make_row(number, images=[picture(256, 256, number)]) for number in range(30)])
    whole = make_page(*columns)
    assert len(whole.encode()) > 1_000_000
    monkeypatch.setattr(html, "PAGE_BYTES", 500_000)
    page = make_page(*columns)
    shown = len(embedded(page)["items"])
    assert 0 < shown < 30
    assert len(page.encode()) <= 500_000
    assert f"{shown} of 30; the other {30 - shown}" in page


def test_very_many_sources_do_not_fill_the_page(store):
    page = make_page(*store([make_row(0, f"source {number:03}") for number in range(SOURCES_SHOWN + 20)]))
    assert "20 smaller sources with 20 pairs" in page
    assert len(embedded(page)["items"]) == SOURCES_SHOWN + 20


def test_a_manifest_tells_origin_steps_drops_and_overlaps(store):
    ledger = DropLedger()
    ledger.add("tie", f"record 3: {ATTACK}{'x' * 1000}")
    steps = (
        {"step": "convert", "records": 12, "refused": 1, "candidates": 11, "images": "bytes"},
        {"step": "conflicts", "in": 11, "out": 9, "dropped": {"conflict": 2}, "details": {}},
        {
            "step": "mix",
            "counts": [
                {
                    "name": "raw",
                    **{key: {"multimodal": 4, "text": 5} for key in ("available", "requested", "taken")},
                    "repeated": 0,
                    "missing": 0,
                }
            ],
        },
    )
    overlap = BenchmarkOverlap(
        items_sha256="00",
        items=5,
        rows=6,
        unreadable=0,
        found={"same_question": 3, "same_image_new_question": 2},
        found_rows={},
        known=(KnownItem(item="i", rows=(4,), kind="same_question"),),
    )
    summary = OverlapSummary(pairs=9, dropped=("same_pair",), method={}, benchmarks={"some_bench": overlap})
    manifest = Manifest(
        kind="mixed",
        name="set",
        rows=9,
        multimodal=4,
        shards=(),
        sources=(SourceHeader(name="raw", repository="someone/raw", revision=None, licence="MIT"),),
        inputs=(Input(name="raw", sha256="ab" * 32),),
        drops=ledger.to_dict(),
        steps=steps,
        contamination=summary.to_dict(),
        created_by="basereward 0",
    )
    page = make_page(*store([make_row()]), manifests=[manifest])
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", page)
    text = " | ".join(cells)
    assert "conflicts | 11 | 9 | 2 | conflict 2" in text
    assert "raw | 9 | 9 | 9 | 0 | 0" in text
    assert "tie | 1" in text
    assert "some_bench | 5 | 6 | 0 | 0 | 0 | 3 | 0 | 0 | 0 | 2 | 0 | 0 | 1" in text
    assert "convert: records 12, refused 1, images bytes" in page
    assert "raw: someone/raw, revision unknown, MIT" in page
    assert "x" * 400 not in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("plot", "arguments"),
    [
        (data_plots.source_bars, ({},)),
        (data_plots.length_histogram, ({"prompt": np.array([], dtype=int)}, "characters")),
        (data_plots.length_difference_histogram, (np.array([], dtype=int), "characters")),
        (data_plots.image_sizes, ([], {})),
    ],
)
def test_a_plot_of_nothing_is_an_error(plot, arguments):
    with pytest.raises(DataError):
        plot(*arguments)


def test_a_length_difference_stands_on_its_side_of_zero():
    drawn = data_plots.length_difference_histogram(np.array([-1, -1, 0, 1, 400]), "characters").decode()
    for label in ("rejected longer (2)", "equal (1)", "chosen longer (2)"):
        assert label in drawn


def test_the_pairs_shown_stand_in_the_order_of_the_set(store):
    shown = embedded(make_page(*store([make_row(number) for number in range(3)])))
    assert (shown["order"], shown["margin"]) == ("row", "length difference")
