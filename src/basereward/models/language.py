"""What a vocabulary head says of the tokens that a model learns to write; logits of a few tokens at a time."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Of 152,000 words a token has 0.6 MB of logits in fp32: so many tokens are computed at once, and again backwards.
CHUNK = 1024


class LanguageOutput(NamedTuple):
    """What a model that writes gives for a row.

    ``rewards`` are those of a critic, None for a judge; ``targets`` the log-probabilities of all targets, fp32;
    ``verdicts`` those of the right token and of the other one where a judge's verdict stands.
    """

    rewards: Float[Tensor, " response"] | None
    targets: Float[Tensor, " target"]
    verdicts: Float[Tensor, "verdict 2"]


def read_targets(
    lm_head: Any, hidden: Float[Tensor, "target hidden"], batch: Mapping[str, Tensor], rewards: Tensor | None
) -> LanguageOutput:
    """Return the log-probabilities of the targets of a row.

    Args:
        lm_head: maps hidden states to logits.
        hidden: at the token in front of each target.
        batch: a row with ``target_places`` and ``verdict_targets``.
        rewards: of its responses.
    """
    wanted = batch["input_ids"][0, batch["target_places"]]
    places, others = batch["verdict_targets"], batch["verdict_others"]
    right = log_probabilities(lm_head, hidden, wanted)
    wrong = log_probabilities(lm_head, hidden[places], others)
    return LanguageOutput(rewards, right, torch.stack([right[places], wrong], dim=1))


def log_probabilities(
    lm_head: Any, hidden: Float[Tensor, "token hidden"], wanted: Int[Tensor, " token"]
) -> Float[Tensor, " token"]:
    """Return ``log softmax(lm_head(hidden))`` at the wanted tokens, fp32; memory is that of ``CHUNK`` tokens."""
    parts = [
        checkpoint(
            _of_chunk, lm_head, hidden[start : start + CHUNK], wanted[start : start + CHUNK], use_reentrant=False
        )
        for start in range(0, len(wanted), CHUNK)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


def _of_chunk(lm_head: Any, hidden: Tensor, wanted: Tensor) -> Tensor:
    return torch.log_softmax(lm_head(hidden).float(), dim=-1).gather(1, wanted[:, None])[:, 0]
