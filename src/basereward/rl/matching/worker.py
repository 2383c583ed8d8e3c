"""The process that compares two formulas, each comparison in a child of its own that may be killed.

It reads a JSON line ``{"answer", "gold", "seconds"}`` and writes one, ``{"same"}``, ``{"error"}`` or ``{"timeout"}``;
first of all ``{"ready"}``. The children are forked, so that a killed one costs no new import of sympy.
"""

import json
import math
import os
import select
import signal
import sys
from typing import IO, Any

# sympy alone needs a few hundred MB of address space.
_MEMORY_BYTES = 4 * 2**30
_REPLY_BYTES = 4096
# The limit is of computing, so that a busy machine turns no right answer into a wrong one; this many times as long by
# the clock is the end in any case.
PATIENCE = 5
_CAN_FORK = hasattr(os, "fork")


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are no more."""
    # Loads what is loaded late, once for all children.
    compare("x + 1", "1 + x")
    _write(replies, {"ready": True})
    for line in requests:
        asked = json.loads(line)
        answer = _compare_in_child if _CAN_FORK else _compare_here
        _write(replies, answer(asked["answer"], asked["gold"], asked["seconds"]))


def compare(answer: str, gold: str) -> bool:
    """Return whether math-verify calls two formulas the same."""
    from math_verify import parse, verify

    # Their own time limits are alarms, which a process that is killed does not need.
    right, found = (parse(f"${text}$", parsing_timeout=None) for text in (gold, answer))
    return bool(right) and bool(found) and bool(verify(right, found, timeout_seconds=None))


def _compare_here(answer: str, gold: str, seconds: float) -> dict[str, Any]:
    """Return the reply; where processes cannot be forked, whoever started this one kills it after ``seconds``."""
    try:
        return {"same": compare(answer, gold)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def _compare_in_child(answer: str, gold: str, seconds: float) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            _limit(seconds)
            os.write(writing, json.dumps(_compare_here(answer, gold, seconds)).encode())
        finally:
            # Nothing of the parent is cleaned up, or written, twice.
            os._exit(0)
    os.close(writing)
    try:
        is_done = bool(select.select([reading], [], [], seconds * PATIENCE)[0])
        reply = os.read(reading, _REPLY_BYTES) if is_done else b""
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # A child that ended without a word ran out of what it was allowed.
    return json.loads(reply) if reply else {"timeout": True}


def _limit(seconds: float) -> None:
    """Take from this process what it may not use: more memory, any files, and more seconds of computing."""
    import resource

    cpu = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + seconds)
    for name, limit in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (most, most))


def _write(replies: IO[str], value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


if __name__ == "__main__":
    # What libraries print must not stand between replies.
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, own)
