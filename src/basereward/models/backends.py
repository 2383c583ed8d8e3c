"""The ways to compute a batch, and which one is exact and fastest for a model."""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedConfig

from basereward.encoding.collate import GroupBatch, take_images
from basereward.encoding.layout import Tree, TreeLayout, unpack
from basereward.errors import BackendError
from basereward.models.attention import SPLIT, VARLEN
from basereward.models.kernels import HALF

Backend = Literal["auto", "plain", "split", "varlen", "expand"]
# Attention implementation of the text model under each backend.
IMPLEMENTATIONS = {"plain": "sdpa", "split": SPLIT, "varlen": VARLEN, "expand": "sdpa"}


class Choice(NamedTuple):
    """A backend, and why it was chosen."""

    backend: Literal["plain", "split", "varlen", "expand"]
    reason: str


def layer_kinds(config: PreTrainedConfig) -> set[str]:
    """Return the kinds of attention of the text model's layers.

    A configuration without ``layer_types`` has one kind: ``sliding_attention`` if a window is in use, else full.
    """
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds:
        return set(kinds)
    windowed = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return {"sliding_attention" if windowed else "full_attention"}


def choose_backend(
    config: PreTrainedConfig,
    wanted: Backend = "auto",
    scoring: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Choice:
    """Return the backend to use.

    ``auto`` shares prompts wherever that is exact: by attention where every layer is full attention (in one kernel on
    CUDA in half precision), by copying the prompt's cache where other layers are only to be scored, else not at all.

    Args:
        scoring: no gradients will be asked for.
        device: type of the device that computes.
        dtype: in which attention is computed.

    Raises:
        BackendError: the backend that was asked for is not exact here, or has no kernel.
    """
    kinds = layer_kinds(config)
    names = ", ".join(sorted(kinds))
    is_full = kinds == {"full_attention"}
    if wanted in ("split", "varlen") and not is_full:
        raise BackendError(f"Backend {wanted!r} needs full attention in every layer, found {names}.")
    if wanted == "varlen" and (device != "cuda" or dtype not in HALF):
        raise BackendError(f"Backend 'varlen' needs CUDA and half precision, found {device} and {dtype}; use 'split'.")
    if wanted == "expand" and not scoring:
        raise BackendError("Backend 'expand' has no gradients; it is for scoring.")
    if wanted != "auto":
        return Choice(wanted, "as asked")
    if not is_full:
        shown = f"layers are {names}"
        return Choice("expand", f"{shown}: the prompt's cache is copied") if scoring else Choice("plain", shown)
    if device == "cuda" and dtype in HALF:
        return Choice("varlen", "full attention on CUDA in half precision")
    return Choice("split", "full attention")


class HiddenStates(NamedTuple):
    """HiddenStates states at the last token of every response, and at the token in front of every target."""

    responses: Float[Tensor, "response hidden"]
    targets: Float[Tensor, "target hidden"]


def read_hidden(backbone: Any, batch: GroupBatch, backend: str, axes: int) -> HiddenStates:
    """Return the hidden states that heads read, in the order of a batch; without targets there are none of these.

    Args:
        axes: rotary position axes of the family.

    Raises:
        BackendError: ``expand`` with gradients or targets.
    """
    if backend == "plain":
        return _plain(backbone, batch, axes)
    if backend == "expand":
        return _expand(backbone, batch, axes)
    layout = TreeLayout.of(batch)
    if backend == "varlen":
        # Here and not in the first layer: a compiled model would trace the building, and compile anew for each layout.
        layout.varlen(batch["input_ids"].device)
    output = backbone(
        input_ids=batch["input_ids"],
        position_ids=_positions(batch["position_ids"], axes),
        tree_layout=layout,
        use_cache=False,
        **take_images(batch),
    )
    row = output.last_hidden_state[0]
    return HiddenStates(row[batch["responses"][:, 2] - 1], row[_target_places(batch) - 1])


def _target_places(batch: GroupBatch) -> Int[Tensor, " target"]:
    return batch.get("target_places", batch["responses"].new_zeros(0))


def _plain(backbone: Any, batch: GroupBatch, axes: int) -> HiddenStates:
    """Compute every sequence alone, right-padded, with its own copy of prompt and images."""
    alone = unpack(batch, TreeLayout.of(batch))
    output = backbone(
        input_ids=alone.input_ids,
        position_ids=_positions(alone.position_ids, axes),
        attention_mask=alone.attention_mask,
        use_cache=False,
        **take_images(batch, alone.images),
    )
    hidden = output.last_hidden_state
    ends = hidden[torch.arange(len(alone.last), device=alone.last.device), alone.last]
    if "target_places" not in batch:
        return HiddenStates(ends, ends[:0])
    owners = batch["target_owners"]
    groups, starts = batch["responses"][owners, 0], batch["responses"][owners, 1]
    # In a sequence of its own a suffix begins where its prompt ends.
    prompts = batch["prefixes"][:, 1] - batch["prefixes"][:, 0]
    return HiddenStates(ends, hidden[owners, batch["target_places"] - starts + prompts[groups] - 1])


def _expand(backbone: Any, batch: GroupBatch, axes: int) -> HiddenStates:
    """Compute each prompt once and copy its cache for its responses; exact for every kind of layer."""
    if torch.is_grad_enabled():
        raise BackendError("Backend 'expand' has no gradients; call it under torch.inference_mode, or use 'plain'.")
    if "target_places" in batch:
        raise BackendError("Backend 'expand' reads rewards alone; use 'plain'.")
    trees = TreeLayout.of(batch).trees
    ends = [_expand_tree(backbone, batch, tree, group, axes) for group, tree in enumerate(trees) if tree.responses]
    return HiddenStates(torch.cat(ends), ends[0][:0])


def _expand_tree(
    backbone: Any, batch: GroupBatch, tree: Tree, group: int, axes: int
) -> Float[Tensor, "response hidden"]:
    ids, positions = batch["input_ids"], batch["position_ids"]
    start, end = tree.prefix
    owners = batch.get("image_groups", ids.new_zeros(0))
    prompt = backbone(
        input_ids=ids[:, start:end],
        position_ids=_positions(positions[:, :, start:end], axes),
        use_cache=True,
        **take_images(batch, (owners == group).nonzero()[:, 0]),
    )
    cache = prompt.past_key_values
    cache.reorder_cache(ids.new_zeros(len(tree.responses)))
    sizes = torch.tensor([span.end - span.start for span in tree.responses])
    # Right padding: a padded place repeats the last token, and nothing before it sees it.
    steps = torch.minimum(torch.arange(int(sizes.max()))[None], sizes[:, None] - 1)
    index = (torch.tensor([span.start for span in tree.responses])[:, None] + steps).to(ids.device)
    output = backbone(
        input_ids=ids[0][index],
        position_ids=_positions(positions[:, 0][:, index], axes),
        past_key_values=cache,
        use_cache=True,
    )
    return output.last_hidden_state[torch.arange(len(sizes)), sizes - 1]


def _positions(positions: Tensor, axes: int) -> Tensor:
    return positions if axes > 1 else positions[0]
