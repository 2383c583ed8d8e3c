"""Reward heads of other libraries: one linear layer under a name of its own."""

from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open
from torch import Tensor

from basereward.errors import CheckpointError

# What the head's weight and bias are called, after any prefix: transformers' sequence classification, the value heads
# of LLaMA-Factory and TRL, and those of OpenRLHF and others.
FOREIGN_HEADS = ("score", "v_head.summary", "v_head", "value_head", "rm_head")


class ForeignHead(NamedTuple):
    """A linear head ``weight h + bias``, in fp32, and its stored name."""

    name: str
    weight: Tensor
    bias: Tensor | None

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights as those of a ``RewardHead`` of one layer."""
        state = {"layers.0.weight": self.weight}
        return state if self.bias is None else {**state, "layers.0.bias": self.bias}


def find_foreign_head(folder: Path) -> ForeignHead | None:
    """Return the linear reward head of a folder that another library wrote, or None if it has none.

    Raises:
        CheckpointError: several heads, one with more than one output, or a head beside an adapter.
    """
    places = _places(folder)
    names = [name.removesuffix(".weight") for name in sorted(places) if _is_head(name)]
    if not names:
        return None
    if len(names) > 1:
        raise CheckpointError(f"{folder} has several reward heads ({', '.join(names)}); keep one.")
    name = names[0]
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(f"{folder} is an adapter of another library with the head {name}; merge it there first.")
    stored = {key: _read(places[key], key) for key in (f"{name}.weight", f"{name}.bias") if key in places}
    weight, bias = stored[f"{name}.weight"], stored.get(f"{name}.bias")
    if weight.ndim == 1:
        weight = weight[None]
    if weight.ndim != 2 or len(weight) != 1 or (bias is not None and bias.numel() != 1):
        shape = "x".join(map(str, weight.shape))
        raise CheckpointError(f"{folder} has the head {name} of shape {shape}; expected one output, a scalar reward.")
    return ForeignHead(name, weight.float(), None if bias is None else bias.reshape(1).float())


def _places(folder: Path) -> dict[str, Path]:
    """Return the file of every tensor."""
    places: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            places.update(dict.fromkeys(opened.keys(), file))
    return places


def _is_head(name: str) -> bool:
    return any(f".{name}".endswith(f".{head}.weight") for head in FOREIGN_HEADS)


def _read(file: Path, name: str) -> Tensor:
    with safe_open(file, "pt") as opened:
        return opened.get_tensor(name)
