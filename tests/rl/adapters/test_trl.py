"""TRL's reward function, inside the real GRPOTrainer and as it is called: images, logs, truncation, groups."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from basereward.errors import RewardError
from basereward.rl import RewardFunction, trl_reward
from basereward.rl.adapters.trl import on_own_device
from basereward.rl.options import RewardOptions
from basereward.scoring.compose.files import read_spec

G = 2


@pytest.fixture(scope="module")
def trained(vl_backbone, checkpoint, picture, tmp_path_factory):
    """One step of GRPO under every scheme at once: the rollouts that each saw, and the log."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    judge = SimpleNamespace(rule=lambda texts: "tie")
    functions = {
        "rule": trl_reward(None, "rule"),
        "model": trl_reward(checkpoint),
        "hybrid": trl_reward(checkpoint, "hybrid", is_async=True),
        "tournament": trl_reward(_FirstJudge(judge), "tournament"),
    }
    seen = {}
    for name, reward in functions.items():
        reward.function.observers.append(lambda own, rewarded, name=name: seen.update({name: (own, rewarded)}))
    rows = {
        "prompt": [[{"role": "user", "content": f"Which color? {number}"}] for number in range(2)],
        "image": [picture(seed=number) for number in range(2)],
        "answer": ["red", "blue"],
    }
    columns = datasets.Features(
        {"prompt": [{"role": datasets.Value("string"), "content": datasets.Value("string")}]}
        | {"image": datasets.Image(), "answer": datasets.Value("string")}
    )
    trainer = trl.GRPOTrainer(
        model=str(vl_backbone),
        reward_funcs=list(functions.values()),
        train_dataset=datasets.Dataset.from_dict(rows, features=columns),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("grpo")),
            per_device_train_batch_size=2 * G,
            num_generations=G,
            max_completion_length=4,
            max_steps=1,
            logging_steps=1,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
        ),
    )
    trainer.train()
    return SimpleNamespace(seen=seen, log=trainer.state.log_history[0], trainer=trainer)


class _FirstJudge:
    def __init__(self, judge):
        self.judge = judge

    @property
    def about(self):
        from basereward.data.outcomes import About

        return About("first", sees_images=True)

    def compare(self, questions):
        from basereward.data.outcomes import Verdict

        assert all(len(question.images) == 1 for question in questions)
        return [Verdict(0, "") for _ in questions]


def test_the_real_trainer_hands_over_images_groups_and_answers(trained):
    assert set(trained.seen) == {"rule", "model", "hybrid", "tournament"}
    for own, rewarded in trained.seen.values():
        assert [len(group.group.responses) for group in own] == [G, G]
        assert sorted(group.answer for group in own) == ["blue", "red"]
        assert all(len(group.group.images) == 1 for group in own)
        assert all(reward is not None for group in rewarded for reward in group.rewards)
        # An untrained policy does not stop by itself, which TRL counts in the same way.
        share = sum(cut for group in rewarded for cut in group.truncated) / (2 * G)
        assert share == trained.log["completions/clipped_ratio"]


def test_inside_the_trainer_rewards_equal_score(trained, reward_model, picture):
    own, rewarded = trained.seen["model"]
    for group, found in zip(own, rewarded, strict=True):
        number = int(group.group.prompt[0].text[-1])
        texts = [response.text for response in group.group.responses]
        for seed, is_own in ((number, True), (1 - number, False)):
            expected = reward_model.score(group.group.prompt[0].text, images=[picture(seed=seed)], responses=texts)
            gaps = [abs(one - float(other)) for one, other in zip(found.rewards, expected, strict=True)]
            assert max(gaps) <= 1e-5 if is_own else min(gaps) > 1e-4


