"""The ways to compute a batch, and which one is exact and fastest for a model."""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedConfig

from basereward.encoding.collate import GroupBatch, take_images
from basereward.encoding.layout import TreeLayout, unpack
from basereward.errors import BackendError
from basereward.models.attention import SPLIT, VARLEN
from basereward.models.expand import expand_row
from basereward.models.kernels import HALF, runs_here
from basereward.models.vision import read_images

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
    if wanted == "varlen" and not runs_here():
        raise BackendError("Backend 'varlen' needs a GPU of compute capability 8.0 (Ampere) or later; use 'split'.")
    if wanted == "varlen" and (device != "cuda" or dtype not in HALF):
        raise BackendError(f"Backend 'varlen' needs CUDA and half precision, found {device} and {dtype}; use 'split'.")
    if wanted == "expand" and not scoring:
        raise BackendError("Backend 'expand' has no gradients; it is for scoring.")
    if wanted != "auto":
        return Choice(wanted, "as asked")
    if not is_full:
        shown = f"layers are {names}"
        return Choice("expand", f"{shown}: the prompt's cache is copied") if scoring else Choice("plain", shown)
    if device == "cuda" and dtype in HALF and runs_here():
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
        **read_images(backbone, batch, layout).of([item for _, item in layout.images]),
    )
    row = output.last_hidden_state[0]
    ends = row[batch["nodes"][batch["leaves"], 2] - 1]
    return HiddenStates(ends, row[_target_places(batch) - 1])


def _target_places(batch: GroupBatch) -> Int[Tensor, " target"]:
    return batch.get("target_places", batch["leaves"].new_zeros(0))


def _plain(backbone: Any, batch: GroupBatch, axes: int) -> HiddenStates:
    """Compute every sequence alone, right-padded, with its own copy of prompt and images."""
    layout = TreeLayout.of(batch)
    alone = unpack(batch, layout)
    output = backbone(
        input_ids=alone.input_ids,
        position_ids=_positions(alone.position_ids, axes),
        attention_mask=alone.attention_mask,
        use_cache=False,
        **take_images(batch, alone.images),
    )
    hidden = output.last_hidden_state
    ends = hidden[alone.rows, alone.last]
    if "target_places" not in batch:
        return HiddenStates(ends, ends[:0])
    owners = batch["target_owners"]
    # A node that ends a response ends its sequence too: from its end, a token is as far in the one as in the other.
    behind = batch["nodes"][batch["leaves"], 2][owners] - batch["target_places"]
    return HiddenStates(ends, hidden[alone.rows[owners], alone.last[owners] - behind])


def _expand(backbone: Any, batch: GroupBatch, axes: int) -> HiddenStates:
    """Compute what several responses share once and copy its cache for them; exact for every kind of layer."""
    if torch.is_grad_enabled():
        raise BackendError("Backend 'expand' has no gradients; call it under torch.inference_mode, or use 'plain'.")
    if "target_places" in batch:
        raise BackendError("Backend 'expand' reads rewards alone; use 'plain'.")
    ends = expand_row(backbone, batch, axes)
    return HiddenStates(ends, ends[:0])


def _positions(positions: Tensor, axes: int) -> Tensor:
    return positions if axes > 1 else positions[0]
