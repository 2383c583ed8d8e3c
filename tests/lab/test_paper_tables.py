"""The paper's ablations in miniature: what rows of the tables train and measure, on models that were not trained."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from basereward.data.storage import read_rows
from basereward.errors import DataError, StoppedError
from basereward.lab import catalog, figure1, rows, severity, table2, table5, table6, table15
from basereward.lab.descriptions import grade
from basereward.lab.tables import Claim, Column, TablePlan, read_table
from basereward.lab.world import draw_pairs
from basereward.models.checkpoint import new_reward_model, save_reward_model
from tests.cli.test_help import COMMANDS

ANY_REWARDS = rows.HeldOutRewards(["count"], np.ones(1), np.zeros(1))
MODULES = (figure1, severity, table2, table5, table6, table15)


@pytest.fixture
def trained(monkeypatch, vl_backbone):
    """The recipes of runs, of which none is done: an untrained model is in the place of what they train."""
    recipes = {}

    def untrained(recipe, folder):
        if folder not in recipes:
            recipes[folder] = recipe
            save_reward_model(new_reward_model(vl_backbone, head_seed=0), folder / rows.MODEL)
        return folder / rows.MODEL

    for module in MODULES:
        monkeypatch.setattr(module, "trained_model", untrained)
        monkeypatch.setattr(module, "made_backbone", lambda *_: vl_backbone)
    return recipes


def test_a_row_is_trained_and_measured_by_its_own_seed(trained, monkeypatch, vl_backbone, tmp_path):
    asked = []
    monkeypatch.setattr(table6, "made_backbone", lambda _, *words: asked.append(words) or vl_backbone)
    monkeypatch.setattr(table6, "held_out_rewards", lambda _, pairs: asked.append(pairs[0]) or ANY_REWARDS)
    plan = sized(table6.plan_table, table6.BackboneSizes())
    for row, seed in (("qwen2_vl, test", 3), ("internvl, demo", 4)):
        plan.run(row, seed, tmp_path / str(seed))
    assert asked[::2] == [("qwen2_vl", 3, "test"), ("internvl", 4, "demo")]
    assert [recipe.run.seed for recipe in trained.values()] == [3, 4]
    assert asked[1] == next(draw_pairs(1, 3 + rows.HELD_OUT_SEED, table6.WORLD))
    first, second = (next(iter(read_rows(tmp_path / str(seed) / "train.parquet"))) for seed in (3, 4))
    assert first["id"] != second["id"] or first["prompt"] != second["prompt"]


def sized(plan_of, sizes):
    return plan_of(
        sizes._replace(**{name: min(value, 45) for name, value in sizes._asdict().items() if name != "steps"})
    )


@pytest.mark.parametrize("name", catalog.TABLES.names())
def test_findings_are_about_rows_and_columns_that_are_there(name):
    plan = catalog.TABLES.get(name)()
    assert plan.name == name
    assert {row for claim in plan.claims for row in (claim.better, claim.worse)} <= set(plan.rows)
    assert {claim.column for claim in plan.claims} <= {column.key for column in plan.columns}


@pytest.mark.parametrize("name", catalog.TABLES.names())
def test_a_command_and_all_tables_have_the_same_sizes(name):
    settings = catalog.TABLES.get(name)().settings
    sizes = [own for own in COMMANDS["lab", name].params if own.name not in ("out", "seeds", "as_json")]
    assert {own.name: own.default for own in sizes} == {own.name: settings[own.name] for own in sizes}


def test_both_readings_of_length_are_one_model(trained, tmp_path):
    plan = sized(figure1.plan_figure, figure1.RegularizerSizes())
    plain, loss, both = (plan.run(row, 0, tmp_path) for row in (figure1.STRONG, figure1.IN_LOSS, figure1.IN_BOTH))
    assert plain.keys() == {column.key for column in plan.columns}
    assert [recipe.objective.zero_coefficient for recipe in trained.values()] == [0.1, 0.0]
    assert [recipe.objective.length_normalization for recipe in trained.values()] == [False, True]
    assert abs(both["mean chosen"]) < abs(loss["mean chosen"])
    assert plain["gap"] == pytest.approx(plain["mean chosen"] - plain["mean rejected"])


def test_divided_rewards_are_those_of_the_loss(vl_backbone):
    model = new_reward_model(vl_backbone, head_seed=0)
    (pair,) = draw_pairs(1, 0)
    group = pair.comparison().groups[0]
    plain = model.score_groups([group])[0]
    lengths = model.template.encode(group).answer_lengths
    divided = [score.value for score in figure1.LengthNormalized(model).score([group])[0]]
    assert divided == pytest.approx(
        [value / math.log(length + 1) for value, length in zip(plain, lengths, strict=True)]
    )


def test_deep_heads_start_as_far_apart_as_the_best(vl_backbone):
    best, deep, equal = (
        table2.reward_spread(table2.new_head(vl_backbone, table2.ROWS[row], 0), 0)
        for row in (table2.BEST, "5 silu", "5 silu, equal start")
    )
    assert deep < best / 2
    assert equal == pytest.approx(best, rel=1e-4)


def test_units_are_dead_where_no_response_moves_them():
    given = torch.tensor([[-1.0, -1.0, 2.0, 9.0], [-2.0, 1.0, 2.0, -9.0]])
    assert table2.unit_shares(nn.ReLU(), [given]) == (0.25, 0.5)
    assert table2.unit_shares(nn.Tanh(), [given]) == (0.25, 0.25)
    assert table2.unit_shares(nn.SiLU(), [given]) == (0.0, 0.125)
    assert table2.unit_shares(nn.Identity(), [given, given]) == (0.0, 0.0)


def test_a_row_of_heads_is_trained_from_its_own_start(trained, tmp_path):
    plan = sized(table2.plan_table, table2.HeadSizes())
    values = plan.run("3 silu, equal start", 0, tmp_path)
    assert values.keys() == {column.key for column in plan.columns}
    (recipe,) = trained.values()
    assert recipe.model.init_from
    assert recipe.model.backbone is None


def test_sources_are_axes_and_ratios_keep_their_images(trained, tmp_path):
    plan = sized(table5.plan_table, table5.SourceSizes())
    values = plan.run("vqa", 0, tmp_path)
    assert values.keys() == {column.key for column in plan.columns}
    kinds = {row["source"] for row in read_rows(tmp_path / "vqa" / "train.parquet")}
    assert kinds == {"lab/vqa/color1", "lab/vqa/pos1"}
    ratios = sized(table15.plan_table, table15.RatioSizes())
    assert ratios.run(table15.TWO, 0, tmp_path).keys() == {column.key for column in ratios.columns}
    ids = [bool(row["images"]) for row in read_rows(tmp_path / "1-2" / "train.parquet")]
    assert (sum(ids), len(ids)) == (45, 135)


def test_families_are_asked_alike(trained, tmp_path):
    plan = sized(table6.plan_table, table6.BackboneSizes())
    assert plan.run("qwen2_vl, test", 0, tmp_path).keys() == {column.key for column in plan.columns}


def test_errors_come_one_by_one(trained, tmp_path):
    for index in range(20):
        group = severity.graded_group(index, 3)
        truth = group.responses[0].text
        grades = [grade(response.text, truth) for response in group.responses]
        assert grades == pytest.approx([1, 2 / 3, 1 / 3, 0])
    plan = sized(severity.plan_severity, severity.SeveritySizes())
    first, last = (plan.run(row, 0, tmp_path) for row in (severity.ROWS[0], severity.ROWS[-1]))
    assert len(trained) == 1
    assert first.keys() == {"reward", "spread"}
    assert last.keys() == {"below", "reward", "spread"}


def test_a_tie_is_not_right():
    found = rows.HeldOutRewards(["count", "count", "refusal"], np.array([1.0, 2.0, 1.0]), np.array([1.0, 1.0, 0.0]))
    assert found.accuracies() == {"reasoning": 0.5, "images": 0.5, "refusal": 1.0, "text": 1.0}


def tiny_plan(name, run):
    columns = (Column("accuracy", "accuracy"),)
    claims = (Claim("b beats a", "b", "a", "accuracy"),)
    return TablePlan(name, "Table 0", ("a", "b"), columns, claims, ("small",), {}, run)


def test_all_tables_go_on_within_the_time(tmp_path):
    now, made = [0.0], []

    def run(row, seed, folder):
        made.append((folder.parent.name, row, seed))
        now[0] += 60
        return {"accuracy": 0.5 + (row == "b") / 4 + seed / 100}

    def broken(row, seed, folder):
        raise DataError("no pairs")

    names = {"figure2": run, "table7": broken, "table5": run}
    plans = {name: tiny_plan(name, of) for name, of in names.items()}
    first = catalog.make_all(plans, tmp_path, seeds=2, minutes=3, clock=lambda: now[0])
    assert made == [("figure2", "a", 0), ("figure2", "b", 0), ("table5", "a", 0)]
    assert first.failed == {"table7": "no pairs"}
    assert first.unfinished == ["table5", "figure2"]
    again = catalog.make_all(plans, tmp_path, seeds=2, clock=lambda: now[0])
    assert len(made) == len(set(made)) == 8
    assert not again.unfinished
    assert catalog.make_all(plans, tmp_path, seeds=1, clock=lambda: now[0]).failed
    # Fewer seeds than there are take none away.
    assert read_table(tmp_path / "figure2").seeds == [0, 1]
    found = catalog.read_tables(tmp_path)
    page = catalog.tables_page(found, first)
    assert list(found) == ["figure2", "table5"]
    assert page.sections[0].table.rows[0] == ("figure2", "Table 0", "2", "1", "0", "0")
    assert "table7: no pairs" in page.sections[-1].lines
    assert "table1: not made." in page.sections[-1].lines


def test_a_signal_ends_all_tables(tmp_path):
    def stopped(row, seed, folder):
        raise StoppedError(15, "saved")

    with pytest.raises(StoppedError):
        catalog.make_all({"table5": tiny_plan("table5", stopped)}, tmp_path, seeds=1)
