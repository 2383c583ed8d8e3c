"""The measurement of curation: synthetic rows are what they say, and what was planted among them is found."""

import json
import subprocess
import sys

import numpy as np
from typer.testing import CliRunner

from basereward.curation.fingerprints.text import shingle_sets, text_hashes
from basereward.data.cache import user_cache
from basereward.speed.curation import measure_images, measure_pairs
from basereward.speed.resident import ResidentPeak, resident_bytes
from basereward.speed.synthetic import BACK, image_row, kind_of, leaked_row, question, synthetic_row


def text(number: int) -> str:
    return "\n".join(synthetic_row(number)[side] for side in ("prompt", "chosen", "rejected"))


def jaccard(left, right) -> float:
    return len({*left} & {*right}) / len({*left} | {*right})


def test_rows_are_what_their_kind_says():
    numbers = {kind_of(number): number for number in range(100)}
    near = {
        kind: jaccard(*shingle_sets([text(number), text(number - BACK)]))
        for kind, number in numbers.items()
        if kind != "original"
    }
    assert text(numbers["exact"]) == text(numbers["exact"] - BACK)
    assert len(set(text_hashes([text(numbers["normalised"]), text(numbers["normalised"] - BACK)]).tolist())) == 1
    assert near["normalised"] == 1.0
    assert 0.5 < near["edited"] < 0.75
    assert near["paraphrase"] < 0.4
    sibling = synthetic_row(numbers["sibling"])
    original = synthetic_row(numbers["sibling"] - BACK)
    assert [sibling[side] == original[side] for side in ("prompt", "chosen", "rejected")] == [True, True, False]


def test_pairs_have_a_kilobyte_and_leaks_are_originals():
    assert 900 < np.mean([len(text(number)) for number in range(50)]) < 1100
    leaked = [row for place in range(200) if (row := leaked_row(place)) is not None]
    assert len(set(leaked)) == 10
    assert {kind_of(row) for row in leaked} == {"original"}
    assert all(kind_of(row + BACK) == "original" for row in leaked)
    assert question(0) != synthetic_row(0)["prompt"]


def test_image_rows_differ_in_their_image_alone():
    rows = [image_row(number) for number in (0, 1, 43, 93, 94)]
    assert len({str(row["prompt"]) + row["chosen"] for row in rows}) == 1
    assert rows[2]["images"] == rows[3]["images"]
    assert len({row["images"][0]["bytes"] for row in rows}) == 4


def test_what_was_planted_is_found_and_caches_are_as_before():
    before = user_cache()
    parts = []
    report = measure_pairs(1500, items=400, workers=1, on_part=parts.append)
    assert before == user_cache()
    assert report.recall["exact"] == report.recall["normalised"] == report.recall["leaked"] == 1.0
    assert report.recall["edited"] >= 0.95
    assert report.recall["sibling"] == 0.0
    assert report.precision == report.leak_precision == 1.0
    assert parts == list(report.seconds)
    assert report.peak_bytes > 2**20


def test_copies_of_images_are_found_where_all_texts_are_equal():
    report = measure_images(400, workers=1)
    assert report.precision == 1.0
    assert report.recall == {"exact": 1.0, "half": 1.0, "double": 1.0}


def test_the_command_prints_one_json_object():
    from basereward.cli.main import app

    result = CliRunner().invoke(
        app, ["speed", "curation", "--pairs", "200", "--items", "20", "--workers", "1", "--json"]
    )
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["rows"] == 200
    assert report["rows_per_second"] > 0


def test_memory_of_children_is_part_of_the_peak():
    before = resident_bytes()
    held = "held = bytearray(120 * 2**20); held[::4096] = bytes([1]) * len(held[::4096]); print('held'); input()"
    with ResidentPeak() as memory:
        child = subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
    child.communicate(b"\n")
    assert memory.peak > before + 100 * 2**20
    assert resident_bytes() < memory.peak - 100 * 2**20
