"""QLoRA: adapters on a text model of four bits; what is refused, what is saved, and runs that resume."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, TrainerCallback

from basereward.errors import CheckpointError, MissingExtraError, RecipeError
from basereward.lab.backbone import Family, write_backbone
from basereward.models.adapters import merge_adapters
from basereward.models.checkpoint import load_reward_model, save_reward_model
from basereward.models.facts import read_facts
from basereward.models.flops import measure_backbone
from basereward.models.hub import load_backbone, open_folder
from basereward.models.quantization import QuantizationSettings, dequantise, four_bit_layers
from basereward.models.reward_model import RewardModel
from basereward.training.memory import Microbatch, estimate_memory
from basereward.training.plan import trained_parameters
from basereward.training.prepare import prepare_model
from basereward.training.run import train

LORA = {"rank": 4, "alpha": 8}
ASKED = ("What is 2 + 3?", (), ["5", "six", "7 or 8"])


class Keeper(TrainerCallback):
    """Keeps what the trained model says at the end."""

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.rewards = model.eval().score(*ASKED)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone whose layers have whole blocks of inputs."""
    return write_backbone(tmp_path_factory.mktemp("wide") / "backbone", "qwen2_5_vl", "demo")


@pytest.fixture
def section(backbone: Path) -> Callable[..., dict[str, Any]]:
    """The model section of a QLoRA recipe."""
    return lambda **changes: {"backbone": str(backbone), "lora": LORA, "quantization": {}, **changes}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"lora": None}}, "quantised weights cannot train, only adapters on them; set model.lora"),
        ({"model": {"lora": None, "freeze_backbone": True}}, "quantised weights cannot train"),
        ({"model": {"freeze": ["language"]}}, "lora keeps the whole backbone"),
        ({"hardware": {"sharding": "fsdp2"}}, "model.quantization: fsdp2 does not shard 4-bit weights"),
        ({"objective": {"kind": "critic"}}, "leave out lora"),
    ],
)
def test_what_cannot_be_quantised_is_refused(
    sections: Any, message: str, make_recipe: Callable, section: Callable
) -> None:
    with pytest.raises(RecipeError, match=message):
        make_recipe(**{**sections, "model": section(**sections.get("model", {}))})


