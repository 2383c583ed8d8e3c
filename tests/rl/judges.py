"""A tiny judge that answers in form often enough to be rewarded: a bigram model of answers inside a real backbone."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch

from basereward.data.judging.formats import FORMATS

WRITE = FORMATS.get("think").write
# Thoughts name responses by words, so that no digit of theirs is followed by what follows a verdict.
ANSWERS = [WRITE(f"Response {word} is right.", place) for word in ("one", "two") for place in (0, 1)]


def write_bigram_judge(folder: Path) -> Path:
    """Write a judge whose next token depends on the last one alone, as it does in ``ANSWERS``.

    Blocks add nothing at first, so the state at a token is its embedding, normalised; the vocabulary head is then
    solved for, so that the logits there are the logarithms of the bigrams' shares. All weights still learn.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from basereward.lab.backbone import write_backbone
    from basereward.lab.reasons import reason_texts
    from basereward.lab.world import world_texts

    # Whole words are tokens then, each of which tells what follows.
    backbone = write_backbone(folder / "backbone", size="test", texts=[*world_texts(), *reason_texts()])
    model = AutoModelForImageTextToText.from_pretrained(backbone)
    processor = AutoProcessor.from_pretrained(backbone)
    encode = processor.tokenizer.encode
    [newline] = encode("\n")
    rows = [[newline, *encode(answer), processor.tokenizer.eos_token_id] for answer in ANSWERS]
    bigrams = Counter(pair for row in rows for pair in pairwise(row))
    known = sorted({first for first, _ in bigrams})
    text = model.model.language_model
    with torch.no_grad():
        for layer in text.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        states = text.norm(text.embed_tokens.weight[known])
        logits = torch.full((len(known), model.lm_head.weight.shape[0]), -12.0)
        for (first, second), count in bigrams.items():
            logits[known.index(first), second] = torch.tensor(float(count)).log()
        model.lm_head.weight.copy_((torch.linalg.pinv(states) @ logits).T)
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder / "model"
