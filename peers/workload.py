"""Writes the backbones and the pairs that every side reads; run by the project's own interpreter."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from facts import measure_pair, workload_facts
from job import Data, Group, Job, Workload
from ours import draw_steps
from PIL import Image, ImageDraw
from transformers import (
    AutoConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from basereward.data.schema import PreferencePair, messages_from_text
from basereward.data.storage import write_rows
from basereward.encoding.template import Template
from basereward.lab.tokenizer import TEXT_TEMPLATE, VISION_TEMPLATE, train_tokenizer
from basereward.lab.world import world_texts
from basereward.models.flops import measure_backbone
from basereward.models.inputs import load_template

# Responses to a prompt, all pairs of which are compared.
RESPONSES: dict[Group, int] = {"pair": 2, "prompt": 4}
HIDDEN = 512
PIXELS = 28
TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 2048,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
# Takes 42 % of the work of a pair at 1200/200 that is computed as two sequences; in Qwen2.5-VL-3B it is 41 %.
VISION = {
    "depth": 4,
    "hidden_size": 224,
    "intermediate_size": 512,
    "num_heads": 7,
    "window_size": 112,
    "fullatt_block_indexes": [3],
    "out_hidden_size": HIDDEN,
}


@dataclass(frozen=True)
class Lengths:
    """What is asked for, in tokens: prompt with template and image, mean response with the turn's end.

    Responses are uniform in ``response * (1 - jitter)`` to ``response * (1 + jitter)``.
    """

    prompt: int
    response: int
    jitter: float

    @property
    def image_side(self) -> int:
        """Side of the square image in tokens: the largest power of two that leaves a tenth of the prompt to text."""
        side = 2
        while (2 * side) ** 2 <= 0.9 * self.prompt:
            side *= 2
        return side


class Steps(NamedTuple):
    """How pairs stand in steps, one of each prompt or all together, and how many the peers compute at once."""

    group: Group
    pairs_per_step: int
    pairs_at_once: int


def pairs_of(responses: int) -> int:
    """Return the pairs of so many responses to a prompt."""
    return responses * (responses - 1) // 2


def write_workload(folder: Path, lengths: Lengths, pairs: int, steps: Steps, seed: int = 0) -> dict[str, Any]:
    """Write both backbones, ``pairs`` pairs with images and as many without, and the head; return the facts."""
    workload = Workload(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(workload.head, np.random.default_rng(seed).normal(0, 0.1 * HIDDEN**-0.5, (1, HIDDEN)).astype(np.float32))
    facts: dict[str, Any] = {}
    for data in ("image", "text"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _write_backbone(workload.backbone(data), data, lengths.image_side)
        template = load_template(workload.backbone(data))
        responses = RESPONSES[steps.group]
        prompts = pairs // pairs_of(responses)
        drawn = list(_draw_pairs(folder, template, data, lengths, prompts, responses, seed))
        write_rows([_row(pair) for pair in drawn], workload.rows(data, "canonical"))
        # Our sampler shuffles; the others read in order. Both then see the same pairs in the same step.
        ordered = [[drawn[index] for index in step] for step in draw_steps(_first_job(workload, data, steps))]
        rows = [pair for step in ordered for pair in step]
        write_rows([_row(pair) for pair in rows], workload.rows(data, "ordered"))
        lines = [json.dumps(_swift_row(pair)) for pair in rows]
        workload.rows(data, "ms-swift").write_text("\n".join(lines) + "\n")
        size = measure_backbone(AutoConfig.from_pretrained(workload.backbone(data)))
        measured = [[measure_pair(template, pair) for pair in step] for step in ordered]
        facts[data] = workload_facts(size, measured, steps.pairs_at_once)
    workload.facts.write_text(json.dumps(facts, indent=2))
    return facts


def _first_job(workload: Workload, data: Data, steps: Steps) -> Job:
    """Return a job whose recipe draws the order; nothing of it is run."""
    unused = {"steps": 1, "learning_rate": 1e-4, "checkpointing": False}
    return Job("order", "shared", data, workload.folder, workload.folder, **steps._asdict(), **unused)


def _write_backbone(folder: Path, data: Data, image_side: int) -> None:
    tokenizer = train_tokenizer(world_texts(), VISION_TEMPLATE if data == "image" else TEXT_TEMPLATE)
    ids = tokenizer.get_added_vocab()
    ends = {"bos_token_id": ids["<|endoftext|>"], "pad_token_id": ids["<|endoftext|>"]}
    ends["eos_token_id"] = ids["<|im_end|>"]
    text = {**TEXT, **ends, "vocab_size": len(tokenizer)}
    rope = {"rope_type": "default", "rope_theta": 1e6}
    if data == "text":
        head_dim = HIDDEN // TEXT["num_attention_heads"]
        config = Qwen3Config(**text, head_dim=head_dim, rope_parameters=rope, tie_word_embeddings=False)
        Qwen3ForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return
    config = Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": {**rope, "mrope_section": [8, 12, 12]}},
        vision_config=VISION,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
        **ends,
    )
    limits = {"min_pixels": 4 * PIXELS**2, "max_pixels": image_side**2 * PIXELS**2}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**limits),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**limits),
        chat_template=VISION_TEMPLATE,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def _draw_pairs(
    folder: Path, template: Template, data: Data, lengths: Lengths, prompts: int, responses: int, seed: int
) -> Iterator[PreferencePair]:
    """Draw prompts of exactly the asked number of tokens with responses whose lengths vary, and yield all pairs."""
    rng = Random(seed)
    words = _one_token_words(template)
    # Responses of known size tell how many tokens the chat template, the image and the turn's end take.
    probe = [rng.choices(words, k=10) for _ in range(3)]
    measured = measure_pair(template, next(_draw_prompt(folder, "probe", data, lengths.image_side, probe, rng))).length
    frame, turn = measured.prefix - 10, measured.suffixes[0] - 10
    for number in range(prompts):
        sizes = [round(lengths.response * (1 + rng.uniform(-lengths.jitter, lengths.jitter))) for _ in range(responses)]
        texts = [rng.choices(words, k=lengths.prompt - frame), *(rng.choices(words, k=size - turn) for size in sizes)]
        # Responses must differ from their first token on, or it would count as prompt.
        for place in range(2, len(texts)):
            while texts[place][0] in [text[0] for text in texts[1:place]]:
                texts[place][0] = rng.choice(words)
        yield from _draw_prompt(folder, f"{data}-{number}", data, lengths.image_side, texts, rng)


def _one_token_words(template: Template) -> list[str]:
    """Return words that are one token at the start of a text and after a space."""
    encode = template.tokenizer.encode
    found = {word.strip(".,?!:") for text in world_texts() for word in text.split()}
    return sorted(word for word in found if word.isalpha() and len(encode(word)) == 1 and len(encode(f" {word}")) == 1)


def _draw_prompt(
    folder: Path, name: str, data: Data, side: int, texts: list[list[str]], rng: Random
) -> Iterator[PreferencePair]:
    """Draw the image of a prompt, and yield the pairs of its responses, the earlier one chosen."""
    prompt, *answers = (" ".join(words) for words in texts)
    images: tuple[str, ...] = ()
    if data == "image":
        file = folder / "images" / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        _draw_image(side * PIXELS, rng).save(file, compress_level=1)
        images = (str(file.resolve()),)
    asked = messages_from_text(prompt, images=len(images))
    said = [messages_from_text(text, "assistant") for text in answers]
    for number, both in enumerate(combinations(said, 2)):
        yield PreferencePair(f"{name}-{number}", "peers", asked, *both, images=images)


def _draw_image(side: int, rng: Random) -> Image.Image:
    """Return a square of coloured boxes."""
    image = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(image)
    for _ in range(200):
        left, top = rng.randrange(side), rng.randrange(side)
        box = (left, top, left + rng.randrange(1, side // 2), top + rng.randrange(1, side // 2))
        draw.rectangle(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def _row(pair: PreferencePair) -> dict[str, Any]:
    spoken = {name: [message.to_dict() for message in getattr(pair, name)] for name in ("prompt", "chosen", "rejected")}
    return {"id": pair.id, "source": pair.source, "images": list(pair.images), **spoken}


def _swift_row(pair: PreferencePair) -> dict[str, Any]:
    prompt, chosen, rejected = (messages[0].text for messages in (pair.prompt, pair.chosen, pair.rejected))
    spoken = [{"role": "user", "content": "<image>" * len(pair.images) + prompt}]
    spoken.append({"role": "assistant", "content": chosen})
    return {"messages": spoken, "rejected_response": rejected, "images": list(pair.images)}
