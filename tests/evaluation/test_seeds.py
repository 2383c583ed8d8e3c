"""Runs of one recipe in one row: who belongs together, the spread over seeds, and what two recipes differ in."""

from statistics import fmean, stdev

import pytest

from basereward.data.outcomes import About, Score
from basereward.data.record import DataRecord, TrainedBy
from basereward.evaluation.runs import by_benchmark, read_evaluation
from basereward.evaluation.seeds import compare_recipes, group_by_recipe, recipe_names
from tests.evaluation.conftest import run

BENCHMARK = "vl_rewardbench"


class Trained:
    """A scorer whose model says which recipe and seed trained it, and which is right on a share of the rows."""

    def __init__(self, recipe, seed, dtype="float32", name="m"):
        told = recipe and TrainedBy(recipe_sha256=recipe * 64, seed=seed, name=f"recipe-{recipe}")
        record = DataRecord(fingerprint="", inputs=(), contamination=None, trained_by=told)
        identity = {"weights": f"{recipe}{seed}", "dtype": dtype}
        self.about = About(name, sees_images=True, identity=identity, data_record=record)
        self.seed = seed

    def score(self, groups):
        return [
            [Score(float((len(response.text) * (self.seed + 3)) % 7)) for response in group.responses]
            for group in groups
        ]


@pytest.fixture
def evaluated(tmp_path):
    """``evaluated({name: scorer})``: the evaluations of each by benchmark."""

    def evaluate_all(scorers):
        for name, scorer in scorers.items():
            run(scorer, BENCHMARK, tmp_path / name, references=False)
        return {name: by_benchmark([read_evaluation(tmp_path / name)]) for name in scorers}

    return evaluate_all


def test_runs_belong_together_by_what_their_models_say_not_by_names(evaluated):
    models = evaluated(
        {
            "x": Trained("a", 2),
            "y": Trained("b", 0),
            "z": Trained("a", 0),
            "half": Trained("a", 1, dtype="bfloat16"),
            "old": Trained(None, 0),
        }
    )
    found = group_by_recipe(models)
    assert [(one.members, one.seeds) for one in found] == [
        (("z", "x"), (0, 2)),
        (("y",), (0,)),
        (("half",), (1,)),
        (("old",), ()),
    ]
    assert [one.recipe_sha256 for one in found] == ["a" * 64, "b" * 64, "a" * 64, None]


def test_one_seed_twice_is_no_spread(evaluated):
    found = group_by_recipe(evaluated({"x": Trained("a", 0), "again": Trained("a", 0), "y": Trained("a", 1)}))
    assert [one.members for one in found] == [("x",), ("again",), ("y",)]


def test_runs_that_were_asked_otherwise_about_one_benchmark_are_no_spread(evaluated):
    """The first benchmark of each run in one dtype, and the second in two."""
    runs = evaluated({f"{dtype}{seed}": Trained("a", seed, dtype) for dtype in ("float32", "other") for seed in (0, 1)})
    first, others = ([runs[f"{dtype}{seed}"][BENCHMARK] for seed in (0, 1)] for dtype in ("float32", "other"))
    alike = {"x": {"one": first[0], "two": others[0]}, "y": {"one": first[1], "two": others[1]}}
    assert [one.members for one in group_by_recipe(alike)] == [("x", "y")]
    unlike = {"x": {"one": first[0], "two": others[0]}, "y": {"one": first[1], "two": first[1]}}
    assert [one.members for one in group_by_recipe(unlike)] == [("x",), ("y",)]


def test_the_spread_and_the_difference_are_those_of_the_values(evaluated):
    models = evaluated({f"{recipe}{seed}": Trained(recipe, seed) for recipe in "ab" for seed in (0, 1, 2)})
    # Recipe b's seeds give other scores than those of a.
    recipes = recipe_names(group_by_recipe(models))
    assert list(recipes) == ["recipe-a", "recipe-b"]
    found = {one.metric: one for one in compare_recipes(recipes)}
    values = [models[f"a{seed}"][BENCHMARK].result.main.model.metrics["accuracy"].value for seed in (0, 1, 2)]
    own = found["accuracy"].spreads["recipe-a"]
    assert own.values == tuple(values)
    assert (own.mean, own.deviation) == (fmean(values), stdev(values))
    [difference] = found["accuracy"].differences
    assert (difference.first, difference.second, difference.difference) == ("recipe-a", "recipe-b", 0.0)
    assert difference.exceeds == ("no" if stdev(values) else "cannot be told")


def test_one_seed_against_two_cannot_be_told(evaluated):
    recipes = recipe_names(group_by_recipe(evaluated({n: Trained(n[0], int(n[1])) for n in ("a0", "a1", "b5")})))
    for one in compare_recipes(recipes):
        [difference] = one.differences
        assert (difference.interval, difference.exceeds) == (None, "cannot be told")
        assert one.spreads["recipe-b"].deviation is None


def test_a_metric_of_other_data_is_another_metric(evaluated, tmp_path):
    models = evaluated({f"a{seed}": Trained("a", seed) for seed in (0, 1)})
    run(Trained("a", 2), BENCHMARK, tmp_path / "part", limit=2, references=False)
    models["part"] = by_benchmark([read_evaluation(tmp_path / "part")])
    [recipe] = group_by_recipe(models)
    assert recipe.seeds == (0, 1, 2)
    found = [
        one for one in compare_recipes({"a": recipe}) if one.metric == "accuracy" and one.slot.protocol == "official"
    ]
    assert [(one.slot.limit, one.spreads["a"].seeds) for one in found] == [(None, (0, 1)), (2, (2,))]
