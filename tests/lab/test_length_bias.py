"""Table 12 in miniature: what its rows are made of, and what a row measures."""

import numpy as np
import pytest

from basereward.lab import length_bias, rows
from basereward.lab.length_bias import LengthSizes, plan_length_bias, text_length, training_pairs
from basereward.models.checkpoint import new_reward_model, save_reward_model


def longer_chosen(pairs):
    padded = [pair.extra["padded"] for pair in pairs if pair.extra["padded"] != "neither"]
    return padded.count("chosen") / len(padded)


def test_rows_differ_in_length_alone():
    own = {row: training_pairs(row, 0, 700) for row in length_bias.ROWS}
    standard, biased = own[length_bias.ORIGINAL], own[length_bias.LONG]
    assert [pair.prompt for pair in standard] == [pair.prompt for pair in biased]
    assert [pair.extra["truth"] for pair in standard] == [pair.extra["truth"] for pair in biased]
    for part, share in ((True, 0.5), (False, 0.7)):
        assert longer_chosen([pair for pair in standard if bool(pair.images) == part]) == pytest.approx(share, abs=0.12)
        assert longer_chosen([pair for pair in biased if bool(pair.images) == part]) == pytest.approx(0.9, abs=0.12)
    for row in (length_bias.ORIGINAL_RESAMPLED, length_bias.LONG_RESAMPLED):
        assert {pair.id for pair in own[row]} < {pair.id for pair in standard}
        signs = np.sign([text_length(pair.chosen) - text_length(pair.rejected) for pair in own[row]])
        assert signs.sum() == 0


def test_a_row_is_measured_with_images_and_on_text_apart(monkeypatch, tmp_path, vl_backbone):
    trained = []

    def untrained(recipe, folder):
        trained.append(recipe)
        return save_reward_model(new_reward_model(vl_backbone, head_seed=0), folder / rows.MODEL)

    monkeypatch.setattr(length_bias, "trained_model", untrained)
    plan = plan_length_bias(LengthSizes(steps=2, pairs=60, test_pairs=40))
    values = plan.run(length_bias.LONG_RESAMPLED, 0, tmp_path)
    assert values.keys() == {column.key for column in plan.columns}
    assert values["pairs"] < 60
    assert trained[0].optimizer.max_steps == 2
    assert {key for claim in plan.claims for key in (claim.better, claim.worse)} <= set(plan.rows)
