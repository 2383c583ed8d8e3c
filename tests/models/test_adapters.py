"""LoRA: an adapter and a head on disk, the same rewards after loading and after merging."""

import json
import shutil

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from basereward.errors import CheckpointError
from basereward.models import hub
from basereward.models.adapter_files import adapter_name, is_adapter, weights_fingerprint
from basereward.models.adapters import LoraSettings, attach_lora, merge_adapters
from basereward.models.checkpoint import load_reward_model, load_weights, new_reward_model, save_reward_model
from basereward.scoring.spec import open_scorer

pytest.importorskip("peft", reason="LoRA needs peft")


@pytest.fixture(params=["vl", "text"])
def adapted(request):
    """A model whose adapters change its rewards."""
    model = request.getfixturevalue(f"{request.param}_model")
    attach_lora(model, LoraSettings(rank=2, alpha=4))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=draw)
    return model.eval()


def difference(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def test_a_fresh_adapter_changes_nothing(model, pool, rewards_of):
    expected = rewards_of(model, pool(model))
    attach_lora(model, LoraSettings(rank=2, alpha=4))
    assert model.is_adapted
    assert model.backend == "split"
    assert difference(rewards_of(model.eval(), pool(model)), expected) <= 1e-6


def test_only_adapters_and_head_train(adapted):
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert {name for name in trained if "lora" not in name} == {
        "head.layers.0.weight",
        "head.layers.0.bias",
        "head.layers.1.weight",
    }
    assert sum("lora" in name for name in trained) == 2 * 7 * 2
    assert not any("visual" in name for name in trained)


def test_saved_and_loaded(adapted, pool, rewards_of, tmp_path):
    expected = rewards_of(adapted, pool(adapted))
    base = new_reward_model(adapted.backbone.peft_config["default"].base_model_name_or_path)
    base.head.load_state_dict(adapted.head.state_dict())
    assert difference(rewards_of(base.eval(), pool(base)), expected) > 1e-2
    folder = save_reward_model(adapted, tmp_path)
    assert is_adapter(folder)
    assert {file.name for file in folder.glob("*.safetensors")} == {
        "adapter_model.safetensors",
        "reward_head.safetensors",
    }
    assert all("lora_" in name for name in load_file(folder / "adapter_model.safetensors"))
    loaded = load_reward_model(folder).eval()
    assert loaded.is_adapted
    assert torch.equal(rewards_of(loaded, pool(loaded)), expected)
    theirs = loaded.state_dict()
    ours = {name: weight for name, weight in adapted.state_dict().items() if "lora" in name or name.startswith("head.")}
    for name in ours:
        torch.nn.init.zeros_(theirs[name])
    load_weights(loaded, folder)
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_an_adapter_names_the_hub_id_of_its_base(adapted, tmp_path, monkeypatch):
    base = adapted.backbone.peft_config["default"].base_model_name_or_path
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **options: base)
    fresh = new_reward_model("owner/base@main")
    attach_lora(fresh, LoraSettings(rank=2))
    folder = save_reward_model(fresh, tmp_path)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base@main"
    assert load_reward_model(folder).is_adapted


def test_merged_without_peft(adapted, pool, rewards_of, tmp_path):
    expected = rewards_of(adapted, pool(adapted))
    merged = merge_adapters(adapted)
    assert not merged.is_adapted
    assert difference(rewards_of(merged, pool(merged)), expected) <= 1e-5
    folder = save_reward_model(merged, tmp_path)
    assert not is_adapter(folder)
    names = load_file(folder / "model.safetensors")
    assert not any("lora" in name or "base_layer" in name or "base_model" in name for name in names)
    _, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    loaded = load_reward_model(folder).eval()
    assert not loaded.is_adapted
    assert difference(rewards_of(loaded, pool(loaded)), expected) <= 1e-5
    loaded.use_backend("plain")
    assert difference(rewards_of(loaded, pool(loaded)), expected) <= 1e-5


