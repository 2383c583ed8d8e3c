"""Preference pairs -> one packed training batch, in the data loader's processes."""

from collections.abc import Sequence
from copy import copy
from typing import cast

import torch

from basereward.data.schema import PartType, PreferencePair
from basereward.encoding.collate import GroupBatch, PairBatch, PairIndex, SwapIndex, collate, compare, swap_tensors
from basereward.encoding.compared import compared_tensors
from basereward.encoding.memory import PromptMemory
from basereward.encoding.targets import TargetGroup, collate_targets, encode_targets
from basereward.encoding.template import Template
from basereward.models.flops import BackboneSize
from basereward.training.bootstrap import Bootstrap
from basereward.training.heads import HEAD_WEIGHTS
from basereward.training.listwise import Listwise
from basereward.training.objectives import BradleyTerry
from basereward.training.rankings import Sides, ranking_owners, ranking_tensors
from basereward.training.recipe import AnyObjective
from basereward.training.shortcuts import SwappedPair
from basereward.training.utilisation import MODEL_FLOPS, row_flops

# Of one row, whose images are held until it is packed all the same.
_TEXT_BYTES, _IMAGE_BYTES = 1 << 26, 1 << 34


class PreferenceCollator:
    """Encodes pairs and packs their groups into one row; compared responses are always in one micro-batch.

    Args:
        objective: says which trees of a pair are computed, and whether what they say last is learned.
        kinds: what every row must have, so that all ranks run the vision tower equally often.
        bootstrap: gives each head its own weight of every pair.
        size: ``step_size`` of the backbone, if the work of each row is to be counted.
        compares_rankings: a head that compares responses compares all of a ranking, not those of each pair alone.
    """

    def __init__(
        self,
        template: Template,
        objective: AnyObjective,
        kinds: Sequence[PartType] = ("image",),
        bootstrap: Bootstrap | None = None,
        size: BackboneSize | None = None,
        compares_rankings: bool = True,
    ) -> None:
        self.template = template
        self.objective = objective
        self.kinds = tuple(kinds)
        self.bootstrap = bootstrap
        self.size = size
        self.compares_rankings = compares_rankings

    def __call__(self, pairs: Sequence[PreferencePair]) -> PairBatch:
        """Return one row; an image that several pairs show is opened once."""
        template = copy(self.template)
        template.memory = PromptMemory(_TEXT_BYTES, _IMAGE_BYTES)
        encoded: list[TargetGroup] = []
        index: list[PairIndex] = []
        swaps: list[SwapIndex] = []
        counts: list[int] = []
        for pair in pairs:
            comparison, offset = self.objective.compare(pair), sum(counts)
            chosen, rejected = offset + comparison.chosen, offset + comparison.rejected
            margin = self.objective.margin(pair) if isinstance(self.objective, BradleyTerry) else 0.0
            index.append(PairIndex(chosen, rejected, margin, *self.objective.weigh(pair)))
            counts.append(sum(len(group.responses) for group in comparison.groups))
            if isinstance(pair, SwappedPair) and isinstance(self.objective, BradleyTerry):
                # Its group stands behind those of the pair, with one response.
                swaps.append(SwapIndex(chosen, offset + counts[-1] - 1, self.objective.weigh_swap(pair)))
            others = iter(self.objective.others(pair))
            for group in comparison.groups:
                if self.objective.writes:
                    # Responses first: the one that ends takes nothing from the other, of which the next group goes on.
                    own = [other for _, other in zip(group.responses, others, strict=False)]
                    encoded.append(encode_targets(template, group, own))
                else:
                    encoded.append(TargetGroup(template.encode(group), ()))
        row = collate([tree.group for tree in encoded], template.vision, self.kinds)
        batch = compare(row, index)
        learned = collate_targets(row, encoded, counts) if self.objective.writes else {}
        swapped = swap_tensors(swaps) if "swaps" in self.objective.keys else {}
        ranked: dict[str, torch.Tensor] = {}
        if isinstance(self.objective, Listwise):
            sides = [Sides(own.chosen, own.rejected) for own in index]
            leaves = row["leaves"].tolist()
            ranked = ranking_tensors(pairs, sides, leaves)
            if self.compares_rankings:
                groups = [number for number, tree in enumerate(encoded) for _ in tree.group.suffixes]
                owners = ranking_owners(groups, sides, ranked["pair_rankings"].tolist())
                ranked |= compared_tensors(owners, leaves)
        drawn = {HEAD_WEIGHTS: torch.tensor([self.bootstrap.weigh(pair) for pair in pairs])} if self.bootstrap else {}
        return cast(PairBatch, {**batch, **learned, **swapped, **ranked, **drawn, **self._work(row, encoded)})

    def _work(self, row: GroupBatch, encoded: Sequence[TargetGroup]) -> dict[str, torch.Tensor]:
        if self.size is None:
            return {}
        flops = row_flops(self.size, row["nodes"], [tree.group for tree in encoded])
        return {MODEL_FLOPS: torch.tensor(flops, dtype=torch.float64)}
