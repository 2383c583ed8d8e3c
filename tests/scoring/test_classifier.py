"""One-label sequence classifiers: the scores are Hugging Face's own logits of each conversation alone."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

from basereward.data.outcomes import Score
from basereward.errors import CheckpointError, TemplateError
from basereward.models import hub
from basereward.scoring.classifier import ClassifierScorer
from basereward.scoring.local import LocalScorer
from basereward.scoring.spec import open_scorer

KINDS = {"qwen3": (Qwen3Config, Qwen3ForSequenceClassification), "llama": (LlamaConfig, LlamaForSequenceClassification)}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def write_classifier(folder, text_backbone, kind="qwen3", **changes):
    """A tiny classifier with the lab's tokenizer, whose pad token is the end of a turn."""
    tokenizer = AutoTokenizer.from_pretrained(text_backbone)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config_class, model_class = KINDS[kind]
    options = {"num_labels": 1, "pad_token_id": end, "eos_token_id": end, "num_key_value_heads": 1, **changes}
    options["head_dim"] = 16
    torch.manual_seed(0)
    config = config_class(**SIZES, vocab_size=len(tokenizer), initializer_range=0.3, **options)
    model = model_class(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text_backbone):
    """The folder of a tiny Qwen3 classifier; do not change it."""
    path = tmp_path_factory.mktemp("classifier")
    write_classifier(path, text_backbone)
    return path


@pytest.fixture
def changed(folder, tmp_path):
    """A copy of the folder to break."""
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_scores_are_the_logits_of_each_conversation_alone(tmp_path, text_backbone, make_group, say, kind):
    model = write_classifier(tmp_path, text_backbone, kind)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    dialogue = [say("system", "Be brief."), say("user", "Hi"), say("assistant", "Hi."), say("user", "And?")]
    groups = [make_group("Which colour?", ["red", "blue, I would say"]), make_group(dialogue, ["Nothing."])]
    scores = open_scorer(str(tmp_path), device="cpu").score(groups)
    # The model has no padding here, so that its own reading of the pad token cannot hide the last token.
    model.config.pad_token_id = None
    for group, own in zip(groups, scores, strict=True):
        for response, score in zip(group.responses, own, strict=True):
            messages = [{"role": each.role, "content": each.text} for each in group.prompt + response.messages]
            ids = tokenizer.apply_chat_template(messages, return_dict=False)
            with torch.no_grad():
                logit = model(input_ids=torch.tensor([ids])).logits.item()
            assert score.value == pytest.approx(logit, rel=1e-5)


def test_a_pad_token_that_ends_the_conversation_hides_nothing(tmp_path, text_backbone, make_group):
    model = write_classifier(tmp_path, text_backbone)
    end = model.config.pad_token_id
    scorer = ClassifierScorer(tmp_path, device="cpu")
    # The conversation ends here with the pad token itself, as it does for many published reward models.
    ids = scorer.template.conversation_ids
    scorer.template.conversation_ids = lambda *args: ids(*args)[: 1 + int((ids(*args) == end).nonzero()[0][-1])]
    group = make_group("Which?", ["red"])
    tokens = torch.from_numpy(scorer.template.conversation_ids(group.prompt + group.responses[0].messages))[None]
    assert tokens[0, -1] == end
    with torch.no_grad():
        misread = model(input_ids=tokens).logits.item()
        hidden = model.model(input_ids=tokens).last_hidden_state
        expected = model.score(hidden[:, -1]).item()
    [[score]] = scorer.score([group])
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.value != pytest.approx(misread, rel=1e-2)


def test_images_and_long_texts_are_failures_in_place(folder, make_group, picture):
    groups = [
        make_group("What is this?", ["a", "b"], [picture()]),
        make_group("Which?", ["red", "long " * 400]),
    ]
    scorer = ClassifierScorer(folder, device="cpu")
    scorer.model.config.max_position_embeddings = 200
    [[first, second], [fine, too_long]] = scorer.score(groups)
    assert (first.reason, second.reason) == ("text_only", "text_only")
    assert isinstance(fine, Score)
    assert too_long.reason == "too_long"
    assert scorer.score([]) == []


def test_broken_text_and_broken_weights_are_failures(folder, make_group):
    scorer = ClassifierScorer(folder, device="cpu")
    assert scorer.score([make_group("Which?", ["half \ud83d"])])[0][0].reason == "malformed"
    with torch.no_grad():
        scorer.model.score.weight.fill_(float("nan"))
    assert scorer.score([make_group("Which?", ["red"])])[0][0].reason == "not_finite"


def test_several_labels_are_refused(tmp_path, text_backbone):
    write_classifier(tmp_path, text_backbone, num_labels=2)
    with pytest.raises(CheckpointError, match="2 labels"):
        open_scorer(str(tmp_path))


def test_missing_or_foreign_weights_are_refused(changed):
    weights = load_file(changed / "model.safetensors")
    other = {**weights, "score.weight": torch.zeros(2, SIZES["hidden_size"])}
    save_file(other, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"another shape.*score\.weight"):
        open_scorer(str(changed))
    save_file(
        {k: v for k, v in weights.items() if k != "score.weight"}, changed / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(CheckpointError, match=r"score\.weight"):
        open_scorer(str(changed))
    (changed / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no readable weights for AutoModelForSequenceClassification"):
        open_scorer(str(changed))


def test_a_tokenizer_without_a_chat_template_is_refused(changed):
    (changed / "chat_template.jinja").unlink()
    with pytest.raises(TemplateError, match="chat template"):
        open_scorer(str(changed))


def test_the_spec_opens_it_under_its_own_name(changed, monkeypatch):
    monkeypatch.setattr(hub, "resolve_folder", lambda spec, *_: changed)
    scorer = open_scorer("owner/name", dtype="bfloat16", device="cpu")
    assert isinstance(scorer, ClassifierScorer)
    assert not isinstance(scorer, LocalScorer)
    assert scorer.about.name == "owner/name"
    assert scorer.model.dtype == torch.bfloat16
    config = json.loads((changed / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForSequenceClassification"]
