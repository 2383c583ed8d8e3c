"""Responses to one prompt that see each other: one block of attention over their last hidden states, without an order.

What it is given is computed exactly and once, whatever else is in the row; what it makes of it depends on the other
responses of the set, so its rewards are comparative.
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

HEAD_DIM = 64


class ComparedSets(NamedTuple):
    """Which responses of a batch are compared with each other, as ``encoding.compared`` gives it."""

    sets: Int[Tensor, "set member"]
    places: Int[Tensor, " response"]


def read_sets(batch: Mapping[str, Tensor]) -> ComparedSets | None:
    """Return what a batch says of the sets that its responses are compared in; None if it says nothing."""
    return ComparedSets(batch["sets"], batch["set_places"]) if "sets" in batch else None


class CrossResponse(nn.Module):
    """Adds to the hidden state of a response how the others of its set differ from it, as far as it looks at them.

    ``h_i + O (sum over j of a_ij v_j - v_i)`` with ``a_i = softmax over j of q_i k_j / 8``, where j runs over the
    different responses of the set, i included, and q, k, v are linear maps of the normalised states, a part of 64 for
    each attention head. There are no positions: exchanged responses exchange their rewards. Of a response alone
    ``a_ii`` is 1, so nothing is added, not even rounding.

    Args:
        hidden_size: size of the backbone's hidden state.
        heads: attention heads of 64 dimensions.

    Source: comparing the responses of a prompt in one pass is "You Only Judge Once", arXiv 2604.10966; there tokens
    see those of the responses in front of them, so that the order counts.
    """

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        width = heads * HEAD_DIM
        self.heads = heads
        self.norm = nn.RMSNorm(hidden_size, eps=1e-6)
        self.query, self.key, self.value = (nn.Linear(hidden_size, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, hidden_size, bias=False)

    def forward(
        self, hidden: Float[Tensor, "response hidden"], compared: ComparedSets
    ) -> Float[Tensor, "response hidden"]:
        """Return a state for every response; equal responses of a set have one."""
        is_there = compared.sets >= 0
        # What fills a set up is one of its own: masked or not, another one could spoil it with NaN.
        states = hidden[compared.sets.where(is_there, compared.sets[:, :1])]
        read = self.norm(states)
        query, key, value = (
            layer(read).unflatten(-1, (self.heads, HEAD_DIM)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        looks = query @ key.mT * HEAD_DIM**-0.5
        weights = looks.masked_fill(~is_there[:, None, None], float("-inf")).softmax(-1)
        differs = (weights @ value - value).transpose(1, 2).flatten(2)
        return (states + self.output(differs)).flatten(0, 1)[compared.places]


def cross_parameters(hidden_size: int, heads: int) -> int:
    """Return how many weights the block has; none without attention heads."""
    return hidden_size * (4 * heads * HEAD_DIM + 1) if heads else 0
