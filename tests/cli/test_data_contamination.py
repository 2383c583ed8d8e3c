"""``basereward data contamination`` on a leaked pair of an invented benchmark."""

import json
from pathlib import Path

import pytest

from basereward.data.overlap import OverlapSummary

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"


@pytest.fixture
def leaked(tmp_path):
    """The records of the fixture of RewardBench as training pairs, and one of its own."""
    records = [json.loads(line) for path in sorted((FIXTURES / "rewardbench").rglob("*.jsonl")) for line in path.open()]
    pairs = [{name: one[name] for name in ("prompt", "chosen", "rejected")} for one in records]
    pairs.append(
        {"prompt": "How do whales sleep in the open sea?", "chosen": "Half awake.", "rejected": "They do not."}
    )
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return path, len(records)


def test_json_is_the_summary_and_its_files(leaked, command, tmp_path):
    path, count = leaked
    out = tmp_path / "drops.jsonl"
    arguments = ["--bench", "rewardbench", "--data-root", FIXTURES, "--out", out, "--workers", 1]
    content = command("data", "contamination", path, *arguments, "--json").json
    assert (content.pop("drops"), content.pop("drop_list")) == (count, str(out))
    stored = json.loads(Path(content.pop("summary")).read_text())
    assert stored == content
    assert OverlapSummary.from_dict(content).benchmarks["rewardbench"].found == {"same_pair": count}
    assert [json.loads(line)["row"] for line in out.read_text().splitlines()] == list(range(count))
    table = command("data", "contamination", path, *arguments).out
    assert "same_pair" in table
    assert f"{count} pairs on the drop-list" in table


def test_an_unknown_kind_or_benchmark_is_an_error(leaked, command):
    path, _ = leaked
    common = ("data", "contamination", path, "--data-root", FIXTURES)
    ended = command(*common, "--bench", "rewardbench", "--drop", "same_thing")
    assert ended.code
    assert "same_pair" in ended.err
    ended = command(*common, "--bench", "rewardbenhc")
    assert ended.code
    assert "Did you mean 'rewardbench'" in ended.err


def test_a_model_trained_on_leaked_data_says_so_when_evaluated(command, tiny, leaked, tmp_path):
    path, count = leaked
    recipe = tmp_path / "curation.yaml"
    steps = f"{{step: contamination, benchmarks: [rewardbench], data_root: {FIXTURES}, drop: []}}"
    recipe.write_text(f"name: leak\ninputs: [{path}]\nsteps: [{steps}]\n")
    done = command("data", "curate", recipe, "--out", tmp_path / "curated", "--workers", 1, "--json").json
    [folder] = [one["folder"] for one in done["inputs"].values()]
    run = tmp_path / "run"
    changes = (f"data.train=[{folder}]", "optimizer.pairs_per_step=1", "optimizer.max_steps=1")
    trained = command("train", tiny.recipe, *changes, "--out", run)
    assert trained.code == 0, trained.err
    common = ("--bench", "rewardbench", "--data-root", FIXTURES, "--no-references")
    ended = command("eval", run / "model", *common, "--out", tmp_path / "eval")
    assert f"contamination overlap: {count} x same_pair" in ended.out
    ended = command("eval", tiny.model, *common, "--out", tmp_path / "other")
    assert "contamination unknown: Not all of the training data (pairs.jsonl)" in ended.out


def test_a_kind_of_which_no_row_is_left_is_told(command, tmp_path):
    """Every row of the benchmark has a stronger match than the one of the second pair."""
    asked = "How do I bake a good loaf of bread at home with little time?"
    answer = "Mix flour, water, salt and yeast, then bake it until the crust is dark and the loaf sounds hollow below."
    pairs = [{"prompt": asked, "chosen": answer, "rejected": "Buy one."}]
    (tmp_path / "bench.jsonl").write_text(json.dumps(pairs[0]))
    pairs.append({"prompt": asked, "chosen": "Ask somebody else about it.", "rejected": "No."})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    arguments = ("data", "contamination", "pairs.jsonl", "--bench", "bench.jsonl", "--workers", 1)
    ended = command(*arguments)
    assert ended.code == 0
    lines = [line.split() for line in ended.out.splitlines() if line.startswith("bench.jsonl ")]
    assert lines == [["bench.jsonl", "1", "same_pair", "1", "1"], ["bench.jsonl", "1", "same_question", "0", "1"]]
    found = command(*arguments, "--json").json["benchmarks"]["bench.jsonl"]
    assert (found["found"], found["found_rows"]) == ({"same_pair": 1, "same_question": 1}, {"same_pair": 1})
