"""The whole way on real data, where it lies beside the project: train, evaluate, score."""

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real data in {DATA}")

RECIPE = """\
name: real
model: {{backbone: {backbone}, max_length: 4096, max_pixels: 50176}}
data: {{train: [{data}/nlvr/train.jsonl, {data}/puzzlevqa/train.jsonl, {data}/alpaca_eval/train.jsonl], limit: 12}}
optimizer: {{pairs_per_step: 6, max_steps: 2}}
hardware: {{precision: fp32, workers: 0, use_cpu: true}}
"""


@pytest.fixture(scope="module")
def run(basereward, vl_backbone, tmp_path_factory):
    """A run of two steps on three data sets: its folder."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "recipe.yaml").write_text(RECIPE.format(backbone=vl_backbone, data=DATA))
    assert basereward("train", folder / "recipe.yaml", "--out", folder / "run") == 0
    return folder / "run"


def test_training_reads_images_and_text(run):
    facts = json.loads((run / "train.json").read_text())
    assert facts["steps"] == 2
    assert facts["pairs"] + facts["drops"]["total"] == 36
    assert facts["pairs"] >= 24


def test_eval_prints_a_table_for_each_benchmark(command, run):
    sets = ("--data", DATA / "nlvr" / "test.jsonl", "--data", DATA / "llmbar" / "test.jsonl")
    ended = command("eval", run / "model", *sets, "--limit", 8, "--out", "result")
    assert ended.code == 0
    assert ended.out.count("baseline:longer") == 2
    assert ended.out.count("image_blind") == 1
    results = [json.loads(Path("result", name, "result.json").read_text()) for name in ("nlvr-test", "llmbar-test")]
    assert [result["n"] for result in results] == [8, 8]
    models = [result["protocols"]["official"]["model"] for result in results]
    assert [model["coverage"] for model in models] == [1.0, 1.0]


def test_a_baseline_goes_through_whole_files(command):
    ended = command("eval", "baseline:longer", "--data", DATA / "llmbar" / "test.jsonl", "--json")
    [result] = ended.json["results"].values()
    assert (result["n"], result["failed"], result["dropped"]) == (419, 0, {})
    assert len(result["groups"]) > 1
    ended = command("score", "baseline:longer", DATA / "nlvr" / "test.jsonl", "--out", "out.jsonl", "--json")
    assert (ended.json["rows"], ended.json["failed"]) == (990, 0)


def test_rows_with_images_are_scored(command, run, tmp_path):
    rows = [json.loads(line) for line in (DATA / "nlvr" / "test.jsonl").read_text().splitlines()[:4]]
    for row in rows:
        row["images"] = [str(DATA / "nlvr" / name) for name in row["images"]]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert command("score", run / "model", "in.jsonl", "--out", "out.jsonl", "--json").json["failed"] == 0
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert all(row["chosen_score"] != row["rejected_score"] for row in scored)
    assert [{key: row[key] for key in rows[0]} for row in scored] == rows
