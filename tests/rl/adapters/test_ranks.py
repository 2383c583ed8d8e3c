"""Groups that lie on several ranks: their rewards are those of one process, and no rank waits for a failed one."""

import json
import os
import socket
import subprocess
import sys
from threading import Barrier, Thread

import pytest

from basereward.errors import RewardError
from basereward.rl.adapters.ranks import Ranks
from basereward.rl.adapters.trl import trl_reward


class Exchange:
    """Ranks that are threads: each list is given to all, in the order of the ranks, as Accelerate does it."""

    def __init__(self, count):
        self.lists = [None] * count
        self.barrier = Barrier(count, timeout=20)

    def ranks(self, rank):
        def gather(values):
            self.lists[rank] = list(values)
            self.barrier.wait()
            everyone = [one for values in self.lists for one in values]
            self.barrier.wait()
            return everyone

        return Ranks(rank, len(self.lists), gather)


def on_ranks(judge, batches, **options):
    """Return what each rank's reward function returns or raises, all running at once."""
    exchange = Exchange(len(batches))
    found = [None] * len(batches)

    def work(rank):
        reward = trl_reward(judge, "tournament", **options)
        reward.ranks = exchange.ranks(rank)
        prompts, texts, *columns = zip(*batches[rank], strict=True)
        passed = {"image": list(columns[0])} if columns else {}
        try:
            found[rank] = reward(prompts=list(prompts), completions=list(texts), **passed)
        except RewardError as error:
            found[rank] = error

    threads = [Thread(target=work, args=(rank,)) for rank in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


ROWS = [("P", "a"), ("P", "bb"), ("P", "ccc"), ("P", "dddd"), ("Q", "xx"), ("Q", "x"), ("Q", "xxxx"), ("Q", "xxx")]
ALONE = [0.0, 1.0, 2.0, 3.0, 1.0, 0.0, 3.0, 2.0]


@pytest.mark.parametrize("cut", [1, 3, 4, 6])
def test_split_groups_are_worth_what_whole_ones_are(longer_judge, cut):
    assert on_ranks(longer_judge, [ROWS[:cut], ROWS[cut:]], group_size=4) == [ALONE[:cut], ALONE[cut:]]
    # Each group is judged on one rank.
    assert len(longer_judge.asked) == 2 * 12


def test_three_ranks_may_share_one_group(longer_judge, picture):
    rows = [(*row, picture()) for row in ROWS[:4]]
    assert on_ranks(longer_judge, [rows[:1], rows[1:2], rows[2:]], group_size=4) == [[0.0], [1.0], [2.0, 3.0]]
    assert all(len(question.images) == 1 for question in longer_judge.asked)


def test_a_failure_on_one_rank_is_one_on_every_rank(longer_judge, picture):
    bad = [([{"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "image"}]}], "a")]
    for batches in ([ROWS[:4], bad], [bad, ROWS[:4]], [ROWS[:3], ROWS[4:]]):
        found = on_ranks(longer_judge, batches, group_size=4)
        assert all(isinstance(one, RewardError) for one in found)


def test_an_async_tournament_over_ranks_is_refused(longer_judge):
    import asyncio

    reward = trl_reward(longer_judge, "tournament", is_async=True)
    reward.ranks = Ranks(0, 2, list)
    with pytest.raises(RewardError, match="is_async=False"):
        asyncio.run(reward(prompts=["P"], completions=["a"]))


# Two processes of Accelerate; the first row of Q lies on the second, which holds the end of P too.
PROCESS = """
import json, sys
from accelerate import PartialState
from basereward.rl import trl_reward
from tests.rl.conftest import LongerJudge

state = PartialState(cpu=True)
rows, cut = json.loads(sys.argv[1]), int(sys.argv[2])
own = rows[:cut] if state.process_index == 0 else rows[cut:]
judge = LongerJudge()
reward = trl_reward(judge, "tournament", group_size=4)
found = reward(prompts=[row[0] for row in own], completions=[row[1] for row in own])
print(json.dumps([found, len(judge.asked)]))
"""


@pytest.mark.slow
def test_two_real_processes_share_groups():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": port}
        environment = {**os.environ, **place, "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, "-c", PROCESS, json.dumps(ROWS), "3"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [json.loads(output.splitlines()[-1]) for output in outputs] == [[ALONE[:3], 12], [ALONE[3:], 12]]
