"""A rank holds no more than its part while a model is loaded: the command of docs/performance.md."""

import pytest

from basereward.speed.loading import BAR, measure_loading


@pytest.mark.slow
def test_a_rank_grows_by_its_part_alone() -> None:
    figures = {(own.part, own.what): own for own in measure_loading(2, 1.2, print)}
    growth = figures["part by part", "growth, times part and largest layer"]
    print(*figures.values(), sep="\n")
    assert figures["part by part", "part of a rank, MiB"].value > 500e6 / 2**20
    assert growth.most == BAR
    assert growth.is_met
    assert figures["whole on each rank", "growth, times part and largest layer"].value > BAR
