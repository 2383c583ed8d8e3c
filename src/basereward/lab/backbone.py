"""Writes tiny backbones with random weights: Hugging Face folders that load like the real ones, without a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3_5Config,
    Qwen3_5ForCausalLM,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from basereward.lab.tokenizer import (
    INTERNVL_TEMPLATE,
    INTERNVL_TOKENS,
    QWEN3_VISION_TEMPLATE,
    TEXT_TEMPLATE,
    VISION_TEMPLATE,
    train_tokenizer,
)
from basereward.lab.world import world_texts
from basereward.lab.written import writing
from basereward.models.hub import quiet_loading
from basereward.registry import Registry

Family = Literal[
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5",
    "qwen3_5_moe",
    "internvl",
    "qwen2",
    "qwen3",
    "qwen3_5_text",
]
Size = Literal["demo", "test"]

PIXELS_PER_TOKEN = 28 * 28
# A tile of the tiny InternVL: 4 x 4 patches, so 4 tokens.
TILE = 56


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
    pixels (32 x 32 from ``qwen3_vl`` on); 56 x 56 gives 4. In ``internvl`` a tile of 56 x 56 pixels has 4. The backend
    of the image processor cannot be stored in a folder: a loader that wants PIL says so, by
    ``AutoImageProcessor.from_pretrained(folder, backend="pil")``.

    Args:
        folder: where to write; made if missing.
        family: ``qwen2``, ``qwen3`` and ``qwen3_5_text`` read text only, with a template that takes string content
            only, the others images and videos. The first of two layers of a ``qwen3_5`` is linear attention.
        size: ``demo`` learns the world in minutes on a CPU; ``test`` is built in a fraction of a second.
        seed: of the weights; equal seeds give equal weights, and the global random state is left as it was.
        texts: what the tokenizer learns its merges from; the texts of the world by default.

    Raises:
        UnknownNameError: no such family or size.
    """
    folder = Path(folder)
    write, plan = _WRITERS.get(family), _PLANS.get(size)
    with torch.random.fork_rng(devices=[]), writing(folder) as written:
        torch.manual_seed(seed)
        write(written, plan, world_texts() if texts is None else texts)
    return folder


