"""Planted routers: worlds, seeds and pass marks stand in docs/routing.md, written before they were run."""

from contextlib import suppress

import pytest

from basereward.errors import ScoringError
from basereward.scoring.compose.routing.run import RouteSettings, route
from tests.scoring.compose.routing.worlds import GENERALIST, TOLD, UNTOLD, plant

BUDGET = 1.3


@pytest.mark.parametrize(("world", "seed"), [(TOLD, 7), (GENERALIST, 8)])
def test_a_router_reaches_95_percent_of_the_oracle_within_the_budget(world, seed):
    planted = plant(world, 2000, seed)
    found = route(planted.members, planted.pairs, RouteSettings(BUDGET, world.costs)).record
    assert found.oracle.value == planted.right.max(axis=1).mean()
    assert found.router.value >= 0.95 * found.oracle.value
    assert found.router_cost <= BUDGET * found.cheapest


def train_untold(seed):
    """Train on the untold world of a seed."""
    planted = plant(UNTOLD, 600, seed)
    route(planted.members, planted.pairs, RouteSettings(BUDGET, UNTOLD.costs))


def test_routing_is_refused_where_prompts_do_not_tell_the_task():
    with pytest.raises(ScoringError, match="not shown to be better"):
        train_untold(0)


@pytest.mark.slow
def test_nine_of_ten_routers_are_refused_where_prompts_do_not_tell_the_task():
    trained = 0
    for seed in range(10):
        with suppress(ScoringError):
            train_untold(seed)
            trained += 1
    assert trained <= 1
