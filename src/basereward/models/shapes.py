"""Shapes of published backbones, so that a run can be planned without a network.

Source: the ``config.json`` of each model on the hub.
"""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from basereward.errors import MissingFileError
from basereward.models.hub import CONFIG, open_folder

_QWEN2_5_VL_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}

_QWEN3_VL_SMALL_VISION = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}


def _text(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocab: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
    }


def _qwen2_5_vl(hidden: int, *rest: int) -> dict[str, Any]:
    return {
        "model_type": "qwen2_5_vl",
        "text_config": _text(hidden, *rest),
        "vision_config": {**_QWEN2_5_VL_VISION, "out_hidden_size": hidden},
    }


def _qwen2_vl(hidden: int, *rest: int) -> dict[str, Any]:
    return {"model_type": "qwen2_vl", "text_config": _text(hidden, *rest), "vision_config": {"hidden_size": hidden}}


def _qwen3_vl(vision: dict[str, Any], hidden: int, *rest: int) -> dict[str, Any]:
    return {
        "model_type": "qwen3_vl",
        "text_config": {**_text(hidden, *rest), "head_dim": 128},
        "vision_config": {**vision, "out_hidden_size": hidden},
    }


def _qwen3_vl_moe(experts: int, chosen: int, width: int, hidden: int, *rest: int) -> dict[str, Any]:
    shape = _qwen3_vl({}, hidden, *rest)
    shape["text_config"] |= {"num_experts": experts, "num_experts_per_tok": chosen, "moe_intermediate_size": width}
    return {**shape, "model_type": "qwen3_vl_moe"}


def _qwen3_5(hidden: int, *rest: int) -> dict[str, Any]:
    return {
        "model_type": "qwen3_5",
        "text_config": {**_text(hidden, *rest), "head_dim": 256},
        "vision_config": {"out_hidden_size": hidden},
    }


def _internvl(*text: int) -> dict[str, Any]:
    return {
        "model_type": "internvl",
        "text_config": {"model_type": "qwen2", **_text(*text)},
        "vision_config": {"attention_bias": True},
    }


SHAPES: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen2_5_vl(2048, 11008, 36, 16, 2, 151936),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen2_5_vl(3584, 18944, 28, 28, 4, 152064),
    "Qwen/Qwen2-VL-2B-Instruct": _qwen2_vl(1536, 8960, 28, 12, 2, 151936),
    "Qwen/Qwen2-VL-7B-Instruct": _qwen2_vl(3584, 18944, 28, 28, 4, 152064),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen3_vl(_QWEN3_VL_SMALL_VISION, 2560, 9728, 36, 32, 8, 151936),
    "Qwen/Qwen3-VL-8B-Instruct": _qwen3_vl({}, 4096, 12288, 36, 32, 8, 151936),
    "Qwen/Qwen3-VL-30B-A3B-Instruct": _qwen3_vl_moe(128, 8, 768, 2048, 6144, 48, 32, 4, 151936),
    "Qwen/Qwen3.5-9B": _qwen3_5(4096, 12288, 32, 16, 4, 248320),
    "OpenGVLab/InternVL3-1B-hf": _internvl(896, 4864, 24, 14, 2, 151674),
    "OpenGVLab/InternVL3-8B-hf": _internvl(3584, 18944, 28, 28, 4, 151674),
    "Qwen/Qwen2.5-7B-Instruct": {"model_type": "qwen2", **_text(3584, 18944, 28, 28, 4, 152064)},
    "Qwen/Qwen3-0.6B": {"model_type": "qwen3", "head_dim": 128, **_text(1024, 3072, 28, 16, 8, 151936)},
    "Qwen/Qwen3-4B": {"model_type": "qwen3", "head_dim": 128, **_text(2560, 9728, 36, 32, 8, 151936)},
    "Qwen/Qwen3-8B": {"model_type": "qwen3", "head_dim": 128, **_text(4096, 12288, 36, 32, 8, 151936)},
}


def backbone_config(name: str | Path) -> PreTrainedConfig:
    """Return a backbone's configuration: from its folder, from the table, or from the hub, in this order.

    Raises:
        MissingFileError: none of the three knows it.
    """
    if not Path(name).is_dir() and str(name) in SHAPES:
        shape = dict(SHAPES[str(name)])
        return AutoConfig.for_model(shape.pop("model_type"), **shape)
    try:
        return open_folder(name, [CONFIG]).config
    except MissingFileError as error:
        raise MissingFileError(f"{error} Planning without a network knows: {', '.join(sorted(SHAPES))}.") from error
