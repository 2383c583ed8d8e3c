"""Several runs of one recipe as one: the mean of each metric and its spread over seeds, and what two recipes differ in.

Runs are of one recipe if the models say so: equal hashes of everything that decided their weights but the seed, and
scored alike. Names of folders and models play no part in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from basereward.evaluation.result import ProtocolResult, Result
from basereward.evaluation.runs import EvaluationRun
from basereward.evaluation.spread import seed_interval, welch_interval
from basereward.statistics import Interval

Exceeds = Literal["yes", "no", "cannot be told"]


@dataclass(frozen=True, slots=True)
class RecipeRuns:
    """The runs of one recipe, or one run whose model does not tell its recipe.

    Args:
        name: of the recipe, or of the run.
        seeds: of the runs, in order; empty where the recipe is not known.
        members: what the runs are called, in the order of the seeds.
        runs: the evaluations of each run by benchmark.
        recipe_sha256: of the recipe; None where it is not known.
    """

    name: str
    seeds: tuple[int, ...]
    members: tuple[str, ...]
    runs: tuple[Mapping[str, EvaluationRun], ...]
    recipe_sha256: str | None


class Slot(NamedTuple):
    """What a metric must be of to be the same metric of another run: benchmark, protocol in words, data and limit."""

    benchmark: str
    protocol: str
    line: str
    data_sha256: str
    limit: int | None


class SeedSpread(NamedTuple):
    """A metric over the runs of a recipe.

    Args:
        seeds: of the runs that have it; empty where the recipe is not known.
        values: one of each run.
        mean: of them.
        deviation: the sample standard deviation (n - 1), None for one run.
        interval: 95 % of the mean by Student's t, None for one run. It is of other seeds, not of other test items.
        coverage: the smallest share of rows that a run scored.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    deviation: float | None
    interval: Interval | None
    coverage: float


class RecipeDifference(NamedTuple):
    """What two recipes differ in: ``difference = first - second`` of the means over seeds, and Welch's 95 % interval.

    ``exceeds`` says whether the interval leaves out zero; without two seeds on each side that cannot be told.
    """

    first: str
    second: str
    difference: float
    interval: Interval | None
    exceeds: Exceeds


class MetricRecipes(NamedTuple):
    """One metric of recipes: its spread by what each is called, and the difference of every two."""

    slot: Slot
    metric: str
    spreads: Mapping[str, SeedSpread]
    differences: Sequence[RecipeDifference]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        named = {name: own._asdict() for name, own in self.spreads.items()}
        differences = [own._asdict() for own in self.differences]
        return {**self.slot._asdict(), "metric": self.metric, "spreads": named, "differences": differences}


def group_by_recipe(models: Mapping[str, Mapping[str, EvaluationRun]]) -> list[RecipeRuns]:
    """Return the recipes of runs, in the order of their first run; seeds in increasing order.

    A run that was evaluated twice in the same way, that is one seed twice, says nothing of the spread, and neither do
    runs that were asked about a benchmark in different ways, such as in another dtype: such runs stay alone.

    Args:
        models: the evaluations of each run by benchmark, by what the run is called.
    """
    keyed: dict[str, list[str]] = {}
    for name, runs in models.items():
        keyed.setdefault(_key(name, runs), []).append(name)
    found = []
    for names in keyed.values():
        seeds = [_seed(models[name]) for name in names]
        if len(set(seeds)) == len(names) and _are_asked_alike([models[name] for name in names]):
            found.append(_gather(sorted(names, key=lambda name: _seed(models[name]) or 0), models))
        else:
            found += [_gather([name], models) for name in names]
    return found


def compare_recipes(recipes: Mapping[str, RecipeRuns]) -> list[MetricRecipes]:
    """Return the spread of every metric of every benchmark and protocol over the seeds of recipes, and the differences.

    Args:
        recipes: by what they are called, as ``recipe_names`` gives them.
    """
    results = [run.result for recipe in recipes.values() for runs in recipe.runs for run in runs.values()]
    keys = dict.fromkeys(
        (slot_of(result, own), metric)
        for result in results
        for own in result.protocols.values()
        for metric in own.model.main_metrics()
    )
    found = []
    for slot, metric in keys:
        each = {name: metric_spread(recipe, slot, metric) for name, recipe in recipes.items()}
        spreads = {name: own for name, own in each.items() if own}
        found.append(MetricRecipes(slot, metric, spreads, recipe_differences(spreads)))
    return found


