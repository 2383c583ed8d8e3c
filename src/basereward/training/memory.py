"""What a rank will hold in memory: weights, gradients, optimiser, and what layers keep for the backward pass."""

from typing import NamedTuple

from transformers import PreTrainedConfig

from basereward.models.flops import BackboneSize
from basereward.models.memory import text_memory, vision_memory
from basereward.training.recipe import Recipe

GIB = 2**30


class Memory(NamedTuple):
    """Estimated memory of one rank in GiB; ``loading`` is the peak before anything else is there."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    loading: float

    @property
    def total(self) -> float:
        """What training holds at once; CUDA's own overhead comes on top."""
        return self.weights + self.gradients + self.optimizer + self.activations


class Microbatch(NamedTuple):
    """The largest micro-batch of a run: its packed tokens, and how many of them are of images."""

    tokens: int
    image_tokens: int


def estimate_memory(
    recipe: Recipe, config: PreTrainedConfig, size: BackboneSize, trained: int, largest: Microbatch, shards: int
) -> Memory:
    """Estimate one rank: fp32 masters, gradients and two Adam moments of what trains, the rest as stored.

    Args:
        recipe: the run.
        config: of the backbone.
        size: of the backbone.
        trained: parameters that train.
        largest: the micro-batch that decides.
        shards: ranks over which one set of weights is spread.
    """
    model, hardware = recipe.model, recipe.hardware
    stands_still = bool(model.lora) or model.freeze_backbone
    frozen = size.total if stands_still else size.vision_total if model.freeze_vision else 0
    weights = (trained * 4 + frozen * (2 if model.frozen_dtype == "bfloat16" else 4)) / shards
    is_bf16 = hardware.precision == "bf16"
    # FSDP2 computes with bf16 shards. Autocast leaves the residual stream as wide as the weights, and keeps the bf16
    # copies that it makes of them until the backward pass is over.
    is_autocast = is_bf16 and hardware.sharding == "none"
    casts = 2 * (size.text + size.vision) if is_autocast and model.frozen_dtype == "float32" else 0
    is_wide = not is_bf16 or (is_autocast and model.frozen_dtype == "float32")
    # Through a frozen backbone goes no gradient at all, through one with adapters one down to the first of them.
    passed = 0 if model.freeze_backbone else largest.tokens
    kept = passed * text_memory(config).kept_bytes(is_bf16, is_wide, model.checkpointing)
    # A frozen tower keeps nothing: no gradient goes through it.
    if (tower := vision_memory(config)) and not (model.freeze_vision or stands_still):
        patches = largest.image_tokens * size.patches_per_token
        kept += patches * tower.kept_bytes(is_bf16, is_wide, model.checkpointing)
    return Memory(
        weights=(weights + casts) / GIB,
        gradients=trained * 4 / shards / GIB,
        optimizer=trained * 8 / shards / GIB,
        activations=kept / GIB,
        loading=(weights + _beside(recipe, size, trained, shards)) / GIB,
    )


def _beside(recipe: Recipe, size: BackboneSize, trained: int, shards: int) -> float:
    """Return the bytes beside its weights that a rank holds while it reads them."""
    if shards == 1:
        return 0
    # The part of the largest weight that is being read; adapters and heads are drawn whole.
    drawn = trained if recipe.model.lora or recipe.model.freeze_backbone else 0
    return 4 * (size.vocabulary * size.hidden / shards + drawn)
