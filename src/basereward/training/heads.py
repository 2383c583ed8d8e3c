"""Several heads on one backbone: each learns as if it were alone, the backbone from the mean of their losses."""

from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from basereward.training.objectives import PairLoss, PairRewards

# The batch's key for what a pair counts for each head.
HEAD_WEIGHTS = "head_weights"


def sum_over_heads(
    loss: Callable[..., PairLoss],
    rewards: Float[Tensor, "response head"],
    batch: Mapping[str, Tensor],
    head_weights: Float[Tensor, "pair head"] | None,
) -> PairLoss:
    """Return the sum over heads of an objective's loss, and the mean rewards that it compared.

    A sum, so that the gradient of each head is to the last bit that of a run of its own.

    Args:
        loss: of an objective, for the rewards of one head.
        rewards: of every head.
        batch: what the objective reads of a batch, ``weights`` among it.
        head_weights: what each pair counts for each head; the same for all by default.
    """
    each = []
    for head, own in enumerate(rewards.unbind(-1)):
        drawn = batch if head_weights is None else draw_weights(batch, head_weights[:, head])
        each.append(loss(own, **drawn))
    sides = (torch.stack(own).mean(0) for own in zip(*(one.rewards for one in each), strict=True))
    return PairLoss(torch.stack([one.total for one in each]).sum(), PairRewards(*sides))


def draw_weights(batch: Mapping[str, Tensor], drawn: Float[Tensor, " pair"]) -> dict[str, Tensor]:
    """Return what an objective reads of a batch with the weights of pairs, and of their swaps, as a head draws them.

    Args:
        drawn: how often each pair is drawn.
    """
    weights = {"weights": batch["weights"] * drawn}
    if "swaps" in batch:
        # The first column of a swap is the chosen response of its pair.
        owners = (batch["swaps"][:, :1] == batch["pairs"][:, 0]).int().argmax(1)
        weights["swap_weights"] = batch["swap_weights"] * drawn[owners]
    return {**batch, **weights}


def clip_apart(model: nn.Module, heads: int, max_norm: float) -> Tensor:
    """Limit the gradient of each head, and that of all else, to a norm of its own; return the norm of them all before.

    One limit for all would let a head with a large gradient slow the others. The loss is a sum over heads; the gradient
    of what they share is divided by their number first.
    """
    norms = []
    for prefix, weights in _groups(model, heads):
        if not prefix:
            for weight in weights:
                weight.grad.div_(heads)  # type: ignore[union-attr]
        if weights:
            norm = nn.utils.clip_grad_norm_(weights, max_norm)
            norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    return torch.stack(norms).square().sum().sqrt()


def _groups(model: nn.Module, heads: int) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Yield the weights with gradients: those of no head under an empty name, then those of each head."""
    prefixes = [f"head.heads.{head}." for head in range(heads)]
    named = [
        (name.removeprefix("module."), weight) for name, weight in model.named_parameters() if weight.grad is not None
    ]
    yield "", [weight for name, weight in named if not name.startswith(tuple(prefixes))]
    for prefix in prefixes:
        yield prefix, [weight for name, weight in named if name.startswith(prefix)]
