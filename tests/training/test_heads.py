"""Several heads on a frozen backbone are as many single runs; what a pair counts for each depends on nothing else."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from basereward.data.schema import PreferencePair, messages_from_text
from basereward.errors import RecipeError
from basereward.models.flops import measure_backbone
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.training.bootstrap import Bootstrap, poisson_weight
from basereward.training.heads import clip_apart, sum_over_heads
from basereward.training.objectives import BradleyTerry
from basereward.training.plan import trained_parameters
from basereward.training.prepare import prepare_model
from basereward.training.run import train
from basereward.training.shortcuts import ImageSwap
from basereward.training.trainer import RewardTrainer

HEADS = 3
# Far below the gradients of these runs, so that every step is clipped.
TIGHT = {"max_grad_norm": 0.01, "learning_rate": 1e-2, "epochs": 1}


def pair(name: str) -> PreferencePair:
    text = messages_from_text("?")
    return PreferencePair(name, "own", text, text, text)


def frozen(world: Any, **changes: Any) -> dict[str, Any]:
    return {"backbone": str(world.backbone), "freeze_backbone": True, **changes}


@pytest.fixture(scope="module")
def together(world: Any, make_recipe: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of one run of three heads, each with its bootstrap."""
    recipe = make_recipe(model=frozen(world, head={"heads": HEADS}), data={"bootstrap": True}, optimizer=TIGHT)
    return train(recipe, tmp_path_factory.mktemp("together") / "run").model_folder


def single(world: Any, make_recipe: Callable, folder: Path, head: int, **sections: Any) -> Path:
    sections = {"data": {"bootstrap": True}, "optimizer": TIGHT} | sections
    return train(make_recipe(model=frozen(world, head_seed=head), **sections), folder).model_folder


def test_each_head_is_a_run_of_its_own(
    together: Path, world: Any, make_recipe: Callable, tmp_path: Path, read_state: Callable, read_metrics: Callable
) -> None:
    found = read_state(together)
    for head in range(HEADS):
        alone = read_state(single(world, make_recipe, tmp_path / str(head), head))
        for name, weight in alone.items():
            inner = name.replace("reward_head.", f"reward_head.heads.{head}.")
            torch.testing.assert_close(found[inner], weight, rtol=0, atol=1e-6)
    losses = [read_metrics(folder)[-1]["train_loss"] for folder in (together.parent, *map(tmp_path.joinpath, "012"))]
    assert losses[0] == pytest.approx(sum(losses[1:]) / HEADS, rel=1e-6)


def test_one_limit_for_all_heads_would_couple_them(
    together: Path,
    world: Any,
    make_recipe: Callable,
    tmp_path: Path,
    read_state: Callable,
) -> None:
    """The equality above holds because of the limits, not because nothing was limited."""
    unlimited = single(world, make_recipe, tmp_path / "free", 0, optimizer=TIGHT | {"max_grad_norm": 1e9})
    name = "reward_head.layers.0.weight"
    limited = read_state(together)["reward_head.heads.0.layers.0.weight"]
    assert (read_state(unlimited)[name] - limited).abs().max() > 1e-4


def test_the_first_head_is_that_of_a_run_with_one(world: Any, make_recipe: Callable) -> None:
    several = prepare_model(make_recipe(model=frozen(world, head={"heads": 2}))).head.heads
    one = prepare_model(make_recipe(model=frozen(world))).head
    assert all(torch.equal(own, other) for own, other in zip(several[0].parameters(), one.parameters(), strict=True))
    assert not torch.equal(several[1].layers[0].weight, one.layers[0].weight)


def test_one_pass_gives_mean_and_spread(together: Path) -> None:
    model = RewardModel.from_pretrained(together)
    batch_rewards = model.score("How many?", responses=["one", "two", "three or four"])
    assert model.heads == HEADS
    members = list(model.head.heads)
    for place in range(3):
        each = []
        for member in members:
            alone = RewardModel(model.backbone, member, model.template)
            each.append(alone.score("How many?", responses=["one", "two", "three or four"])[place])
        assert batch_rewards[place] == pytest.approx(sum(each) / HEADS, abs=1e-6)


