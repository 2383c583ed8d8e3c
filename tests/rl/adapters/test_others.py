"""OpenRLHF, ms-swift, EasyR1, NeMo-RL and verifiers: each called as its source does it."""

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from basereward.errors import RewardError
from basereward.rl.adapters import easyr1
from basereward.rl.adapters.ms_swift import swift_orm, swift_rm_plugin
from basereward.rl.adapters.nemo_rl import NemoRewardEnvironment
from basereward.rl.adapters.openrlhf import cut_response, openrlhf_reward
from basereward.rl.adapters.verifiers import neutral, verifiers_reward, verifiers_task_reward
from tests.rl.adapters.frameworks import Rubric, install

ADAPTERS = ("trl", "verl", "openrlhf", "ms_swift", "easyr1", "nemo_rl", "verifiers")


@pytest.fixture
def prompts(picture):
    """Two prompts with an image each."""
    return [{"id": f"p{n}", "prompt": f"Q{n}", "images": [picture(seed=n)], "answer": "red"} for n in range(2)]


@pytest.fixture
def expected(reward_model, picture):
    """``expected(number, text, seed)``: the score of an answer to a prompt, by default with its own image."""

    def score(number, text, seed=None):
        image = picture(seed=number if seed is None else seed)
        return pytest.approx(float(reward_model.score(f"Q{number}", images=[image], responses=[text])[0]), abs=1e-5)

    return score


