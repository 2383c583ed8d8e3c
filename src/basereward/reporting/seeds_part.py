"""Recipes instead of runs: one row for the runs of a recipe, with the spread over seeds, and what recipes differ in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from basereward.evaluation.runs import EvaluationRun, by_benchmark
from basereward.evaluation.seeds import (
    MetricRecipes,
    RecipeDifference,
    RecipeRuns,
    Slot,
    compare_recipes,
    group_by_recipe,
    recipe_names,
)
from basereward.reporting.documents import Chapter
from basereward.reporting.tables import DECIMALS, MISSING, Table, count, interval, percent

SPREAD_NOTE = (
    "One row for the runs of a recipe: the mean over its seeds, their standard deviation (n - 1), and the 95 % "
    "interval of the mean by Student's t. It is of other seeds of the recipe, not of other test items."
)
DIFFERENCE_NOTE = (
    "Difference of the means over seeds, in points, with Welch's 95 % interval. It exceeds the spread over seeds if "
    "that interval leaves out zero; with fewer than two seeds on a side that cannot be told."
)
_HEADER = (
    "recipe",
    "seeds",
    "metric",
    "mean",
    "standard deviation",
    "95 % interval",
    "smallest",
    "largest",
    "coverage",
)
_DIFFERENCE_HEADER = ("first - second", "metric", "difference", "95 % interval", "exceeds the spread over seeds")


class SeedReport(NamedTuple):
    """Runs as runs of recipes: the recipes by name, their metrics, and the chapters of a report on them."""

    recipes: Mapping[str, RecipeRuns]
    metrics: Sequence[MetricRecipes]
    chapters: Sequence[Chapter]


def report_seeds(models: Mapping[str, Sequence[EvaluationRun]]) -> SeedReport | None:
    """Return a row for each recipe and metric, and the differences of recipes; None where no recipe has two runs.

    Args:
        models: the evaluations of each run, by what it is called.

    Raises:
        DataError: a run has two evaluations of one benchmark.
    """
    recipes = group_by_recipe({name: by_benchmark(own) for name, own in models.items()})
    if all(len(recipe.runs) < 2 for recipe in recipes):
        return None
    names = recipe_names(recipes)
    metrics = compare_recipes(names)
    chapters: list[Chapter] = []
    slots = dict.fromkeys(own.slot for own in metrics)
    for slot in slots:
        own = [one for one in metrics if one.slot == slot]
        title = _title(slot, list(slots))
        rows = [row for one in own for row in _rows(one)]
        lines = [f"protocol {slot.line}", *_member_lines(names)]
        chapters.append(Chapter(f"Recipes: {title}", SPREAD_NOTE, "", Table(_HEADER, rows), lines))
        if compared := [_difference_row(one.metric, pair) for one in own for pair in one.differences]:
            table = Table(_DIFFERENCE_HEADER, compared)
            chapters.append(Chapter(f"Differences of recipes: {title}", DIFFERENCE_NOTE, "", table))
    return SeedReport(names, metrics, chapters)


def _title(slot: Slot, others: Sequence[Slot]) -> str:
    """Return what a chapter is about, with the data and the limit where others differ in them alone."""
    same = [other for other in others if other[:2] == slot[:2]]
    told = [f"data {slot.data_sha256[:8]}"] if len({other.data_sha256 for other in same}) > 1 else []
    told += [f"the first {slot.limit} items"] if slot.limit is not None else []
    return ", ".join([slot.benchmark, slot.protocol, *told])


def _rows(one: MetricRecipes) -> Iterator[tuple[str, ...]]:
    for name, own in one.spreads.items():
        yield (
            name,
            ", ".join(map(str, own.seeds)) or MISSING,
            one.metric,
            percent(own.mean, DECIMALS),
            MISSING if own.deviation is None else f"{100 * own.deviation:.2f}",
            interval(*(own.interval or (None, None))),
            percent(min(own.values), DECIMALS),
            percent(max(own.values), DECIMALS),
            percent(own.coverage, DECIMALS),
        )


def _difference_row(metric: str, own: RecipeDifference) -> tuple[str, ...]:
    within = f"{100 * own.interval.low:+.1f} to {100 * own.interval.high:+.1f}" if own.interval else MISSING
    return f"{own.first} - {own.second}", metric, f"{100 * own.difference:+.2f}", within, own.exceeds


def _member_lines(recipes: Mapping[str, RecipeRuns]) -> list[str]:
    """Return which runs a recipe has, and that a recipe is not known where a model does not tell it."""
    lines = []
    for name, recipe in recipes.items():
        if recipe.recipe_sha256 is None:
            lines.append(f"{name}: its model does not tell which recipe trained it")
            continue
        told = [f"{member} (seed {seed})" for member, seed in zip(recipe.members, recipe.seeds, strict=True)]
        number = f"{count(len(told))} runs" if len(told) > 1 else "one run"
        lines.append(f"{name}: {number} of recipe {recipe.recipe_sha256[:12]}: {', '.join(told)}")
    return lines
