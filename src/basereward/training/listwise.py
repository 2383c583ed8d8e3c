"""Losses on whole rankings: what all pairs of a prompt say together."""

from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from basereward.configuration import Section
from basereward.data.annotations import weight_of
from basereward.data.schema import Comparison, Messages, PreferencePair
from basereward.training.losses import best_of_ranking, pairs_of_ranking, plackett_luce
from basereward.training.objectives import PairLoss, PairRewards, PairWeights

_LOSSES = {"plackett_luce": plackett_luce, "best": best_of_ranking, "pairwise": pairs_of_ranking}


class Listwise(Section):
    """A loss of each ranking, whose responses are those of the pairs of a prompt in a micro-batch.

    Every loss is Bradley-Terry where a ranking has two responses. It needs ``data.group``, which brings the pairs of a
    prompt together.
    """

    keys: ClassVar[tuple[str, ...]] = ("pairs", "weights", "rankings", "pair_rankings")
    writes: ClassVar[bool] = False
    role: ClassVar[None] = None
    loss_only: ClassVar[tuple[str, ...]] = ("form", "normalize")

    kind: Literal["listwise"]
    """Which objective this is."""
    form: Literal["plackett_luce", "best", "pairwise"] = "plackett_luce"
    """Likelihood of the whole order, cross entropy of the best alone, or Bradley-Terry of every two responses."""
    normalize: Literal["pair", "prompt"] = "pair"
    """Whether all pairs count the same, or all prompts, however many pairs they have in the data."""

    def compare(self, pair: PreferencePair) -> Comparison:
        """Return the groups of a pair."""
        return pair.comparison()

    def others(self, pair: PreferencePair) -> list[Messages]:
        """Return nothing: no response ends with a verdict."""
        return []

    def weigh(self, pair: PreferencePair) -> PairWeights:
        """Return what a pair counts.

        Raises:
            RowError: as ``weight_of``.
        """
        return PairWeights(weight_of(pair), 0.0)

    def loss(
        self,
        rewards: Float[Tensor, " response"],
        pairs: Int[Tensor, "pair 2"],
        weights: Float[Tensor, " pair"],
        rankings: Int[Tensor, "member 3"],
        pair_rankings: Int[Tensor, " pair"],
    ) -> PairLoss:
        """Return the sum over rankings of their loss times the weights of their pairs.

        A ranking of many responses counts as many times as pairs brought it, so that the sum is one over pairs and is
        divided by their number, as Bradley-Terry is, whatever stands in which micro-batch.
        """
        each = _LOSSES[self.form](rewards, rankings)
        counted = weights.new_zeros(len(each)).index_add(0, pair_rankings, weights)
        return PairLoss((counted * each).sum(), PairRewards(rewards[pairs[:, 0]], rewards[pairs[:, 1]]))
