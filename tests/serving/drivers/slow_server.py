"""Serves a scorer that takes its time; prints the address.

Arguments: seconds of a score, seconds of the drain, and ``torch`` if they are spent there, where Python is not needed.
"""

import signal
import sys
import time
from collections.abc import Callable

from basereward.cli.main import _stop
from basereward.data.outcomes import About, Score
from basereward.serving.server import bind, serve
from basereward.serving.service import Service
from basereward.serving.settings import ServeSettings


def sleep_in_torch(seconds: float) -> None:
    """Multiply matrices."""
    import torch

    end, matrix = time.monotonic() + seconds, torch.eye(1500)
    while time.monotonic() < end:
        matrix = matrix @ matrix


class Sleeper:
    """Every response takes ``seconds``, but for the one with which the server warms up."""

    about = About("sleeper", sees_images=False)

    def __init__(self, seconds: float, sleep: Callable[[float], None]) -> None:
        self.seconds = seconds
        self.sleep = sleep

    def score(self, groups):
        if groups[0].id != "warm-up":
            self.sleep(self.seconds * len(groups))
        return [[Score(float(len(response.text))) for response in group.responses] for group in groups]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sleep = sleep_in_torch if sys.argv[3:] == ["torch"] else time.sleep
    service = Service(Sleeper(float(sys.argv[1]), sleep), "sleeper", ServeSettings(drain=float(sys.argv[2])))
    serve(service, bind("127.0.0.1", 0, None), on_ready=lambda url: print(url, flush=True))
