"""Evaluating a file into a folder: accuracy by hand, references beside it, interruption, and honest counts."""

import json
from dataclasses import dataclass, field

import pytest

from basereward.benchmarks.pairs import benchmark_name
from basereward.benchmarks.records import parse_record
from basereward.data.images import content_hash
from basereward.data.outcomes import About, Failure, Score, Verdict
from basereward.data.progress import no_progress
from basereward.errors import DataError, WorkError
from basereward.evaluation.blind import IMAGE_BLIND
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from tests.evaluation.conftest import Rule, longer, values

BASELINES = {"baseline:first", "baseline:longer", "baseline:random", "baseline:shorter"}


@dataclass
class NumberScorer:
    """The score of a response is the number in it; 'fail' fails."""

    name: str = "numbers"
    identity: dict | None = None
    seen: list = field(default_factory=list)

    @property
    def about(self):
        return About(self.name, sees_images=True, identity=self.identity)

    def score(self, groups):
        self.seen += groups
        return [[self._score(group, response.text) for response in group.responses] for group in groups]

    def _score(self, group, text):
        return Failure("too_long", "shorten it") if text == "fail" else Score(float(text))


class LookingScorer(NumberScorer):
    """Right if the response names the picture's content hash; it sees nothing else."""

    def _score(self, group, text):
        return Score(float(content_hash(group.images[0]).startswith(text)))


def row(chosen, rejected, **extra):
    return {"prompt": "Which?", "chosen": str(chosen), "rejected": str(rejected), **extra}


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.fixture
def data(tmp_path):
    """Three correct, one wrong, one tied and one failing pair; two rows that cannot be used."""
    rows = [row(2, 1), row(1, 2), row(3, -1.5), row(5, "5.0"), row(1, "fail"), row(4, 3)]
    return write(tmp_path / "set" / "test.jsonl", [*rows[:2], row(1, ""), *rows[2:], row(7, 7)])


@pytest.fixture
def shown(tmp_path, picture):
    """Eight pairs, each about a picture of its own, answered by its content."""
    rows = []
    for number in range(8):
        picture(28, 28, number).save(tmp_path / f"{number}.png")
        prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
        truth = content_hash(tmp_path / f"{number}.png")[:12]
        rows.append({"prompt": prompt, "chosen": truth, "rejected": "nothing", "images": [f"{number}.png"]})
    return write(tmp_path / "shown.jsonl", rows)


def evaluate_file(scorer, path, folder, limit=None, strict=False, on_progress=no_progress, **options):
    return evaluate(scorer, read_pairs(path, limit, strict), folder, EvaluationOptions(**options), on_progress)


def read_json(path):
    return json.loads(path.read_text())


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_records(folder):
    return [parse_record(line) for line in read_jsonl(folder / "records.jsonl")]


def test_accuracy_by_hand(tmp_path, data):
    result = evaluate_file(NumberScorer(), data, tmp_path / "out")
    model = result.main.model
    expected = {"accuracy": 3 / 5, "accuracy_ties_half": 3.5 / 5, "accuracy_of_all": 3 / 6}
    assert values(model) == pytest.approx(expected)
    assert (model.n, model.ties, model.failed, model.coverage) == (6, 1, 1, 5 / 6)
    assert (result.benchmark, result.scorer, result.notes) == ("set/test", "numbers", [])
    assert set(result.main.summaries) == {"model"} | BASELINES
    assert result.main.references["baseline:longer"].metrics["accuracy"].n == 6


def test_dropped_rows_and_failures_are_counted(tmp_path, data):
    result = evaluate_file(NumberScorer(), data, tmp_path / "out")
    assert result.data.dropped == {"empty_response": 1, "equal_responses": 1}
    assert result.failures == {"too_long": 1}
    with pytest.raises(DataError, match="empty_response"):
        evaluate_file(NumberScorer(), data, tmp_path / "strict", strict=True)


def test_the_files_hold_what_was_returned(tmp_path, data):
    result = evaluate_file(NumberScorer(), data, tmp_path / "out")
    assert read_json(tmp_path / "out" / "result.json") == result.model_dump(mode="json")
    records = read_records(tmp_path / "out")
    assert [record.outcome for record in records] == ["correct", "wrong", "correct", "tie", "failed", "correct"]
    # Rows are those of the file, in which the third and the last cannot be used.
    assert [record.row for record in records] == [0, 1, 3, 4, 5, 6]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["items.jsonl", "records.jsonl", "result.json"]


