"""While the first rank opens and measures the data, the others wait longer than a collective of training may take."""

from datetime import timedelta
from typing import Any

import pytest

from basereward.errors import DataError, TrainingError
from basereward.training import launch


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a rank does, as a list, and a function that makes this process one that hears ``told``."""
    events: list[Any] = []

    def become(rank: int, told: str | None = None) -> list[Any]:
        def broadcast(words: list[Any], src: int, group: Any) -> None:
            events.append(("hear" if rank else "tell", words[0]))
            words[:] = [told] if rank else words

        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr(launch.dist, "new_group", lambda **options: events.append(options))
        monkeypatch.setattr(launch.dist, "broadcast_object_list", broadcast)
        return events

    return become


@pytest.mark.parametrize(("rank", "order"), [(0, ["read", ("tell", None)]), (1, [("hear", None), "read"])])
def test_the_other_ranks_wait_patiently(rank: int, order: list[Any], ranks: Any) -> None:
    events = ranks(rank)
    with launch.first_rank_first():
        events.append("read")
    assert events[1:] == order
    # Not the ten minutes of NCCL.
    assert events[0]["backend"] == "gloo"
    assert events[0]["timeout"] >= timedelta(hours=12)


def test_a_failure_of_the_first_rank_ends_the_others(ranks: Any) -> None:
    events = ranks(0)
    with pytest.raises(DataError, match="broken shard"), launch.first_rank_first():
        raise DataError("broken shard")
    assert events[-1] == ("tell", "broken shard")
    events = ranks(1, told="broken shard")
    with pytest.raises(TrainingError, match=r"first rank failed .* broken shard"), launch.first_rank_first():
        pytest.fail("the other rank reads")