def test_the_library_is_asked_for_by_name(
    make_recipe: Callable, section: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("basereward.models.quantization.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"4-bit weights need bitsandbytes.*basereward\[bnb\]"):
        prepare_model(make_recipe(model=section()))


def test_the_plan_counts_four_bits_and_their_scales(make_recipe: Callable, section: Callable, backbone: Path) -> None:
    config = AutoConfig.from_pretrained(backbone)
    size = measure_backbone(config)

    def weights(**changes: Any) -> float:
        recipe = make_recipe(model=section(**changes))
        trained = trained_parameters(recipe, config, size)
        return estimate_memory(recipe, config, size, trained, Microbatch(100, 50), 1).weights * 2**30

    linear = sum(own.weights for own in size.linears)
    largest = max(own.weights for own in size.linears) // size.layers
    assert weights(quantization=None) - weights() == pytest.approx(
        linear * (4 - 0.5 - (1 + 4 / 256) / 64) - 4 * largest
    )
    single = weights(quantization={"double": False}) - weights()
    assert single == pytest.approx(linear * (4 - 1 - 4 / 256) / 64)


class TestWithTheLibrary:
    """What computes with four bits."""

    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")

    def test_linear_layers_of_the_text_model_alone_are_quantised(self, backbone_of: Callable, tmp_path: Path) -> None:
        families: tuple[Family, ...] = ("qwen2_5_vl", "internvl", "qwen3", "qwen3_5")
        for family in families:
            folder = write_backbone(tmp_path / family, family, "demo")
            whole = load_backbone(folder)
            held = load_backbone(folder, quantization=QuantizationSettings())
            paths = {path for path, _ in four_bit_layers(held)}
            text = {
                path
                for path, module in whole.named_modules()
                if isinstance(module, torch.nn.Linear) and "layers." in path and "vis" not in path.partition(".")[0]
            }
            assert paths == text, family
            for path, layer in four_bit_layers(held):
                weight = whole.get_submodule(path).weight
                # Half the widest gap of nf4 is 0.152 of the largest weight of a block; scales of 8 bits add a little.
                assert (dequantise(layer) - weight).abs().max() < 0.17 * weight.abs().max()
            plain, quantised = dict(held.named_parameters()), {f"{path}.weight" for path in paths}
            assert all(torch.equal(own, plain[name]) for name, own in whole.named_parameters() if name not in quantised)
            assert not hasattr(held.config, "quantization_config")
        with pytest.raises(CheckpointError, match=r"q_proj has 32 inputs, no multiple of the 64 weights of a block"):
            load_backbone(backbone_of("qwen3"), quantization=QuantizationSettings())

    def test_levels_do_not_depend_on_the_dtype_that_is_asked_for(self, backbone: Path) -> None:
        settings = QuantizationSettings()
        models = [load_backbone(backbone, dtype, quantization=settings) for dtype in (None, torch.bfloat16)]
        for (_, one), (_, other) in zip(*map(four_bit_layers, models), strict=True):
            assert torch.equal(one.weight.data, other.weight.data)
            assert (one.compute_dtype, other.compute_dtype) == (torch.float32, torch.bfloat16)
        assert [model.get_input_embeddings().weight.dtype for model in models] == [torch.float32, torch.bfloat16]

    def test_gradients_are_those_of_the_weights_that_are_stood_for(self, backbone: Path) -> None:
        """Also behind an evaluation, for which some CPUs would pack weights anew."""
        held = load_backbone(backbone, quantization=QuantizationSettings())
        for _, layer in four_bit_layers(held):
            x = torch.randn(3, layer.in_features, requires_grad=True)
            with torch.no_grad():
                evaluated = layer.eval()(x)
            trained = layer.train()(x)
            assert torch.equal(trained, evaluated)
            trained.sum().backward()
            torch.testing.assert_close(x.grad, dequantise(layer).sum(0).expand(3, -1), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        "variant",
        [{}, pytest.param({"dora": True, "rslora": True, "targets": ["q_proj", "down_proj"]}, marks=pytest.mark.slow)],
    )
    def test_a_folder_and_what_is_merged_of_it_give_the_rewards_of_the_run(
        self, variant: dict, make_recipe: Callable, section: Callable, backbone: Path, tmp_path: Path
    ) -> None:
        keeper = Keeper()
        model = section(lora=LORA | variant, quantization={"double": not variant})
        recipe = make_recipe(model=model, optimizer={"learning_rate": 1e-2, "max_steps": 3})
        folder = train(recipe, tmp_path / "run", callbacks=[keeper]).model_folder
        loaded = RewardModel.from_pretrained(folder)
        assert loaded.score(*ASKED) == keeper.rewards
        assert {file.name for file in folder.glob("*.safetensors")} == {
            "adapter_model.safetensors",
            "reward_head.safetensors",
        }
        opened = open_folder(folder)
        facts = read_facts(opened)
        assert facts is not None
        assert facts.quantization == recipe.model.quantization
        assert "quantization_config" not in opened.content
        assert "in 4 bits (nf4" in (folder / "README.md").read_text()
        merged = save_reward_model(merge_adapters(load_reward_model(folder)), tmp_path / "whole")
        whole = RewardModel.from_pretrained(merged)
        assert whole.score(*ASKED) == pytest.approx(keeper.rewards, rel=1e-5)
        assert not list(four_bit_layers(whole))
        # The base itself, as if it had not been held in 4 bits, gives others.
        config = merged.parent / "run" / "model" / "config.json"
        content = json.loads(config.read_text())
        del content["reward"]["quantization"]
        config.write_text(json.dumps(content))
        unlike = RewardModel.from_pretrained(folder).score(*ASKED)
        assert max(abs(one - other) for one, other in zip(unlike, keeper.rewards, strict=True)) > 1e-3

    @pytest.mark.slow
    def test_a_killed_run_ends_as_the_whole_one(
        self,
        make_recipe: Callable,
        section: Callable,
        world: Any,
        launch: Callable,
        read_state: Callable,
        read_metrics: Callable,
        tmp_path: Path,
    ) -> None:
        """With an evaluation in front of the steps that are resumed."""
        run = {"save_every": 2, "eval_every": 1}
        data = {"train": [str(world.train)], "validation": [str(world.validation)]}
        recipe = make_recipe(model=section(), run=run, data=data, optimizer={"max_steps": 4})
        train(recipe, tmp_path / "whole")
        assert launch(recipe, tmp_path / "run", kill="after-step:3").codes == [9]
        train(recipe, tmp_path / "run", resume=True)
        found, expected = (read_state(tmp_path / folder / "model") for folder in ("run", "whole"))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[own], expected[own]) for own in expected)
        assert read_metrics(tmp_path / "run") == read_metrics(tmp_path / "whole")

    @pytest.mark.slow
    def test_a_trained_model_goes_on_below_adapters_and_a_quantised_one_does_not(
        self, make_recipe: Callable, section: Callable, backbone: Path, tmp_path: Path
    ) -> None:
        first = train(
            make_recipe(model={"backbone": str(backbone)}, optimizer={"max_steps": 1}), tmp_path / "first"
        ).model_folder
        model = section(backbone=None, init_from=str(first))
        recipe = make_recipe(model=model, optimizer={"max_steps": 1})
        keeper = Keeper()
        second = train(recipe, tmp_path / "second", callbacks=[keeper]).model_folder
        assert RewardModel.from_pretrained(second).score(*ASKED) == keeper.rewards
        config = first / "config.json"
        stored = json.loads(config.read_text()) | {"quantization_config": {"quant_method": "awq"}}
        config.write_text(json.dumps(stored))
        for changes in ({}, {"quantization": None}, {"quantization": None, "lora": None}):
            with pytest.raises(CheckpointError, match=r"first/model is stored quantised \(awq\)"):
                prepare_model(make_recipe(model=model | changes))
