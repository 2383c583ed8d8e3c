"""Weights of InternVL's own classes under the names of transformers, tensor by tensor."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import InternVLForConditionalGeneration

from basereward.errors import CheckpointError
from basereward.models.families import FAMILIES
from basereward.models.stored import open_tensors

INTERNLM2 = "InternLM2ForCausalLM"
# Text models whose names are those of transformers inside InternVL's classes as well.
NATIVE = ("Qwen2ForCausalLM", "LlamaForCausalLM")
# Buffers that older versions of the code stored.
_BUFFERS = re.compile(r".*\.rotary_emb\.(inv_freq|cos_cached|sin_cached)")
# Patterns of whole names, and what becomes of them; where several names stand the tensor is taken apart.
_SHARED = {
    r"vision_model\.embeddings\.class_embedding": "vision_tower.embeddings.cls_token",
    r"vision_model\.embeddings\.position_embedding": "vision_tower.embeddings.position_embeddings",
    r"vision_model\.embeddings\.patch_embedding\.(\w+)": r"vision_tower.embeddings.patch_embeddings.projection.\1",
    r"mlp1\.0\.(\w+)": r"multi_modal_projector.layer_norm.\1",
    r"mlp1\.1\.(\w+)": r"multi_modal_projector.linear_1.\1",
    r"mlp1\.3\.(\w+)": r"multi_modal_projector.linear_2.\1",
}
_VISION_LAYER = {
    r"norm1\.(\w+)": r"layernorm_before.\1",
    r"norm2\.(\w+)": r"layernorm_after.\1",
    r"ls([12])": r"lambda_\1",
    r"attn\.proj\.(\w+)": r"attention.projection_layer.\1",
    r"attn\.([qk])_norm\.weight": r"attention.\1_norm.weight",
    r"mlp\.fc([12])\.(\w+)": r"mlp.fc\1.\2",
}
_INTERNLM2 = {
    r"model\.tok_embeddings\.weight": "model.embed_tokens.weight",
    r"model\.norm\.weight": "model.norm.weight",
    r"output\.weight": "lm_head.weight",
    r"model\.layers\.(\d+)\.attention\.wo\.(\w+)": r"model.layers.\1.self_attn.o_proj.\2",
    r"model\.layers\.(\d+)\.feed_forward\.w1\.weight": r"model.layers.\1.mlp.gate_proj.weight",
    r"model\.layers\.(\d+)\.feed_forward\.w2\.weight": r"model.layers.\1.mlp.down_proj.weight",
    r"model\.layers\.(\d+)\.feed_forward\.w3\.weight": r"model.layers.\1.mlp.up_proj.weight",
    r"model\.layers\.(\d+)\.attention_norm\.weight": r"model.layers.\1.input_layernorm.weight",
    r"model\.layers\.(\d+)\.ffn_norm\.weight": r"model.layers.\1.post_attention_layernorm.weight",
}
_NATIVE = {r"(model|lm_head)\.(.+)": r"\1.\2"}


class Names(NamedTuple):
    """Which names a checkpoint's text model has, and how its queries are grouped.

    Args:
        architecture: of the text model.
        queries: query heads for each head of keys and values.
        head: the width of a head.
    """

    architecture: str
    queries: int
    head: int

    def convert(self, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield a stored tensor under its new name, or its parts under theirs.

        Raises:
            CheckpointError: the name is unknown.
        """
        if _BUFFERS.fullmatch(name):
            return
        if found := re.fullmatch(r"vision_model\.encoder\.layers\.(\d+)\.(.+)", name):
            yield from _vision_layer(f"vision_tower.encoder.layer.{found[1]}.", found[2], name, tensor)
        elif found := re.fullmatch(r"language_model\.(.+)", name):
            yield from self._text(found[1], name, tensor)
        else:
            yield _renamed(_SHARED, name, name), tensor

    def _text(self, inner: str, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        found = re.fullmatch(r"(model\.layers\.\d+)\.attention\.wqkv\.(\w+)", inner)
        if self.architecture != INTERNLM2 or not found:
            table = _INTERNLM2 if self.architecture == INTERNLM2 else _NATIVE
            yield "language_model." + _renamed(table, inner, name), tensor
            return
        # Head by head of keys and values: its queries, its key, its value.
        group = (self.queries + 2) * self.head
        if len(tensor) % group:
            raise CheckpointError(
                f"The weight {name} has {len(tensor)} rows; config.json makes groups of {group}: {self.queries} "
                f"queries, a key and a value of {self.head}."
            )
        rows = tensor.unflatten(0, (-1, self.queries + 2, self.head))
        parts = {"q": rows[:, : self.queries], "k": rows[:, -2:-1], "v": rows[:, -1:]}
        for letter, part in parts.items():
            yield f"language_model.{found[1]}.self_attn.{letter}_proj.{found[2]}", part.flatten(0, 2).contiguous()


def write_weights(source: Path, names: Names, config: Any, out: Path) -> None:
    """Write a checkpoint's weights under their new names, file by file.

    Raises:
        CheckpointError: weights are unknown, missing, there twice, or of another shape; all by name.
    """
    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{source} has no *.safetensors; expected weights in this format.")
    expected = _expected(config)
    places: dict[str, str] = {}
    size = 0
    for number, file in enumerate(files, start=1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors" if len(files) > 1 else "model.safetensors"
        held = dict(_converted(file, names, expected, places))
        save_file(held, out / name, metadata={"format": "pt"})
        places |= dict.fromkeys(held, name)
        size += sum(tensor.nbytes for tensor in held.values())
    if missing := sorted(expected.keys() - places.keys()):
        shown = ", ".join(missing[:4]) + ", ..." * (len(missing) > 4)
        raise CheckpointError(f"{source} lacks {len(missing)} weights: {shown}.")
    if len(files) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _converted(
    file: Path, names: Names, expected: Mapping[str, torch.Size], known: Mapping[str, str]
) -> Iterator[tuple[str, Tensor]]:
    seen = set(known)
    with open_tensors(file) as opened:
        for stored in opened.keys():  # noqa: SIM118
            for name, tensor in names.convert(stored, opened.get_tensor(stored)):
                if name in seen or name not in expected:
                    why = "is there twice" if name in seen else "has no place in the model of config.json"
                    raise CheckpointError(f"The weight {stored} of {file} {why} ({name}).")
                if not tensor.is_floating_point():
                    raise CheckpointError(
                        f"The weight {stored} of {file} is {tensor.dtype}; expected unquantised ones."
                    )
                if tensor.shape != expected[name]:
                    shapes = f"{list(tensor.shape)}, expected {list(expected[name])}"
                    raise CheckpointError(f"The weight {stored} of {file} gives {name} of shape {shapes}.")
                seen.add(name)
                yield name, tensor


def _expected(config: Any) -> dict[str, torch.Size]:
    """Return name and shape of every weight in the hub layout."""
    family = FAMILIES["internvl"]
    with torch.device("meta"):
        model = InternVLForConditionalGeneration(config)
    tied = config.tie_word_embeddings
    found = {}
    for name, tensor in model.state_dict().items():
        inner = name.removeprefix("model.")
        if inner != name:
            found[family.to_hub(inner)] = tensor.shape
        elif not tied:
            found[family.lm_head + name.removeprefix("lm_head.")] = tensor.shape
    return found


def _vision_layer(layer: str, inner: str, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if found := re.fullmatch(r"attn\.qkv\.(\w+)", inner):
        for letter, part in zip("qkv", tensor.chunk(3), strict=True):
            yield f"{layer}attention.{letter}_proj.{found[1]}", part.contiguous()
    else:
        yield layer + _renamed(_VISION_LAYER, inner, name), tensor


def _renamed(table: Mapping[str, str], inner: str, name: str) -> str:
    for pattern, new in table.items():
        if found := re.fullmatch(pattern, inner):
            return found.expand(new)
    raise CheckpointError(f"The weight {name} is none of InternVL's that are known; nothing may be left over.")
