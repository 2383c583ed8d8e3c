"""LoRA: an adapter and a head on disk, the same rewards after loading and after merging."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from basereward.errors import CheckpointError
from basereward.models import checkpoint
from basereward.models.adapters import LoraSettings, adapter_name, attach_lora, is_adapter, merge_adapters
from basereward.models.checkpoint import load_reward_model, new_reward_model, read_weights, save_reward_model

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
    ours = adapted.state_dict()
    read = read_weights(adapted, folder)
    assert {name for name in ours if "lora" in name or name.startswith("head.")} == set(read)
    assert all(torch.equal(weight, ours[name]) for name, weight in read.items())


def test_an_adapter_names_the_hub_id_of_its_base(adapted, tmp_path, monkeypatch):
    base = adapted.backbone.peft_config["default"].base_model_name_or_path
    monkeypatch.setattr(checkpoint, "snapshot_download", lambda name, **options: base)
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


def test_an_adapter_without_its_base_names_it(adapted, tmp_path):
    save_reward_model(adapted, tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "/moved/away"}))
    with pytest.raises(FileNotFoundError, match="/moved/away"):
        load_reward_model(tmp_path)


def test_adapters_in_bf16_keep_fp32_head_and_adapters(adapted, tmp_path):
    save_reward_model(adapted, tmp_path)
    loaded = load_reward_model(tmp_path, dtype=torch.bfloat16)
    kinds = {name: weight.dtype for name, weight in loaded.named_parameters()}
    assert {dtype for name, dtype in kinds.items() if "lora_" in name or name.startswith("head.")} == {torch.float32}
    assert torch.bfloat16 in kinds.values()
