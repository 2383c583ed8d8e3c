"""Exported classifiers give the reward of the checkpoint, with the code of transformers alone."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from basereward.data.groups import make_group
from basereward.errors import CheckpointError, DataError, ScoringError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.export import export_classifier
from basereward.models.facts import CriticRole
from basereward.models.head import HeadSettings
from basereward.models.parts import read_tensors
from basereward.scoring.spec import open_scorer

CONVERSATIONS = [
    ("Is 7 prime?", "Yes."),
    ("Name a colour, please.", "Red is a colour that many people like."),
    ("?", "!"),
]


def checkpoint(folder, backbone, **head):
    torch.manual_seed(1)
    return save_reward_model(new_reward_model(backbone, HeadSettings(layers=1, **head)), folder)


def expected(folder):
    model = load_reward_model(folder).eval()
    return [model.score(prompt, responses=[answer])[0] for prompt, answer in CONVERSATIONS]


@pytest.mark.parametrize(("side", "family"), [("left", "qwen3"), ("right", "qwen3"), ("right", "qwen3_5_text")])
def test_transformers_own_forward_gives_the_reward(tmp_path, backbone_of, side, family):
    own = checkpoint(tmp_path / "own", backbone_of(family))
    out = export_classifier(own, tmp_path / "classifier")
    model, told = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    tokenizer = AutoTokenizer.from_pretrained(out, padding_side=side)
    messages = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        for prompt, answer in CONVERSATIONS
    ]
    batch = tokenizer.apply_chat_template(messages, padding=True, return_tensors="pt", return_dict=True)
    # transformers leaves positions to the mask only where it generates.
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        found = model.eval()(**batch, position_ids=positions).logits[:, 0]
    assert len(set(batch["attention_mask"].sum(-1).tolist())) > 1
    torch.testing.assert_close(found, torch.tensor(expected(own)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "family", ["qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen2_vl", "internvl", "qwen3"]
)
def test_every_weight_goes_over_and_the_classifier_scores_like_the_checkpoint(
    tmp_path, backbone_of, family, image_groups
):
    own = checkpoint(tmp_path / "own", backbone_of(family))
    out = export_classifier(own, tmp_path / "classifier")
    before, after = read_tensors(own), read_tensors(out)
    name = "score.weight" if family.startswith("qwen3") else "language_model.score.weight"
    assert before.pop("reward_head.layers.0.weight").equal(after.pop(name))
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert "reward" not in config
    assert config["pad_token_id"] == config.get("text_config", config)["pad_token_id"] is not None
    if "vl" in family:
        groups = image_groups[:1]
        scores = [[one.value for one in open_scorer(str(place), device="cpu").score(groups)[0]] for place in (own, out)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_several_linear_heads_become_the_one_of_their_mean(tmp_path, text_backbone):
    own = checkpoint(tmp_path / "own", text_backbone, heads=3)
    out = export_classifier(own, tmp_path / "classifier")
    scorers = [open_scorer(str(place), device="cpu") for place in (own, out)]
    prompt, answer = CONVERSATIONS[1]
    group = make_group(prompt, [answer, "Blue."])
    own_scores, exported = ([one.value for one in scorer.score([group])[0]] for scorer in scorers)
    assert own_scores == pytest.approx(exported, abs=1e-6)
    assert own_scores[0] != own_scores[1]


def test_what_no_classifier_can_say_is_refused_with_the_way_to_go(tmp_path, text_backbone):
    two = save_reward_model(new_reward_model(text_backbone), tmp_path / "two")
    with pytest.raises(CheckpointError, match=r"2 layers.*plug-in for vLLM"):
        export_classifier(two, tmp_path / "out")
    biased = new_reward_model(text_backbone, HeadSettings(layers=1, final_bias=True))
    export_classifier(save_reward_model(biased, tmp_path / "zero"), tmp_path / "of zero")
    torch.nn.init.ones_(biased.head.layers[0].bias)
    with pytest.raises(CheckpointError, match="a bias"):
        export_classifier(save_reward_model(biased, tmp_path / "bias"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="no reward head"):
        export_classifier(text_backbone, tmp_path / "out")
    adapter = tmp_path / "adapter"
    checkpoint(adapter, text_backbone)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"basereward merge {adapter}"):
        export_classifier(adapter, tmp_path / "out")
    with pytest.raises(DataError, match="holds something else"):
        export_classifier(checkpoint(tmp_path / "one", text_backbone), two)
    assert not (tmp_path / "out").exists()


def test_a_padding_token_that_ends_conversations_is_refused(tmp_path, text_backbone):
    own = checkpoint(tmp_path / "own", text_backbone)
    model = load_reward_model(own)
    tokenizer = model.template.tokenizer
    last = model.template.conversation_ids(open_group())[-1]
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(int(last))
    tokenizer.save_pretrained(own)
    config = json.loads((own / "config.json").read_text())
    config["reward"].pop("inputs")
    (own / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"padding token .*another place"):
        export_classifier(own, tmp_path / "out")


def open_group():
    from basereward.data.schema import Message, Part

    return (Message("user", (Part("text", "a"),)), Message("assistant", (Part("text", "b"),)))


def test_an_unfinished_export_is_made_anew(tmp_path, text_backbone):
    own = checkpoint(tmp_path / "own", text_backbone)
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "model-00001-of-00009.safetensors").write_bytes(b"half")
    out = export_classifier(own, tmp_path / "out")
    assert [path.name for path in out.glob("*.safetensors")] == ["model.safetensors"]
    assert load_file(out / "model.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "own"]


def test_a_critic_is_no_classifier(tmp_path, text_backbone):
    """Its head has only seen tokens behind a critique: without one it gives numbers that mean nothing."""
    role = CriticRole(request="short", max_tokens=4)
    own = save_reward_model(new_reward_model(text_backbone, HeadSettings(layers=1), role=role), tmp_path / "critic")
    with pytest.raises(CheckpointError, match="is a critic"):
        export_classifier(own, tmp_path / "classifier")
    with pytest.raises(ScoringError, match=r"is a critic.*open_scorer"):
        load_reward_model(own).score("Is 7 prime?", responses=["Yes."])
