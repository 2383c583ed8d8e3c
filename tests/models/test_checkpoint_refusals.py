"""A folder that would give random or foreign rewards is refused, and the message names what is wrong."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from basereward.errors import CheckpointError, MissingFileError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.hub import load_backbone, resolve_folder
from basereward.models.inputs import load_template


@pytest.fixture
def folder(vl_model, tmp_path):
    return save_reward_model(vl_model, tmp_path / "checkpoint")


def rewrite(folder, change):
    """Replace the stored weights by ``change(weights)``."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


KEY = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize("key", [KEY, "visual.merger.ln_q.weight", "model.embed_tokens.weight"])
def test_a_missing_weight(folder, vl_backbone, key, tmp_path):
    bare = shutil.copytree(vl_backbone, tmp_path / "bare")
    for place, load in ((folder, load_reward_model), (folder, load_backbone), (bare, new_reward_model)):
        rewrite(place, lambda weights: {name: own for name, own in weights.items() if name != key})
        with pytest.raises(CheckpointError, match=r"lacks 1 weights") as caught:
            load(place)
        assert key.removeprefix("model.") in str(caught.value)


def test_a_reward_model_is_no_backbone(folder):
    with pytest.raises(CheckpointError, match=r"is a reward model.*model\.init_from") as caught:
        new_reward_model(folder)
    assert str(folder) in str(caught.value)


def renamed(rules):
    def change(weights):
        named = {}
        for name, own in weights.items():
            old = next((old for old in rules if name.startswith(old)), "")
            named[rules.get(old, "") + name.removeprefix(old)] = own
        return named

    return change


@pytest.mark.parametrize(
    "rules",
    [
        {"visual.": "model.visual."},
        {"model.layers": "transformer.layers"},
        {"visual.": "model.visual.", "model.": "model.language_model."},
        {"visual.": "backbone.visual.", "model.": "backbone.language_model."},
    ],
)
def test_another_layout(folder, rules):
    """The third is what the ``save_pretrained`` of a wrapper class writes."""
    rewrite(folder, renamed(rules))
    names = load_file(folder / "model.safetensors")
    assert all(any(name.startswith(new) for name in names) for new in rules.values())
    with pytest.raises(CheckpointError, match="hub layout of Qwen2_5_VLModel") as caught:
        load_reward_model(folder)
    assert any(part in str(caught.value) for part in ("visual.blocks.0", "layers.0"))


def test_a_layout_that_transformers_translates_is_loaded_whole(folder):
    expected = load_reward_model(folder).state_dict()
    rewrite(folder, renamed({"model.": "model.language_model."}))
    loaded = load_reward_model(folder).state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in expected.items())


def test_another_shape(folder):
    rewrite(folder, lambda weights: {**weights, KEY: torch.zeros(3, 3)})
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.q_proj\.weight"):
        load_reward_model(folder)


def test_a_bare_backbone(vl_backbone):
    with pytest.raises(CheckpointError, match="no reward head") as caught:
        load_reward_model(vl_backbone)
    assert str(vl_backbone) in str(caught.value)


def test_a_missing_head(folder):
    rewrite(folder, lambda weights: {name: own for name, own in weights.items() if "reward_head" not in name})
    with pytest.raises(CheckpointError, match=r"reward_head\.\*"):
        load_reward_model(folder)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_a_broken_head(folder, change):
    key = "reward_head.layers.1.weight"

    def spoil(weights):
        own = weights.pop(key)
        return weights if change == "missing" else {**weights, key: own[:, :5].contiguous()}

    rewrite(folder, spoil)
    with pytest.raises(CheckpointError, match=r"layers\.1\.weight"):
        load_reward_model(folder)


def test_a_changed_chat_template(folder):
    for file in folder.glob("chat_template*"):
        file.write_text(file.read_text() + "{# another #}x")
    for load in (load_reward_model, load_template):
        with pytest.raises(CheckpointError, match=r"it was trained with: chat_template changed.*Restore its files"):
            load(folder)


def test_a_missing_folder(tmp_path):
    for load in (load_reward_model, load_backbone, load_template, resolve_folder):
        with pytest.raises(MissingFileError, match=r"No folder .*nothing.*owner/name"):
            load(tmp_path / "nothing")


def test_a_folder_without_a_configuration(tmp_path):
    for load in (load_reward_model, load_backbone, load_template, new_reward_model):
        with pytest.raises(CheckpointError, match=r"no config\.json"):
            load(tmp_path)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    for load in (load_reward_model, load_backbone):
        with pytest.raises(CheckpointError, match=str(folder)):
            load(folder)


def test_another_family(folder):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="'gpt2' is not supported"):
        load_reward_model(folder)


def test_weights_of_another_model(vl_backbone, folder, tmp_path):
    shutil.copytree(vl_backbone, tmp_path / "deeper")
    file = tmp_path / "deeper" / "config.json"
    config = json.loads(file.read_text())
    config["text_config"] |= {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"lacks 12 weights.*\(language_model\.layers\.2"):
        load_backbone(tmp_path / "deeper")
