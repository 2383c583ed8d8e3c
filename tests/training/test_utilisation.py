"""The share of a GPU's peak in the log: the work of a row by definition, and of a run over time and peak."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from basereward.models.flops import measure_backbone
from basereward.training.collator import PreferenceCollator
from basereward.training.prepare import prepare_data, prepare_model, prepare_template
from basereward.training.run import train


def first_line(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])


def test_the_share_of_the_peak_is_counted_on_known_devices(
    make_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The FLOPs of a step are those of the tree of its pairs; of an unknown device there is no such figure."""
    optimizer = {"pairs_per_step": 30, "max_steps": 1, "epochs": 1}
    recipe = make_recipe(optimizer=optimizer)
    train(recipe, tmp_path / "unknown")
    assert "mfu" not in first_line(tmp_path / "unknown")
    monkeypatch.setattr("basereward.training.utilisation.data_sheet_rate", lambda device, dtype: 1e12)
    train(recipe, tmp_path / "known")
    line = first_line(tmp_path / "known")
    template = prepare_template(recipe)
    size = measure_backbone(prepare_model(recipe, template).config)
    pairs = prepare_data(recipe, template).train
    row = PreferenceCollator(template, recipe.objective, size=size.times(3, 3))(list(pairs.pairs))
    flops = float(row["model_flops"])
    assert line["mfu"] == pytest.approx(flops * line["pairs_per_second"] / 30 / 1e12)
    # What the prompts begin with alike is counted once, and so is an image; alone, a pair has nothing to share.
    alone = PreferenceCollator(template, recipe.objective, kinds=(), size=size)
    each = [float(alone([pair])["model_flops"]) for pair in pairs.pairs]
    assert 0.3 * sum(each) < flops / 3 < sum(each)
    apart = [place for place, pair in enumerate(pairs.pairs) if pair.chosen[0].text[0] != pair.rejected[0].text[0]]
    assert {pairs.lengths[place].groups[0].image_tokens > 0 for place in apart} == {False, True}
    for place in apart:
        [group] = pairs.lengths[place].groups
        assert each[place] == pytest.approx(size.forward_flops(group))