def test_micro_batches_and_resume_change_nothing(
    together: Path, world: Any, make_recipe: Callable, tmp_path: Path, read_state: Callable
) -> None:
    model, data = frozen(world, head={"heads": HEADS}), {"bootstrap": True}
    optimizer = TIGHT | {"tokens_per_microbatch": 200, "schedule": "constant"}
    whole = train(make_recipe(model=model, data=data, optimizer=TIGHT | {"schedule": "constant"}), tmp_path / "whole")
    cut = {"optimizer": optimizer, "run": {"save_every": 1, "log_every": 1}}
    train(make_recipe(model=model, data=data, **cut | {"optimizer": optimizer | {"max_steps": 2}}), tmp_path / "cut")
    gone_on = train(make_recipe(model=model, data=data, **cut), tmp_path / "cut", resume=True)
    assert gone_on.facts["microbatches"] > 1
    assert gone_on.facts["steps"] == whole.facts["steps"] == 4
    expected = read_state(whole.model_folder)
    for name, weight in read_state(gone_on.model_folder).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5)


def test_a_backbone_that_learns_learns_from_the_mean(world: Any, make_recipe: Callable, tmp_path: Path) -> None:
    """Equal heads on equal pairs give the backbone the gradient of one."""
    steps = {}
    for heads in (1, 2):
        recipe = make_recipe(
            model={"backbone": str(world.backbone), "head": {"heads": heads}},
            optimizer={"max_steps": 1, "max_grad_norm": 1e9},
        )

        def equal_heads(trainer: RewardTrainer, heads: int = heads) -> None:
            if heads == 2:
                first, second = trainer.model.head.heads
                second.load_state_dict(first.state_dict())

        steps[heads] = _gradient_norms(recipe, tmp_path / str(heads), equal_heads)
    # Twice the same head: its gradient counts twice in the norm, that of the backbone once.
    backbone, head = steps[1]
    assert steps[2] == (pytest.approx(backbone, rel=1e-5), pytest.approx(head * math.sqrt(2), rel=1e-5))


