"""Two processes compute what one computes: losses, metrics and weights, replicated or sharded."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from basereward.encoding.packing import CostModel
from basereward.models.reward_model import RewardModel
from basereward.training.plan import run_sampler
from basereward.training.prepare import prepare_pairs, prepare_template
from basereward.training.recipe import Recipe, dump_recipe

KILLED = 9
# Seven pairs on two ranks in bins of at most 130 tokens: bins are unequal, and some are without an image.
BINS = {"pairs_per_step": 7, "tokens_per_microbatch": 130, "schedule": "constant"}
# With a constant learning rate, a shorter run is the beginning of the longer one.
SHORT = BINS | {"epochs": 1}


def recipes(make_recipe: Callable[..., Recipe], world: Any) -> dict[str, tuple[Recipe, int]]:
    """Recipes by name, with their number of ranks."""

    def build(model: dict | None = None, optimizer: dict = BINS, run: dict | None = None, **hardware: Any) -> Recipe:
        return make_recipe(
            model=model or {},
            data={"validation": [str(world.validation)], "bootstrap": bool(model and "head" in model)},
            optimizer=optimizer,
            hardware=hardware,
            run={"eval_every": 2, **(run or {})},
        )

    lora = {"lora": {"rank": 4, "alpha": 8}}
    heads = {"head": {"heads": 2}}
    return {
        "one": (build(), 1),
        "ddp": (build({"checkpointing": True}), 2),
        "fsdp2": (build(run={"save_every": 2}, sharding="fsdp2"), 2),
        "hsdp": (build(optimizer=SHORT, sharding="fsdp2", shard_size=1), 2),
        "fsdp2-bf16": (build({"checkpointing": True}, optimizer=SHORT, sharding="fsdp2", precision="bf16"), 2),
        "one-lora": (build(lora, optimizer=SHORT), 1),
        "one-heads": (build(heads, optimizer=SHORT), 1),
        "fsdp2-heads": (build(heads, optimizer=SHORT, sharding="fsdp2"), 2),
        "fsdp2-lora": (build(lora, optimizer=SHORT, run={"save_every": 2}, sharding="fsdp2"), 2),
    }


@pytest.fixture(scope="module")
def runs(
    make_recipe: Callable, world: Any, launch: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """``runs(name)``: the finished run of that name, launched when first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    known, done, killed = recipes(make_recipe, world), {}, {"fsdp2-lora": "in-save:4"}

    def get(name: str) -> Any:
        if name not in done:
            recipe, ranks = known[name]
            if name in killed:
                assert launch(recipe, folder / name, ranks, kill=killed[name]).codes == [KILLED] * ranks
            done[name] = launch(recipe, folder / name, ranks, resume=name in killed)
            assert done[name].codes == [0] * ranks, done[name].printed(0, "err")
        return done[name]

    return get


def pairs_of_lines(first: list[dict], second: list[dict]) -> list[tuple[dict, dict]]:
    """The lines of two runs side by side, up to the end of the shorter."""
    lines = [[line for line in own if "train_loss" not in line] for own in (first, second)]
    assert [line["step"] for line in lines[1]] == [line["step"] for line in lines[0]][: len(lines[1])]
    return list(zip(*lines, strict=False))


@pytest.fixture
def check_as_one(runs: Callable, read_metrics: Callable, read_state: Callable) -> Callable[[str, str], None]:
    """Compare a run of two ranks with one of one rank: losses, metrics, evaluation and weights."""

    def check(name: str, one: str, steps: int = 8) -> None:
        found, expected = (runs(own).folder for own in (name, one))
        compared = pairs_of_lines(read_metrics(expected), read_metrics(found))
        assert sum("loss" in line for line, _ in compared) == steps
        assert sum("eval_accuracy" in line for line, _ in compared) == steps // 2
        for line, other in compared:
            assert other.keys() == line.keys()
            assert other == pytest.approx(line, rel=1e-5, abs=2e-6)
            for exact in ("accuracy", "ties", "eval_accuracy", "eval_ties"):
                assert other.get(exact) == line.get(exact)
        state, reference = read_state(found / "model"), read_state(expected / "model")
        assert state.keys() == reference.keys()
        for weight in state:
            torch.testing.assert_close(state[weight], reference[weight], rtol=0, atol=1e-5, msg=weight)

    return check


@pytest.mark.parametrize("name", ["one", "ddp"])
def test_micro_batches_are_unequal_and_some_have_no_image(
    name: str, runs: Callable, make_recipe: Callable, world: Any
) -> None:
    recipe, ranks = recipes(make_recipe, world)[name]
    facts = json.loads((runs(name).folder / "train.json").read_text())
    assert facts["ranks"] == ranks
    assert facts["microbatches"] >= 2
    measured = prepare_pairs(recipe, prepare_template(recipe), recipe.data.train)
    sampler = run_sampler(recipe, measured.lengths, CostModel(), ranks)
    bins = []
    for rank in range(ranks):
        sampler.place(rank, facts["microbatches"])
        bins += list(sampler)
    assert len({len(own) for own in bins}) > 1
    assert {any(measured.pairs[pair].images for pair in own) for own in bins} == {True, False}


