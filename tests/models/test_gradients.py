"""Sharing a prompt changes no gradient: ``split`` and ``plain`` give the same, for every parameter."""

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.models.adapters import LoraSettings, attach_lora, freeze_vision

TOLERANCE = 1e-4


@pytest.fixture
def batch_of(pool):
    def make(model):
        return collate([model.template.encode(group) for group in pool(model)])

    return make


@pytest.mark.parametrize("checkpointing", [False, True])
def test_split_equals_plain_for_every_parameter(model, checkpointing, batch_of, gradients, worst_difference):
    batch = batch_of(model)
    expected = gradients(model, batch, "plain")
    assert len(expected) == len(list(model.parameters()))
    assert all(own.norm() > 0 for name, own in expected.items() if not name.endswith("k_proj.bias"))
    if checkpointing:
        model.enable_checkpointing()
        model.train()
    assert worst_difference(gradients(model, batch, "split"), expected) <= TOLERANCE


@pytest.mark.parametrize("trained", ["everything", "text", "adapters"])
@pytest.mark.parametrize("backend", ["split", "plain"])
def test_checkpointing_recomputes_every_layer(vl_model, backend, trained, batch_of, gradients):
    if trained == "text":
        freeze_vision(vl_model)
    if trained == "adapters":
        pytest.importorskip("peft", reason="LoRA needs peft")
        attach_lora(vl_model, LoraSettings(rank=2, alpha=4))
    calls = []
    layers = {name: module for name, module in vl_model.named_modules() if name.endswith((".0.mlp", ".1.mlp"))}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda module, inputs, name=name: calls.append(name))
    batch = batch_of(vl_model)
    vl_model.train()
    gradients(vl_model, batch, backend)
    assert sorted(calls) == sorted(layers)
    assert len(calls) == 4
    calls.clear()
    vl_model.enable_checkpointing()
    gradients(vl_model, batch, backend)
    # A frozen tower has no backward pass that would need its activations again.
    once = [name for name in layers if trained != "everything" and ".visual." in name]
    assert {name: calls.count(name) for name in layers} == {name: 1 if name in once else 2 for name in layers}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_train_alone_and_alike(model, checkpointing, batch_of, gradients, worst_difference):
    pytest.importorskip("peft", reason="LoRA needs peft")
    torch.manual_seed(0)
    attach_lora(model, LoraSettings(rank=2, alpha=4))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    batch = batch_of(model)
    expected = gradients(model, batch, "plain")
    assert {name for name in expected if "lora" not in name} == {
        f"head.{name}" for name, _ in model.head.named_parameters()
    }
    assert sum("lora" in name for name in expected) == 2 * 2 * 7
    assert not any("visual" in name for name in expected)
    if checkpointing:
        model.enable_checkpointing()
        model.train()
    assert worst_difference(gradients(model, batch, "split"), expected) <= TOLERANCE


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_vision_tower_gets_no_gradient(vl_model, checkpointing, batch_of, gradients, worst_difference):
    batch = batch_of(vl_model)
    whole = gradients(vl_model, batch, "plain")
    freeze_vision(vl_model)
    expected = gradients(vl_model, batch, "plain")
    assert expected.keys() == {name for name in whole if ".visual." not in name}
    if checkpointing:
        vl_model.enable_checkpointing()
        vl_model.train()
    assert worst_difference(gradients(vl_model, batch, "split"), expected) <= TOLERANCE
    assert worst_difference(expected, {name: whole[name] for name in expected}) <= TOLERANCE


def test_freezing_vision_of_a_text_model_does_nothing(text_model):
    freeze_vision(text_model)
    assert all(weight.requires_grad for weight in text_model.parameters())


def test_the_dummy_image_gives_the_vision_tower_zero_gradients(vl_model, text_groups, gradients, worst_difference):
    encoded = [vl_model.template.encode(group) for group in text_groups]
    expected = gradients(vl_model, collate(encoded), "split")
    for backend in ("split", "plain"):
        found = gradients(vl_model, collate(encoded, vl_model.template.vision), backend)
        tower = {name for name in found if ".visual." in name}
        assert tower == {name for name, _ in vl_model.named_parameters() if ".visual." in name}
        assert all(not found[name].any() for name in tower)
        assert worst_difference({name: found[name] for name in expected}, expected) <= TOLERANCE
