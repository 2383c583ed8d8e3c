"""Writes tiny backbones with random weights: Hugging Face folders that load like the real ones, without a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from basereward.lab.tokenizer import TEXT_TEMPLATE, VISION_TEMPLATE, train_tokenizer
from basereward.lab.world import world_texts
from basereward.models.checkpoint import quiet_loading
from basereward.registry import Registry

Family = Literal["qwen2_5_vl", "qwen3"]
Size = Literal["demo", "test"]

PIXELS_PER_TOKEN = 28 * 28


@dataclass(frozen=True, slots=True)
class _Plan:
    """The numbers of one size; ``mrope_section`` splits half of a head's dimensions into time, row and column."""

    text: dict[str, Any]
    vision: dict[str, Any]
    mrope_section: list[int]


# The default initializer_range 0.02 leaves attention near uniform at these widths, and learning takes many times as
# long. It is a value of each sub-config: setting it for the text alone does nothing for the vision tower.
_DEMO = _Plan(
    text={
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.09,
    },
    vision={
        "depth": 2,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_heads": 3,
        "window_size": 112,
        "fullatt_block_indexes": [0, 1],
        "initializer_range": 0.09,
    },
    mrope_section=[4, 6, 6],
)
# The first vision block attends within windows of 2 x 2 tokens, as most blocks of the real tower do within theirs.
_TEST = _Plan(
    text={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.15,
    },
    vision={
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "initializer_range": 0.15,
    },
    mrope_section=[2, 3, 3],
)
_PLANS: Registry[_Plan] = Registry("backbone size", {"demo": _DEMO, "test": _TEST})


def write_backbone(
    folder: str | Path,
    family: Family = "qwen2_5_vl",
    size: Size = "demo",
    seed: int = 0,
    texts: Iterable[str] | None = None,
) -> Path:
    """Write a backbone that ``AutoModel``, ``AutoTokenizer`` and ``AutoProcessor`` load, and return its folder.

    Input and output embeddings are not tied, as in Qwen2.5-VL-7B and Qwen3-8B. Images have 4 to 256 tokens of 28 x 28
    pixels; 56 x 56 gives 4. The backend of the image processor cannot be stored in a folder: a loader that wants PIL
    says so, by ``AutoImageProcessor.from_pretrained(folder, backend="pil")``.

    Args:
        folder: where to write; made if missing.
        family: ``qwen2_5_vl`` reads images, ``qwen3`` text only, with a template that takes string content only.
        size: ``demo`` learns the world in minutes on a CPU; ``test`` is built in a fraction of a second.
        seed: of the weights; equal seeds give equal weights, and the global random state is left as it was.
        texts: what the tokenizer learns its merges from; the texts of the world by default.

    Raises:
        UnknownNameError: no such family or size.
    """
    folder = Path(folder)
    write, plan = _WRITERS.get(family), _PLANS.get(size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        write(folder, plan, world_texts() if texts is None else texts)
    return folder


def _write_qwen2_5_vl(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    tokenizer = train_tokenizer(texts, VISION_TEMPLATE)
    ids = tokenizer.get_added_vocab()
    # M-RoPE gives the columns of an image the lowest frequencies: with a theta of 1e4 and heads this narrow, left and
    # right look alike.
    rope = {"rope_type": "default", "rope_theta": 2.0, "mrope_section": plan.mrope_section}
    config = Qwen2_5_VLConfig(
        text_config={
            **plan.text,
            "vocab_size": len(tokenizer),
            "rope_parameters": rope,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={**plan.vision, "out_hidden_size": plan.text["hidden_size"]},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    limits: dict[str, Any] = {"min_pixels": 4 * PIXELS_PER_TOKEN, "max_pixels": 256 * PIXELS_PER_TOKEN}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessorPil(**limits),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**limits),
        chat_template=VISION_TEMPLATE,
    )
    _save(Qwen2_5_VLForConditionalGeneration(config), folder)
    processor.save_pretrained(folder)


def _write_qwen3(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    tokenizer = train_tokenizer(texts, TEXT_TEMPLATE)
    config = Qwen3Config(
        **plan.text,
        head_dim=plan.text["hidden_size"] // plan.text["num_attention_heads"],
        vocab_size=len(tokenizer),
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    _save(Qwen3ForCausalLM(config), folder)
    tokenizer.save_pretrained(folder)


def _save(model: PreTrainedModel, folder: Path) -> None:
    model.generation_config.pad_token_id = model.config.get_text_config().bos_token_id
    with quiet_loading():
        model.save_pretrained(folder)


_Writer = Callable[[Path, _Plan, Iterable[str]], None]
_WRITERS: Registry[_Writer] = Registry("backbone family", {"qwen2_5_vl": _write_qwen2_5_vl, "qwen3": _write_qwen3})
