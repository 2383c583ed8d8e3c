"""Scenes with several questions, and the table of what drawing their pairs together does."""

from collections import Counter

from basereward.data.storage import read_rows
from basereward.lab.grouping import KINDS, ROWS, GroupingSizes, plan_grouping
from basereward.lab.scenes import draw_scene_pairs


def test_a_scene_has_six_pairs_of_four_prompts_and_one_image():
    pairs = list(draw_scene_pairs(40, 3))
    assert [pair.id for pair in pairs] == [pair.id for pair in draw_scene_pairs(40, 3)]
    assert len(pairs) == 240
    scenes = Counter(pair.images[0].tobytes() for pair in pairs)
    assert set(scenes.values()) == {6}
    kinds = Counter(pair.source.rpartition("/")[2] for pair in pairs)
    # Of two sizes and two sides one is wrong.
    assert kinds == {"color1": 80, "shape1": 80, "size1": 40, "pos1": 40}
    assert all(pair.chosen != pair.rejected for pair in pairs)


def test_the_table_trains_every_row_on_the_same_pairs(tmp_path):
    plan = plan_grouping(GroupingSizes(steps=1, scenes=12, test_scenes=6))
    found = {row: plan.run(row, 0, tmp_path) for row in ROWS}
    assert all(values.keys() == {"accuracy", *KINDS, "seconds"} for values in found.values())
    assert len(read_rows(tmp_path / "train.parquet")) == 72
    # A table that was killed behind a training goes on with its model.
    assert plan.run("image", 0, tmp_path) == found["image"]