def test_the_log_says_what_happened(trained):
    log = trained.log
    assert 0 <= log["basereward_hybrid/saturated"] <= 1
    assert log["basereward_rule/truncated"] == log["completions/clipped_ratio"]
    assert log["basereward_model/without_image"] == 0.0
    assert log["rewards/basereward_tournament/mean"] == pytest.approx(1.0, abs=0.5)


def call(reward, rows, responses, **passed):
    """Call as TRL does, with the columns of a data set and ``G`` responses a prompt."""
    columns = {name: [row[name] for row in rows for _ in range(G)] for name in rows[0] if name != "prompt"}
    prompts = [row["prompt"] for row in rows for _ in range(G)]
    completions = [[{"role": "assistant", "content": text}] for text in responses]
    return reward(prompts=prompts, completions=completions, **{**columns, "trainer_state": None, **passed})


def test_three_lines_make_a_reward(checkpoint, reward_model, vl_rows):
    texts = [f"answer {number}" for number in range(7)] + ["red"]
    found = call(trl_reward(checkpoint), vl_rows, texts)
    for place, row in enumerate(vl_rows):
        own = slice(G * place, G * place + G)
        expected = reward_model.score(row["prompt"][0]["content"], images=[row["image"]], responses=texts[own])
        assert found[own] == pytest.approx([float(value) for value in expected], abs=1e-5)
    assert call(trl_reward(checkpoint, "hybrid"), vl_rows, texts)[-1] == 1.0
    assert call(trl_reward(None, "rule"), vl_rows, texts) == [0.0] * 7 + [1.0]


def test_swapped_images_change_the_rewards(checkpoint, vl_rows):
    texts = [f"answer {number}" for number in range(8)]
    reward = trl_reward(checkpoint)
    right = call(reward, vl_rows, texts)
    turned = [{**row, "image": vl_rows[place - 1]["image"]} for place, row in enumerate(vl_rows)]
    assert min(abs(one - two) for one, two in zip(right, call(reward, turned, texts), strict=True)) > 1e-4


def test_a_failure_is_none_and_a_wrong_answer_is_not(vl_rows):
    rows = [{**vl_rows[0], "image": "no/where.png"}, vl_rows[1]]
    reward = trl_reward(_ImageReader(), "hybrid")
    assert call(reward, rows, ["blue", "red", "blue", "red"]) == [None, 1.0, 0.5, 1.0]


class _ImageReader:
    """Scores 0 if it can read the image."""

    @property
    def about(self):
        from basereward.data.outcomes import About

        return About("reader", sees_images=True)

    def score(self, groups):
        from basereward.data.images import load_image
        from basereward.data.outcomes import Score
        from basereward.errors import RowError
        from basereward.scoring.interface import failure_of

        def one(group):
            try:
                load_image(group.images[0])
            except RowError as error:
                return failure_of(error)
            return Score(0.0)

        return [[one(group)] * len(group.responses) for group in groups]


def test_an_answer_without_an_end_was_cut_off(vl_rows, caplog):
    ids, texts = [[5, 9], [5, 5], [9], [5, 9]], ["red"] * 4
    reward = trl_reward(None, "rule", end_ids=[9])
    assert call(reward, vl_rows[:2], texts, completion_ids=ids) == [1.0, 0.0, 1.0, 1.0]
    # The trainer behind log_metric knows its ends, and how many responses a prompt has.
    trainer = _StandInTrainer()
    reward = trl_reward(None, "rule")
    assert call(reward, vl_rows[:2], texts, completion_ids=ids, log_metric=trainer.log_metric) == [1.0, 0.0, 1.0, 1.0]
    assert trainer.logged["basereward_rule/truncated"] == 0.25
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            call(trl_reward(None, "rule"), vl_rows[:2], texts, completion_ids=ids)
    assert "pass end_ids" in caplog.text


class _StandInTrainer:
    """What of GRPOTrainer the reward function looks at, with the names of TRL 1.16."""

    eos_token_ids = (9,)
    processing_class = SimpleNamespace(pad_token_id=0)
    num_generations = G

    def __init__(self):
        self.logged = {}

    def log_metric(self, name, value):
        self.logged[name] = value


