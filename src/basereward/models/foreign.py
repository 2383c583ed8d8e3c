"""Reward heads of other libraries: one linear layer, or two with tanh between, under names of their own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from basereward.errors import CheckpointError
from basereward.models.head import Activation, HeadSettings
from basereward.models.stored import open_tensors

# What the head's weight and bias are called, after any prefix: transformers' sequence classification, the value heads
# of LLaMA-Factory and TRL, and those of OpenRLHF and others.
FOREIGN_HEADS = ("score", "v_head.summary", "v_head", "value_head", "rm_head")


# The two linear layers of a head, after any prefix, the inner one first: MM-RLHF-Reward's, with tanh between them, as
# MM-RLHF's llava/model/language_model/llava_qwen.py has it; dropout is off outside of training.
FOREIGN_TWO_LAYERS = {"rm_head.dense": "rm_head.out_proj"}
# Backbones of reward models that have no class in transformers -> what is said of them.
UNREADABLE = {
    "llava_qwen": (
        "LLaVA-NeXT's own class of LLaVA-OneVision, the backbone of MM-RLHF-Reward and LLaVA-Critic. Only that "
        "project's code can cut images into its tiles and compute them. MM-RLHF-Reward's head is read where it stands "
        "on a supported backbone; to compare with the model itself, score with its project and give the scores to "
        "basereward eval --from-scores."
    )
}


class ForeignHead(NamedTuple):
    """A head of another library, and its stored name.

    Args:
        layers: of each linear map ``weight h + bias`` the fp32 weight and bias, from the hidden state on.
        activation: between them.
    """

    name: str
    layers: tuple["Linear", ...]
    activation: Activation = "none"

    @property
    def settings(self) -> HeadSettings:
        """The shape of the same head as a ``RewardHead``."""
        first, last = self.layers[0], self.layers[-1]
        width = len(first.weight) if len(self.layers) > 1 else None
        return HeadSettings(
            layers=len(self.layers), activation=self.activation, width=width, final_bias=last.bias is not None
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights as those of a ``RewardHead``."""
        named = {
            f"layers.{place}.{part}": tensor
            for place, layer in enumerate(self.layers)
            for part, tensor in layer._asdict().items()
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}


class Linear(NamedTuple):
    """A linear map in fp32."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None


def find_foreign_head(folder: Path) -> ForeignHead | None:
    """Return the reward head of a folder that another library wrote, or None if it has none.

    Raises:
        CheckpointError: several heads, one with more than one output, or a head beside an adapter.
    """
    places = _places(folder)
    names = [name for weight in sorted(places) if (name := weight.removesuffix(".weight")) != weight]
    heads: list[tuple[str, ...]] = [(name,) for name in names if _ends(name, FOREIGN_HEADS)]
    heads += [
        (name, name.removesuffix(inner) + outer)
        for inner, outer in FOREIGN_TWO_LAYERS.items()
        for name in names
        if _ends(name, (inner,))
    ]
    if not heads:
        return None
    if len(heads) > 1:
        raise CheckpointError(f"{folder} has several reward heads ({', '.join(own[0] for own in heads)}); keep one.")
    [head] = heads
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(
            f"{folder} is an adapter of another library with the head {head[0]}; merge it there first."
        )
    return ForeignHead(head[0], tuple(_linears(folder, places, head)), "tanh" if len(head) > 1 else "none")


def _linears(folder: Path, places: Mapping[str, Path], names: Sequence[str]) -> Iterator[Linear]:
    """Yield the layers of a head; the last has one output.

    Raises:
        CheckpointError: it has another number, or a layer is not there.
    """
    for name in names:
        if f"{name}.weight" not in places:
            raise CheckpointError(f"{folder} has a part of a reward head ({names[0]}) without {name}.weight.")
        stored = {key: _read(places[key], key).float() for key in (f"{name}.weight", f"{name}.bias") if key in places}
        weight, bias = stored[f"{name}.weight"], stored.get(f"{name}.bias")
        weight = weight[None] if weight.ndim == 1 else weight
        if name == names[-1] and (weight.ndim != 2 or len(weight) != 1 or (bias is not None and bias.numel() != 1)):
            shape = "x".join(map(str, weight.shape))
            raise CheckpointError(
                f"{folder} has the head {name} of shape {shape}; expected one output, a scalar reward."
            )
        yield Linear(weight, None if bias is None else bias.reshape(-1))


def _places(folder: Path) -> dict[str, Path]:
    """Return the file of every tensor."""
    places: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with open_tensors(file) as opened:
            places.update(dict.fromkeys(opened.keys(), file))
    return places


def _ends(name: str, heads: Sequence[str]) -> bool:
    return any(f".{name}".endswith(f".{head}") for head in heads)


def _read(file: Path, name: str) -> Tensor:
    with open_tensors(file) as opened:
        return opened.get_tensor(name)