def test_merging_into_the_folder_of_the_adapter(adapted, pool, rewards_of, tmp_path):
    save_reward_model(adapted, tmp_path)
    merged = merge_adapters(load_reward_model(tmp_path)).eval()
    with torch.no_grad():
        merged.head.layers[1].weight += 1
    expected = rewards_of(merged, pool(merged))
    save_reward_model(merged, tmp_path)
    loaded = load_reward_model(tmp_path).eval()
    assert not loaded.is_adapted
    assert torch.equal(rewards_of(loaded, pool(loaded)), expected)


def test_a_whole_model_has_nothing_to_merge(text_model):
    with pytest.raises(CheckpointError, match="no adapters to merge"):
        merge_adapters(text_model)


def test_an_adapter_that_lacks_weights_is_refused(adapted, tmp_path):
    save_reward_model(adapted, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "lora_B" in name)
    del weights[name]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 adapter weights") as caught:
        load_reward_model(tmp_path)
    assert adapter_name(name) in str(caught.value)


@pytest.mark.parametrize("name", ["/moved/away", "moved", "../moved/away"])
def test_an_adapter_without_its_base_names_it(name, adapted, tmp_path):
    save_reward_model(adapted, tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": name}))
    for load in (load_reward_model, lambda folder: open_scorer(str(folder))):
        with pytest.raises(FileNotFoundError, match=f"is an adapter of {name!r}, which is not there") as caught:
            load(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "adapter_config.json" in str(caught.value)


@pytest.fixture
def own_base(text_backbone, tmp_path):
    """A copy of the tiny backbone to change, and an adapter of it."""
    base = shutil.copytree(text_backbone, tmp_path / "base")
    model = new_reward_model(base)
    attach_lora(model, LoraSettings(rank=2))
    return base, save_reward_model(model, tmp_path / "adapter")


def test_another_base_is_refused(own_base, backbone_of, tmp_path):
    base, adapter = own_base
    assert load_reward_model(adapter).is_adapted
    file = base / "model.safetensors"
    weights = load_file(file)
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] += 1e-3
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"is an adapter of a base with weights \w+, but .* has weights"
    ) as caught:
        load_reward_model(adapter)
    assert str(adapter) in str(caught.value)
    assert str(base) in str(caught.value)


def test_the_same_base_in_other_files_is_the_same(own_base):
    base, adapter = own_base
    weights = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    save_torch_state_dict(dict(reversed(weights.items())), base, max_shard_size="20KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    assert load_reward_model(adapter).is_adapted


def test_a_base_in_another_precision_is_another(own_base):
    base, _ = own_base
    before = weights_fingerprint(base)
    weights = {name: weight.bfloat16() for name, weight in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert weights_fingerprint(base) != before


def test_large_tensors_are_sampled_from_first_to_last_row(tmp_path):
    weights = {"large": torch.zeros(40_000, 16), "scalar": torch.tensor(2.0), "empty": torch.zeros(0, 3)}

    def fingerprint():
        save_file(weights, tmp_path / "model.safetensors")
        return weights_fingerprint(tmp_path)

    before = fingerprint()
    weights["large"][30_000:30_040] += 1
    assert fingerprint() != before


def test_a_base_named_by_a_relative_path_is_found_from_elsewhere(own_base, tmp_path, monkeypatch):
    base, _ = own_base
    monkeypatch.chdir(base.parent)
    model = new_reward_model(base.name)
    attach_lora(model, LoraSettings(rank=2))
    folder = save_reward_model(model, tmp_path / "relative")
    monkeypatch.chdir("/")
    assert load_reward_model(folder).is_adapted


def test_merged_weights_lie_in_no_folder_that_an_adapter_could_name(own_base):
    merged = merge_adapters(load_reward_model(own_base[1]))
    with pytest.raises(CheckpointError, match="save the model"):
        attach_lora(merged, LoraSettings(rank=2))


def test_adapters_in_bf16_keep_fp32_head_and_adapters(adapted, tmp_path):
    save_reward_model(adapted, tmp_path)
    loaded = load_reward_model(tmp_path, dtype=torch.bfloat16)
    kinds = {name: weight.dtype for name, weight in loaded.named_parameters()}
    assert {dtype for name, dtype in kinds.items() if "lora_" in name or name.startswith("head.")} == {torch.float32}
    assert torch.bfloat16 in kinds.values()
