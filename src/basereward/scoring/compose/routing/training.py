"""A router from what experts make of pairs, and what it is worth on pairs of prompts that it has not seen."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from basereward.errors import ScoringError
from basereward.scoring.compose.routing.features import Seen
from basereward.scoring.compose.routing.fit import FOLDS, FoldedFit, Outcomes, draw_folds
from basereward.scoring.compose.routing.model import (
    ClusterMean,
    CoveragePart,
    CurvePart,
    ExpertModel,
    ExpertRecord,
    RoutingRecord,
    TrainedRouter,
)
from basereward.scoring.compose.routing.policy import choose, oracle, prices, soft_weights
from basereward.statistics import Stratum, paired_difference, stratified_interval

_POINTS = 41
_COVERAGES = tuple(step / 20 for step in range(20, 0, -1))


class ExpertFacts(NamedTuple):
    """The name of an expert, a hash of what decides its scores, and how many pairs it could not score."""

    name: str
    identity: str | None = None
    failed: int = 0


class FoldPredictions(NamedTuple):
    """What a router whose fit has not seen a pair's prompt says of it.

    Args:
        predicted: shares of right rankings.
        chosen: the expert that it is sent to, at the price of its own fit.
    """

    predicted: Float[np.ndarray, "n k"]
    chosen: Int[np.ndarray, " n"]


def train_router(
    outcomes: Outcomes,
    experts: Sequence[ExpertFacts],
    seen: Seen,
    budget: float,
    data_sha256: str,
    forced: bool = False,
    seed: int = 0,
) -> TrainedRouter:
    """Return a router fitted on all pairs, with what was measured by cross-validation over prompts.

    Args:
        outcomes: what experts make of the pairs.
        experts: in the order of the columns.
        seen: what the features are.
        budget: most mean cost, in units of asking the cheapest expert of every prompt; the ridge and the price of each
            fold are chosen on the other folds.
        data_sha256: hash of the pairs.
        forced: return it even if it is not better than one expert.
        seed: of the folds.

    Raises:
        ScoringError: fewer than two experts, a budget below 1, or no gain over the best single expert within the
            budget whose 95 % interval is above 0.
        DataError: pairs of too few prompts.
    """
    if len(experts) < 2 or budget < 1:
        raise ScoringError(f"Found {len(experts)} experts and a budget of {budget:g}; expected two and 1 at least.")
    if (least := 1 + outcomes.overhead / outcomes.cheapest) > budget:
        raise ScoringError(
            f"To read the state of {seen.state_of} for every prompt takes a budget of {least:.2f} times the cheapest, "
            f"and it is {budget:g}; give more, or route by text."
        )
    fold = draw_folds(outcomes.prompts, FOLDS, seed)
    folded = FoldedFit(outcomes, fold, budget)
    held_out = _held_out(folded)
    record = _measure(outcomes, experts, held_out, budget, data_sha256)
    if record.gain.low <= 0 and not forced:
        raise ScoringError(_refusal(record))
    final = folded.fit(folded.folds)
    named = {
        expert.name: ExpertModel(
            cost=float(outcomes.costs[place]),
            weights=final.weights[:-1, place].tolist(),
            bias=float(final.weights[-1, place]),
            identity=expert.identity,
        )
        for place, expert in enumerate(experts)
    }
    return TrainedRouter(
        features="text" if seen.state_of is None else "state",
        words=seen.words.tolist(),
        state_of=seen.state_of,
        **{name: values.tolist() for name, values in folded.scaling._asdict().items()},
        experts=named,
        price=final.price,
        record=record,
    )


def _refusal(record: RoutingRecord) -> str:
    single = record.experts[record.single].accuracy.value
    gain = record.gain
    return (
        f"Routing is not shown to be better than {record.single} alone: {record.router.value:.1%} against {single:.1%} "
        f"of {record.pairs} pairs held out, a gain of {100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to "
        f"{100 * gain.high:+.1f}). Use {record.single}, give more pairs or another budget, or write it with --force."
    )


def _held_out(folded: FoldedFit) -> FoldPredictions:
    """Return predictions and decisions for each fold by the fit on the others."""
    outcomes = folded.outcomes
    found = FoldPredictions(np.zeros_like(outcomes.right), np.zeros(len(outcomes.right), dtype=int))
    for each in folded.folds:
        fit = folded.fit([one for one in folded.folds if one != each])
        own = folded.fold == each
        found.predicted[own] = fit.predict(folded.scaled[own])
        found.chosen[own] = choose(found.predicted[own], outcomes.concerned[own], outcomes.costs, fit.price)
    return found


def _measure(
    outcomes: Outcomes, experts: Sequence[ExpertFacts], held_out: FoldPredictions, budget: float, data_sha256: str
) -> RoutingRecord:
    right, concerned, costs = outcomes.right, outcomes.concerned, outcomes.costs
    clusters = outcomes.prompts.tolist()
    best = oracle(right, concerned, costs)
    routed, ideal = (_of(right, places) for places in (held_out.chosen, best))
    weights = soft_weights(held_out.predicted, concerned)
    soft = 0.5 + 0.5 * np.sign((weights * outcomes.margins).sum(axis=1))
    single = _best_single(outcomes, budget * outcomes.cheapest)
    return RoutingRecord(
        pairs=len(right),
        prompts=len(set(clusters)),
        folds=FOLDS,
        data_sha256=data_sha256,
        budget=budget,
        cheapest=outcomes.cheapest,
        overhead=outcomes.overhead,
        router=_mean(routed, clusters),
        router_cost=float(costs[held_out.chosen].mean()) + outcomes.overhead,
        soft=_mean(soft, clusters),
        soft_cost=float(((weights > 0) * costs).sum(axis=1).mean()) + outcomes.overhead,
        oracle=_mean(ideal, clusters),
        oracle_cost=float(costs[best].mean()),
        single=experts[single].name,
        gain=_difference(routed, right[:, single], clusters),
        regret=_difference(ideal, routed, clusters),
        experts={own.name: _expert(outcomes, held_out, place, own) for place, own in enumerate(experts)},
        curve=_curve(outcomes, held_out),
        coverage=_coverage(outcomes, held_out),
    )


def _best_single(outcomes: Outcomes, limit: float) -> int:
    """Return the most accurate expert whose cost is within the limit; the cheapest always counts as within."""
    within = np.maximum(limit * (1 + 1e-9), outcomes.costs.min()) >= outcomes.costs
    return int(np.argmax(np.where(within, outcomes.right.mean(axis=0), -1.0)))


def _expert(outcomes: Outcomes, held_out: FoldPredictions, place: int, expert: ExpertFacts) -> ExpertRecord:
    own = outcomes.concerned[:, place]
    right = outcomes.right[own, place]
    return ExpertRecord(
        accuracy=_mean(outcomes.right[:, place], outcomes.prompts.tolist()),
        cost=float(outcomes.costs[place]),
        brier=float(((held_out.predicted[own, place] - right) ** 2).mean()),
        brier_constant=float(right.var()),
        chosen=float((held_out.chosen == place).mean()),
        failed=expert.failed,
    )


def _curve(outcomes: Outcomes, held_out: FoldPredictions) -> list[CurvePart]:
    """Return what each price would have given, from the dearest choice to the cheapest; equal points once."""
    found: dict[tuple[float, float], CurvePart] = {}
    for price in prices(outcomes.costs.tolist(), _POINTS):
        chosen = choose(held_out.predicted, outcomes.concerned, outcomes.costs, price)
        cost, accuracy = (
            float(outcomes.costs[chosen].mean()) + outcomes.overhead,
            float(_of(outcomes.right, chosen).mean()),
        )
        found.setdefault((cost, accuracy), CurvePart(price=price, cost=cost, accuracy=accuracy))
    return list(found.values())


def _coverage(outcomes: Outcomes, held_out: FoldPredictions) -> list[CoveragePart]:
    """Return how right the router is about the pairs of whose expert it is surest, for smaller and smaller shares."""
    sure = _of(held_out.predicted, held_out.chosen)
    routed = _of(outcomes.right, held_out.chosen)
    found: dict[float, CoveragePart] = {}
    for share in _COVERAGES:
        least = float(np.quantile(sure, 1 - share))
        kept = sure >= least
        found.setdefault(
            least, CoveragePart(least=least, coverage=float(kept.mean()), accuracy=float(routed[kept].mean()))
        )
    return list(found.values())


def _of(values: Float[np.ndarray, "n k"], places: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.take_along_axis(values, places[:, None], axis=1)[:, 0]


def _mean(values: Float[np.ndarray, " n"], clusters: Sequence[Hashable]) -> ClusterMean:
    low, high = stratified_interval([Stratum(values.tolist(), clusters)])
    return ClusterMean(value=float(values.mean()), low=low, high=high)


def _difference(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], clusters: Sequence[Hashable]
) -> ClusterMean:
    found = paired_difference([Stratum(first.tolist(), clusters)], [Stratum(second.tolist(), clusters)])
    return ClusterMean(value=found.value, low=found.low, high=found.high)
