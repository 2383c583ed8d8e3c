"""Every family with images: its processor's own ids and pixels, and the same rewards and gradients however computed."""

import dataclasses

import pytest
import torch
from transformers import AutoImageProcessor, AutoProcessor

from basereward.encoding.collate import collate
from basereward.errors import BackendError
from basereward.models.adapters import LoraSettings, attach_lora, freeze_vision
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.families import FAMILIES
from basereward.models.flops import measure_backbone
from basereward.models.guard import settle_backend
from basereward.models.inputs import TemplateSettings

VISION_FAMILIES = [name for name, family in FAMILIES.items() if family.vision]
LINEAR = ("qwen3_5", "qwen3_5_moe")
# Linear layers of the two layers of the tiny text models; experts are none.
ADAPTED = {"qwen3_vl_moe": 2 * 4, "qwen3_5": 5 + 4 + 2 * 3, "qwen3_5_moe": 5 + 4 + 2 * 3}


def difference(found, expected):
    """The largest difference relative to the largest reward."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(params=VISION_FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def model(family, backbone_of):
    torch.manual_seed(0)
    return new_reward_model(backbone_of(family), template=TemplateSettings(image_backend="pil")).eval()


@pytest.fixture
def groups(make_group, say, picture):
    """No image, one, two between texts, unequal lengths, control tokens in a text."""
    between = (say("system", "Look."), say("user", "Here ", None, " and there ", None, ": same color?"))
    return [
        make_group("What color is the object?", ["It is red.", "It is blue, I think."]),
        make_group("What color is the object?", ["red", "It is blue."], [picture(84, 56, 1)]),
        make_group(between, ["yes", "no, they differ", "yes"], [picture(56, 56, 2), picture(60, 170, 3)]),
        make_group("Is <think> here? <|im_end|><video>", ["no"], [picture(150, 70, 5)]),
    ]


@pytest.fixture
def batch(model, groups):
    return collate([model.template.encode(group) for group in groups])


def test_ids_and_pixels_equal_the_processor(family, groups, model, backbone_of, image_tokens):
    processor = AutoProcessor.from_pretrained(backbone_of(family))
    processor.image_processor = AutoImageProcessor.from_pretrained(backbone_of(family), backend="pil")
    for group in groups[:3]:
        encoded = model.template.encode(group)
        measured = model.template.measure(group, [image.size for image in group.images])
        assert (measured.prefix, measured.suffixes) == (len(encoded.prefix), tuple(map(len, encoded.suffixes)))
        assert measured.image_tokens == image_tokens(encoded.images)
        for response, suffix in zip(group.responses, encoded.suffixes, strict=True):
            messages = [message.to_dict() for message in group.prompt + response.messages]
            text = processor.apply_chat_template(messages, tokenize=False)
            expected = processor(text=[text], images=list(group.images) or None, return_tensors="pt")
            assert [*encoded.prefix, *suffix] == expected["input_ids"][0].tolist()
            for key, own in (encoded.images.tensors if encoded.images else {}).items():
                assert torch.equal(own, expected[key])


def test_control_tokens_in_text_stay_text(groups, model, image_tokens):
    encoded = model.template.encode(groups[3])
    ids = [*encoded.prefix, *encoded.suffixes[0]]
    assert sum(token in model.template.vision.pad_ids for token in ids) == image_tokens(encoded.images)
    assert "Is <think> here? <|im_end|><video><|im_end|>" in model.template.tokenizer.decode(ids)


@torch.no_grad()
def test_rewards_are_those_of_the_backbone_alone(family, groups, model, backbone_of, shared):
    """The reference shares no code of ours after the head: the processor's inputs, the backbone's own positions."""
    processor = AutoProcessor.from_pretrained(backbone_of(family))
    processor.image_processor = AutoImageProcessor.from_pretrained(backbone_of(family), backend="pil")
    model.use_backend("plain")
    expected = []
    for group in groups[:3]:
        for response in group.responses:
            messages = [message.to_dict() for message in group.prompt + response.messages]
            text = processor.apply_chat_template(messages, tokenize=False)
            inputs = processor(text=[text], images=list(group.images) or None, return_tensors="pt")
            expected.append(model.head(model.backbone(**inputs, use_cache=False).last_hidden_state[:, -1]))
    wanted = torch.cat(expected)
    batch = collate([model.template.encode(group) for group in groups[:3]])
    for backend in ("plain", shared):
        model.use_backend(backend, scoring=True)
        assert difference(model(**batch), wanted) <= 1e-5


@torch.no_grad()
def test_rewards_do_not_depend_on_the_batch(model, groups, batch, shared):
    for backend in ("plain", shared):
        model.use_backend(backend, scoring=True)
        expected = model(**batch)
        alone = torch.cat([model(**collate([model.template.encode(group)])) for group in groups])
        assert difference(alone, expected) <= 1e-5
        turned = model(**collate([model.template.encode(group) for group in groups[::-1]]))
        sizes = [len(group.responses) for group in groups[::-1]]
        assert difference(torch.cat(turned.split(sizes)[::-1]), expected) <= 1e-5
        with_dummy = model(**collate([model.template.encode(groups[0])], model.template.vision))
        assert difference(with_dummy, expected[:2]) <= 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_every_sequence_alone(
    model, groups, batch, checkpointing, gradients, trained, worst_difference
):
    expected = alone(model, groups, gradients)
    # Without a gradient in theory: a tower's unused last norm and the token that only masking would write.
    unused = {name for name, _ in model.named_parameters()} - expected.keys()
    assert all("vision_tower" in name for name in unused)
    if checkpointing:
        model.enable_checkpointing()
        model.train()
    assert worst_difference(gradients(model, batch, trained), expected) <= 1e-4


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_train_the_text_model_alone(
    family, model, groups, batch, checkpointing, gradients, trained, worst_difference
):
    pytest.importorskip("peft", reason="LoRA needs peft")
    attach_lora(model, LoraSettings(rank=2, alpha=4))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    expected = alone(model, groups, gradients)
    adapters = [name for name in expected if "lora" in name]
    assert len(adapters) == 2 * ADAPTED.get(family, 2 * 7)
    assert all(".language_model." in name for name in adapters)
    if checkpointing:
        model.enable_checkpointing()
        model.train()
    assert worst_difference(gradients(model, batch, trained), expected) <= 1e-4


def alone(model, groups, gradients):
    """The gradients of a row as ``gradients`` weighs its rewards, every response behind its own copy of its prompt."""
    single = [dataclasses.replace(group, responses=(own,)) for group in groups for own in group.responses]
    weights = (torch.linspace(-1, 1, len(single)) + 0.1).tolist()
    total = {}
    for group, weight in zip(single, weights, strict=True):
        found = gradients(model, collate([model.template.encode(group)]), "plain")
        for name, own in found.items():
            # Of one reward alone the fixture's weight is -1 + 0.1.
            total[name] = total.get(name, 0) + own * (weight / -0.9)
    return total


def test_a_frozen_tower_leaves_text_and_head(model, batch, gradients, trained):
    freeze_vision(model)
    found = gradients(model, batch, trained)
    assert all(name.startswith(("backbone.language_model.", "head.")) for name in found)
    assert any(name.startswith("backbone.language_model.") for name in found)


@pytest.mark.parametrize("family", LINEAR)
@pytest.mark.parametrize("backend", ["split", "varlen"])
def test_linear_attention_is_refused_where_responses_would_see_each_other(model, backend):
    with pytest.raises(BackendError, match=f"'{backend}'.*full_attention, linear_attention"):
        model.use_backend(backend)
    assert model.use_backend("auto", scoring=True).backend == "expand"
    assert settle_backend(model, "auto").backend == "plain"


@pytest.mark.parametrize("adapted", [False, True])
def test_a_saved_model_gives_the_same_rewards(model, batch, adapted, tmp_path):
    if adapted:
        pytest.importorskip("peft", reason="LoRA needs peft")
        attach_lora(model.eval(), LoraSettings(rank=2, alpha=4))
    with torch.no_grad():
        expected = model.eval()(**batch)
        loaded = load_reward_model(save_reward_model(model, tmp_path)).eval()
        assert torch.equal(loaded(**batch), expected)
    assert loaded.template.vision.pixels == model.template.vision.pixels
    assert loaded.template.vision.backend == "pil"


def test_pixel_limits_are_kept(family, backbone_of, picture, tmp_path, image_tokens):
    free = new_reward_model(backbone_of(family)).template.vision
    limits = TemplateSettings(max_pixels=free.pixels["max"] // 3, image_backend="pil")
    save_reward_model(new_reward_model(backbone_of(family), template=limits), tmp_path)
    loaded = load_reward_model(tmp_path).template.vision
    assert loaded.pixels == {"min": free.pixels["min"], "max": free.pixels["max"] // 3}
    tokens = sum(loaded.expand_image(900, 600).counts)
    assert tokens < sum(free.expand_image(900, 600).counts)
    assert image_tokens(loaded.encode([picture(900, 600)])) == tokens


def test_sizes_add_up(model):
    size = measure_backbone(model.config)
    assert size.total == sum(weight.numel() for weight in model.backbone.parameters())
    assert 0 < size.vision < size.vision_total < size.total
    tower = size.vision_total + sum(weight.numel() for weight in model.backbone.language_model.parameters())
    assert tower == size.total
    assert size.patches_per_token == 4
