"""Counts of mixtures are exact integers in closed form; draws depend on the seed and the name alone."""

from fractions import Fraction

import numpy as np
import pytest

from basereward.configuration import parse_configuration
from basereward.curation.mix_recipe import MixRecipe, load_mix_recipe
from basereward.curation.mixture import Modalities, apportion, count_mixture, draw_rows
from basereward.errors import DataError, RecipeError, UnknownNameError


def make_recipe(*inputs, **more):
    content = {"name": "m", "inputs": [{"path": name, **given} for name, given in inputs], **more}
    return parse_configuration(MixRecipe, content)


def taken(recipe, **available):
    return {count.name: tuple(count.taken) for count in count_mixture(recipe, available)}


IMAGES, TEXT, BOTH = Modalities(100, 0), Modalities(0, 60), Modalities(30, 10)


@pytest.mark.parametrize(
    ("total", "weights", "counts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (7, [Fraction("0.5"), Fraction("0.25"), Fraction("0.25")], [3, 2, 2]),
        (100, [1, 0, 2], [33, 0, 67]),
        (5, [3, 3, 3, 3], [2, 1, 1, 1]),
        (0, [0, 0], [0, 0]),
    ],
)
def test_largest_remainder(total, weights, counts):
    assert apportion(total, weights) == counts


def test_split_counts_sum_to_the_total_and_are_less_than_one_off():
    generator = np.random.default_rng(0)
    for _ in range(200):
        weights = [*generator.integers(0, 50, 6).tolist(), 1]
        total = int(generator.integers(0, 1000))
        counts = apportion(total, weights)
        assert sum(counts) == total
        assert all(
            abs(count - total * weight / sum(weights)) < 1 for count, weight in zip(counts, weights, strict=True)
        )


def test_without_proportions_everything_is_taken():
    assert taken(make_recipe(("a", {}), ("b", {})), a=IMAGES, b=BOTH) == {"a": (100, 0), "b": (30, 10)}


def test_a_cap_is_an_upper_limit_that_keeps_the_modalities_in_proportion():
    recipe = make_recipe(("a", {"cap": 7}), ("b", {"cap": 20}), ("c", {"cap": 500}))
    assert taken(recipe, a=IMAGES, b=BOTH, c=TEXT) == {"a": (7, 0), "b": (15, 5), "c": (0, 60)}


def test_a_size_is_split_in_proportion_to_the_rows():
    recipe = make_recipe(("a", {}), ("b", {}), ("c", {"weight": 2, "cap": 20}), size=100)
    assert taken(recipe, a=IMAGES, b=TEXT, c=TEXT) == {"a": (50, 0), "b": (0, 30), "c": (0, 20)}


def test_a_weight_multiplies_the_rows():
    recipe = make_recipe(("a", {"weight": 0.25}), ("b", {"weight": 3}), repeat=True)
    counts = count_mixture(recipe, {"a": IMAGES, "b": TEXT})
    assert [tuple(count.taken) for count in counts] == [(25, 0), (0, 180)]
    assert [count.repeated for count in counts] == [0, 120]


def test_shares_without_a_size_take_as_much_as_they_can():
    recipe = make_recipe(("a", {"share": 0.75}), ("b", {"share": 0.25}))
    assert taken(recipe, a=IMAGES, b=TEXT) == {"a": (100, 0), "b": (0, 33)}
    assert taken(recipe, a=IMAGES, b=Modalities(0, 10)) == {"a": (30, 0), "b": (0, 10)}


def test_shares_of_a_size():
    recipe = make_recipe(("a", {"share": 0.1}), ("b", {"share": 0.2}), ("c", {"share": 0.7}), size=11)
    assert taken(recipe, a=IMAGES, b=TEXT, c=TEXT) == {"a": (1, 0), "b": (0, 2), "c": (0, 8)}


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        ((1, 0), {"a": (100, 0), "b": (30, 0), "c": (0, 0)}),
        ((1, 0.5), {"a": (100, 0), "b": (30, 9), "c": (0, 56)}),
        ((1, 1), {"a": (54, 0), "b": (16, 10), "c": (0, 60)}),
        ((1, 2), {"a": (27, 0), "b": (8, 10), "c": (0, 60)}),
        ((0, 1), {"a": (0, 0), "b": (0, 10), "c": (0, 60)}),
    ],
)
def test_ratios_without_a_size_take_as_much_as_they_can(ratio, expected):
    recipe = make_recipe(("a", {}), ("b", {}), ("c", {}), ratio=dict(zip(("multimodal", "text"), ratio, strict=True)))
    assert taken(recipe, a=IMAGES, b=BOTH, c=TEXT) == expected


