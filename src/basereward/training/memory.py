"""What a rank will hold in memory: weights, gradients, optimiser, and what layers keep for the backward pass."""

from typing import NamedTuple

from transformers import PreTrainedConfig

from basereward.models.components import Component
from basereward.models.flops import BackboneSize
from basereward.models.memory import text_memory, vision_memory
from basereward.training.recipe import Recipe

GIB = 2**30
# Both moments of a weight; those of 8 bits have an fp32 scale for each block of 256.
MOMENT_BYTES = {"adamw": 8.0, "adamw_8bit": 2 + 8 / 256, "paged_adamw_8bit": 2 + 8 / 256}


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
    is_headed = trains_head_alone(recipe, size)
    stands_still = bool(model.lora) or is_headed
    frozen = size.total if stands_still else _frozen_weights(recipe, size)
    quantised = size.linear_weights if model.quantization else 0
    held = quantised * model.quantization.bytes_per_weight if model.quantization else 0.0
    stored = 2 if model.frozen_dtype == "bfloat16" else 4
    weights = (trained * 4 + (frozen - quantised) * stored + held) / shards
    is_bf16 = hardware.precision == "bf16"
    # FSDP2 computes with bf16 shards. Autocast leaves the residual stream as wide as the weights, and keeps the bf16
    # copies that it makes of them until the backward pass is over.
    is_autocast = is_bf16 and hardware.sharding == "none"
    casts = 2 * (size.text - quantised + size.vision) if is_autocast and model.frozen_dtype == "float32" else 0
    if quantised:
        # One 4-bit layer at a time is whole, in the dtype that it computes in.
        casts += (2 if is_bf16 else 4) * max(own.weights for own in size.linears) // size.layers
    is_wide = not is_bf16 or (is_autocast and model.frozen_dtype == "float32")
    # Through a frozen backbone goes no gradient at all, through one with adapters one down to the first of them.
    passed = 0 if is_headed else largest.tokens
    # 4-bit layers give what they are given: behind a residual stream of fp32, fp32.
    is_narrow = is_bf16 and not (quantised and is_wide)
    kept = passed * text_memory(config).kept_bytes(is_narrow, is_wide, model.checkpointing)
    # A frozen tower keeps nothing: no gradient goes through it.
    if (tower := vision_memory(config)) and not ("vision" in model.frozen or stands_still):
        patches = largest.image_tokens * size.patches_per_token
        kept += patches * tower.kept_bytes(is_bf16, is_wide, model.checkpointing)
    return Memory(
        weights=(weights + casts) / GIB,
        gradients=trained * 4 / shards / GIB,
        optimizer=trained * MOMENT_BYTES[recipe.optimizer.algorithm] / shards / GIB,
        activations=kept / GIB,
        loading=(weights + _beside(recipe, size, trained, shards)) / GIB,
    )


def trains_head_alone(recipe: Recipe, size: BackboneSize) -> bool:
    """Whether no weight of the backbone trains, and it has no adapters."""
    parts: set[Component] = {"language"}
    parts |= {"vision"} if size.vision_total > size.projector_total else set()
    parts |= {"projector"} if size.projector_total else set()
    return recipe.model.lora is None and parts <= recipe.model.frozen


def _frozen_weights(recipe: Recipe, size: BackboneSize) -> int:
    frozen = recipe.model.frozen
    language = size.total - size.vision_total if "language" in frozen else 0
    tower = size.vision_total - size.projector_total if "vision" in frozen else 0
    return language + tower + (size.projector_total if "projector" in frozen else 0)


def _beside(recipe: Recipe, size: BackboneSize, trained: int, shards: int) -> float:
    """Return the bytes beside its weights that a rank holds while it reads them."""
    if shards == 1:
        return 0
    # The part of the largest weight that is being read; adapters and heads are drawn whole.
    drawn = trained if recipe.model.lora or trains_head_alone(recipe, size) else 0
    return 4 * (size.vocabulary * size.hidden / shards + drawn)


def step_size(recipe: Recipe, size: BackboneSize) -> BackboneSize:
    """Return a size whose forward FLOPs are those of a step with its backward pass, without recomputation."""
    if trains_head_alone(recipe, size):
        return size
    # A backward pass costs two forward passes: one for the gradients of weights, which adapters and frozen weights
    # spare, and one for those of inputs, which a tower that stands still spares as well: nothing below it trains.
    stands_still = bool(recipe.model.lora) or "vision" in recipe.model.frozen
    keeps_weights = bool(recipe.model.lora) or "language" in recipe.model.frozen
    return size.times(language=2 if keeps_weights else 3, vision=1 if stands_still else 3)
