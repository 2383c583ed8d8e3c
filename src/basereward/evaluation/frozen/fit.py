"""A reward head that is trained on features alone."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from basereward.configuration import Section
from basereward.errors import ScoringError
from basereward.evaluation.frozen.features import FrozenPairs
from basereward.models.head import HeadSettings, draw_head
from basereward.training.losses import bradley_terry, zero_coefficient


class FitSettings(Section):
    """How a head learns on features."""

    epochs: int = Field(default=20, ge=1)
    """Passes over the pairs."""
    pairs_per_step: int = Field(default=64, ge=1)
    """Pairs of a step; the last one of a pass has what is left."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of AdamW; a head alone bears more than a whole model."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    limit: int | None = Field(default=None, ge=1)
    """Most pairs of a set, drawn by the seed, so that sets of unlike sizes can be compared."""


class FittedHead(NamedTuple):
    """A head and how features are scaled before it: by mean and deviation over both sides of its training pairs."""

    head: nn.Module
    mean: Float[Tensor, " hidden"]
    scale: Float[Tensor, " hidden"]

    def rewards(self, states: Float[np.ndarray, "pair hidden"]) -> Float[Tensor, " pair"]:
        """Return the reward of each state."""
        return self.head((torch.from_numpy(states).to(self.mean) - self.mean) / self.scale)

    @torch.inference_mode()
    def accuracy(self, pairs: FrozenPairs) -> float:
        """Return the share of pairs that it ranks right, a tie as half."""
        margins = self.rewards(pairs.chosen) - self.rewards(pairs.rejected)
        return float(((margins > 0).double() + 0.5 * (margins == 0)).mean())


def fit_head(
    pairs: FrozenPairs,
    shape: HeadSettings,
    coefficient: float = 0.0,
    settings: FitSettings | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> FittedHead:
    """Return a head fitted to the pairs by Bradley-Terry plus ``coefficient`` times the zero-coefficient regulariser.

    Args:
        seed: of the head, the draw under ``settings.limit``, and the order.
        device: where it is fitted.

    Raises:
        ScoringError: several heads are asked for, or a head whose rewards are not finite came out.
    """
    if shape.cross_response:
        raise ScoringError("A probe fits a head to states of responses by themselves; leave out cross_response.")
    if shape.heads > 1:
        raise ScoringError(f"Found {shape.heads} heads in one shape, expected 1; seeds give several.")
    settings = settings or FitSettings()
    order = torch.Generator().manual_seed(seed)
    taken = torch.randperm(len(pairs.chosen), generator=order)[: settings.limit]
    sides = torch.stack([torch.from_numpy(side)[taken] for side in (pairs.chosen, pairs.rejected)], 1).to(device)
    flat = sides.flatten(0, 1)
    # A feature that never varies says nothing, and must not be divided by 0.
    mean, scale = flat.mean(0), flat.std(0, correction=0).clamp_min(1e-6)
    head = draw_head(sides.shape[-1], shape, seed).to(device)
    optimizer = torch.optim.AdamW(head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    for _ in range(settings.epochs):
        for chunk in torch.randperm(len(sides), generator=order).split(settings.pairs_per_step):
            chosen, rejected = head(((sides[chunk.to(device)] - mean) / scale).transpose(0, 1).flatten(0, 1)).chunk(2)
            terms = bradley_terry(chosen, rejected) + coefficient * zero_coefficient(chosen, rejected)
            optimizer.zero_grad()
            terms.mean().backward()
            optimizer.step()
    if not all(bool(weight.isfinite().all()) for weight in head.parameters()):
        raise ScoringError(f"The head {shape.layers}:{shape.activation} diverged; lower the learning rate.")
    return FittedHead(head.eval(), mean, scale)