def test_a_file_of_pairs_has_items_to_show(tmp_path, shown):
    evaluate_file(LookingScorer(), shown, tmp_path / "out", limit=2)
    lines = read_jsonl(tmp_path / "out" / "items.jsonl")
    assert [(line["row"], line["prompt"], line["rejected"]) for line in lines] == [
        (0, "?", ["nothing"]),
        (1, "?", ["nothing"]),
    ]
    assert all((tmp_path / "out" / name).is_file() for line in lines for name in line["images"])


def test_swapped_labels_give_one_minus_the_accuracy(tmp_path):
    rows = [row(number * 37 % 11, number * 53 % 13 + 0.5) for number in range(60)]
    swapped = [{**one, "chosen": one["rejected"], "rejected": one["chosen"]} for one in rows]
    results = [
        evaluate_file(NumberScorer(), write(tmp_path / f"{name}.jsonl", own), tmp_path / name)
        for name, own in (("a", rows), ("b", swapped))
    ]
    found = [values(result.main.model)["accuracy"] for result in results]
    assert 0.2 < found[0] < 0.8
    assert found[1] == pytest.approx(1 - found[0])


def test_limit_and_no_references(tmp_path, data):
    scorer = NumberScorer()
    result = evaluate_file(scorer, data, tmp_path / "out", references=False, limit=2)
    assert (result.n, len(scorer.seen), set(result.main.summaries)) == (2, 2, {"model"})


def test_the_model_with_the_images_of_others_stands_beside_it(tmp_path, shown):
    scorer, seen = LookingScorer(), []
    result = evaluate_file(scorer, shown, tmp_path / "out", on_progress=lambda done, total: seen.append((done, total)))
    assert list(result.main.summaries) == ["model", IMAGE_BLIND, *sorted(BASELINES)]
    assert values(result.main.model)["accuracy"] == 1.0
    blind = result.main.references[IMAGE_BLIND]
    assert (values(blind)["accuracy"], blind.ties, blind.n) == (0.0, 8, 8)
    assert seen == [(8, 16), (16, 16)]
    assert [record.outcome for record in read_records(tmp_path / "out")] == ["correct"] * 8


def test_one_picture_alone_leaves_the_image_blind_model_out(tmp_path, shown):
    result = evaluate_file(LookingScorer(), shown, tmp_path / "out", limit=1)
    assert set(result.main.summaries) == {"model"} | BASELINES
    assert "of 1 prompts with images" in result.notes[0]
    assert (tmp_path / "out" / "result.json").exists()


def test_only_failing_pairs_have_coverage_zero_and_the_commonest_message(tmp_path):
    rows = [row("fail", 1)] * 3
    result = evaluate_file(NumberScorer(), write(tmp_path / "x.jsonl", rows), tmp_path / "out")
    model = result.main.model
    assert (model.coverage, model.failed, result.n) == (0.0, 3, 3)
    assert values(model)["accuracy"] is None
    assert "All 3 rows of" in result.notes[0]
    assert "failed, 3 of them so: shorten it" in result.notes[0]


def test_a_judge_is_asked_about_a_file_of_pairs(tmp_path, data):
    judge = Rule(longer)
    result = evaluate_file(judge, data, tmp_path / "out")
    assert len(judge.seen) == 12
    assert list(result.protocols) == ["official/mean_of_orders"]
    assert values(result.main.model)["order_consistency"] == 1
    # Longer texts: "-1.5" against 3, "5.0" against 5, "fail" against 1; the other three tie.
    assert (values(result.main.model)["tie_rate"], values(result.main.model)["accuracy"]) == (0.5, 0.0)