def _gradient_norms(recipe: Any, folder: Path, prepare: Callable[[RewardTrainer], None]) -> tuple[float, float]:
    found: list[tuple[float, float]] = []
    clip = RewardTrainer._clip_grad_norm

    def watch(trainer: RewardTrainer, model: Any) -> Any:
        norm = clip(trainer, model)
        sums = [0.0, 0.0]
        for name, weight in model.named_parameters():
            sums[name.startswith("head.")] += float(weight.grad.square().sum())
        found.append((math.sqrt(sums[0]), math.sqrt(sums[1])))
        return norm

    begin = RewardTrainer.train

    def start(trainer: RewardTrainer, *args: Any, **kwargs: Any) -> Any:
        prepare(trainer)
        return begin(trainer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RewardTrainer, "_clip_grad_norm", watch)
        patch.setattr(RewardTrainer, "train", start)
        train(recipe, folder)
    return found[0]


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "ddp"])
def test_limits_apply_to_each_head_on_its_own(is_wrapped: bool) -> None:
    """Gradients (3, 4) and (0.3, 0.4) of two heads: the first is cut to norm 1, the second is left."""
    model = torch.nn.Module()
    model.head = torch.nn.Module()
    model.head.heads = torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False) for _ in range(2)])
    model.other = torch.nn.Linear(2, 1, bias=False)
    gradients = [torch.tensor([[3.0, 4.0]]), torch.tensor([[0.3, 0.4]]), torch.tensor([[0.0, 4.0]])]
    layers = [*model.head.heads, model.other]
    for layer, gradient in zip(layers, gradients, strict=True):
        layer.weight.grad = gradient
    wrapped = torch.nn.Module()
    wrapped.module = model
    norm = clip_apart(wrapped if is_wrapped else model, 2, 1.0)
    assert float(norm) == pytest.approx(math.sqrt(25 + 0.25 + 4))
    expected = ([0.6, 0.8], [0.3, 0.4], [0.0, 1.0])
    for layer, own in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.weight.grad[0], torch.tensor(own), rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_sum_over_heads_of_weighted_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    batch = {
        "pairs": torch.tensor([[0, 1], [3, 2]]),
        "margins": torch.zeros(2, dtype=torch.float64),
        "weights": torch.tensor([1.0, 0.5], dtype=torch.float64),
        "answer_lengths": torch.ones(4, dtype=torch.int64),
    }
    drawn = torch.tensor([[2.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    found = sum_over_heads(BradleyTerry().loss, rewards, batch, drawn)
    margins = rewards[batch["pairs"][:, 0]] - rewards[batch["pairs"][:, 1]]
    terms = torch.nn.functional.softplus(-margins)
    expected = 2 * terms[0, 0] + 0.5 * terms[1, 0] + 1.5 * terms[1, 1]
    torch.testing.assert_close(found.total, expected)
    torch.testing.assert_close(found.rewards.chosen - found.rewards.rejected, margins.mean(1))


def test_a_swap_is_drawn_with_its_pair() -> None:
    """What a head does not draw teaches it nothing, whatever images it stands behind."""
    rewards = torch.tensor([[0.3, 0.1], [-1.0, 0.4], [2.0, -0.2], [0.1, 0.6], [-0.4, 0.9]], dtype=torch.float64)
    batch = {
        "pairs": torch.tensor([[0, 1], [2, 3]]),
        "margins": torch.zeros(2),
        "weights": torch.ones(2, dtype=torch.float64),
        "answer_lengths": torch.ones(5, dtype=torch.long),
        "swaps": torch.tensor([[2, 4]]),
        "swap_weights": torch.tensor([0.7], dtype=torch.float64),
    }
    drawn = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    found = sum_over_heads(BradleyTerry(image_swap=ImageSwap()).loss, rewards, batch, drawn).total
    margins = rewards[[0, 2]] - rewards[[1, 3]]
    swapped = rewards[2, 1] - rewards[4, 1]
    terms = torch.nn.functional.softplus(-margins)
    torch.testing.assert_close(found, (terms * drawn).sum() + 3 * 0.7 * torch.nn.functional.softplus(-swapped))


def test_bootstrap_weights_are_poisson_and_independent_between_heads() -> None:
    """Mean 1, variance 1, P(0) = 1/e and no correlation, each within five standard errors of 20,000 draws."""
    draws = torch.tensor([Bootstrap(7, 2).weigh(pair(str(number))) for number in range(20_000)], dtype=torch.float64)
    error = 5 / math.sqrt(20_000)
    for own in draws.unbind(1):
        assert float(own.mean()) == pytest.approx(1, abs=error)
        assert float(own.var()) == pytest.approx(1, abs=error * math.sqrt(3))
        assert float((own == 0).double().mean()) == pytest.approx(1 / math.e, abs=error / 2)
    assert abs(float(torch.corrcoef(draws.T)[0, 1])) < error


def test_a_bootstrap_weight_is_of_seed_and_pair() -> None:
    weights = [[poisson_weight(seed, pair(name)) for name in "abcdefghij"] for seed in (0, 1)]
    assert weights[0] != weights[1]
    assert Bootstrap(0, 2).weigh(pair("c")) == [weights[0][2], weights[1][2]]
    # The draw is part of a run's result: another one would not go on from its checkpoints.
    assert weights[0] == [poisson_weight(0, pair(name)) for name in "abcdefghij"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"objective": {"kind": "critic"}, "model": {"head": {"heads": 2}}}, "leave out model.head.heads"),
        ({"objective": {"kind": "critic"}, "data": {"bootstrap": True}}, "leave out data.bootstrap"),
        ({"objective": {"kind": "grm"}, "model": {"freeze_backbone": True}}, "leave out model.freeze_backbone"),
        ({"model": {"freeze_backbone": True, "lora": {}}}, "leave out lora"),
        ({"model": {"backbone": None, "init_from": "x", "head_seed": 1}}, "leave model.head_seed out"),
    ],
)
def test_what_heads_cannot_do_is_refused(world: Any, make_recipe: Callable, sections: Any, words: str) -> None:
    model = {"backbone": str(world.backbone)} | sections.pop("model", {})
    with pytest.raises(RecipeError, match=words):
        make_recipe(model=model, **sections)


def test_the_plan_counts_all_heads_and_no_frozen_backbone(world: Any, make_recipe: Callable) -> None:
    config = backbone_config(str(world.backbone))
    recipe = make_recipe(model=frozen(world, head={"heads": 3}))
    model = prepare_model(recipe)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert trained_parameters(recipe, config, measure_backbone(config)) == trained
    assert trained == sum(weight.numel() for weight in model.head.parameters())
