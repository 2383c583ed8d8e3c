"""What is published in docs/schemas is what the types say, and what evaluations write is both."""

import importlib.util
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from basereward.benchmarks.registry import BENCHMARKS
from basereward.data.outcomes import About, Failure, Score
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.result import Result
from basereward.evaluation.runner import evaluate
from basereward.evaluation.runs import read_evaluation
from basereward.evaluation.schemas import SCHEMAS
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import Rule, longer, run

ROOT = Path(__file__).parents[2]


class Failing:
    """Fails on long texts, and says what it is."""

    about = About("failing", True, {"weights": "0" * 64, "torch": "2", "pixels": [1, 2], "max_length": None})

    def score(self, groups):
        return [[self._score(response.text) for response in group.responses] for group in groups]

    def _score(self, text):
        return Failure("too_long", "shorten it") if len(text) > 60 else Score(float(len(text)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schemas_are_those_of_the_types(name):
    spec = importlib.util.spec_from_file_location("schemas", ROOT / "scripts" / "schemas.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    published = (script.FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")
    assert published == script.render(name), "run `.venv/bin/python scripts/schemas.py --write`"


@pytest.mark.parametrize("name", BENCHMARKS.names())
@pytest.mark.parametrize("subject", [BASELINES.get("longer"), Failing(), Rule(longer)], ids=lambda own: own.about.name)
def test_every_benchmark_writes_what_is_published(name, subject, tmp_path):
    written = run(subject, name, tmp_path)
    assert Result.model_validate_json((tmp_path / "result.json").read_text()) == written
    found = read_evaluation(tmp_path)
    assert (found.result, len(found.records)) == (written, written.n)
    assert_all_keys_are_in_the_schema(tmp_path)


def test_a_file_of_pairs_writes_what_is_published(tmp_path):
    rows = [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}, {"prompt": "?", "chosen": "", "rejected": "x"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = evaluate(Failing(), read_pairs(tmp_path / "pairs.jsonl"), tmp_path / "out")
    assert Result.model_validate_json((tmp_path / "out" / "result.json").read_text()) == written
    assert_all_keys_are_in_the_schema(tmp_path / "out")


def assert_all_keys_are_in_the_schema(folder):
    """Every key of a line, and of the result, is one of the published schema, and no required one is missing."""
    for name, file in (("record", "records.jsonl"), ("item", "items.jsonl"), ("result", "result.json")):
        schema = TypeAdapter(SCHEMAS[name]).json_schema(mode="serialization")
        text = (folder / file).read_text()
        for line in [text] if name == "result" else text.splitlines():
            keys = json.loads(line).keys()
            assert keys <= schema["properties"].keys()
            assert set(schema["required"]) <= keys


def test_other_keys_and_kinds_are_refused(tmp_path):
    run(BASELINES.get("longer"), "rm_bench", tmp_path)
    written = json.loads((tmp_path / "result.json").read_text())
    for change in ({"more": 1}, {"n": "3"}, {"n": 0}, {"data": {}}, {"format": 1}):
        with pytest.raises(ValidationError):
            Result.model_validate_json(json.dumps({**written, **change}))
