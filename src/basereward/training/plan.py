"""What a run will do, before it does it: pairs, tokens, steps, trained parameters, memory and work."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from basereward.encoding.lengths import Lengths
from basereward.encoding.packing import CostModel
from basereward.encoding.template import GroupLength
from basereward.errors import TrainingError
from basereward.models.flops import BackboneSize, measure_backbone
from basereward.training.recipe import Recipe
from basereward.training.sampler import BinPlan, PairSampler, plan_bins

# Saved activations of one transformer layer, in multiples of tokens x hidden values (attention without scores).
ACTIVATION_COPIES = 34
GIB = 2**30


class Memory(NamedTuple):
    """Estimated memory of one rank in GiB."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """Sum of the parts; CUDA's own overhead comes on top."""
        return sum(self)


@dataclass(frozen=True)
class Plan:
    """A run in numbers; ``data`` says whether sizes were ``measured`` or ``assumed`` by the recipe."""

    name: str
    data: str
    pairs: int
    dropped: int
    tokens_per_pair: float
    longest_pair: int
    ranks: int
    pairs_per_step: int
    microbatches: int
    largest_microbatch: int
    balance: float
    steps: int
    epochs: int
    parameters: int
    trained_parameters: int
    forward_flops_per_pair: float
    saved_flops_share: float
    train_flops: float
    memory: Memory

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; memory is in GiB."""
        return asdict(self) | {"memory": self.memory._asdict() | {"total": self.memory.total}}

    def lines(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        memory = self.memory
        return [
            ("pairs", f"{self.pairs:,} ({self.data}; {self.dropped:,} dropped)"),
            ("tokens per pair", f"{self.tokens_per_pair:,.0f} (longest {self.longest_pair:,})"),
            ("pairs per step", f"{self.pairs_per_step} = {self.ranks} ranks x {self.microbatches} micro-batches"),
            ("largest micro-batch", f"{self.largest_microbatch:,} tokens"),
            ("balance of ranks", f"{self.balance:.2f} (mean over largest load)"),
            ("steps", f"{self.steps:,} (epochs: {self.epochs})"),
            ("parameters", f"{self.parameters:,} with the head ({self.trained_parameters:,} trained)"),
            ("work per pair", f"{self.forward_flops_per_pair:.3g} FLOPs forward"),
            ("saved by sharing", f"{self.saved_flops_share:.0%} of the work of separate sequences"),
            ("work of the run", f"{self.train_flops:.3g} FLOPs (forward and backward)"),
            ("memory per rank", f"about {memory.total:.1f} GiB"),
            ("  weights", f"{memory.weights:.1f} GiB"),
            ("  gradients", f"{memory.gradients:.1f} GiB"),
            ("  optimizer", f"{memory.optimizer:.1f} GiB"),
            ("  activations", f"{memory.activations:.1f} GiB"),
        ]


class Work(NamedTuple):
    """Sizes of the data, measured or assumed."""

    lengths: Lengths | None
    dropped: int


def make_plan(recipe: Recipe, config: PreTrainedConfig, work: Work, ranks: int = 1) -> Plan:
    """Return the plan of a recipe.

    Raises:
        TrainingError: data is neither here nor assumed, or does not fit the recipe.
    """
    size = measure_backbone(config)
    lengths = work.lengths
    groups = _groups(recipe, lengths)
    tokens = lengths.tokens() if lengths else [groups[0].total]
    pairs = len(tokens) if lengths else _assumed_pairs(recipe)
    optimizer = recipe.optimizer
    if lengths:
        sampler = run_sampler(recipe, lengths, size.cost_model(), ranks)
        bins = plan_bins(sampler, optimizer.tokens_per_microbatch, optimizer.epochs)
    else:
        bins = _assumed_bins(optimizer.pairs_per_step, ranks, tokens[0], optimizer.tokens_per_microbatch)
    steps = optimizer.epochs * (pairs // optimizer.pairs_per_step)
    steps = min(steps, optimizer.max_steps or steps)
    forward = sum(size.forward_flops(group) for group in groups) / len(tokens)
    separate = sum(size.forward_flops(group, shared=False) for group in groups) / len(tokens)
    trained = trained_parameters(recipe, size)
    return Plan(
        name=recipe.name,
        data="measured" if lengths else "assumed",
        pairs=pairs,
        dropped=work.dropped,
        tokens_per_pair=sum(tokens) / len(tokens),
        longest_pair=max(tokens),
        ranks=ranks,
        pairs_per_step=optimizer.pairs_per_step,
        microbatches=bins.grad_accum,
        largest_microbatch=bins.largest,
        balance=bins.balance,
        steps=steps,
        epochs=optimizer.epochs,
        parameters=size.total + _head_parameters(recipe, size),
        trained_parameters=trained,
        forward_flops_per_pair=forward,
        saved_flops_share=1 - forward / separate,
        # The backward pass costs two forward passes, one of them for the gradients of weights, which adapters spare.
        train_flops=(2 if recipe.model.lora else 3) * forward * steps * optimizer.pairs_per_step,
        memory=_memory(recipe, size, trained, bins.largest, ranks),
    )


def run_sampler(recipe: Recipe, lengths: Lengths, costs: CostModel, ranks: int) -> PairSampler:
    """Return the order of a recipe's run over measured pairs, not yet cut into micro-batches."""
    optimizer = recipe.optimizer
    return PairSampler(
        lengths.tokens(),
        lengths.costs(costs),
        optimizer.pairs_per_step,
        dp_size=ranks,
        seed=recipe.run.seed,
        window=optimizer.length_window,
    )


