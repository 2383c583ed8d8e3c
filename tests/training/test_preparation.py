"""While the first rank opens and measures the data, the others wait longer than a collective of training may take."""

from datetime import timedelta
from typing import Any

import pytest

from basereward.training import launch


@pytest.mark.parametrize(("rank", "order"), [(0, ["read", "barrier"]), (1, ["barrier", "read"])])
def test_the_other_ranks_wait_patiently(rank: int, order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    groups: list[dict[str, Any]] = []
    events: list[str] = []
    monkeypatch.setattr(launch.dist, "new_group", lambda **options: groups.append(options))
    monkeypatch.setattr(launch.dist, "barrier", lambda group: events.append("barrier"))
    with launch.first_rank_first():
        events.append("read")
    assert events == order
    # Not the ten minutes of NCCL.
    assert [group["backend"] for group in groups] == ["gloo"]
    assert groups[0]["timeout"] >= timedelta(hours=12)
