"""Tokenizer, chat template and image processor of InternVL's own repositories, as transformers has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import transformers
from transformers import (
    AddedToken,
    GotOcr2ImageProcessorPil,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
)

from basereward.errors import CheckpointError
from basereward.models.importing.conversation import Conversation, chat_template
from basereward.models.importing.sentencepiece import build_tokenizer, read_sentencepiece

# The tokenizers of repositories that are a SentencePiece model and nothing else.
_SENTENCEPIECE = ("InternLM2Tokenizer", "InternLM2TokenizerFast")
# What InternVL's processor asks a tokenizer for. Videos are written as images; their mark never reaches the model.
VIDEO = "<video>"
_NAMED = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
# Of ImageNet, as InternVL's code has them.
_MEAN, _DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class ImportedTokenizer(NamedTuple):
    """A tokenizer, and what it puts in front of any text, which is left to the chat template."""

    tokenizer: PreTrainedTokenizerFast
    begin: str

    @property
    def image_token(self) -> int:
        """The id that stands for a part of an image."""
        return self.tokenizer.get_vocab()[_NAMED["context_image_token"]]


def import_tokenizer(folder: Path, end: str) -> ImportedTokenizer:
    """Return the tokenizer of a repository, without its code.

    Args:
        end: the token that ends an answer.

    Raises:
        CheckpointError: its files are of another kind, or lack a token that the model needs.
    """
    settings = _json(folder / "tokenizer_config.json")
    kind = str(settings.get("tokenizer_class"))
    if kind in _SENTENCEPIECE:
        tokenizer = _sentencepiece(folder, settings)
        begin = str(tokenizer.bos_token) if settings.get("add_bos_token", True) else ""
    elif hasattr(transformers, kind):
        tokenizer = getattr(transformers, kind).from_pretrained(folder, trust_remote_code=False)
        # Everything in front of a text, as the tokenizer itself puts it there.
        begin = tokenizer.decode(tokenizer("")["input_ids"])
        tokenizer.backend_tokenizer.post_processor = None
    else:
        raise CheckpointError(
            f"{folder} has the tokenizer {kind}; expected one of transformers', or {', '.join(_SENTENCEPIECE)}."
        )
    if lacking := [token for token in (*_NAMED.values(), end) if token not in tokenizer.get_vocab()]:
        raise CheckpointError(f"The tokenizer of {folder} lacks {', '.join(lacking)}.")
    tokenizer.add_tokens([AddedToken(VIDEO, special=True, normalized=False)], special_tokens=True)
    core = tokenizer.backend_tokenizer
    named = {**_NAMED, "video_token": VIDEO}
    others = {key: getattr(tokenizer, key) for key in ("bos_token", "unk_token", "pad_token")}
    return ImportedTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=core,
            **{key: value for key, value in others.items() if value is not None},
            eos_token=end,
            extra_special_tokens=named,
            clean_up_tokenization_spaces=False,
            model_max_length=settings.get("model_max_length", 8192),
        ),
        begin,
    )


def _sentencepiece(folder: Path, settings: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    file = folder / "tokenizer.model"
    if not file.exists():
        raise CheckpointError(f"{folder} has no tokenizer.model, which its tokenizer is made of.")
    stored = settings.get("added_tokens_decoder") or {}
    added = {int(place): AddedToken(**_token(own)) for place, own in stored.items()}
    for token, place in _json(folder / "added_tokens.json", {}).items():
        added.setdefault(int(place), AddedToken(token, special=True, normalized=False))
    core = build_tokenizer(read_sentencepiece(file.read_bytes()), added)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    for key in names:
        given = settings.get(key, names[key])
        names[key] = given["content"] if isinstance(given, Mapping) else given
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


def _token(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: stored[key] for key in ("content", "single_word", "lstrip", "rstrip", "normalized", "special")}


def import_processor(
    content: Mapping[str, Any], config: Any, imported: ImportedTokenizer, conversation: Conversation
) -> InternVLProcessor:
    """Return the processor of a checkpoint.

    Args:
        content: of its ``config.json``.

    Raises:
        CheckpointError: it cuts images otherwise than transformers' does.
    """
    has_tiles = content.get("dynamic_image_size", False)
    most = content.get("max_dynamic_patch", 6) if has_tiles else 1
    if most > 1 and not content.get("use_thumbnail", False):
        raise CheckpointError("config.json has use_thumbnail false; transformers' processor adds the whole image.")
    height, width = config.vision_config.image_size
    size = {"height": height, "width": width}
    looks: dict[str, Any] = {"size": size, "image_mean": _MEAN, "image_std": _DEVIATION}
    least = content.get("min_dynamic_patch", 1) if has_tiles else 1
    template = chat_template(conversation, imported.begin, _NAMED["context_image_token"], VIDEO)
    tokenizer = imported.tokenizer
    tokenizer.chat_template = template
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessorPil(**looks, crop_to_patches=True, min_patches=least, max_patches=most),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(**looks),
        image_seq_length=config.image_seq_length,
        chat_template=template,
    )


def _json(file: Path, default: Any = None) -> Any:
    if not file.exists() and default is not None:
        return default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}.") from error
