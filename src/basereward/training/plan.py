"""What a run will do, before it does it: pairs, tokens, steps, trained parameters, memory and work."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedConfig

from basereward.data.pairs import PairDataset
from basereward.encoding.groups import GroupLength
from basereward.encoding.lengths import Lengths, PairLength
from basereward.encoding.packing import CostModel, GroupSizes
from basereward.encoding.sharing import share_nothing, share_pairs
from basereward.errors import TrainingError
from basereward.models.backends import choose_backend
from basereward.models.components import Component
from basereward.models.cross_response import cross_parameters
from basereward.models.facts import JudgeRole, stored_head
from basereward.models.flops import BackboneSize, measure_backbone
from basereward.training.bundles import Grouping
from basereward.training.gains import (
    GroupGain,
    SharedFacts,
    Simulation,
    count_shared,
    forward_pairs,
    gain_lines,
    shared_flops,
)
from basereward.training.hours import ExpectedHours, expect_hours
from basereward.training.launch import replica_ranks
from basereward.training.memory import Memory, Microbatch, estimate_memory, step_size
from basereward.training.objectives import BradleyTerry
from basereward.training.prepare import StartCost, assume_start
from basereward.training.recipe import Recipe
from basereward.training.sampler import BinPlan, PairSampler, plan_bins
from basereward.training.units import SharedWork


@dataclass(frozen=True)
class Plan:
    """A run in numbers; ``data`` says whether sizes were ``measured`` or ``assumed`` by the recipe.

    The FLOPs are model FLOPs: what the mathematics needs, without what checkpointing computes again.
    """

    name: str
    data: str
    pairs: int
    dropped: int
    tokens_per_pair: float
    longest_pair: int
    ranks: int
    shards: int
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
    swapped: int
    swap_flops_share: float
    train_flops: float
    memory: Memory
    shared: SharedFacts | None = None
    gains: tuple[GroupGain, ...] = ()
    start: StartCost | None = None
    hours: ExpectedHours | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; memory is in GiB."""
        start, hours = self.start and self.start._asdict(), self.hours and self.hours._asdict()
        memory = self.memory._asdict() | {"total": self.memory.total}
        return asdict(self) | {"memory": memory, "start": start, "hours": hours}

    def lines(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        memory = self.memory
        swapped = f"{self.swapped:,} of the pairs ({self.swap_flops_share:.0%} of the FLOPs)"
        return [
            ("pairs", f"{self.pairs:,} ({self.data}; {self.dropped:,} dropped)"),
            ("tokens per pair", f"{self.tokens_per_pair:,.0f} (longest {self.longest_pair:,})"),
            ("pairs per step", f"{self.pairs_per_step} = {self.ranks} ranks x {self.microbatches} micro-batches"),
            ("largest micro-batch", f"{self.largest_microbatch:,} tokens"),
            ("balance of ranks", f"{self.balance:.2f} (mean over largest load)"),
            ("steps", f"{self.steps:,} (epochs: {self.epochs})"),
            ("parameters", f"{self.parameters:,} with the head ({self.trained_parameters:,} trained)"),
            ("model FLOPs per pair", f"{self.forward_flops_per_pair:.3g} forward"),
            ("saved by sharing", f"{self.saved_flops_share:.0%} of the FLOPs of separate sequences"),
            *([("image swaps", swapped)] if self.swapped else []),
            ("model FLOPs of the run", f"{self.train_flops:.3g} forward and backward, without recomputation"),
            *([self.hours.line()] if self.hours else []),
            ("memory per rank", f"about {memory.total:.1f} GiB (weights over {self.shards} ranks)"),
            ("  weights", f"{memory.weights:.1f} GiB"),
            ("  gradients", f"{memory.gradients:.1f} GiB"),
            ("  optimizer", f"{memory.optimizer:.1f} GiB"),
            ("  activations", f"{memory.activations:.1f} GiB"),
            ("  while loading", f"at most {memory.loading:.1f} GiB, before the rest is there"),
            *(self.shared.lines() if self.shared else []),
            *gain_lines(self.gains, self.ranks, self.pairs_per_step),
            *(self._start_lines(self.start) if self.start else []),
        ]

    def _start_lines(self, start: StartCost) -> list[tuple[str, str]]:
        second = "" if start.second_seconds is None else f" in {start.second_seconds:,.1f} s"
        first = "one rank reads all data twice; how long it takes is known once it is here"
        if start.data_bytes is not None:
            first = f"one rank reads {start.data_bytes / 1e9:,.2f} GB twice, and took {start.first_seconds:,.0f} s"
        return [
            ("first start", first),
            (
                "later starts",
                f"each rank reads {start.kept_bytes / 1e6:,.1f} MB{second}, holds {start.memory_bytes / 1e6:,.1f} MB",
            ),
        ]


class PlannedPairs(NamedTuple):
    """Sizes of the data, measured or assumed, and the tokens of a micro-batch that belong to no pair.

    ``swaps`` are the groups among those of ``lengths`` that show the images of other pairs, ``start`` is what starts
    of the run read and take, ``pairs`` are those of ``lengths``; without them nothing is said of what they share.
    """

    lengths: Lengths | None
    dropped: int
    reserved: int = 0
    swaps: Sequence[GroupLength] = ()
    start: StartCost | None = None
    pairs: PairDataset | None = None


class RunLength(NamedTuple):
    """Optimiser steps of a run, and the passes over the data that they begin."""

    steps: int
    epochs: int


def run_length(recipe: Recipe, pairs: int) -> RunLength:
    """Return how long a recipe's run over so many pairs is; ``max_steps`` alone decides it if given.

    Raises:
        TrainingError: there are fewer pairs than one step takes.
    """
    optimizer = recipe.optimizer
    if not (each := pairs // optimizer.pairs_per_step):
        raise TrainingError(f"Found {pairs} usable pairs, fewer than pairs_per_step {optimizer.pairs_per_step}.")
    steps = optimizer.max_steps or optimizer.epochs * each
    # Trainer begins another pass whenever steps are left, however many epochs the recipe says.
    return RunLength(steps, -(-steps // each))


def _largest_row(sizes: GroupSizes, tokens: int, is_shared: bool) -> Microbatch:
    """Return what a row of so many packed tokens holds as it is computed: prompts that are not shared are copied."""
    copies = 1 if is_shared else np.maximum(1, sizes.responses)
    packed = int(sizes.tokens.sum())
    computed, images = (copies * sizes.prefix + sizes.suffixes).sum(), (copies * sizes.image_tokens).sum()
    return Microbatch(round(tokens * float(computed) / packed), round(tokens * float(images) / packed))


def _flops_per_pair(
    size: BackboneSize,
    pairs: int,
    sizes: GroupSizes,
    swaps: Sequence[GroupLength],
    is_shared: bool,
    grouped: PairSampler | None,
    microbatches: int,
) -> float:
    """Return the mean FLOPs of a pair; pairs that are drawn in groups are counted in the trees of their steps.

    Args:
        size: of the backbone for those of a forward pass, ``step_size`` of it for those of training.
        pairs: that the sizes are of; a pair may have several groups.
        grouped: what draws the pairs, if trees are shared.
    """
    if grouped and grouped.shared:
        beside = sum(size.forward_flops(group) for group in swaps) / pairs
        return shared_flops(grouped, grouped.shared, microbatches, size) + beside
    return float(size.forward_flops_of(sizes, is_shared).sum()) / pairs


def make_plan(recipe: Recipe, config: PreTrainedConfig, data: PlannedPairs, ranks: int = 1) -> Plan:
    """Return the plan of a recipe.

    Raises:
        TrainingError: data is neither here nor assumed, or does not fit the recipe.
    """
    size = measure_backbone(config)
    lengths = data.lengths
    planned = lengths or _assumed_lengths(recipe)
    tokens, sizes = planned.tokens(), planned.sizes()
    swaps = data.swaps if lengths else planned[0].groups[1:]
    pairs = len(tokens) if lengths else _assumed_pairs(recipe)
    optimizer = recipe.optimizer
    steps, epochs = run_length(recipe, pairs)
    if lengths:
        sampler = run_sampler(recipe, lengths, size.cost_model(), ranks)
        bins = plan_bins(sampler, optimizer.tokens_per_microbatch, epochs, data.reserved)
    else:
        bins = _assumed_bins(optimizer.pairs_per_step, ranks, int(tokens[0]), optimizer.tokens_per_microbatch)
    shards = replica_ranks(recipe.hardware, ranks)
    is_shared = choose_backend(config, recipe.model.backend).backend != "plain"
    total = int(tokens.sum())
    largest = _largest_row(sizes, bins.largest, is_shared)
    swap_flops = sum(size.forward_flops(group, is_shared) for group in swaps) / len(tokens)
    grouped = sampler if lengths and is_shared else None
    work = len(tokens), sizes, swaps, is_shared, grouped, bins.grad_accum
    forward, stepped = (_flops_per_pair(own, *work) for own in (size, step_size(recipe, size)))
    separate = float(size.forward_flops_of(sizes, shared=False).sum()) / len(tokens)
    trained = trained_parameters(recipe, config, size)
    train_flops = stepped * steps * optimizer.pairs_per_step
    return Plan(
        name=recipe.name,
        data="measured" if lengths else "assumed",
        pairs=pairs,
        dropped=data.dropped,
        tokens_per_pair=total / len(tokens),
        longest_pair=int(tokens.max()),
        ranks=ranks,
        shards=shards,
        pairs_per_step=optimizer.pairs_per_step,
        microbatches=bins.grad_accum,
        largest_microbatch=bins.largest,
        balance=bins.balance,
        steps=steps,
        epochs=epochs,
        parameters=size.total + _head_parameters(recipe, config, size),
        trained_parameters=trained,
        forward_flops_per_pair=forward,
        saved_flops_share=1 - forward / separate,
        swapped=len(swaps) if lengths else pairs * len(swaps),
        swap_flops_share=swap_flops / forward,
        train_flops=train_flops,
        memory=estimate_memory(recipe, config, size, trained, largest, shards),
        shared=shared_facts(recipe, lengths, data.pairs) if lengths and data.pairs is not None else None,
        gains=_gains(recipe, lengths, size.cost_model(), ranks, data.reserved) if lengths else (),
        start=data.start if lengths else assume_start(pairs, images=int(planned.image_tokens.any())),
        hours=expect_hours(train_flops, ranks, recipe.hardware.planned),
    )


def shared_facts(recipe: Recipe, lengths: Lengths, pairs: PairDataset) -> SharedFacts | None:
    """Return what measured pairs share; None if the objective puts the responses of a pair into trees of their own."""
    return None if recipe.objective.writes else count_shared(share_pairs(lengths), forward_pairs(pairs))


def _gains(recipe: Recipe, lengths: Lengths, model: CostModel, ranks: int, reserved: int) -> tuple[GroupGain, ...]:
    """Return what each grouping would save; nothing for an objective that cannot be grouped."""
    if recipe.objective.writes:
        return ()
    data, optimizer = recipe.data, recipe.optimizer
    simulation = Simulation(
        lengths.tokens(),
        lengths.costs(model),
        share_pairs(lengths),
        share_nothing(lengths, model),
        model,
        optimizer.pairs_per_step,
        recipe.run.seed,
        optimizer.length_window,
        optimizer.tokens_per_microbatch,
        reserved,
    )
    caps = data.pairs_per_prompt, max(data.pairs_per_prompt, data.pairs_per_image)
    return simulation.gains(ranks, [Grouping("prompt", *caps), Grouping("image", *caps)])


def run_sampler(recipe: Recipe, lengths: Lengths, costs: CostModel, ranks: int) -> PairSampler:
    """Return the order of a recipe's run over measured pairs, not yet cut into micro-batches."""
    optimizer, grouping = recipe.optimizer, recipe.data.grouping
    shared = SharedWork(share_pairs(lengths), costs, grouping, share_nothing(lengths, costs)) if grouping else None
    return PairSampler(
        lengths.tokens(),
        lengths.costs(costs),
        optimizer.pairs_per_step,
        dp_size=ranks,
        seed=recipe.run.seed,
        window=optimizer.length_window,
        shared=shared,
    )


def trained_parameters(recipe: Recipe, config: PreTrainedConfig, size: BackboneSize) -> int:
    """Return how many parameters train, heads included; under LoRA the vision tower stands still as well."""
    frozen = recipe.model.frozen
    head = 0 if "head" in frozen else _head_parameters(recipe, config, size)
    if lora := recipe.model.lora:
        return head + size.lora_parameters(lora.rank, lora.targets, lora.dora)
    parts: dict[Component, int] = {
        "language": size.total - size.vision_total,
        "vision": size.vision_total - size.projector_total,
        "projector": size.projector_total,
    }
    return head + sum(count for part, count in parts.items() if part not in frozen)


def _head_parameters(recipe: Recipe, config: PreTrainedConfig, size: BackboneSize) -> int:
    """Count the reward head, which a judge has none of, and the vocabulary head of a model that writes."""
    is_tied = config.tie_word_embeddings
    words = 0 if is_tied or not recipe.objective.writes else config.get_text_config().vocab_size * size.hidden
    if isinstance(recipe.objective.role, JudgeRole):
        return words
    head = recipe.model.head or stored_head(recipe.model.start)
    width = head.width or size.hidden
    inner = [size.hidden] + [width] * (head.layers - 1)
    cross = cross_parameters(size.hidden, head.cross_response)
    return words + head.heads * (cross + sum(before * after + after for before, after in pairwise(inner)) + inner[-1])


def _assumed_lengths(recipe: Recipe) -> Lengths:
    """Return the sizes of one pair as the recipe assumes them."""
    assumed = recipe.data.assumed
    if assumed is None:
        raise TrainingError(
            "The training data is not on this machine; add data.assumed to the recipe to plan without it."
        )
    sides = [2]
    if isinstance(recipe.objective, BradleyTerry) and recipe.objective.image_swap:
        # As if every pair were swapped: nothing is known of them.
        sides.append(1)
    groups = [
        GroupLength(assumed.prompt_tokens, (assumed.response_tokens,) * responses, assumed.image_tokens)
        for responses in sides
    ]
    return Lengths.of([PairLength(tuple(groups))])


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
