"""verl's two calls, as NaiveRewardManager and RewardLoopWorker make them (verl/experimental/reward_loop)."""

import asyncio
import math
from types import SimpleNamespace

import pytest
import torch

from basereward.errors import RewardError
from basereward.rl.adapters import verl
from tests.rl.adapters.frameworks import Proto, RewardManagerBase, install


class Tokenizer:
    """Decodes token n to the n-th word; 9 ends an answer."""

    eos_token_id, pad_token_id = 9, 0
    words = ("", "red", "blue")

    def decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return " ".join(self.words[int(token)] for token in ids if int(token) < 3)


def batch_of(prompt, ids, padding=0, **beside):
    """What ``run_single`` is given: one sequence, prompt and response behind each other, padded on the right."""
    mask = torch.tensor([1, 1] + [1] * len(ids) + [0] * padding)
    batch = {"responses": torch.tensor([*ids, *[0] * padding]), "attention_mask": mask}
    return Proto([SimpleNamespace(batch=batch, non_tensor_batch={"raw_prompt": prompt, **beside})])


@pytest.fixture
def manager_of(monkeypatch):
    """``manager_of(settings)``: the manager as verl's ``load_reward_manager`` makes it."""
    verl._manager.cache_clear()
    install(monkeypatch, verl__experimental__reward_loop__reward_manager__base={"RewardManagerBase": RewardManagerBase})
    yield lambda **settings: verl.ImageRewardManager(
        config=SimpleNamespace(reward={"reward_kwargs": settings}),
        tokenizer=Tokenizer(),
        compute_score=None,
        reward_router_address=None,
        reward_model_tokenizer=None,
    )
    verl._manager.cache_clear()


def prompt_with(image):
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "Q?"}]}]


def test_the_manager_scores_the_images_of_the_prompt(manager_of, checkpoint, reward_model, picture):
    manager = manager_of(model=checkpoint)
    assert isinstance(manager, RewardManagerBase)
    found = {}
    for seed in range(2):
        data = batch_of(prompt_with(picture(seed=seed)), [1, 9], padding=2)
        found[seed] = asyncio.run(manager.run_single(data))["reward_score"]
        [expected] = reward_model.score("Q?", images=[picture(seed=seed)], responses=["red"])
        assert found[seed] == pytest.approx(float(expected), abs=1e-5)
    assert abs(found[0] - found[1]) > 1e-4


def test_images_may_stand_beside_the_prompt(manager_of, checkpoint, picture):
    manager, image = manager_of(model=checkpoint), picture()
    bare = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q?"}]}]
    media = {"multi_modal_data": {"images": [image]}}
    both = [batch_of(prompt_with(image), [1, 9]), batch_of(bare, [1, 9], **media)]
    one, other = (asyncio.run(manager.run_single(data)) for data in both)
    assert one["reward_score"] == other["reward_score"]
    with pytest.raises(RewardError, match=r"<image> and no image"):
        asyncio.run(manager.run_single(batch_of([{"role": "user", "content": "<image>Q?"}], [1, 9])))


def test_the_manager_matches_whole_answers(manager_of):
    manager = manager_of(model="baseline:longer", scheme="hybrid")
    prompt, truth = [{"role": "user", "content": "Q?"}], {"reward_model": {"ground_truth": "red"}}
    right = asyncio.run(manager.run_single(batch_of(prompt, [1, 9], **truth)))
    assert right == {"reward_score": 1.0, "reward_extra_info": {"score": 1.0, "acc": 1.0, "model_reward": 3.0}}
    # No end: the limit of tokens cut it off.
    assert asyncio.run(manager.run_single(batch_of(prompt, [1, 1], **truth)))["reward_extra_info"]["acc"] == 0.0
    assert math.isnan(asyncio.run(manager.run_single(batch_of(prompt, [1, 9])))["reward_extra_info"]["acc"])


def test_settings_that_the_manager_does_not_know_are_refused(manager_of):
    with pytest.raises(RewardError, match=r"Unknown reward\.reward_kwargs: modl"):
        manager_of(modl="baseline:longer")
    with pytest.raises(RewardError, match="one response at a time"):
        manager_of(model="judge:http://host/v1#m", scheme="tournament")


def score(solution, extra=None, truth="red", **settings):
    """Call as NaiveRewardManager does, with the settings that verl's partial adds."""
    return asyncio.run(
        verl.compute_score(
            data_source="set",
            solution_str=solution,
            ground_truth=truth,
            extra_info={"num_turns": None, "rollout_reward_scores": {}, **(extra or {})},
            **settings,
        )
    )


def test_a_function_needs_prompt_and_image_in_extra_info(checkpoint, reward_model, picture, tmp_path):
    picture().save(tmp_path / "scene.png")
    extra = {"question": "Q?", "images": [str(tmp_path / "scene.png")]}
    [expected] = reward_model.score("Q?", images=[picture()], responses=["blue"])
    assert score("blue", extra, model=checkpoint)["score"] == pytest.approx(float(expected), abs=1e-5)
    assert score("red", extra, model=checkpoint, scheme="hybrid")["score"] == 1.0
    with pytest.raises(RewardError, match="no image and the model looks at images"):
        score("blue", {"question": "Q?"}, model=checkpoint)
    with pytest.raises(RewardError, match="names no prompt"):
        score("blue", model=checkpoint)


def test_a_rule_needs_nothing_but_the_truth():
    assert score("The answer is red.", scheme="rule")["score"] == 1.0
    assert score("blue", scheme="rule", reward_router_address="host:1")["score"] == 0.0


def test_a_failure_is_raised_and_never_a_number(checkpoint):
    with pytest.raises(RewardError, match="image_missing"):
        score("blue", {"question": "Q?", "images": ["no/where.png"]}, model=checkpoint)