def test_no_adapter_brings_a_framework_or_transformers():
    code = (
        f"import sys, {', '.join(f'basereward.rl.adapters.{name}' for name in ADAPTERS)};"
        "heavy = {'torch', 'transformers', 'datasets', 'trl', 'verl', 'accelerate', 'ray', 'swift'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# openrlhf/utils/agent.py, _fetch_rewards_via_func: one query, its prompt and its label, in a thread.
HEAD, END = "<|im_start|>user\n<|vision_start|>{}<|vision_end|>Q0<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"


def ask_openrlhf(function, text, label, pads=7, end=END):
    query = HEAD.format("<|image_pad|>" * pads) + text + end
    [found] = function([query], [HEAD.format("<|image_pad|>")], [label])["rewards"].tolist()
    return found


def test_openrlhf_finds_images_by_id(checkpoint, prompts, expected):
    function = openrlhf_reward(checkpoint, prompts=prompts)
    assert ask_openrlhf(function, "blue", "p0") == expected(0, "blue")
    assert ask_openrlhf(function, "blue", "p0") != expected(0, "blue", seed=1)
    logged = function([HEAD.format("") + "a" + END], [HEAD.format("")], ["p1"])["extra_logs"]
    assert {name: value.tolist() for name, value in logged.items()}["basereward_without_image"] == [0.0]


def test_openrlhf_answers_are_cut_out_of_the_query():
    assert cut_response("P" + "red<|im_end|>", "P") == ("red", False)
    assert cut_response("P" + "red</s>\n<|endoftext|>", "P") == ("red", False)
    assert cut_response("P" + "re", "P") == ("re", True)
    with pytest.raises(RewardError, match="does not begin with its prompt"):
        cut_response("Qred", "P")


def test_openrlhf_gives_no_match_to_what_was_cut_off(prompts):
    function = openrlhf_reward(None, "rule", prompts=prompts)
    assert ask_openrlhf(function, "red", "p0") == 1.0
    assert ask_openrlhf(function, "red", "p0", end="") == 0.0
    assert ask_openrlhf(openrlhf_reward(None, "rule"), "red", "red") == 1.0
    with pytest.raises(RewardError, match="no id"):
        ask_openrlhf(function, "red", "p9")


# swift/rl_core/grpo_algorithm.py, compute_rewards_per_func: columns of to_reward_row, response behind the messages.
class SwiftBase:
    def __init__(self, args=None, **kwargs):
        self.args = args


def swift_rows(prompts, texts):
    return [
        {
            "messages": [
                {"role": "user", "content": f"<image>{row['prompt']}"},
                {"role": "assistant", "content": text},
            ],
            "prompt_id": row["id"],
            "is_truncated": False,
            "images": row["images"],
            "solution": row["answer"],
        }
        for row, text in zip(prompts, texts, strict=True)
    ]


def swift_columns(rows):
    return {"trainer_state": None, **{name: [row[name] for row in rows] for name in rows[0]}}


def test_ms_swift_hands_over_images(monkeypatch, checkpoint, prompts, expected):
    install(monkeypatch, swift__rewards={"ORM": SwiftBase, "AsyncORM": SwiftBase})
    rows = swift_rows(prompts, ["blue", "red"])
    sync, beside = (swift_orm(checkpoint, "hybrid", is_async=flag)(args=None) for flag in (False, True))
    assert isinstance(sync, SwiftBase)
    found = sync(["blue", "red"], **swift_columns(rows))
    assert found[1] == 1.0
    assert asyncio.iscoroutinefunction(type(beside).__call__)
    assert asyncio.run(beside(["blue", "red"], **swift_columns(rows))) == found
    plugin = swift_rm_plugin(checkpoint)(model=None, template=None)
    assert plugin(inputs=rows, **swift_columns(rows)) == [expected(0, "blue"), expected(1, "red")]


def test_ms_swift_is_told_what_is_missing(monkeypatch, prompts):
    install(monkeypatch, swift__rewards={"ORM": SwiftBase, "AsyncORM": SwiftBase})
    rows = swift_rows(prompts, ["blue", "red"])
    bare = [{name: value for name, value in row.items() if name != "solution"} for row in rows]
    with pytest.raises(RewardError, match="no column solution or answer"):
        swift_orm(None, "rule")()(["blue", "red"], **swift_columns(bare))
    lost = [{name: value for name, value in row.items() if name != "images"} for row in rows]
    with pytest.raises(RewardError, match="<image> and no image"):
        swift_orm("baseline:longer")()(["blue", "red"], **swift_columns(lost))
    cut = [{**row, "is_truncated": True} for row in rows]
    assert swift_orm(None, "rule")()(["red", "red"], **swift_columns(cut)) == [0.0, 0.0]


# verl/workers/reward/function.py of EasyR1, compute_reward_batch.
def test_easyr1_finds_prompts_by_id_wherever_they_stand(checkpoint, prompts, expected, tmp_path):
    stored = tmp_path / "prompts.jsonl"
    for row in prompts:
        row["images"][0].save(tmp_path / f"{row['id']}.png")
    stored.write_text("".join(json.dumps({**row, "images": [f"{row['id']}.png"]}) + "\n" for row in prompts))
    inputs = [
        {"response": text, "response_length": length, "ground_truth": truth}
        for text, length, truth in (("blue", 3, "p0"), ("red", 3, '{"id": "p1"}'), ("red", 8, "p0"))
    ]
    assert easyr1.REWARD_TYPE == "batch"
    found = easyr1.compute_score(inputs, model=checkpoint, prompts=str(stored))
    assert [one["overall"] for one in found] == [expected(0, "blue"), expected(1, "red"), expected(0, "red")]
    ruled = easyr1.compute_score(inputs, scheme="rule", prompts=str(stored), max_response_length=8)
    assert [one["overall"] for one in ruled] == [0.0, 1.0, 0.0]
    assert ruled[1] == {"overall": 1.0, "accuracy": 1.0}


class EnvironmentReturn(NamedTuple):
    """nemo_rl/environments/interfaces.py."""

    observations: list
    metadata: list
    next_stop_strings: list
    rewards: object
    terminateds: object
    answers: list


# nemo_rl/experience/rollouts.py, calculate_rewards: messages with role and content alone; eval passes a third value.
def test_nemo_rl_takes_images_from_metadata(monkeypatch, checkpoint, prompts, expected):
    install(monkeypatch, nemo_rl__environments__interfaces={"EnvironmentReturn": EnvironmentReturn})
    logs = [[{"role": "user", "content": "rendered"}, {"role": "assistant", "content": "blue"}] for _ in prompts]
    environment = NemoRewardEnvironment(checkpoint, prompts=prompts)
    metadata = [{"id": "p0"}, {"id": "p1", "ground_truth": "red"}]
    found = environment.step(logs, metadata, True)
    assert found.rewards.tolist() == [expected(0, "blue"), expected(1, "blue")]
    assert found.terminateds.tolist() == [True, True]
    assert (found.metadata, found.answers) == (metadata, ["blue", "blue"])
    batch, metrics = environment.global_post_process_and_metrics({"rewards": found.rewards})
    assert batch == {"rewards": found.rewards}
    assert metrics["basereward/without_image"] == 0.0
    with pytest.raises(RewardError, match="no image and the model looks"):
        environment.step(logs[:1], [None])
    ruled = NemoRewardEnvironment(scheme="rule").step(logs, [{"ground_truth": "blue"}, {"ground_truth": "red"}])
    assert ruled.rewards.tolist() == [1.0, 0.0]


def test_verifiers_scores_groups_and_rollouts(checkpoint, prompts, expected):
    said = [[{"role": "assistant", "content": text}] for text in ("blue", "red")]
    infos = [{"id": "p0"}, {"id": "p0"}]
    function = verifiers_reward(checkpoint, prompts=prompts)
    found = Rubric().score_group(function, ["rendered"] * 2, said, ["", ""], infos)
    assert found == [expected(0, "blue"), expected(0, "red")]
    single = verifiers_reward(checkpoint, prompts=prompts, is_group=False)
    passed = {"prompt": "rendered", "completion": said[0], "answer": "", "info": infos[0], "state": {}}
    assert Rubric().score_rollout(single, **passed) == expected(0, "blue")
    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": prompts[0]["images"][0]}}]}]
    assert isinstance(Rubric().score_group(function, [shown], said[:1], [""], [{}])[0], float)


# verifiers/v1/task.py, Task.score: methods get what they name of ``task`` (its data) and ``trace``.
def test_verifiers_scores_tasks(checkpoint, prompts, expected, picture):
    url = {"type": "image_url", "image_url": {"url": picture(seed=0)}}
    asked = SimpleNamespace(model_dump=lambda: {"role": "user", "content": [url, {"type": "text", "text": "Q0"}]})
    own, by_id = verifiers_task_reward(checkpoint), verifiers_task_reward(checkpoint, prompts=prompts)
    trace = SimpleNamespace(last_reply="blue", is_truncated=False)
    assert asyncio.run(own(None, SimpleNamespace(prompt=[asked]), trace)) == expected(0, "blue")
    assert asyncio.run(by_id(None, SimpleNamespace(prompt="Q1", id="p1"), trace)) == expected(1, "blue")
    ruled = verifiers_task_reward(None, "rule")
    task = SimpleNamespace(prompt="Q", answer="blue")
    assert asyncio.run(ruled(None, task=task, trace=trace)) == 1.0
    assert asyncio.run(ruled(None, task=task, trace=SimpleNamespace(last_reply="blue", is_truncated=True))) == 0.0
    with pytest.raises(RewardError, match="one rollout"):
        verifiers_task_reward("judge:x", "tournament")


def test_a_rubric_cannot_turn_a_failure_into_0(prompts, longer_judge):
    lost = {**prompts[0], "images": ["no/where.png"]}
    single = verifiers_reward(_Reader(), prompts=[lost], is_group=False)
    with pytest.raises(SystemExit, match="image_missing"):
        Rubric().score_rollout(single, prompt="", completion="a", answer="", info={"id": "p0"})
    # In a group what is missing has no advantage, and changes none.
    assert neutral([1.0, None, 3.0]) == [1.0, 2.0, 3.0]
    assert neutral([None, None]) == [0.0, 0.0]
    with pytest.raises(SystemExit, match="no id 'p9'"):
        Rubric().score_group(verifiers_reward(None, "rule", prompts=prompts), [""], ["a"], ["a"], [{"id": "p9"}])
    with pytest.raises(RewardError, match="is_group=True"):
        verifiers_reward(longer_judge, "tournament", is_group=False)


class _Reader:
    """Fails, as any model does where an image cannot be read."""

    @property
    def about(self):
        from basereward.data.outcomes import About

        return About("reader", sees_images=True)

    def score(self, groups):
        from basereward.data.outcomes import Failure

        return [[Failure("image_missing", "no/where.png")] * len(group.responses) for group in groups]