def test_ddp_with_checkpointing_computes_what_one_process_does(runs: Callable, check_as_one: Callable) -> None:
    check_as_one("ddp", "one")
    assert not runs("ddp").seen()["dtensors"]


@pytest.mark.ranks
def test_fsdp2_computes_what_one_process_does(runs: Callable, check_as_one: Callable) -> None:
    check_as_one("fsdp2", "one")
    for rank in (0, 1):
        seen = runs("fsdp2").seen(rank)
        assert seen["dtensors"]
        assert seen["local_share"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.ranks
def test_sharded_heads_learn_as_on_one_rank(check_as_one: Callable) -> None:
    check_as_one("fsdp2-heads", "one-heads", steps=4)


@pytest.mark.ranks
def test_hsdp_replicates_and_computes_the_same(runs: Callable, read_metrics: Callable) -> None:
    seen = runs("hsdp").seen(1)
    assert seen["dtensors"]
    assert seen["local_share"] == 1.0
    compared = pairs_of_lines(*(read_metrics(runs(name).folder) for name in ("one", "hsdp")))
    assert sum("loss" in line for line, _ in compared) == 4
    for line, other in compared:
        names = line.keys() - {"epoch"}
        assert [other[name] for name in names] == pytest.approx([line[name] for name in names], rel=1e-5, abs=2e-6)


@pytest.mark.ranks
def test_a_killed_fsdp2_run_resumes_to_the_same_weights(
    runs: Callable,
    make_recipe: Callable,
    world: Any,
    launch: Callable,
    tmp_path: Path,
    read_state: Callable,
    read_metrics: Callable,
) -> None:
    recipe, ranks = recipes(make_recipe, world)["fsdp2"]
    assert launch(recipe, tmp_path / "run", ranks, kill="in-save:6").codes == [KILLED] * 2
    resumed = launch(recipe, tmp_path / "run", ranks, resume=True)
    assert resumed.codes == [0, 0], resumed.printed(0, "err")
    whole = runs("fsdp2").folder
    state, reference = read_state(tmp_path / "run" / "model"), read_state(whole / "model")
    assert [name for name in reference if not torch.equal(state[name], reference[name])] == []
    assert read_metrics(tmp_path / "run") == read_metrics(whole)


@pytest.mark.ranks
def test_a_killed_ddp_run_resumes_on_one_rank(
    runs: Callable, make_recipe: Callable, world: Any, launch: Callable, tmp_path: Path, read_state: Callable
) -> None:
    recipe, ranks = recipes(make_recipe, world)["ddp"]
    recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"save_every": 2})})
    assert launch(recipe, tmp_path / "run", ranks, kill="in-save:6").codes == [KILLED] * 2
    resumed = launch(recipe, tmp_path / "run", 1, resume=True)
    assert resumed.codes == [0], resumed.printed(0, "err")
    state, reference = read_state(tmp_path / "run" / "model"), read_state(runs("one").folder / "model")
    for weight in reference:
        torch.testing.assert_close(state[weight], reference[weight], rtol=0, atol=1e-5, msg=weight)


@pytest.mark.ranks
@pytest.mark.parametrize(("saved", "sharding", "ranks"), [("fsdp2", "none", 1), ("one", "fsdp2", 2)])
def test_sharded_and_whole_checkpoints_resume_each_other(
    saved: str,
    sharding: str,
    ranks: int,
    runs: Callable,
    make_recipe: Callable,
    world: Any,
    launch: Callable,
    tmp_path: Path,
    read_state: Callable,
    read_metrics: Callable,
) -> None:
    recipe, first_ranks = recipes(make_recipe, world)[saved]
    recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"save_every": 2})})
    killed = launch(recipe, tmp_path / "run", first_ranks, kill="in-save:6")
    assert killed.codes == [KILLED] * first_ranks
    other = recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"sharding": sharding})})
    resumed = launch(other, tmp_path / "run", ranks, resume=True)
    assert resumed.codes == [0] * ranks, resumed.printed(0, "err")
    whole = runs("one").folder
    state, reference = read_state(tmp_path / "run" / "model"), read_state(whole / "model")
    for weight in reference:
        torch.testing.assert_close(state[weight], reference[weight], rtol=0, atol=1e-5, msg=weight)
    for line, other_line in pairs_of_lines(read_metrics(whole), read_metrics(tmp_path / "run")):
        assert other_line == pytest.approx(line, rel=1e-5, abs=2e-6)


