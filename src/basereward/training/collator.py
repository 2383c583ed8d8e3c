"""Preference pairs -> one packed training batch, in the data loader's processes."""

from collections.abc import Sequence
from typing import cast

from basereward.data.schema import PartType, PreferencePair
from basereward.encoding.collate import PairBatch, PairIndex, SwapIndex, collate, compare, swap_tensors
from basereward.encoding.targets import TargetGroup, collate_targets, encode_targets
from basereward.encoding.template import Template
from basereward.training.objectives import BradleyTerry
from basereward.training.recipe import AnyObjective
from basereward.training.shortcuts import SwappedPair


class PreferenceCollator:
    """Encodes pairs and packs their groups into one row; compared responses are always in one micro-batch.

    Args:
        objective: says which trees of a pair are computed, and whether what they say last is learned.
        kinds: what every row must have, so that all ranks run the vision tower equally often.
    """

    def __init__(self, template: Template, objective: AnyObjective, kinds: Sequence[PartType] = ("image",)) -> None:
        self.template = template
        self.objective = objective
        self.kinds = tuple(kinds)

    def __call__(self, pairs: Sequence[PreferencePair]) -> PairBatch:
        """Return one row."""
        encoded: list[TargetGroup] = []
        index: list[PairIndex] = []
        swaps: list[SwapIndex] = []
        counts: list[int] = []
        for pair in pairs:
            comparison, offset = self.objective.compare(pair), sum(counts)
            chosen, rejected = offset + comparison.chosen, offset + comparison.rejected
            index.append(PairIndex(chosen, rejected, pair.margin or 0.0, *self.objective.weigh(pair)))
            counts.append(sum(len(group.responses) for group in comparison.groups))
            if isinstance(pair, SwappedPair) and isinstance(self.objective, BradleyTerry):
                # Its group stands behind those of the pair, with one response.
                swaps.append(SwapIndex(chosen, offset + counts[-1] - 1, self.objective.weigh_swap(pair)))
            others = iter(self.objective.others(pair))
            for group in comparison.groups:
                if self.objective.writes:
                    own = [other for other, _ in zip(others, group.responses, strict=False)]
                    encoded.append(encode_targets(self.template, group, own))
                else:
                    encoded.append(TargetGroup(self.template.encode(group), ()))
        row = collate([tree.group for tree in encoded], self.template.vision, self.kinds)
        batch = compare(row, index)
        learned = collate_targets(encoded, counts) if self.objective.writes else {}
        swapped = swap_tensors(swaps) if "swaps" in self.objective.keys else {}
        return cast(PairBatch, {**batch, **learned, **swapped})
