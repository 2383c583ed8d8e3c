"""A text reward model inside a vision-language model: every tensor is where the formula says, strangers are refused."""

import json

import pytest
import torch

from basereward.data.record import read_record
from basereward.errors import CheckpointError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.families import FAMILIES
from basereward.models.merging.graft import graft
from basereward.models.parts import read_tensors

INSIDE = FAMILIES["qwen3_vl"].to_hub("language_model.")


@pytest.mark.parametrize(("text_weight", "has_base"), [(None, False), (0.25, False), (None, True), (0.5, True)])
def test_every_tensor_is_where_the_formula_says(text, vision, base, tmp_path, text_weight, has_base):
    report = graft(text, vision, tmp_path / "out", text_weight, base if has_base else None, shard_bytes=50_000)
    own, other, start, found = (read_tensors(folder) for folder in (text, vision, base, tmp_path / "out"))
    share = text_weight if text_weight is not None else 1.0 if has_base else 0.5
    assert {name for name in found if not name.startswith("reward_head.")} == other.keys() - {"lm_head.weight"}
    for name, weight in found.items():
        if name.startswith("reward_head."):
            assert torch.equal(weight, own[name])
        elif not name.startswith(INSIDE):
            assert torch.equal(weight, other[name])
        else:
            inner = "model." + name.removeprefix(INSIDE)
            step = own[inner] - start[inner] if has_base else own[inner] - other[name]
            torch.testing.assert_close(weight, other[name] + share * step, rtol=1e-5, atol=1e-6)
    origins = {module.name: module.origin for module in report.modules}
    assert origins["reward_head"] == "text"
    assert origins["model.visual.blocks.0"] == "vision"
    assert origins["model.language_model.layers.1"] == "average"
    assert sum(module.parameters for module in report.modules) == sum(weight.numel() for weight in found.values())


def test_it_reads_images_and_says_what_it_was_trained_on(text, vision, tmp_path, picture):
    graft(text, vision, tmp_path / "out")
    model = load_reward_model(tmp_path / "out").eval()
    shown = [model.score("Colour?", [picture(64, 64, seed)], ["red", "blue"]) for seed in (0, 1)]
    assert shown[0] != shown[1]
    assert [one.name for one in read_record(tmp_path / "out").inputs] == ["text pairs"]
    # Runs of the text model's recipe have other weights.
    assert read_record(text).trained_by is not None
    assert read_record(tmp_path / "out").trained_by is None
    assert json.loads((tmp_path / "out" / "merge.json").read_text())["kind"] == "graft"
    assert "0.5 vision + 0.5 text" in (tmp_path / "out" / "README.md").read_text()


def test_nothing_of_the_text_model_but_its_head_at_zero(text, vision, tmp_path):
    graft(text, vision, tmp_path / "out", text_weight=0.0)
    found, other = read_tensors(tmp_path / "out"), read_tensors(vision)
    for name in other.keys() - {"lm_head.weight"}:
        torch.testing.assert_close(found[name], other[name], rtol=0, atol=0)


def test_embeddings_are_merged_for_shared_tokens_alone(text, vision, tmp_path):
    """A token that the text model does not know keeps the vector of the vision-language model."""
    folder = tmp_path / "text"
    save_reward_model(load_reward_model(text), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    unknown = max(token["id"] for token in tokenizer["added_tokens"])
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["id"] != unknown]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    del config["reward"]["inputs"]
    (folder / "config.json").write_text(json.dumps(config))
    graft(folder, vision, tmp_path / "out", text_weight=1.0)
    name = INSIDE + "embed_tokens.weight"
    found, own, other = (read_tensors(place) for place in (tmp_path / "out", text, vision))
    taken = found[name].eq(own["model.embed_tokens.weight"]).all(1)
    assert torch.equal(found[name][unknown], other[name][unknown])
    assert taken[:unknown].all()


def test_strangers_are_refused_by_what_differs(text, vision, base, vl_backbone, text_backbone, tmp_path):
    out = tmp_path / "out"
    foreign = save_reward_model(new_reward_model(text_backbone), tmp_path / "foreign")
    unrelated = load_reward_model(text)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in unrelated.backbone.parameters():
            weight.copy_(torch.randn_like(weight) * weight.std() if weight.ndim > 1 else weight)
    save_reward_model(unrelated, tmp_path / "unrelated")
    for models, said in (
        ((foreign, vision), r"differ in .*rope_theta"),
        ((text, vl_backbone), "differ in"),
        ((base, vision), "no reward head"),
        ((vision, vision), "reads images"),
        ((text, base), "reads text alone"),
        ((tmp_path / "unrelated", vision), r"not connected: .* 1\.4\d apart"),
    ):
        with pytest.raises(CheckpointError, match=said):
            graft(*models, out)
        assert not out.exists()
        assert not list(tmp_path.glob("out*partial*"))


def test_another_chat_template_is_told(text, vision, tmp_path):
    assert len(graft(text, vision, tmp_path / "alike").notes) == 1
    folder = tmp_path / "text"
    save_reward_model(load_reward_model(text), folder)
    template = folder / "chat_template.jinja"
    template.write_text("Be kind." + template.read_text())
    config = json.loads((folder / "config.json").read_text())
    del config["reward"]["inputs"]
    (folder / "config.json").write_text(json.dumps(config))
    [_, note] = graft(folder, vision, tmp_path / "out").notes
    assert note.startswith("The chat templates write a conversation differently")


def test_tokens_under_other_numbers_are_refused(text, vision, tmp_path):
    folder = tmp_path / "text"
    save_reward_model(load_reward_model(text), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    del config["reward"]["inputs"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="number 2 tokens differently"):
        graft(folder, vision, tmp_path / "out")
