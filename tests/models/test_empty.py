"""A backbone on the meta device knows where its values lie, and is else what loading gives."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from basereward.errors import CheckpointError
from basereward.models.adapters import LoraSettings, attach_lora
from basereward.models.checkpoint import continue_reward_model, new_reward_model, save_reward_model
from basereward.models.empty import unread_weights
from basereward.models.facts import CriticRole
from basereward.models.head import HeadSettings
from basereward.models.sharded import read_parts

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "qwen2", "qwen3")
CPU = torch.device("cpu")
ROLE = CriticRole(request="short", max_tokens=8)


def facts(model):
    """What is known of weights without their values."""
    return {name: (own.shape, own.dtype, own.requires_grad) for name, own in model.named_parameters()}


def check_same(found, expected):
    """Weights and buffers to the bit, in the same order; configuration."""
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = (dict(getattr(model, kind)()) for model in (found, expected))
        assert list(ours) == list(theirs)
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
        assert {name: own.dtype for name, own in ours.items()} == {name: own.dtype for name, own in theirs.items()}
    assert found.config.to_dict() == expected.config.to_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("role", [None, ROLE], ids=["reward", "critic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_backbone_is_the_loaded_one_once_it_is_read(family, role, dtype, backbone_of):
    expected, found = (
        new_reward_model(backbone_of(family), dtype=dtype, role=role, head_seed=0, is_empty=is_empty)
        for is_empty in (False, True)
    )
    assert all(weight.is_meta for weight in found.backbone.parameters())
    assert not any(buffer.is_meta for buffer in found.buffers())
    assert facts(found) == facts(expected)
    read_parts(found, unread_weights(found), CPU)
    check_same(found, expected)
    assert found.training == expected.training
    assert not role or found.generation.to_dict() == expected.generation.to_dict()


def test_heads_and_adapters_are_drawn_alike(vl_backbone):
    pytest.importorskip("peft", reason="LoRA needs peft")
    models = []
    for is_empty in (False, True):
        torch.manual_seed(3)
        model = new_reward_model(vl_backbone, HeadSettings(heads=2), is_empty=is_empty)
        attach_lora(model, LoraSettings(rank=4, alpha=8))
        models.append(model)
    expected, found = models
    assert {name for name, weight in found.named_parameters() if not weight.is_meta} == {
        name for name, weight in found.named_parameters() if weight.requires_grad
    }
    read_parts(found, unread_weights(found), CPU)
    check_same(found, expected)
    assert facts(found) == facts(expected)


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("stored", ["once", "twice", "twice, unlike"])
def test_tied_embeddings_are_tied_where_loading_ties_them(is_tied, stored, text_backbone, tmp_path):
    folder = shutil.copytree(text_backbone, tmp_path / "backbone")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": is_tied}))
    weights = load_file(folder / "model.safetensors")
    if stored == "twice":
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    elif stored == "once" and is_tied:
        del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    expected, found = (new_reward_model(folder, role=ROLE, head_seed=0, is_empty=own) for own in (False, True))
    assert (found.lm_head.weight is found.backbone.embed_tokens.weight) == (is_tied and stored != "twice, unlike")
    read_parts(found, unread_weights(found), CPU)
    check_same(found, expected)


def test_a_trained_model_is_read_with_its_head(text_model, tmp_path):
    save_reward_model(text_model, tmp_path)
    expected, found = (continue_reward_model(tmp_path, is_empty=is_empty) for is_empty in (False, True))
    read_parts(found, unread_weights(found), CPU)
    check_same(found, expected)


def test_a_missing_weight_is_an_error(text_backbone, tmp_path):
    folder = shutil.copytree(text_backbone, tmp_path / "backbone")
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights.*norm\.weight"):
        new_reward_model(folder, is_empty=True)


def test_a_weight_of_which_nobody_knows_is_an_error(text_backbone):
    model = new_reward_model(text_backbone, is_empty=True)
    model.backbone.norm.weight = torch.nn.Parameter(model.backbone.norm.weight.detach().clone())
    with pytest.raises(CheckpointError, match=r"Nobody knows.*norm\.weight"):
        unread_weights(model)


def test_a_file_that_changes_before_it_is_read_is_an_error(text_backbone, tmp_path):
    folder = shutil.copytree(text_backbone, tmp_path / "backbone")
    model = new_reward_model(folder, is_empty=True)
    file = folder / "model.safetensors"
    weights, before = {name: weight + 1 for name, weight in load_file(file).items()}, file.stat()
    save_file(weights, file, {"format": "pt"})
    # As a copy that keeps times does: size and time of change are those of before.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    with pytest.raises(CheckpointError, match=r"model\.safetensors has changed"):
        read_parts(model, unread_weights(model), CPU)
