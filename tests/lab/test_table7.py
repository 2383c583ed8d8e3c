"""Table 7 and Figure 2 in miniature: what their rows combine, on models that were not trained."""

import pytest

from basereward.lab import figure2, table7
from basereward.lab.table7 import Arm, ArmSizes
from basereward.models.checkpoint import new_reward_model, save_reward_model


@pytest.fixture
def untrained(monkeypatch, tmp_path, vl_backbone, text_backbone):
    """Small sets of pairs, and untrained models in the place of trained ones; ``asked`` has the arms."""
    asked = []

    def make(name, arm, seed, folder, sizes):
        asked.append(name)
        place = folder / name
        if not place.is_dir():
            backbone = text_backbone if arm.family.startswith("qwen3") else vl_backbone
            save_reward_model(new_reward_model(backbone), place)
        return place

    monkeypatch.setattr(table7, "TEST_PAIRS", 45)
    monkeypatch.setattr(table7, "VALIDATION_PAIRS", 30)
    for module in (table7, figure2):
        monkeypatch.setattr(module, "train_arm", make)
    return asked


def test_the_text_model_changes_the_text_columns_alone(untrained, tmp_path):
    plan = table7.plan_table(ArmSizes(1))
    mean, with_text, single = (plan.run(row, 0, tmp_path) for row in (table7.MEAN, table7.WITH_TEXT, table7.QWEN))
    assert mean["images"] == with_text["images"]
    assert mean.keys() == {column.key for column in plan.columns}
    assert single.keys() == mean.keys()
    two = [table7.QWEN, table7.INTERNVL]
    assert untrained == [*two, *two, table7.TEXT, table7.QWEN]


def test_rows_by_validation_measure_their_weights(untrained, tmp_path):
    plan = table7.plan_table(ArmSizes(1))
    found = plan.run(table7.ACCURACY, 0, tmp_path)
    assert "weights: accuracy" in (tmp_path / "accuracy.yaml").read_text()
    assert set(found) == {column.key for column in plan.columns}


def test_text_arms_learn_from_pairs_without_images(tmp_path):
    from basereward.data.storage import read_rows

    path = table7.train_pairs(tmp_path, Arm("qwen3", "text"), 0, 20)
    rows = read_rows(path)
    assert len(rows) == 20
    assert not any(row["images"] for row in rows)


def test_the_figure_asks_all_arms_on_text(untrained, tmp_path):
    plan = figure2.plan_figure(ArmSizes(1))
    found = plan.run(figure2.QWEN3, 0, tmp_path)
    assert set(found) == {column.key for column in plan.columns}
    assert list(plan.rows) == list(figure2.ARMS)
