"""A reward model with a linear head as a plain sequence classifier of one label, for engines without our heads."""

import json
from pathlib import Path
from typing import cast

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn

from basereward.data.record import write_record
from basereward.data.schema import Message, Part
from basereward.data.shards import appearing, check_free
from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models.adapter_files import is_adapter
from basereward.models.facts import SECTION
from basereward.models.head import RewardHead, RewardHeads
from basereward.models.hub import CONFIG, open_folder
from basereward.models.parts import has_head, stored_parts
from basereward.models.reward_model import RewardModel


def export_classifier(place: str | Path, out: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Write a reward model as ``<Backbone>ForSequenceClassification``: reward = score weight times last hidden state.

    The folder appears complete. Weights stay in the hub layout, the head becomes ``score.weight``.

    Args:
        place: checkpoint folder or hub id.
        out: folder, which may not hold anything.
        dtype: of the backbone; by default the stored one. The head is fp32 in the file; transformers casts it to the
            dtype of the model as it loads it.

    Raises:
        CheckpointError: no reward model, a critic, a head that compares or is not one linear layer without
            bias, or adapters.
        DataError: ``out`` holds something else.
        WorkError: another process writes ``out``.
    """
    folder = open_folder(place)
    if is_adapter(folder.path):
        raise CheckpointError(f"{place} holds adapters; merge them first: basereward merge {place}.")
    if not has_head(folder):
        raise CheckpointError(f"{place} has no reward head; there is nothing to export.")
    model = RewardModel.from_parts(stored_parts(folder, dtype))
    if model.role is not None:
        raise CheckpointError(
            f"{place} is a critic, whose reward stands behind a critique that it writes; a classifier writes none. "
            "Serve it with basereward serve."
        )
    head = _linear_head(model)
    target = Path(out)
    check_free(target)
    with appearing(target) as written:
        family, state = model.family, model.backbone.state_dict()
        body = {family.to_hub(name): family.turn(name, tensor).contiguous() for name, tensor in state.items()}
        save_torch_state_dict({**body, family.classifier_head: head}, written)
        model.template.processor.save_pretrained(written)
        _write_config(model, written)
        if model.data_record is not None:
            write_record(model.data_record, written)
    return target


def _linear_head(model: RewardModel) -> Tensor:
    # The mean of linear heads is the linear head of their mean weights.
    heads = cast(list[RewardHead], list(model.head.heads) if isinstance(model.head, RewardHeads) else [model.head])
    way = "serve the checkpoint itself with basereward's plug-in for vLLM, or with basereward serve (docs/serving.md)"
    if model.compares:
        raise CheckpointError(
            "The head compares the responses to a prompt (cross_response); a sequence classifier sees one at a time. "
            "Serve the checkpoint with basereward serve."
        )
    if (layers := model.head.settings.layers) > 1:
        raise CheckpointError(f"The head has {layers} layers, a sequence classifier has one linear layer: {way}.")
    last = [cast(nn.Linear, head.layers[0]) for head in heads]
    if any(layer.bias is not None and layer.bias.abs().max() > 0 for layer in last):
        raise CheckpointError(f"The head has a bias, which transformers' classifiers of this family do not: {way}.")
    return torch.stack([layer.weight.detach() for layer in last]).mean(0)


def _write_config(model: RewardModel, folder: Path) -> None:
    config = model.config
    config.save_pretrained(folder)
    file = folder / CONFIG
    content = json.loads(file.read_text(encoding="utf-8"))
    content.pop(SECTION, None)
    pad = _pad_token(model.template)
    content |= {
        "architectures": [f"{model.family.architecture}ForSequenceClassification"],
        "num_labels": 1,
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        # Without it vLLM returns the sigmoid of the score.
        "problem_type": "regression",
        "pad_token_id": pad,
        "dtype": str(next(model.backbone.parameters()).dtype).removeprefix("torch."),
    }
    if "text_config" in content:
        content["text_config"]["pad_token_id"] = pad
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _pad_token(template: Template) -> int:
    """Return the padding token, which no conversation may end with: the score is read in front of it."""
    pad = template.tokenizer.pad_token_id
    ids = template.conversation_ids((Message("user", (Part("text", "?"),)), Message("assistant", (Part("text", "!"),))))
    if pad is None or pad == ids[-1]:
        found = "no padding token" if pad is None else f"the padding token {pad}, with which conversations end, too"
        raise CheckpointError(
            f"The tokenizer has {found}: a classifier would read the reward at another place. Give it a padding token "
            "of its own."
        )
    return int(pad)
