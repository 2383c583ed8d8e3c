"""The configuration of InternVL's own classes as transformers has it; what it cannot say is refused by name."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, InternVLConfig, InternVLVisionConfig

from basereward.errors import CheckpointError
from basereward.models.importing.internvl_weights import INTERNLM2, NATIVE

_TEXT_TYPES = {INTERNLM2: "llama", "Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}
# What decides the computation or what a reader must know of it; the rest says how to generate, or nothing.
_TEXT_KEYS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "initializer_range"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "attention_bias", "mlp_bias", "head_dim"),
    *("use_sliding_window", "sliding_window", "max_window_layers"),
)
_VISION_KEYS = {
    **{key: key for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")},
    **{key: key for key in ("hidden_act", "norm_type", "layer_norm_eps", "image_size", "patch_size", "num_channels")},
    **{key: key for key in ("initializer_range", "attention_dropout")},
    "qkv_bias": "attention_bias",
    "qk_normalization": "use_qk_norm",
    "dropout": "projection_dropout",
}
# Without these the defaults of two libraries would decide, which differ.
_NEEDED = {
    "llm_config": (*_TEXT_KEYS[:5], "max_position_embeddings", "rms_norm_eps"),
    "vision_config": (*_TEXT_KEYS[1:5], "image_size", "patch_size"),
}
# Where the code of the repository does something that transformers' classes cannot: key -> what they do.
_FIXED = {"ps_version": "v2", "select_layer": -1, "use_backbone_lora": 0, "use_llm_lora": 0, "pad2square": False}


def convert_config(content: Mapping[str, Any], image_token: int) -> InternVLConfig:
    """Return the configuration.

    Args:
        content: of ``config.json``.
        image_token: the id that stands for a part of an image.

    Raises:
        CheckpointError: it asks for a computation that transformers' InternVL does not have, or holds values of
            another kind than its keys have.
    """
    try:
        return _convert(content, image_token)
    except (TypeError, ValueError, IndexError, StrictDataclassError) as error:
        raise CheckpointError(f"config.json holds what is no configuration of InternVL: {error}") from error


def _convert(content: Mapping[str, Any], image_token: int) -> InternVLConfig:
    defaults = {"ps_version": "v1", "select_layer": -1}
    for key, fixed in _FIXED.items():
        if (found := content.get(key, defaults.get(key, fixed))) != fixed:
            raise CheckpointError(f"config.json has {key} {found!r}; transformers' InternVL computes {fixed!r} alone.")
    for part, keys in _NEEDED.items():
        if lacking := [key for key in keys if key not in (content.get(part) or {})]:
            raise CheckpointError(f"The {part} of config.json lacks {', '.join(lacking)}.")
    vision: Any = _vision(content)
    ratio = content.get("downsample_ratio", 0.5)
    side = vision.image_size[0] // vision.patch_size[0]
    if not 0 < ratio <= 1 or side * ratio % 1 or 1 / ratio % 1:
        raise CheckpointError(
            f"config.json has downsample_ratio {ratio!r}, which {side} x {side} patches do not allow."
        )
    text = _text(content.get("llm_config") or {})
    return InternVLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image_token,
        image_seq_length=int(side**2 * ratio**2),
        downsample_ratio=ratio,
        tie_word_embeddings=text.tie_word_embeddings,
        dtype=content.get("torch_dtype") or content.get("dtype"),
    )


def text_architecture(content: Mapping[str, Any]) -> str:
    """Return the class of the text model.

    Raises:
        CheckpointError: one that is not converted.
    """
    found = ((content.get("llm_config") or {}).get("architectures") or ["none"])[0]
    if found not in _TEXT_TYPES:
        raise CheckpointError(
            f"The text model is {found}; converted are {', '.join((INTERNLM2, *NATIVE))}. Phi-3 (InternVL2-4B) fuses "
            "its projections and scales its positions by the length of the batch, so that no reward would stand still."
        )
    return str(found)


def _text(stored: Mapping[str, Any]) -> Any:
    architecture = text_architecture({"llm_config": stored})
    if (kind := stored.get("rope_pos_id_version", "default")) != "default":
        raise CheckpointError(f"config.json has rope_pos_id_version {kind!r}; transformers' InternVL counts tokens.")
    values = {key: stored[key] for key in _TEXT_KEYS if key in stored}
    if architecture == INTERNLM2:
        values["attention_bias"] = stored.get("bias", True)
    scaling = dict(stored.get("rope_scaling") or {})
    rope = {"rope_type": scaling.pop("type", scaling.pop("rope_type", "default")), **scaling}
    values["rope_parameters"] = {**rope, "rope_theta": float(stored.get("rope_theta", 10000))}
    values["tie_word_embeddings"] = bool(stored.get("tie_word_embeddings", False))
    return AutoConfig.for_model(_TEXT_TYPES[architecture], **values)


def _vision(content: Mapping[str, Any]) -> InternVLVisionConfig:
    stored = content.get("vision_config") or {}
    values = {new: stored[old] for old, new in _VISION_KEYS.items() if old in stored}
    # The defaults of InternVL's own class, where they are others.
    values = {"norm_type": "rms_norm", "use_qk_norm": True, **values}
    asked = content.get("force_image_size") or values.get("image_size")
    if asked != values.get("image_size"):
        raise CheckpointError(
            f"config.json asks for tiles of {asked} pixels from a tower of {values.get('image_size')}; its positions "
            "would have to be stretched."
        )
    if values.get("use_qk_norm") and values.get("layer_norm_eps", 1e-6) != 1e-6:
        raise CheckpointError(f"config.json has layer_norm_eps {values['layer_norm_eps']} for queries, expected 1e-6.")
    return InternVLVisionConfig(**values)
