"""Planted routers: worlds, seeds and pass marks stand in docs/routing.md, written before they were run."""

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


def is_refused(seed):
    """Whether a router of the untold world of a seed is refused."""
    planted = plant(UNTOLD, 600, seed)
    try:
        route(planted.members, planted.pairs, RouteSettings(BUDGET, UNTOLD.costs))
    except ScoringError as error:
        assert "not shown to be better" in str(error)
        return True
    return False


def test_routing_is_refused_where_prompts_do_not_tell_the_task():
    assert is_refused(0)


@pytest.mark.slow
def test_nine_of_ten_routers_are_refused_where_prompts_do_not_tell_the_task():
    assert sum(map(is_refused, range(10))) >= 9
