"""Responses that show images: each is what it says and shows, has a group of its own, and scores as it does alone."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.benchmarks.embedded import put_images_on_disk
from basereward.benchmarks.items import BenchmarkRow, build_items, survey
from basereward.benchmarks.multimodal_rewardbench2 import BENCHMARK, marked
from basereward.benchmarks.records import score_records
from basereward.data.schema import Message, Part
from basereward.errors import DataError
from basereward.evaluation.asking import ask_judge
from basereward.evaluation.opened import read_benchmark
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.models.checkpoint import new_reward_model
from basereward.scoring.local import LocalScorer
from tests.evaluation.conftest import Rule

PROMPT = (Message("user", (Part("text", "A red ball."),)),)


def row(number, correct, rejected):
    """A row whose responses are images, or texts."""

    def messages(own):
        return (Message("assistant", (Part("image"),) if isinstance(own, bytes) else (Part("text", own),)),)

    sides = [(own,) if isinstance(own, bytes) else () for own in (correct, rejected)]
    return BenchmarkRow(
        str(number), "t2i", PROMPT, (messages(correct),), (messages(rejected),), own_images=tuple(sides)
    )


def test_equal_words_with_other_images_are_other_responses_and_equal_ones_are_one():
    [item] = build_items("x", [row(0, b"good", b"bad"), row(1, b"bad", b"worse"), row(2, "Words.", b"good")])
    assert [len(group.responses) for group in item.groups] == [1, 1, 1, 1]
    assert item.groups[0].images == ()
    assert sorted(group.images for group in item.groups[1:]) == [(b"bad",), (b"good",), (b"worse",)]
    assert len({response.id for response in item.responses}) == len({group.id for group in item.groups}) == 4
    shown = [item.groups[place].images for place in (*item.rows[0].correct, *item.rows[1].rejected)]
    assert shown == [(b"good",), (b"worse",)]
    assert item.rows[0].rejected == item.rows[1].correct
    assert item.rows[2].correct == (0,)


def test_items_do_not_depend_on_where_their_images_lie(tmp_path):
    def facts(folder, images):
        (tmp_path / folder).mkdir()
        paths = {data: str(tmp_path / folder / name) for name, data in images.items()}
        for data, path in paths.items():
            Path(path).write_bytes(data)
        rows = [row(0, b"good", b"bad"), row(1, b"bad", b"worse")]
        moved = [
            BenchmarkRow(
                *(own.id, own.subset, own.prompt, own.correct, own.rejected),
                own_images=tuple(tuple(paths[image] for image in side) for side in own.own_images),
            )
            for own in rows
        ]
        return survey(build_items("x", moved)).sha256

    here = facts("here", {"a.png": b"good", "b.png": b"bad", "c.png": b"worse"})
    assert here == facts("there", {"z.png": b"good", "y.png": b"bad", "x.png": b"worse"})
    assert (
        here
        == survey(build_items("x", map(put_images_on_disk, [row(0, b"good", b"bad"), row(1, b"bad", b"worse")]))).sha256
    )


def test_images_without_a_place_are_refused():
    bad = row(0, b"good", b"bad")
    for images in (((b"good",), ()), ((b"good",), (b"bad", b"more"))):
        with pytest.raises(DataError, match="expected as many"):
            build_items("x", [BenchmarkRow("0", "s", PROMPT, bad.correct, bad.rejected, own_images=images)])


@pytest.mark.parametrize(
    ("text", "images", "parts"),
    [
        ("See <image_1> and <image_7>.", ["a", "b"], ["See", None, "and", None, "."]),
        ("", ["a"], [None]),
        (None, ["a", "b"], [None, None]),
        ("Words.", None, ["Words."]),
        ("Words.", ["a"], ["Words.", None]),
    ],
)
def test_marks_are_the_places_of_images(text, images, parts, tmp_path):
    found = marked(text, images, "here", tmp_path)
    assert [None if part.type == "image" else part.text for part in found.parts] == parts
    assert list(found.images) == [str(tmp_path / image) for image in images or []]


@pytest.mark.parametrize(("text", "images"), [("<image_1>", []), ("<image_1>", ["a", "b"]), ("  ", [])])
def test_marks_and_images_that_do_not_fit_are_refused(text, images, tmp_path):
    with pytest.raises(DataError, match="here has"):
        marked(text, images, "here", tmp_path)


@pytest.fixture
def hub(tmp_path, picture):
    """Two tasks in the layout of the hub, with images of noise."""

    def stored(seed):
        path = tmp_path / f"{seed}.png"
        picture(seed=seed).save(path)
        return {"bytes": path.read_bytes(), "path": None}

    def record(number, chosen, prompt="A ball.", shown=(), texts=("", "")):
        spoken = {"prompt_text": prompt, "prompt_images": [stored(seed) for seed in shown]}
        for side, text in zip("ab", texts, strict=True):
            own = [] if text.startswith("Only") else [stored(10 * number + ord(side))]
            spoken |= {f"response_{side}_text": text, f"response_{side}_images": own, f"response_{side}_model": "m"}
        return {"pair_id": f"p{number}", "prompt_source": "wise", "chosen": chosen, **spoken}

    tasks = {
        # The first two share their prompt.
        "t2i": [record(number, "ab"[number % 2], f"Ball {max(number, 1)}.") for number in range(4)],
        "reasoning": [record(4, "b", "<image_0> Where?", [1], ("Only words.", "See <image_0> there."))],
    }
    for task, records in tasks.items():
        (tmp_path / "data" / "multimodal_rewardbench2" / task).mkdir(parents=True)
        path = tmp_path / "data" / "multimodal_rewardbench2" / task / "test-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(records), path)
    return tmp_path / "data"


def test_a_model_scores_images_in_responses_as_it_does_each_alone(hub, vl_backbone, tmp_path):
    model = new_reward_model(vl_backbone, head_seed=0)
    scorer = LocalScorer(model, "tiny")
    opened = read_benchmark(BENCHMARK, hub)
    result = evaluate(scorer, opened, tmp_path / "out", EvaluationOptions(references=True))
    summary = result.protocols["official"].model
    assert (summary.n, summary.failed, result.responses) == (5, 0, 10)
    assert set(summary.groups) == {"t2i", "reasoning"}
    assert "macro[t2i+reasoning]" in summary.metrics
    assert "t2i, reasoning alone" in summary.notes[0]
    assert "image_blind" in result.protocols["official"].references
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    for number, item in enumerate(opened.items):
        alone = [score for group in item.groups for [score] in scorer.score([group])]
        for expected in score_records(item, number, alone):
            found = records[expected.row]
            assert found["correct"] == pytest.approx(expected.correct, abs=1e-4)
            assert found["rejected"] == pytest.approx(expected.rejected, abs=1e-4)
    t2i = records[:4]
    assert len({score for record in t2i for score in (*record["correct"], *record["rejected"])}) == 8


def test_a_judge_is_shown_the_images_of_the_prompt_once_and_of_both_responses(hub):
    judge = Rule(lambda one, other: 0)
    items = read_benchmark(BENCHMARK, hub).items
    ask_judge(judge)(dict(enumerate(items)))
    counts = sorted({len(images) for _, images, *_ in judge.seen})
    # Two generated images; and one of the prompt with one of the response that shows any, in either order.
    assert counts == [2]
    assert len(judge.seen) == 10