def test_a_ratio_of_a_size():
    recipe = make_recipe(("a", {}), ("c", {}), ratio={"multimodal": 1, "text": 0.5}, size=90)
    assert taken(recipe, a=IMAGES, c=TEXT) == {"a": (60, 0), "c": (0, 30)}


def test_too_few_rows_are_an_error_that_names_them():
    recipe = make_recipe(("a", {"share": 0.5}), ("c", {"share": 0.5}), size=200)
    with pytest.raises(DataError, match=r"c: 100 asked, 60 there\). .*repeat.*allow_shortfall"):
        count_mixture(recipe, {"a": IMAGES, "c": TEXT})


def test_a_shortfall_is_stated_where_it_is_allowed():
    recipe = make_recipe(("a", {"share": 0.5}), ("c", {"share": 0.5}), size=200, allow_shortfall=True)
    (_, count) = count_mixture(recipe, {"a": IMAGES, "c": TEXT})
    assert (count.requested.total, count.taken.total, count.missing) == (100, 60, 40)


def test_nothing_is_not_repeated():
    recipe = make_recipe(("a", {"share": 0.5}), ("c", {"share": 0.5}), size=20, repeat=True)
    with pytest.raises(DataError, match="c: 10 asked, 0 there"):
        count_mixture(recipe, {"a": IMAGES, "c": Modalities(0, 0)})


@pytest.mark.parametrize("side", ["multimodal", "text"])
def test_a_ratio_without_rows_on_one_side_is_an_error(side):
    recipe = make_recipe(("a", {}), ratio={"multimodal": 1, "text": 1})
    with pytest.raises(DataError, match=f"asks for {side} rows"):
        count_mixture(recipe, {"a": TEXT if side == "multimodal" else IMAGES})


def test_a_mixture_of_nothing_is_an_error():
    with pytest.raises(DataError, match="takes no rows"):
        count_mixture(make_recipe(("a", {})), {"a": Modalities(0, 0)})


def test_draws_are_without_repeats_until_all_are_taken():
    rows = np.arange(100, 120)
    assert sorted(draw_rows(rows, 20, 20, 0, "a")) == list(rows)
    assert len(set(draw_rows(rows, 20, 7, 0, "a"))) == 7
    _, times = np.unique(draw_rows(rows, 6, 20, 0, "a"), return_counts=True)
    assert sorted(times) == [3, 3, 3, 3, 4, 4]
    assert draw_rows(rows, 0, 0, 0, "a").size == 0


def test_draws_depend_on_the_seed_and_the_name():
    rows = np.arange(1000)
    first = draw_rows(rows, 1000, 50, 3, "a")
    assert np.array_equal(first, draw_rows(rows, 1000, 50, 3, "a"))
    assert not np.array_equal(first, draw_rows(rows, 1000, 50, 4, "a"))
    assert not np.array_equal(first, draw_rows(rows, 1000, 50, 3, "b"))
    assert np.array_equal(first[:20], draw_rows(rows, 1000, 20, 3, "a")), "more rows keep those drawn"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"inputs": [{"path": "a", "wght": 2}]}, r"inputs.0.wght'.*'weight'"),
        ({"inputs": [{"path": "a", "source": "b"}]}, "either source or path"),
        ({"inputs": [{"cap": 3}]}, "either source or path"),
        ({"inputs": [{"path": "a", "share": 0.5, "weight": 2}]}, "either share or weight"),
        ({"inputs": [{"path": "a"}, {"path": "a"}]}, "name a twice"),
        ({"inputs": [{"path": "a", "share": 0.5}, {"path": "b"}]}, "all inputs or none"),
        ({"inputs": [{"path": "a", "share": 0.5}, {"path": "b", "share": 0.4}]}, "sum to 1"),
        ({"inputs": [{"path": "a", "share": 1}], "ratio": {"multimodal": 1, "text": 1}}, "either ratio or shares"),
        ({"inputs": [{"path": "a"}], "ratio": {"multimodal": 0, "text": 0}}, "0 to 0"),
        ({"inputs": [{"path": "a"}], "ratio": 62}, "ratio"),
        ({"inputs": [{"path": "a"}], "sead": 3}, "'seed'"),
        ({"inputs": []}, "inputs"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_it(content, found):
    with pytest.raises(RecipeError, match=found):
        parse_configuration(MixRecipe, {"name": "m", **content})


def test_an_unknown_source_names_close_ones(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("{name: m, inputs: [{source: rlaif}]}")
    with pytest.raises(UnknownNameError, match="'rlaif_v'"):
        load_mix_recipe(path)