def test_a_judge_sees_the_images_of_the_prompt_once_and_those_of_both_responses(tmp_path, picture):
    for number in range(3):
        picture(28, 28, number).save(tmp_path / f"{number}.png")
    parts = [{"type": "image"}, {"type": "text", "text": "?"}]
    said = [[{"role": role, "content": parts}] for role in ("user", "assistant", "assistant")]
    record = dict(zip(("prompt", "chosen", "rejected"), said, strict=True))
    record["rejected"] = [{"role": "assistant", "content": [*parts, {"type": "text", "text": " no"}]}]
    path = write(tmp_path / "shown.jsonl", [{**record, "images": [f"{number}.png" for number in range(3)]}])
    asked = []

    class Noting(Rule):
        def compare(self, questions):
            asked.extend(questions)
            return [Verdict(0, "") for _ in questions]

    evaluate_file(Noting(None), path, tmp_path / "out")
    hashes = [content_hash(tmp_path / f"{number}.png") for number in range(3)]
    shown = [[hashes.index(content_hash(image)) for image in question.images] for question in asked]
    assert sorted(shown) == [[0, 1, 2], [0, 2, 1]]


@pytest.fixture
def long(tmp_path):
    """A file of 50 pairs: four batches."""
    return write(tmp_path / "long.jsonl", [row(number % 5, number % 3 + 0.5) for number in range(50)])


def interrupt(data, folder, scorer=None, **options):
    def stop(done, total):
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_file(scorer or NumberScorer(), data, folder, on_progress=stop, **options)


def test_an_interrupted_evaluation_goes_on(tmp_path, long):
    whole = evaluate_file(NumberScorer(), long, tmp_path / "whole")
    interrupt(long, tmp_path / "out")
    assert not (tmp_path / "out" / "result.json").exists()
    partial = tmp_path / "out" / "records.partial.jsonl"
    partial.write_bytes(partial.read_bytes()[:-9])
    scorer, seen = NumberScorer(), []
    done = evaluate_file(scorer, long, tmp_path / "out", resume=True, on_progress=lambda *counts: seen.append(counts))
    assert done == whole
    assert len(scorer.seen) == 50 - 31
    assert seen[0] == (47, 50)
    assert (tmp_path / "out" / "records.jsonl").read_text() == (tmp_path / "whole" / "records.jsonl").read_text()


def test_overwriting_computes_everything_again(tmp_path, long):
    interrupt(long, tmp_path / "out")
    scorer = NumberScorer()
    with pytest.raises(WorkError, match="an interrupted evaluation"):
        evaluate_file(scorer, long, tmp_path / "out")
    assert scorer.seen == []
    evaluate_file(scorer, long, tmp_path / "out", overwrite=True)
    assert len(scorer.seen) == 50


def test_failed_pairs_are_tried_again_on_resume(tmp_path):
    source = write(tmp_path / "x.jsonl", [row("fail" if number == 3 else 2, 1) for number in range(40)])
    interrupt(source, tmp_path / "out")

    class Patient(NumberScorer):
        def _score(self, group, text):
            return Score(9.0 if text == "fail" else float(text))

    scorer = Patient()
    result = evaluate_file(scorer, source, tmp_path / "out", resume=True)
    assert (result.main.model.failed, len(scorer.seen)) == (0, 40 - 31)


@pytest.mark.parametrize("other", ["scorer", "weights", "settings", "data"])
def test_records_of_something_else_are_not_mixed(tmp_path, long, other):
    interrupt(long, tmp_path / "out", limit=40)
    scorer = NumberScorer(
        "others" if other == "scorer" else "numbers", {"weights": "new"} if other == "weights" else None
    )
    settings = {"dtype": "bfloat16"} if other == "settings" else {}
    limit = 33 if other == "data" else 40
    with pytest.raises(WorkError, match="holds work with"):
        evaluate_file(scorer, long, tmp_path / "out", resume=True, limit=limit, settings=settings)


def test_older_complete_records_are_not_taken_for_the_interrupted_ones(tmp_path, long):
    class Opposite(NumberScorer):
        def _score(self, group, text):
            return Score(-float(text))

    evaluate_file(Opposite("opposite"), long, tmp_path / "out")
    interrupt(long, tmp_path / "out", overwrite=True)
    resumed = evaluate_file(NumberScorer(), long, tmp_path / "out", resume=True)
    assert resumed.protocols == evaluate_file(NumberScorer(), long, tmp_path / "new").protocols


@pytest.mark.parametrize(
    ("path", "name"), [("a/b/test.jsonl", "b/test"), ("test.jsonl", "test"), ("owner/name", "owner/name"), ("/x", "x")]
)
def test_a_data_set_is_called_by_folder_and_name(path, name):
    assert benchmark_name(path) == name
