"""The reward head: a small MLP on the last hidden state, or several of them, always computed in fp32."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from basereward.configuration import Section
from basereward.errors import BackendError, RecipeError
from basereward.models.cross_response import ComparedSets, CrossResponse

Activation = Literal["none", "tanh", "relu", "gelu", "silu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
MAX_LAYERS = 5
# Rewards start near zero for any backbone, so that the first loss is ln 2 and no pair begins saturated.
FINAL_STD = 0.1


class HeadSettings(Section):
    """The shape of a reward head (paper section 3.2)."""

    layers: int = Field(default=2, ge=1, le=MAX_LAYERS)
    """Linear layers."""
    activation: Activation = "silu"
    """Function between the layers."""
    width: int | None = None
    """Size of the inner layers; the backbone's hidden size if not given."""
    final_bias: bool = False
    """A bias in the last layer, as heads of other libraries have; Bradley-Terry does not see it."""
    heads: int = Field(default=1, ge=1)
    """Heads of this shape on one backbone; the reward is their mean."""
    cross_response: int = Field(default=0, ge=0)
    """Attention heads, of 64 dimensions, by which a response sees the others to its prompt; 0: it sees none, and its
    reward does not depend on them."""


class RewardHead(nn.Module):
    """``layers`` linear maps with an activation between them: hidden -> width -> ... -> 1.

    A new last layer has no bias, because Bradley-Terry does not see it. Autocast is off inside, and casting the model
    leaves these weights alone, so the reward is fp32 in every precision mode.

    Args:
        hidden_size: size of the backbone's hidden state.
        layers: 1 to 5; the paper's best is 2.
        activation: one of ``none, tanh, relu, gelu, silu``; the paper's best is ``silu``.
        width: size of the inner layers; ``hidden_size`` by default (the paper does not say). The attribute is
            the input size of the last layer.
        final_bias: whether the last layer has a bias, as heads of other libraries may.
        cross_response: attention heads of the ``CrossResponse`` in front of the layers; by default there is none.

    Source: paper section 3.2, Table 2.
    """

    def __init__(
        self,
        hidden_size: int,
        layers: int = 2,
        activation: str = "silu",
        width: int | None = None,
        final_bias: bool = False,
        cross_response: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= layers <= MAX_LAYERS:
            raise RecipeError(f"Found {layers} head layers, expected 1 to {MAX_LAYERS}.")
        if activation not in ACTIVATIONS:
            raise RecipeError(f"Found activation {activation!r}, expected one of {', '.join(get_args(Activation))}.")
        self.activation = activation
        sizes = [hidden_size] + [width or hidden_size] * (layers - 1)
        inner = [nn.Linear(before, after) for before, after in pairwise(sizes)]
        last = nn.Linear(sizes[-1], 1, bias=final_bias)
        self.layers = nn.ModuleList([*inner, last])
        self.width = sizes[-1]
        self.between = ACTIVATIONS[activation]()
        nn.init.normal_(last.weight, std=FINAL_STD * self.width**-0.5)
        if final_bias:
            nn.init.zeros_(last.bias)
        # Drawn last: with a seed the layers are those of the head that compares nothing.
        self.cross = CrossResponse(hidden_size, cross_response) if cross_response else None

    @property
    def settings(self) -> HeadSettings:
        """Its shape."""
        return HeadSettings(
            layers=len(self.layers),
            activation=cast(Activation, self.activation),
            width=self.width,
            final_bias=self.layers[-1].bias is not None,
            cross_response=self.cross.heads if self.cross else 0,
        )

    def forward(
        self, hidden: Float[Tensor, "response hidden"], compared: ComparedSets | None = None
    ) -> Float[Tensor, " response"]:
        """Return one unbounded fp32 reward for every hidden state.

        Args:
            compared: which responses a head with ``cross_response`` compares; any other leaves it alone.

        Raises:
            BackendError: the head compares responses, and is not told which.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float()
            if self.cross:
                if compared is None:
                    raise BackendError(
                        "This head compares the responses to a prompt (cross_response) and was given hidden states "
                        "without their sets; give RewardModel a batch that encoding.collate made."
                    )
                hidden = self.cross(hidden, compared)
            for layer in self.layers[:-1]:
                hidden = self.between(layer(hidden))
            return self.layers[-1](hidden).squeeze(-1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RewardHead":
        """Move between devices with the rest of the model, but keep fp32: ``model.to(bfloat16)`` means the backbone."""

        def keep_precision(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            return changed if changed.dtype == tensor.dtype else tensor.to(changed.device)

        return super()._apply(keep_precision, recurse)


class RewardHeads(nn.Module):
    """Several heads of one shape on the same hidden state: one backbone, an ensemble of rewards.

    Args:
        heads: at least two, of one shape.
    """

    def __init__(self, heads: Sequence[RewardHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    @property
    def settings(self) -> HeadSettings:
        """The shape of each, and how many there are."""
        first = cast(RewardHead, self.heads[0])
        return first.settings.model_copy(update={"heads": len(self.heads)})

    def forward(
        self, hidden: Float[Tensor, "response hidden"], compared: ComparedSets | None = None
    ) -> Float[Tensor, "response head"]:
        """Return the fp32 reward of every head for every hidden state, as ``RewardHead`` does."""
        return torch.stack([head(hidden, compared) for head in self.heads], dim=-1)


def draw_head(hidden_size: int, settings: HeadSettings, seed: int | None = None) -> RewardHead | RewardHeads:
    """Return new heads.

    Args:
        hidden_size: size of the backbone's hidden state.
        settings: their shape and number.
        seed: head k is drawn with ``seed + k``, whatever was drawn before; None draws from torch's own generator.
    """
    shape = settings.model_dump(exclude={"heads"})
    drawn = []
    for number in range(settings.heads):
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed + number)
            drawn.append(RewardHead(hidden_size, **shape))
    return RewardHeads(drawn) if len(drawn) > 1 else drawn[0]
