"""What decides a model's inputs, file by file, so that a change of any of it can be seen and named."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

# Grows whenever this package turns the same files and the same conversation into other ids or pixels.
ENCODING_VERSION = 1
# What decides pixels in the configuration of an image or video processor. Others say how files are read, which frames
# of a film are taken (here they are given), or only what the class is called.
_PIXELS = (
    *("do_convert_rgb", "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale"),
    *("rescale_factor", "do_normalize", "image_mean", "image_std", "patch_size", "temporal_patch_size", "merge_size"),
    *("min_patches", "max_patches", "max_video_tokens"),
)


class TokenizerFacts(BaseModel):
    """Hashes of the parts of a tokenizer that decide ids; ``rules`` are normalisation, splitting and options."""

    model_config = ConfigDict(frozen=True)

    vocabulary: str
    merges: str
    added_tokens: str
    rules: str


class InputFacts(BaseModel):
    """Everything that decides ids and pixels, however files are formatted or ordered.

    ``special_tokens`` are those that the chat template or the processor writes by name; the processors' values are
    their own.
    """

    model_config = ConfigDict(frozen=True)

    encoding: int = ENCODING_VERSION
    tokenizer: TokenizerFacts
    chat_template: str
    special_tokens: dict[str, Any] = {}
    image_processor: dict[str, Any] = {}
    video_processor: dict[str, Any] = {}

    @property
    def hash(self) -> str:
        """One hash of all of it."""
        return digest(self.model_dump(mode="json"))

    def differences(self, other: "InputFacts") -> list[str]:
        """Return the dotted names of what differs, as ``tokenizer.merges``."""
        return list(_differences(self.model_dump(mode="json"), other.model_dump(mode="json")))


def tokenizer_facts(core: Tokenizer) -> TokenizerFacts:
    """Return the facts of a tokenizer.

    What sets nothing (null, false) is left out, because another version of the library may write more of it or less,
    and so is the flag ``special`` of added tokens, which decides only what decoding skips.
    """
    model = _state(core.model)
    vocabulary, merges = model.pop("vocab"), model.pop("merges", [])
    if isinstance(vocabulary, dict):
        vocabulary = sorted(vocabulary.items(), key=lambda item: item[1])
    added = [
        [index, token.content, token.single_word, token.lstrip, token.rstrip, token.normalized]
        for index, token in sorted(core.get_added_tokens_decoder().items())
    ]
    rules = {"model": model, "normalizer": _state(core.normalizer), "pre_tokenizer": _state(core.pre_tokenizer)}
    return TokenizerFacts(
        vocabulary=digest(vocabulary),
        # Older versions of the library write a merge as one string.
        merges=digest([merge if isinstance(merge, str) else " ".join(merge) for merge in merges]),
        added_tokens=digest(added),
        rules=digest(_without_unset(rules)),
    )


def _state(part: Any) -> Any:
    """Return the specification of a tokenizer's part, as ``tokenizer.json`` has it."""
    return json.loads(part.__getstate__()) if part else None


def processor_facts(processor: Any) -> dict[str, Any]:
    """Return what decides pixels in the configuration of an image or video processor."""
    content = json.loads(json.dumps(processor.to_dict(), default=int))
    return _without_unset({key: content.get(key) for key in _PIXELS})


def digest(value: Any) -> str:
    """Return a hash of a JSON value that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _without_unset(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_unset(own) for key, own in value.items() if own is not None and own is not False}
    return [_without_unset(own) for own in value] if isinstance(value, list) else value


def _differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted({*ours, *theirs}):
            yield from _differences(ours.get(key), theirs.get(key), f"{place}.{key}" if place else key)
    elif ours != theirs:
        yield place
