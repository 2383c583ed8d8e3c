"""Reward models of other libraries: their head is found by its name, and gives what it gives by hand."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Qwen3Config, Qwen3ForSequenceClassification

from basereward.encoding.collate import collate
from basereward.encoding.layout import TreeLayout
from basereward.errors import CheckpointError
from basereward.models.checkpoint import load_reward_model, save_reward_model

HEADS = {
    "score.weight": {"score.weight": (1, 32)},
    "score with bias": {"score.weight": (1, 32), "score.bias": (1,)},
    "inside the text model": {"language_model.score.weight": (1, 32)},
    "value head": {"v_head.summary.weight": (1, 32), "v_head.summary.bias": (1,)},
    "value head, flat": {"value_head.weight": (1, 32)},
    "rm head": {"rm_head.weight": (1, 32), "rm_head.bias": (1,)},
}


@pytest.fixture
def foreign(tmp_path, backbone_of):
    """``foreign(family, tensors, file)``: a backbone's folder with more tensors; they are drawn by their shapes."""

    def make(family, shapes, file="head.safetensors", dtype=torch.float32):
        folder = tmp_path / "foreign"
        shutil.copytree(backbone_of(family), folder)
        draw = torch.Generator().manual_seed(0)
        tensors = {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}
        if file == "model.safetensors":
            tensors = {**load_file(folder / file), **tensors}
        save_file(tensors, folder / file, {"format": "pt"})
        return folder

    return make


TWO_LAYERS = {
    "rm_head.dense.weight": (32, 32),
    "rm_head.dense.bias": (32,),
    "rm_head.out_proj.weight": (1, 32),
    "rm_head.out_proj.bias": (1,),
}


@torch.no_grad()
def by_hand(folder, batch, weight, bias, inner=lambda hidden: hidden):
    """The backbone on every sequence alone, what comes before the last layer, and a product."""
    backbone = AutoModel.from_pretrained(folder).eval()
    rows = []
    for leaf in batch["leaves"].tolist():
        place = TreeLayout.of(batch).tokens(leaf)
        positions = batch["position_ids"][:, :, place]
        hidden = backbone(
            input_ids=batch["input_ids"][:, place],
            position_ids=positions if len(positions) > 1 else positions[0],
            use_cache=False,
        ).last_hidden_state[0, -1]
        rows.append((inner(hidden) * weight.flatten()).sum() + (0 if bias is None else bias.squeeze()))
    return torch.stack(rows)


@pytest.mark.parametrize("family", ["qwen3", "qwen2_5_vl", "internvl"])
@pytest.mark.parametrize("kind", HEADS)
def test_rewards_equal_a_hand_computation(family, kind, foreign, text_groups, tmp_path):
    file = "value_head.safetensors" if "value" in kind else "model.safetensors"
    folder = foreign(family, HEADS[kind], file)
    weight, bias, *_ = [load_file(folder / file)[name] for name in HEADS[kind]] + [None]
    model = load_reward_model(folder).eval()
    assert len(model.head.layers) == 1
    assert (model.head.layers[0].bias is not None) == (bias is not None)
    batch = collate([model.template.encode(group) for group in text_groups])
    with torch.no_grad():
        rewards = model(**batch)
    torch.testing.assert_close(rewards, by_hand(folder, batch, weight, bias), rtol=1e-5, atol=1e-5)
    again = load_reward_model(save_reward_model(model, tmp_path / "ours")).eval()
    with torch.no_grad():
        assert torch.equal(again(**batch), rewards)
    stored = json.loads((tmp_path / "ours" / "config.json").read_text())["reward"]["head"]
    assert stored.get("final_bias", False) == (bias is not None)