def test_misspelt_columns_are_refused(vl_rows):
    blind = [{"prompt": row["prompt"], "img": row["image"], "answer": "red"} for row in vl_rows[:2]]
    with pytest.raises(RewardError, match="'img' holds images"):
        call(trl_reward("baseline:longer"), blind, ["a"] * 4)
    assert call(trl_reward("baseline:longer", expects_images=False), blind, ["a"] * 4) == [1.0] * 4
    lost = [{"prompt": row["prompt"], "image": row["image"], "answers": "red"} for row in vl_rows[:2]]
    with pytest.raises(RewardError, match=r"right answer.*found image, answers"):
        call(trl_reward(None, "rule"), lost, ["a"] * 4)
    with pytest.raises(RewardError, match="Did you mean 'answers'"):
        call(trl_reward("baseline:longer", answer="answer"), lost, ["a"] * 4)
    with pytest.raises(RewardError, match="options of the reward are wrong"):
        trl_reward("baseline:longer", options={"offst": 1.0})


def test_a_tournament_needs_whole_groups(longer_judge, vl_rows):
    reward = trl_reward(longer_judge, "tournament", group_size=G)
    assert call(reward, vl_rows[:2], ["a", "bb", "ccc", "d"]) == [0.0, 1.0, 1.0, 0.0]
    shuffled = [vl_rows[0]["prompt"], vl_rows[1]["prompt"]] * 2
    with pytest.raises(RewardError, match="all 2 of a prompt in a row"):
        reward(prompts=shuffled, completions=["a"] * 4)


def test_one_prompt_twice_in_a_batch_is_two_groups(longer_judge, vl_rows):
    reward = trl_reward(longer_judge, "tournament", group_size=G)
    assert call(reward, [vl_rows[0]] * 2, ["a", "bb", "ccc", "dddd"]) == [0.0, 1.0, 0.0, 1.0]


def test_an_async_function_is_the_same(vl_rows):
    texts = ["red", "a", "bb", "red"]
    both = [trl_reward("baseline:longer", "hybrid", is_async=flag) for flag in (False, True)]
    assert asyncio.run(call(both[1], vl_rows[:2], texts)) == call(both[0], vl_rows[:2], texts)
    assert both[1].__name__ == "basereward_hybrid"


def test_each_rank_takes_its_own_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert on_own_device("some/model") == "some/model"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert on_own_device("some/model").device == "cuda:1"
    assert on_own_device("judge:some/model").device == "cuda:1"
    for elsewhere in ("http://host:1", "judge:http://host/v1#m", "baseline:longer", None):
        assert on_own_device(elsewhere) == elsewhere
    files = {name: tmp_path / f"{name}.yaml" for name in ("many", "one", "server", "outer")}
    files["many"].write_text("members: [{model: some/model}, {model: 'http://host:1'}]")
    files["one"].write_text("model: some/model")
    files["server"].write_text("model: http://host:1")
    files["outer"].write_text(f"model: {files['server']}")
    taken = {name: getattr(on_own_device(str(file)), "device", None) for name, file in files.items()}
    assert taken == {"many": "cuda:1", "one": "cuda:1", "server": None, "outer": None}
    members = read_spec(on_own_device(str(files["many"]))).members
    assert [member.device for member in members] == ["cuda:1", None]
    assert on_own_device("tournament:judge:some/model").device == "cuda:1"
    # One visible GPU a process: the first is its own.
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert on_own_device("some/model") == "some/model"


def test_a_ready_function_is_taken_as_it_is(vl_rows):
    function = RewardFunction("baseline:longer", options=RewardOptions(length_limit=2, length_buffer=1))
    assert call(trl_reward(function, name="mine"), vl_rows[:1], ["a", "bb"]) == [1.0, 1.0]
