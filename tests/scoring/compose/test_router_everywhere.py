"""Routers as models: the same rewards in Python, in an evaluation, from a server, and in reinforcement learning."""

import json
from dataclasses import replace

import pytest

from basereward.benchmarks.items import build_items, text_row
from basereward.evaluation.runner import score_items
from basereward.rl import RewardFunction
from basereward.rl.adapters.trl import trl_reward
from basereward.scoring.spec import open_scorer
from tests.cli.conftest import call
from tests.serving.conftest import start  # noqa: F401

TASKS = ("story", "summary")
TEXTS = ["a", "bbb"]


@pytest.fixture
def spec(tmp_path):
    """Stories are better long, summaries short."""
    path = tmp_path / "tasks.yaml"
    path.write_text(
        "members: [{model: 'baseline:longer', name: story}, {model: 'baseline:shorter', name: summary}]\n"
        "router: {by: task}\n"
    )
    return path


def test_a_file_with_a_column_task_is_evaluated_and_scored(spec, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": "Q?", "chosen": "bbb", "rejected": "a", "kind": "story"}]
    rows += [{"prompt": "Q?", "chosen": "a", "rejected": "bbb", "kind": "summary"}]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    assert call("eval", spec, "--data", pairs, "--map", "task=kind", "--out", out, "--no-references") == 0
    [written] = out.glob("*/records.jsonl")
    records = [json.loads(line) for line in written.read_text().splitlines()]
    assert [record["outcome"] for record in records] == ["correct", "correct"]
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"prompt": "Q?", "responses": TEXTS, "task": task}) + "\n" for task in TASKS))
    assert call("score", spec, asked, "--out", tmp_path / "scores.jsonl") == 0
    scored = [json.loads(line)["scores"] for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert scored == [[1, 3], [-1, -3]]


def test_the_subset_of_a_benchmark_is_the_task(spec):
    rows = [text_row(task, task, f"Q {task}?", ["bbb"], ["a"]) for task in TASKS]
    records = score_items(open_scorer(str(spec)), build_items("b", rows))
    assert [record.outcome for record in records] == ["correct", "wrong"]


def test_a_server_routes_by_the_task_of_a_request(spec, start, make_group):  # noqa: F811
    server = start(open_scorer(str(spec)))
    # The warm-up says no task and stops nothing.
    server.service.warm_up()
    groups = [{"messages": "Q?", "responses": TEXTS, **({"task": task} if task else {})} for task in (*TASKS, None)]
    answer = server.client.post("/v1/score", json={"groups": groups}).json()
    assert answer["rewards"] == [[1, 3], [-1, -3], [None, None]]
    assert {error["reason"] for error in answer["errors"]} == {"no_route"}
    assert answer["details"][0][0]["parts"] == {"story": 1.0}
    remote = open_scorer(server.url)
    asked = [replace(make_group("Q?", TEXTS), task=task) for task in TASKS]
    assert [[one.value for one in own] for own in remote.score(asked)] == [[1, 3], [-1, -3]]


def test_a_policy_is_rewarded_by_the_task_of_the_prompt(spec):
    function = RewardFunction(str(spec))
    reward = trl_reward(function, group_size=2, end_ids=[0])
    prompts, completions = ["Q?"] * 6, [*TEXTS] * 3
    found = reward(prompts, completions, [[0]] * 6, task=["story"] * 2 + ["summary"] * 2 + ["poem"] * 2)
    assert found == [1, 3, -1, -3, None, None]
    assert function.summary is not None
    assert function.summary.failures == {"no_route": 2}