@pytest.mark.parametrize("family", ["qwen3", "qwen2_5_vl"])
def test_the_two_layers_of_mm_rlhf_reward_equal_a_hand_computation(family, foreign, text_groups, tmp_path):
    folder = foreign(family, TWO_LAYERS, "head.safetensors")
    stored = load_file(folder / "head.safetensors")
    inner, inner_bias, last, last_bias = (stored[name] for name in TWO_LAYERS)
    model = load_reward_model(folder).eval()
    batch = collate([model.template.encode(group) for group in text_groups])
    with torch.no_grad():
        rewards = model(**batch)
    expected = by_hand(folder, batch, last, last_bias, lambda hidden: torch.tanh(inner @ hidden + inner_bias))
    torch.testing.assert_close(rewards, expected, rtol=1e-5, atol=1e-5)
    again = load_reward_model(save_reward_model(model, tmp_path / "ours")).eval()
    with torch.no_grad():
        assert torch.equal(again(**batch), rewards)
    head = json.loads((tmp_path / "ours" / "config.json").read_text())["reward"]["head"]
    assert (head["layers"], head["activation"]) == (2, "tanh")


def test_the_backbone_of_mm_rlhf_reward_is_refused_by_name(tmp_path):
    content = {"model_type": "llava_qwen", "architectures": ["LlavaQwenForCausalLM"], "is_rm": True}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"'llava_qwen'.*MM-RLHF-Reward and LLaVA-Critic.*--from-scores"):
        load_reward_model(tmp_path)


def test_a_sequence_classifier_gives_its_own_logits(backbone_of, text_groups, tmp_path):
    shutil.copytree(backbone_of("qwen3"), tmp_path / "classifier")
    (tmp_path / "classifier" / "model.safetensors").unlink()
    config = Qwen3Config.from_pretrained(backbone_of("qwen3"), num_labels=1)
    torch.manual_seed(0)
    classifier = Qwen3ForSequenceClassification(config).eval()
    classifier.save_pretrained(tmp_path / "classifier")
    model = load_reward_model(tmp_path / "classifier").eval()
    for group in text_groups:
        encoded = model.template.encode(group)
        with torch.no_grad():
            rewards = model(**collate([encoded]))
            for reward, suffix in zip(rewards, encoded.suffixes, strict=True):
                ids = torch.tensor([[*encoded.prefix, *suffix]])
                # Its own search for the last token stops at the end of a turn if that is the padding token, too.
                hidden = classifier.model(input_ids=ids).last_hidden_state[:, -1]
                torch.testing.assert_close(reward[None], classifier.score(hidden)[:, 0], rtol=1e-5, atol=1e-6)


def test_half_precision_heads_compute_in_fp32(foreign):
    model = load_reward_model(foreign("qwen3", HEADS["value head"], "value_head.safetensors", torch.bfloat16))
    assert {weight.dtype for weight in model.head.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"score.weight": (2, 32)}, "shape 2x32; expected one output"),
        ({"score.weight": (1, 16)}, "size mismatch"),
        ({"score.weight": (1, 32), "v_head.summary.weight": (1, 32)}, "several reward heads"),
        ({"score.0.weight": (8, 32), "score.2.weight": (1, 8)}, "no reward head"),
        ({"classifier.weight": (1, 32)}, "no reward head"),
        ({"rm_head.dense.weight": (32, 32)}, r"\(rm_head.dense\) without rm_head.out_proj.weight"),
        ({**TWO_LAYERS, "rm_head.out_proj.weight": (2, 32)}, "rm_head.out_proj of shape 2x32; expected one output"),
        ({**TWO_LAYERS, "score.weight": (1, 32)}, "several reward heads"),
    ],
)
def test_other_heads_are_refused(shapes, message, foreign):
    with pytest.raises(CheckpointError, match=message):
        load_reward_model(foreign("qwen3", shapes))


def test_an_adapter_of_another_library_is_refused(foreign):
    folder = foreign("qwen3", HEADS["value head"], "value_head.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nowhere"}))
    with pytest.raises(CheckpointError, match="merge it there first"):
        load_reward_model(folder)
