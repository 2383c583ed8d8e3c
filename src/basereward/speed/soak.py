"""A server under load for minutes: whether it answers everything, and whether its memory stays."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from basereward.speed.checkpoints import open_served
from basereward.speed.figures import Figure
from basereward.speed.served import ServedProcess
from basereward.speed.traffic import ask_all

MIB = 2**20
# Of each kind; all of them are sent once before memory is looked at, so that caches are full and rows were.
_SMALL, _LARGE = 500, 100


def measure_soak(
    model: str, minutes: float, concurrency: int = 64, on_turn: Callable[[str], None] = lambda told: None
) -> list[Figure]:
    """Keep a server busy with full rows and watch its memory.

    Args:
        model: a trained checkpoint, such as the demo's.
        minutes: of the load after the warm-up, of whose first fifth nothing is kept.
        concurrency: requests at once.
        on_turn: told how it goes.

    Raises:
        ScoringError: the server does not start.
    """
    found = open_served(Path(model))
    bodies = [found.small(number).body for number in range(_SMALL)]
    bodies += [found.large(number, 16).body for number in range(_LARGE)]
    draw = np.random.default_rng(0)
    samples: list[int] = []
    sent = wrong = 0
    with ServedProcess(found.folder) as server:
        on_turn(f"warm-up, {len(bodies)} requests")
        ask_all(server.host, server.port, bodies, concurrency)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end or not samples:
            places = draw.integers(len(bodies), size=2 * concurrency).tolist()
            replies = ask_all(server.host, server.port, [bodies[place] for place in places], concurrency)
            sent += len(replies)
            wrong += sum(reply.status != 200 for reply in replies)
            samples.append(server.resident_bytes())
            on_turn(f"{sent:,} requests, {samples[-1] / MIB:,.0f} MiB, {max(0.0, end - time.monotonic()):.0f} s left")
    return [
        Figure("soak", "minutes", minutes),
        Figure("soak", "requests", sent),
        Figure("soak", "requests without an answer of 200", wrong, most=0),
        *flatness(samples),
    ]


def flatness(samples: Sequence[int]) -> list[Figure]:
    """Return how resident memory went on after the first fifth: the median of the last fifth beside the second one."""
    size = max(1, len(samples) // 5)
    settled = [one / MIB for one in samples[size:] or samples]
    first, last = statistics.median(settled[:size]), statistics.median(settled[-size:])
    return [
        Figure("soak", "resident MiB after warm-up", first, spread=(min(settled), max(settled))),
        Figure("soak", "resident MiB at the end, times that after warm-up", last / first, most=1.05),
    ]