def trained_parameters(recipe: Recipe, size: BackboneSize) -> int:
    """Return how many parameters train, the head included; under LoRA the vision tower stands still as well."""
    head = _head_parameters(recipe, size)
    if recipe.model.lora:
        return head + recipe.model.lora.rank * size.linear_edges
    return head + size.total - (size.vision_total if recipe.model.freeze_vision else 0)


def _head_parameters(recipe: Recipe, size: BackboneSize) -> int:
    width = recipe.model.head.width or size.hidden
    inner = [size.hidden] + [width] * (recipe.model.head.layers - 1)
    return sum(before * after + after for before, after in pairwise(inner)) + inner[-1]


def _groups(recipe: Recipe, lengths: Lengths | None) -> list[GroupLength]:
    if lengths:
        return [group for row in lengths.rows for group in row.groups]
    assumed = recipe.data.assumed
    if assumed is None:
        raise TrainingError(
            "The training data is not on this machine; add data.assumed to the recipe to plan without it."
        )
    return [GroupLength(assumed.prompt_tokens, (assumed.response_tokens,) * 2, assumed.image_tokens)]


def _assumed_pairs(recipe: Recipe) -> int:
    data = recipe.data
    pairs = data.assumed.pairs if data.assumed else 0
    return min(pairs, data.limit * len(data.train)) if data.limit else pairs


def _assumed_bins(pairs: int, ranks: int, tokens: int, cap: int | None) -> BinPlan:
    if cap and tokens > cap:
        raise TrainingError(
            f"data.assumed has pairs of {tokens} tokens, more than tokens_per_microbatch {cap}; raise it."
        )
    if ranks > pairs:
        raise TrainingError(f"{pairs} pairs a step cannot fill {ranks} ranks; raise pairs_per_step or use fewer.")
    own = -(-pairs // ranks)
    fitting = own if cap is None else max(1, cap // tokens)
    accumulation = -(-own // fitting)
    return BinPlan(accumulation, -(-own // accumulation) * tokens, pairs / (own * ranks))


def _memory(recipe: Recipe, size: BackboneSize, trained: int, tokens: int, ranks: int) -> Memory:
    """Estimate one rank: fp32 masters, gradients and two Adam moments of what trains; the rest as stored."""
    shards = 1
    if recipe.hardware.sharding == "fsdp2":
        shards = recipe.hardware.shard_size or ranks
    model = recipe.model
    frozen = size.total if model.lora else size.vision_total if model.freeze_vision else 0
    compute = 2 if recipe.hardware.precision == "bf16" else 4
    weights = trained * 4 + frozen * (2 if recipe.model.frozen_dtype == "bfloat16" else 4)
    values = tokens * size.hidden * compute
    layers = (size.layers + ACTIVATION_COPIES) if recipe.model.checkpointing else size.layers * ACTIVATION_COPIES
    return Memory(weights / shards / GIB, trained * 4 / shards / GIB, trained * 8 / shards / GIB, values * layers / GIB)
