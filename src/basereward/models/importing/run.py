"""From a repository in InternVL's own layout to a backbone folder, which appears complete."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from transformers import GenerationConfig

from basereward import __version__
from basereward.data.shards import appearing, check_free
from basereward.errors import CheckpointError
from basereward.models.card.page import place_name
from basereward.models.hub import CONFIG, PATTERNS, fetch_folder, read_json_config
from basereward.models.importing.conversation import FILE, read_conversation
from basereward.models.importing.internvl_config import convert_config, text_architecture
from basereward.models.importing.internvl_inputs import import_processor, import_tokenizer
from basereward.models.importing.internvl_weights import Names, write_weights

KIND = "internvl_chat"
_LICENSES = ("LICENSE*", "NOTICE*", "README.md", FILE)
# What a model card says of rights and origin.
_CARD = ("license", "license_name", "license_link", "language", "datasets")


def import_checkpoint(place: str | Path, out: str | Path) -> Path:
    """Write a checkpoint in transformers' layout: weights, configuration, tokenizer, processor, licence.

    Args:
        place: folder or hub id.
        out: folder, which may not hold anything.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: another kind of model, or something in it that transformers' classes cannot say.
        DataError: ``out`` holds something else.
        WorkError: another process writes ``out``.
    """
    name, target = str(place), Path(out)
    check_free(target)
    # What cannot be converted is refused before its weights are fetched.
    small = fetch_folder(place, [CONFIG, FILE])
    content = read_json_config(small, name)
    if (kind := content.get("model_type")) != KIND:
        raise CheckpointError(
            f"{name} is a {kind!r}; converted are checkpoints of kind {KIND!r}. Others are read as they are, or not."
        )
    architecture = text_architecture(content)
    conversation = read_conversation(small, str(content.get("template")))
    convert_config(content, 0)
    source = fetch_folder(place, [*PATTERNS, *_LICENSES])
    imported = import_tokenizer(source, conversation.end)
    config: Any = convert_config(content, imported.image_token)
    config.architectures = ["InternVLForConditionalGeneration"]
    text = config.text_config
    if (highest := imported.image_token) >= text.vocab_size:
        raise CheckpointError(f"The tokenizer of {name} counts to {highest}, its embeddings to {text.vocab_size - 1}.")
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    names = Names(architecture, text.num_attention_heads // text.num_key_value_heads, head)
    with appearing(target) as folder:
        write_weights(source, names, config, folder)
        config.save_pretrained(folder)
        import_processor(content, config, imported, conversation).save_pretrained(folder)
        ends = sorted({imported.tokenizer.eos_token_id, *_known_ends(text.eos_token_id)})
        GenerationConfig(eos_token_id=ends, bos_token_id=text.bos_token_id).save_pretrained(folder)
        _write_card(source, folder, name)
    return target


def _known_ends(stored: Any) -> list[int]:
    return [] if stored is None else [stored] if isinstance(stored, int) else list(stored)


def _write_card(source: Path, folder: Path, name: str) -> None:
    """Write where the model comes from and under which licence, and copy the licence's text."""
    for pattern in ("LICENSE*", "NOTICE*"):
        for file in sorted(source.glob(pattern)):
            shutil.copyfile(file, folder / file.name)
    stated = {key: value for key, value in _card_facts(source / "README.md").items() if key in _CARD}
    # Where a folder lies says nothing to others.
    name = place_name(name)
    facts = {**stated, "base_model": name}
    head = yaml.safe_dump(facts, sort_keys=True, allow_unicode=True)
    rights = stated.get("license_name") or stated.get("license") or "not stated in its model card"
    (folder / "README.md").write_text(
        f"---\n{head}---\n\nThe weights of {name}, unchanged, under the names of transformers' InternVL classes, "
        f"with its tokenizer, chat template and image processor; written by basereward {__version__}, which ran no "
        f"code of the repository. Licence: {rights}.\n",
        encoding="utf-8",
    )


def _card_facts(file: Path) -> Mapping[str, Any]:
    """Return the front matter of a model card, nothing if it has none that can be read."""
    parts = file.read_text(encoding="utf-8", errors="replace").split("---", 2) if file.exists() else []
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        found = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, Mapping) else {}