@pytest.mark.ranks
def test_a_sharded_checkpoint_in_one_process_says_what_to_do(
    make_recipe: Callable, launch: Callable, tmp_path: Path
) -> None:
    refused = launch(make_recipe(hardware={"sharding": "fsdp2"}), tmp_path / "run", 1, resume=True)
    assert refused.codes == [1]
    assert "give hardware.sharding=none, which also resumes from a sharded checkpoint" in refused.printed(0, "err")


@pytest.mark.ranks
def test_a_sharded_model_loads_and_scores_in_one_process(runs: Callable) -> None:
    question, answers = "What is 2 + 3?", ["5", "6", "I would say 5"]
    found, expected = (
        RewardModel.from_pretrained(runs(name).folder / "model").score(question, responses=answers)
        for name in ("fsdp2", "one")
    )
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.ranks
def test_bf16_shards_keep_head_and_rewards_in_fp32(
    runs: Callable, read_metrics: Callable, read_state: Callable
) -> None:
    seen = runs("fsdp2-bf16").seen()
    assert seen["dtypes"] == seen["head_dtypes"] == seen["reward_dtypes"] == ["torch.float32"]
    exact, sharded = (
        [line["loss"] for line in read_metrics(runs(name).folder) if "loss" in line][:4]
        for name in ("one", "fsdp2-bf16")
    )
    assert sharded[0] != exact[0]
    assert sharded == pytest.approx(exact, abs=5e-3)
    state = read_state(runs("fsdp2-bf16").folder / "model")
    assert {weight.dtype for weight in state.values()} == {torch.float32}
    rounded = [weight for weight in state.values() if torch.equal(weight, weight.bfloat16().float())]
    assert rounded == []  # the masters were saved, not what the forward pass of the last evaluation used


@pytest.mark.ranks
def test_lora_shards_train_and_resume(runs: Callable, check_as_one: Callable) -> None:
    assert runs("fsdp2-lora").codes == [0, 0]  # killed in a save, and resumed
    check_as_one("fsdp2-lora", "one-lora", steps=4)


@pytest.mark.slow
def test_a_killed_fsdp2_run_resumes_on_three_ranks(
    runs: Callable, make_recipe: Callable, world: Any, launch: Callable, tmp_path: Path, read_state: Callable
) -> None:
    recipe, ranks = recipes(make_recipe, world)["fsdp2"]
    assert launch(recipe, tmp_path / "run", ranks, kill="in-save:6").codes == [KILLED] * 2
    resumed = launch(recipe, tmp_path / "run", 3, resume=True)
    assert resumed.codes == [0, 0, 0], resumed.printed(0, "err")
    state, reference = read_state(tmp_path / "run" / "model"), read_state(runs("one").folder / "model")
    for weight in reference:
        torch.testing.assert_close(state[weight], reference[weight], rtol=0, atol=1e-5, msg=weight)


@pytest.mark.ranks
@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_nan_on_one_rank_stops_both(sharding: str, make_recipe: Callable, launch: Callable, tmp_path: Path) -> None:
    recipe = make_recipe(optimizer=SHORT, hardware={"sharding": sharding})
    stopped = launch(recipe, tmp_path / "run", 2, kill="nan-on-rank:1")
    assert stopped.codes == [1, 1]
    for rank in (0, 1):
        assert "TrainingError: The gradient norm of step 1 is nan" in stopped.printed(rank, "err")
    assert not (tmp_path / "run" / "model").exists()


def test_two_ranks_leave_stdout_empty_and_show_one_progress_bar(runs: Callable) -> None:
    for name in ("ddp", "fsdp2"):
        ended = runs(name)
        assert ended.printed(0) == ended.printed(1) == ""
        assert "8/8" in ended.printed(0, "err")
        assert "step/s" not in ended.printed(1, "err")
        assert "Warning" not in ended.printed(0, "err")


@pytest.mark.ranks
def test_a_shard_size_that_does_not_divide_is_refused(make_recipe: Callable, launch: Callable, tmp_path: Path) -> None:
    recipe = make_recipe(hardware={"sharding": "fsdp2", "shard_size": 3})
    refused = launch(recipe, tmp_path / "run", 2)
    assert refused.codes == [1, 1]
    assert "2 ranks are not a multiple of shard_size 3" in refused.printed(0, "err")


@pytest.mark.slow
def test_torchrun_trains_and_ends_cleanly(
    runs: Callable, make_recipe: Callable, world: Any, tmp_path: Path, read_state: Callable
) -> None:
    recipe, ranks = recipes(make_recipe, world)["fsdp2"]
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "basereward", "train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "--json"]
    environment = os.environ | {"HF_DATASETS_CACHE": str(world.folder / "cache"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["steps"] == 8
    state, reference = read_state(tmp_path / "run" / "model"), read_state(runs("fsdp2").folder / "model")
    assert [name for name in reference if not torch.equal(state[name], reference[name])] == []
