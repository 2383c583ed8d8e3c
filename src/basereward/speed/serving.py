"""What a server costs beside the same model in this process, what sharing saves, and how it behaves when it is full."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from basereward.data.outcomes import Score
from basereward.errors import RecipeError
from basereward.scoring.local import LocalScorer
from basereward.speed.checkpoints import MEMBERS, SIDE, ServedModels
from basereward.speed.figures import Figure, latencies, middle
from basereward.speed.requests import read_requests
from basereward.speed.served import ServedProcess
from basereward.speed.traffic import Connection, TimedReply, ask_all, knock_all, until

PARTS = ("load", "overhead", "sharing", "capacity", "leaving", "shutdown")
CLOSE = 1e-5
_PLACES = 8
Progress = Callable[[str], None]


class TrafficPlan(NamedTuple):
    """How much is sent: requests of the load and how many at once, and rounds of everything that is compared."""

    requests: int = 10_000
    concurrency: int = 64
    rounds: int = 3


class _Compared(NamedTuple):
    """CPU seconds of a server and of this process for the same requests, and how answers compare."""

    replies: list[TimedReply]
    served: float
    local: float
    lost: int
    disordered: int
    difference: float


def measure_serving(
    model: str, parts: Sequence[str] = PARTS, plan: TrafficPlan | None = None, on_part: Progress = lambda part: None
) -> list[Figure]:
    """Run ``basereward serve`` in processes of its own and measure it over loopback.

    Args:
        model: a trained checkpoint, such as the demo's; ``sharing`` and what comes after it use the preset ``tiny``
            with random weights and this model's template instead.
        parts: of ``PARTS``.
        on_part: called with the name of each part when it begins.

    Raises:
        RecipeError: an unknown part, or a model of another family than Qwen2.5-VL.
        ScoringError: a server does not start.
    """
    if unknown := sorted(set(parts) - set(PARTS)):
        raise RecipeError(f"Unknown parts: {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    plan = plan or TrafficPlan()
    torch.set_num_threads(1)
    figures: list[Figure] = []
    with TemporaryDirectory(prefix="basereward-speed-") as name:
        models = ServedModels(model, Path(name))
        for part in parts:
            on_part(part)
            figures += _MEASURES[part](models, plan)
    return figures


def _load(models: ServedModels, plan: TrafficPlan) -> list[Figure]:
    """Many small groups at once, one in four with an image: every answer, in order, and equal to local scoring."""
    small = models.small
    chunk = max(1, plan.requests // 10)
    bodies = [small.small(number).body for number in range(plan.requests)]
    others = [small.small(plan.requests + number).body for number in range(64)]
    with ServedProcess(small.folder) as server:
        # So that neither side pays for what happens once.
        _compare(server, small.scorer, others, plan.concurrency)
        rounds = [
            _compare(server, small.scorer, bodies[start : start + chunk], plan.concurrency)
            for start in range(0, plan.requests, chunk)
        ]
    seconds = [reply.seconds for one in rounds for reply in one.replies]
    return [
        Figure("load", "group requests", plan.requests),
        Figure("load", "at once", plan.concurrency),
        Figure("load", "lost", sum(one.lost for one in rounds), most=0),
        Figure("load", "out of order", sum(one.disordered for one in rounds), most=0),
        Figure("load", "largest difference to local rewards", max(one.difference for one in rounds), most=CLOSE),
        *latencies("load", seconds),
        *_overhead("load", rounds, 2 * chunk, 1.25),
    ]


def _overhead_large(models: ServedModels, plan: TrafficPlan) -> list[Figure]:
    """Groups of eight with an image of 256 tokens, on the preset ``tiny``."""
    large = models.large
    with ServedProcess(large.folder) as server:
        _compare(server, large.scorer, [large.large(1_000, 16).body], 1)
        rounds = [
            _compare(server, large.scorer, [large.large(10 * turn + place, 16).body for place in range(5)], 5)
            for turn in range(plan.rounds)
        ]
    return [
        Figure("overhead", "lost", sum(one.lost for one in rounds), most=0),
        Figure("overhead", "largest difference to local rewards", max(one.difference for one in rounds), most=CLOSE),
        *_overhead("overhead", rounds, 5 * MEMBERS, 1.1),
    ]


def _sharing(models: ServedModels, plan: TrafficPlan) -> list[Figure]:
    """Eight responses as one group, as requests one after another, and as requests at once."""
    large = models.large
    figures = []
    with ServedProcess(large.folder) as server:
        for what, side, least in (("image", SIDE, 4.0), ("text", 0, 3.3)):
            _cpu(server, [large.large(2_000, side).body], 1)
            alone, merged = [], []
            for turn in range(plan.rounds):
                group, single, together = (large.large(3_000 + 3 * turn + way, side) for way in range(3))
                shared = _cpu(server, [group.body], 1)
                unmerged = _cpu(server, single.singles, 1)
                alone.append(unmerged / shared)
                merged.append(unmerged / _cpu(server, together.singles, MEMBERS))
            figures += [
                middle("sharing", f"{what}: CPU of 8 single requests in turn, times one group of 8", alone, least),
                middle("sharing", f"{what}: CPU of 8 single requests in turn, times the 8 at once", merged, 2.5),
            ]
    return figures


def _capacity(models: ServedModels, plan: TrafficPlan) -> list[Figure]:
    """More requests than places: the refusals, without a byte of a body, and what comes after them."""
    large = models.large
    bodies = [large.large(4_000 + number, 16).body for number in range(_PLACES)]
    with ServedProcess(large.folder, f"max_requests={_PLACES}", "deadline=600") as server:

        async def fill() -> tuple[list[TimedReply], list[TimedReply]]:
            clients = [Connection(server.host, server.port) for _ in bodies]
            asked = [asyncio.ensure_future(one.ask(body)) for one, body in zip(clients, bodies, strict=True)]
            await until(lambda: server.counted("in_flight") == _PLACES)
            knocks = await asyncio.to_thread(knock_all, server.host, server.port, [10_000_000] * 1_000, 64)
            still = sum(not task.done() for task in asked)
            answers = list(await asyncio.gather(*asked))
            return answers, knocks if still == _PLACES else knocks[:0]

        answers, knocks = asyncio.run(fill())
        [after] = ask_all(server.host, server.port, [bodies[0]], 1)
    refused = sum(reply.status in (429, 503) for reply in knocks)
    return [
        Figure("capacity", "requests beyond the places, none of whose body was sent", len(knocks), least=1),
        Figure("capacity", "answered by 429 or 503", refused, least=len(knocks), most=len(knocks)),
        *latencies("capacity", [reply.seconds for reply in knocks] or [0.0]),
        Figure("capacity", "requests in the places that were lost", _lost(answers), most=0),
        Figure("capacity", "requests lost afterwards", _lost([after]), most=0),
    ]


def _leaving(models: ServedModels, plan: TrafficPlan) -> list[Figure]:
    """Clients that leave while they wait: the tokens that are computed for them all the same."""
    large = models.large
    first, *others = (large.large(5_000 + number, 16).body for number in range(13))
    with ServedProcess(large.folder) as server:
        before = server.counted("tokens_total")
        [alone] = ask_all(server.host, server.port, [first], 1)
        own = server.counted("tokens_total") - before

        async def leave() -> float:
            staying, leaving = Connection(server.host, server.port), []
            asked = asyncio.ensure_future(staying.ask(first))
            await until(lambda: server.counted("in_flight") == 1)
            for body in others:
                leaving.append(Connection(server.host, server.port))
                await leaving[-1].send(body)
            await until(lambda: server.counted("in_flight") == 1 + len(others))
            start = time.perf_counter()
            for one in leaving:
                one.close()
            await until(lambda: server.counted("in_flight") <= 1)
            seconds = time.perf_counter() - start
            await asked
            staying.close()
            return seconds

        seconds = asyncio.run(leave())
        [after] = ask_all(server.host, server.port, [first], 1)
        wasted = server.counted("tokens_total") - before - 3 * own
    return [
        Figure("leaving", "clients that left", len(others)),
        Figure("leaving", "tokens of one request", own),
        Figure("leaving", "tokens computed for those who left", wasted, most=0),
        Figure("leaving", "seconds until their places were free", seconds),
        Figure("leaving", "requests lost", _lost([alone, after]), most=0),
    ]


def _shutdown(models: ServedModels, plan: TrafficPlan) -> list[Figure]:
    """SIGTERM with requests in flight: with time to finish, and without."""
    large = models.large
    figures = []
    for drain, expected in ((600, 200), (1, 503)):
        bodies = [large.large(6_000 + number, 16).body for number in range(_PLACES)]
        with ServedProcess(large.folder, f"drain={drain}") as server:

            async def end(server: ServedProcess = server, bodies: list[bytes] = bodies) -> list[TimedReply]:
                clients = [Connection(server.host, server.port) for _ in bodies]
                asked = [asyncio.ensure_future(one.ask(body)) for one, body in zip(clients, bodies, strict=True)]
                await until(lambda: server.counted("in_flight") == len(bodies))
                server.terminate()
                return list(await asyncio.gather(*asked))

            replies = asyncio.run(end())
            status = server.wait(60)
        answered = sum(reply.status == expected for reply in replies)
        what = f"with {drain} s to drain"
        figures += [
            Figure("shutdown", f"of {_PLACES} in flight, answered {expected} {what}", answered, least=_PLACES),
            Figure("shutdown", f"exit status {what}", status, least=143, most=143),
        ]
    return figures


_MEASURES: dict[str, Callable[[ServedModels, TrafficPlan], list[Figure]]] = dict(
    zip(PARTS, (_load, _overhead_large, _sharing, _capacity, _leaving, _shutdown), strict=True)
)


def _compare(server: ServedProcess, scorer: LocalScorer, bodies: list[bytes], concurrency: int) -> _Compared:
    start = server.cpu_seconds()
    replies = ask_all(server.host, server.port, bodies, concurrency)
    served = server.cpu_seconds() - start
    groups = read_requests(bodies)
    begun = time.process_time()
    expected = scorer.score(groups)
    local = time.process_time() - begun
    lost = disordered = 0
    difference = 0.0
    for reply, scores in zip(replies, expected, strict=True):
        if reply.status != 200:
            lost += 1
            continue
        [rewards] = json.loads(reply.body)["rewards"]
        values = [one.value for one in scores if isinstance(one, Score)]
        if len(rewards) != len(values) or None in rewards:
            lost += 1
            continue
        apart = _apart(rewards, values)
        if apart > CLOSE and _apart(sorted(rewards), sorted(values)) <= CLOSE:
            disordered += 1
        difference = max(difference, apart)
    return _Compared(replies, served, local, lost, disordered, difference)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)


def _cpu(server: ServedProcess, bodies: list[bytes], concurrency: int) -> float:
    start = server.cpu_seconds()
    replies = ask_all(server.host, server.port, bodies, concurrency)
    if _lost(replies):
        raise RecipeError(f"The server answered {[reply.status for reply in replies]}; expected 200 for all.")
    return server.cpu_seconds() - start


def _lost(replies: Sequence[TimedReply]) -> int:
    return sum(reply.status != 200 for reply in replies)


def _overhead(part: str, rounds: Sequence[_Compared], responses: int, most: float) -> list[Figure]:
    """Return the CPU milliseconds of a response on both sides, and their ratio, round by round."""
    return [
        middle(part, "CPU of the server, ms per response", [1000 * one.served / responses for one in rounds]),
        middle(part, "CPU of LocalScorer, ms per response", [1000 * one.local / responses for one in rounds]),
        middle(part, "CPU of the server, times LocalScorer", [one.served / one.local for one in rounds], most=most),
    ]
