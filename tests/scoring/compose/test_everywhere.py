"""One spec, the same rewards: in Python, in an evaluation, from a server, and in reinforcement learning."""

import json

import pytest

from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.rl import RewardFunction
from basereward.scoring.spec import open_scorer
from tests.cli.conftest import call
from tests.rl.conftest import rollouts  # noqa: F401
from tests.serving.conftest import start  # noqa: F401


@pytest.fixture(scope="module")
def spec(vl_backbone, tmp_path_factory):
    """An ensemble of two tiny reward models and one of text alone."""
    folder = tmp_path_factory.mktemp("everywhere")
    for name in ("one", "two", "text"):
        save_reward_model(new_reward_model(vl_backbone), folder / name)
    members = [f"  - {{model: {folder / name}, name: {name}}}\n" for name in ("one", "two")]
    path = folder / "all.yaml"
    path.write_text(f"members:\n{''.join(members)}  - {{model: {folder / 'text'}, name: text, only: text}}\n")
    return path


TEXTS = ("a red circle", "a blue square", "nothing")


@pytest.mark.parametrize("text", ["ensemble: {rule: vote}", "name: text"])
def test_a_vote_and_one_of_text_alone_are_served(text, start, tmp_path):  # noqa: F811
    path = tmp_path / "e.yaml"
    only = ", only: text" if "text" in text else ""
    path.write_text(f"members: [{{model: baseline:longer{only}}}]\n{text}\n")
    server = start(open_scorer(str(path)))
    prompt = [{"role": "user", "content": "Which?"}]
    answer = server.client.post("/v1/score", json={"groups": [{"messages": prompt, "responses": ["ab", "a"]}]}).json()
    assert answer["rewards"][0] == ([1.0, 0.0] if "vote" in text else [2.0, 1.0])
    assert open_scorer(server.url).about.partial == open_scorer(str(path)).about.partial


def test_rewards_are_the_same_everywhere(spec, start, rollouts, tmp_path):  # noqa: F811
    scorer = open_scorer(str(spec), device="cpu")
    own = rollouts(list(TEXTS))
    expected = [score.value for score in scorer.score([own.group])[0]]
    [rewarded] = RewardFunction(scorer)([own])
    assert list(rewarded.rewards) == pytest.approx(expected, abs=1e-6)

    server = start(scorer)
    prompt = [message.to_dict() for message in own.group.prompt]
    asked = {"groups": [{"messages": prompt, "responses": list(TEXTS)}]}
    answer = server.client.post("/v1/score", json=asked).json()
    assert answer["rewards"][0] == pytest.approx(expected, abs=1e-6)
    assert set(answer["details"][0][0]["parts"]) == {"one", "two", "text", "spread"}
    remote = open_scorer(server.url)
    assert [score.value for score in remote.score([own.group])[0]] == pytest.approx(expected, abs=1e-6)
    assert remote.about.identity == scorer.about.identity

    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"prompt": prompt, "chosen": TEXTS[0], "rejected": TEXTS[1]}) + "\n")
    assert call("eval", spec, "--data", pairs, "--out", tmp_path / "out", "--device", "cpu") == 0
    [records] = (tmp_path / "out").rglob("records.jsonl")
    [record] = map(json.loads, records.read_text().splitlines())
    assert record["correct"] + record["rejected"] == pytest.approx(expected[:2], abs=1e-6)