def _write_qwen2_vl(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    tokenizer = train_tokenizer(texts, VISION_TEMPLATE)
    own = plan.vision
    vision = {
        "depth": own["depth"],
        "embed_dim": own["hidden_size"],
        "hidden_size": plan.text["hidden_size"],
        "num_heads": own["num_heads"],
        "mlp_ratio": own["intermediate_size"] // own["hidden_size"],
        "initializer_range": own["initializer_range"],
    }
    config = Qwen2VLConfig(**_qwen_parts(tokenizer, plan, _mrope(plan)), vision_config=vision)
    _save(Qwen2VLForConditionalGeneration(config), folder)
    _qwen_processor(Qwen2VLProcessor, tokenizer, VISION_TEMPLATE).save_pretrained(folder)


def _write_qwen2_5_vl(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    tokenizer = train_tokenizer(texts, VISION_TEMPLATE)
    vision = {**plan.vision, "out_hidden_size": plan.text["hidden_size"]}
    config = Qwen2_5_VLConfig(**_qwen_parts(tokenizer, plan, _mrope(plan)), vision_config=vision)
    _save(Qwen2_5_VLForConditionalGeneration(config), folder)
    _qwen_processor(Qwen2_5_VLProcessor, tokenizer, VISION_TEMPLATE).save_pretrained(folder)


def _write_qwen3_vl(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    width = plan.text["hidden_size"] // plan.text["num_attention_heads"]
    own = {"head_dim": width}
    _write_after_qwen3(folder, plan, texts, Qwen3VLConfig, Qwen3VLForConditionalGeneration, own, deepstack=True)


def _write_qwen3_vl_moe(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    own = {"head_dim": plan.text["hidden_size"] // plan.text["num_attention_heads"], **_experts(plan)}
    _write_after_qwen3(folder, plan, texts, Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration, own, deepstack=True)


def _write_qwen3_5(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    _write_after_qwen3(folder, plan, texts, Qwen3_5Config, Qwen3_5ForConditionalGeneration, _linear(plan))


def _write_qwen3_5_moe(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    own = {**_linear(plan), **_experts(plan), "shared_expert_intermediate_size": plan.text["hidden_size"]}
    _write_after_qwen3(folder, plan, texts, Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration, own)


def _write_after_qwen3(
    folder: Path,
    plan: _Plan,
    texts: Iterable[str],
    config: Any,
    model: Any,
    text: dict[str, Any],
    deepstack: bool = False,
) -> None:
    """Write Qwen3-VL or one of those after it, which share its tower, its processor and its positions."""
    tokenizer = train_tokenizer(texts, QWEN3_VISION_TEMPLATE)
    own = plan.vision
    vision = {
        **{key: own[key] for key in ("depth", "hidden_size", "intermediate_size", "num_heads", "initializer_range")},
        "out_hidden_size": plan.text["hidden_size"],
        "num_position_embeddings": 64,
        # The features of the first block go straight into the first layer of the text model.
        **({"deepstack_visual_indexes": [0]} if deepstack else {}),
    }
    parts = _qwen_parts(tokenizer, plan, {**_mrope(plan), "mrope_interleaved": True})
    rope = {**parts["text_config"]["rope_parameters"], **text.pop("rope_parameters", {})}
    parts["text_config"] |= {**text, "rope_parameters": rope}
    _save(model(config(**parts, vision_config=vision)), folder)
    area = 32 * 32
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorPil(patch_size=16, min_pixels=4 * area, max_pixels=256 * area),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size={"shortest_edge": 8 * area, "longest_edge": 256 * area}),
        chat_template=QWEN3_VISION_TEMPLATE,
    )
    processor.save_pretrained(folder)


def _linear(plan: _Plan) -> dict[str, Any]:
    """Return the layers of Qwen3.5: linear attention, full attention; heads of the latter turn by half."""
    width = plan.text["hidden_size"] // plan.text["num_attention_heads"]
    return {
        "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 2 * width,
        "linear_num_key_heads": plan.text["num_key_value_heads"],
        "linear_num_value_heads": plan.text["num_attention_heads"],
        "linear_key_head_dim": width,
        "linear_value_head_dim": width,
        "rope_parameters": {"partial_rotary_factor": 0.5},
    }


def _experts(plan: _Plan) -> dict[str, Any]:
    # Not half as wide as the hidden state: two layouts of the same shape could be confused.
    return {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": plan.text["intermediate_size"] * 3 // 8,
    }


def _write_internvl(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    tokenizer = train_tokenizer(texts, INTERNVL_TEMPLATE, named_tokens=INTERNVL_TOKENS)
    ids = tokenizer.get_added_vocab()
    own = plan.vision
    config = InternVLConfig(
        text_config={**_text_parts(tokenizer, plan), "model_type": "qwen2"},
        vision_config={
            "hidden_size": own["hidden_size"],
            "num_hidden_layers": own["depth"],
            "num_attention_heads": own["num_heads"],
            "intermediate_size": own["intermediate_size"],
            "initializer_range": own["initializer_range"],
            # As in the published towers; a bias of the keys has no gradient in theory.
            "attention_bias": True,
            "image_size": [TILE, TILE],
            "patch_size": [14, 14],
        },
        image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    _save(InternVLForConditionalGeneration(config), folder)
    size = {"height": TILE, "width": TILE}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessorPil(size=size, max_patches=6),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=INTERNVL_TEMPLATE,
    )
    processor.save_pretrained(folder)


def _mrope(plan: _Plan) -> dict[str, Any]:
    # M-RoPE gives the columns of an image the lowest frequencies: with a theta of 1e4 and heads this narrow, left and
    # right look alike.
    return {"rope_type": "default", "rope_theta": 2.0, "mrope_section": plan.mrope_section}


def _text_parts(tokenizer: PreTrainedTokenizerFast, plan: _Plan) -> dict[str, Any]:
    ids = tokenizer.get_added_vocab()
    ends = {"bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"]}
    return {**plan.text, "vocab_size": len(tokenizer), **ends}


def _qwen_parts(tokenizer: PreTrainedTokenizerFast, plan: _Plan, rope: dict[str, Any]) -> dict[str, Any]:
    """Return what the configurations of all Qwen-VL families share."""
    ids = tokenizer.get_added_vocab()
    return {
        "text_config": {**_text_parts(tokenizer, plan), "rope_parameters": rope},
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": False,
    }


def _qwen_processor(kind: Any, tokenizer: PreTrainedTokenizerFast, chat_template: str) -> Any:
    limits: dict[str, Any] = {"min_pixels": 4 * PIXELS_PER_TOKEN, "max_pixels": 256 * PIXELS_PER_TOKEN}
    return kind(
        image_processor=Qwen2VLImageProcessorPil(**limits),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**limits),
        chat_template=chat_template,
    )


def _write_qwen2(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    _write_text(folder, plan, texts, Qwen2Config, Qwen2ForCausalLM)


def _write_qwen3(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    width = plan.text["hidden_size"] // plan.text["num_attention_heads"]
    _write_text(folder, plan, texts, Qwen3Config, Qwen3ForCausalLM, head_dim=width)


def _write_qwen3_5_text(folder: Path, plan: _Plan, texts: Iterable[str]) -> None:
    _write_text(folder, plan, texts, Qwen3_5TextConfig, Qwen3_5ForCausalLM, **_linear(plan))


def _write_text(folder: Path, plan: _Plan, texts: Iterable[str], config: Any, model: Any, **more: Any) -> None:
    tokenizer = train_tokenizer(texts, TEXT_TEMPLATE)
    rope = {"rope_type": "default", "rope_theta": 1e4, **more.pop("rope_parameters", {})}
    settings = config(
        **plan.text,
        **more,
        vocab_size=len(tokenizer),
        rope_parameters=rope,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    _save(model(settings), folder)
    tokenizer.save_pretrained(folder)


def _save(model: PreTrainedModel, folder: Path) -> None:
    model.generation_config.pad_token_id = model.config.get_text_config().bos_token_id
    # transformers would write every expert of this one alone; its repositories hold them in one piece, as it does.
    as_is = model.config.model_type == "qwen3_5_moe"
    with quiet_loading():
        model.save_pretrained(folder, save_original_format=not as_is)


_Writer = Callable[[Path, _Plan, Iterable[str]], None]
_WRITERS: Registry[_Writer] = Registry(
    "backbone family",
    {
        "qwen2_vl": _write_qwen2_vl,
        "qwen2_5_vl": _write_qwen2_5_vl,
        "qwen3_vl": _write_qwen3_vl,
        "qwen3_vl_moe": _write_qwen3_vl_moe,
        "qwen3_5": _write_qwen3_5,
        "qwen3_5_moe": _write_qwen3_5_moe,
        "internvl": _write_internvl,
        "qwen2": _write_qwen2,
        "qwen3": _write_qwen3,
        "qwen3_5_text": _write_qwen3_5_text,
    },
)