def recipe_names(recipes: Sequence[RecipeRuns]) -> dict[str, RecipeRuns]:
    """Return recipes by names that tell them apart: their own, with their runs where two have the same."""
    own = [recipe.name for recipe in recipes]
    return {
        recipe.name if own.count(recipe.name) == 1 else f"{recipe.name} ({', '.join(recipe.members)})": recipe
        for recipe in recipes
    }


def slot_of(result: Result, own: ProtocolResult) -> Slot:
    """Return what the metrics of a protocol in a result are of."""
    used = own.model.protocol
    return Slot(result.benchmark, used.key, used.line, result.data.sha256, result.data.limit)


def metric_spread(recipe: RecipeRuns, slot: Slot, metric: str) -> SeedSpread | None:
    """Return a metric over the runs of a recipe that have it, None if none has."""
    seeds: list[int] = []
    values: list[float] = []
    coverages: list[float] = []
    for place, runs in enumerate(recipe.runs):
        result = runs[slot.benchmark].result if slot.benchmark in runs else None
        own = result.protocols.get(slot.protocol) if result else None
        if result is None or own is None or slot_of(result, own) != slot:
            continue
        number = own.model.metrics.get(metric)
        if number is not None and number.value is not None:
            values.append(number.value)
            coverages.append(own.model.coverage)
            seeds += recipe.seeds[place : place + 1]
    if not values:
        return None
    deviation = stdev(values) if len(values) > 1 else None
    return SeedSpread(tuple(seeds), tuple(values), fmean(values), deviation, seed_interval(values), min(coverages))


def recipe_differences(spreads: Mapping[str, SeedSpread]) -> list[RecipeDifference]:
    """Return the difference of every two recipes in one metric, by what the recipes are called."""
    return [recipe_difference(first, second, spreads) for first, second in combinations(spreads, 2)]


def recipe_difference(first: str, second: str, spreads: Mapping[str, SeedSpread]) -> RecipeDifference:
    """Return the difference of two recipes in one metric, first minus second."""
    sides = spreads[first], spreads[second]
    found = welch_interval(sides[0].values, sides[1].values)
    exceeds: Exceeds = "cannot be told"
    if found:
        exceeds = "no" if found.low <= 0 <= found.high else "yes"
    return RecipeDifference(first, second, sides[0].mean - sides[1].mean, found, exceeds)


def _gather(names: Sequence[str], models: Mapping[str, Mapping[str, EvaluationRun]]) -> RecipeRuns:
    runs = tuple(models[name] for name in names)
    trained = [next(iter(own.values())).result.trained_by for own in runs]
    if trained[0] is None or not _is_of_one_recipe(runs[0]):
        return RecipeRuns(names[0], (), tuple(names), runs, None)
    told = list(dict.fromkeys(own.name for own in trained if own))
    seeds = tuple(own.seed for own in trained if own)
    return RecipeRuns(", ".join(told), seeds, tuple(names), runs, trained[0].recipe_sha256)


def _key(name: str, runs: Mapping[str, EvaluationRun]) -> str:
    """Return what runs of one recipe share: the recipe, and how the model was asked; of any other run its name."""
    if not _is_of_one_recipe(runs):
        return f"run {name}"
    first = next(iter(runs.values()))
    trained = first.result.trained_by
    return json.dumps([trained and trained.recipe_sha256, _asked(first)])


def _asked(run: EvaluationRun) -> str:
    """Return how the model was asked: its identity but for the weights."""
    identity = {key: value for key, value in (run.result.identity or {}).items() if key != "weights"}
    return json.dumps(identity, sort_keys=True)


def _are_asked_alike(runs: Sequence[Mapping[str, EvaluationRun]]) -> bool:
    """Return whether all runs were asked about each benchmark in the same way."""
    ways: dict[str, set[str]] = {}
    for own in runs:
        for benchmark, run in own.items():
            ways.setdefault(benchmark, set()).add(_asked(run))
    return all(len(own) == 1 for own in ways.values())


def _is_of_one_recipe(runs: Mapping[str, EvaluationRun]) -> bool:
    trained = [run.result.trained_by for run in runs.values()]
    return bool(trained) and trained[0] is not None and all(own == trained[0] for own in trained)


def _seed(runs: Mapping[str, EvaluationRun]) -> int | None:
    trained = next(iter(runs.values())).result.trained_by
    return trained.seed if trained else None
