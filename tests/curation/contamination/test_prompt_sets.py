"""Prompts with answers and no responses: found in benchmarks of pairs and of answers, and the bad ones are no match."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from basereward.curation.contamination.ledger import check
from basereward.curation.contamination.sets import load_items, load_rows
from basereward.data.validation import parse_row
from basereward.errors import DataError

QUESTION = "What is the color of the scarf that the woman at the left of the fountain wears?"
OPTIONS = "\n(A) red\n(B) green\nAnswer with the letter of the option from the given choices directly."


@pytest.fixture
def show(tmp_path):
    def show(number):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        place = tmp_path / f"{number}.png"
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(place)
        return place.name

    return show


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def prompts(tmp_path, show):
    rows = [
        {"id": "clean", "prompt": "How many boats lie in the harbor?", "images": [show(1)], "gold": "4"},
        {"id": "leak", "prompt": f"{QUESTION}\nAnswer in one word.", "images": [show(2)], "gold": "red"},
        {"id": "other", "prompt": f"{QUESTION}\nAnswer in one word.", "images": [show(3)], "gold": "blue"},
        {"id": "bad", "prompt": QUESTION, "images": ["missing.png"], "gold": "red"},
    ]
    return write(tmp_path / "prompts.jsonl", rows)


def found(done):
    return [(line["id"], line["kind"]) for line in map(json.loads, done.drop_list.read_text().splitlines())]


def test_prompts_are_compared_with_benchmarks_of_answers(tmp_path, prompts, show, caplog):
    lettered = {"question_id": 7, "text": QUESTION + OPTIONS, "label": "A", "image": "../4.png"}
    write(tmp_path / "vstar" / "test.jsonl", [lettered])
    plain = {
        "pid": "1",
        "question": QUESTION,
        "decoded_image": "../2.png",
        "image": "images/1.jpg",
        "answer": "scarlet",
    }
    write(tmp_path / "mathvista" / "testmini.jsonl", [plain])
    asked = {"id": "lettered", "prompt": QUESTION + OPTIONS, "images": [show(4)], "gold": "B"}
    prompts.write_text(prompts.read_text() + json.dumps(asked) + "\n")
    with caplog.at_level(logging.WARNING):
        done = check(prompts, ["mathvista", "vstar"], tmp_path / "drops.jsonl", tmp_path, workers=2, answer="gold")
    assert found(done) == [("leak", "near_question"), ("lettered", "same_question")]
    assert done.summary.pairs == 4
    assert [own.is_file for own in done.summary.benchmarks.values()] == [False, False]
    assert "1 prompts of" in caplog.text
    assert "image_missing" in caplog.text
    [item] = load_items("vstar", tmp_path).items
    assert [response.text for response in item.responses] == ["A"]


def test_the_right_answer_counts_as_a_response(tmp_path, prompts, show):
    pairs = [{"prompt": f"{QUESTION}\nAnswer in one word.", "images": [show(2)], "chosen": "Red.", "rejected": "Blue."}]
    bench = write(tmp_path / "pairs.jsonl", pairs)
    assert found(check(prompts, [str(bench)], tmp_path / "drops.jsonl", answer="gold")) == [("leak", "same_pair")]
    itself = check(prompts, [str(prompts)], tmp_path / "itself.jsonl", answer="gold")
    assert found(itself) == [("clean", "same_pair"), ("leak", "same_pair"), ("other", "same_pair")]


def test_a_prompt_set_is_told_from_pairs_and_has_one_fingerprint(tmp_path, prompts):
    rows = load_rows(prompts, "gold")
    assert [parse_row(row, 0).chosen[0].text for row in rows] == ["4", "red", "blue"]
    assert load_rows(prompts, "gold")._fingerprint == rows._fingerprint
    pair = {"prompt": "Is 7 prime?", "chosen": "Yes.", "rejected": "No.", "answer": "Yes."}
    assert load_rows(write(tmp_path / "pairs.jsonl", [pair]))[0]["rejected"][0]["content"][0]["text"] == "No."
    with pytest.raises(DataError, match="chosen"):
        load_rows(prompts)
    with pytest.raises(DataError, match=r"No prompt of .* can be used \(empty_response 1"):
        load_rows(write(tmp_path / "empty.jsonl", [{"prompt": "Is 7 prime?", "answer": " "}]))
