"""Formulas in answers, compared by math-verify in a process of its own and for a limited time."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from basereward.errors import MissingExtraError
from basereward.rl.matching.answer import TIMEOUT, TOO_LONG, Match
from basereward.rl.matching.normalise import LONGEST, fold, plain

# Seconds of computing of one comparison, until the process has imported what it needs, and until it must have answered
# at all: longer than the worker itself waits for its child.
LIMIT_SECONDS, START_SECONDS, PATIENCE_SECONDS = 2.0, 120.0, 20.0
_MOST_DIGITS, _DEEPEST = 64, 20
_SYMBOLIC = re.compile(r"\\[a-zA-Z]|[\^_=]|\d[a-z]\b|\bsqrt\b|\bpi\b|[a-z]\s*[+*/]\s*\w")
# Towers of powers, long exponents and factorials of large numbers have values that fill any memory.
_EXPLOSIVE = re.compile(r"\^\s*\{?[^{}]*\^|\^\s*\{?\s*[-+]?\d{4,}|\d{4,}\s*\)*\s*!|!\s*!|\*\*")


def is_symbolic(gold: str) -> bool:
    """Return whether a right answer is a formula."""
    return bool(_SYMBOLIC.search(gold))


def has_extra() -> bool:
    """Return whether formulas can be compared here."""
    return find_spec("math_verify") is not None


def match_symbolic(extracted: str, gold: str) -> Match:
    """Return whether two formulas are the same, by more than their text; ``timeout`` is no verdict on the answer.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    if _same_text(extracted, gold):
        return Match(True, extracted, "math")
    if not has_extra():
        raise MissingExtraError("Formulas are compared by math-verify: pip install 'basereward[math]'.")
    if _is_too_much(extracted):
        return Match(False, extracted, TOO_LONG)
    same = _WORKER.same(_formula(extracted), _formula(gold))
    return Match(bool(same), extracted, TIMEOUT if same is None else "math")


def match_formula_text(extracted: str, gold: str) -> Match:
    """Return whether two formulas are the same text but for spaces and typography."""
    return Match(_same_text(extracted, gold), extracted, "text")


def _same_text(answer: str, gold: str) -> bool:
    return fold(answer).replace(" ", "") == fold(gold).replace(" ", "")


def _formula(text: str) -> str:
    return plain(text).replace("$", "")


def _is_too_much(text: str) -> bool:
    deepest = depth = 0
    for mark in text:
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(mark, 0)
        deepest = max(deepest, depth)
    digits = max(map(len, re.findall(r"\d+", text)), default=0)
    return len(text) > LONGEST or deepest > _DEEPEST or digits > _MOST_DIGITS or bool(_EXPLOSIVE.search(text))


class MathWorker:
    """One process for all comparisons of this one, started when it is needed.

    Args:
        seconds: of computing of one comparison; by the clock it may take five times as long.
    """

    def __init__(self, seconds: float = LIMIT_SECONDS) -> None:
        self.seconds = seconds
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._replies: SimpleQueue[str | None] = SimpleQueue()
        self._owner = 0

    def same(self, answer: str, gold: str) -> bool | None:
        """Return whether two formulas are equal, or None if that took too long or too much memory."""
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps({"answer": answer, "gold": gold, "seconds": self.seconds}) + "\n")
                process.stdin.flush()
            except OSError:
                self._stop()
                return None
            reply = self._reply(self.seconds + PATIENCE_SECONDS)
            if reply is None:
                self._stop()
            if reply is None or reply.get("timeout") or "MemoryError" in reply.get("error", ""):
                return None
            return bool(reply.get("same"))

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen[str]:
        # A forked process has the pipes of its parent, and no right to them.
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        if self._owner == os.getpid():
            self._stop()
        self._owner, self._replies = os.getpid(), SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "basereward.rl.matching.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        Thread(target=_read_lines, args=(self._process, self._replies), daemon=True).start()
        if self._reply(START_SECONDS) is None:
            self._stop()
            raise MissingExtraError("math-verify cannot be started; try: python -c 'import math_verify'.")
        return self._process

    def _reply(self, seconds: float) -> dict[str, Any] | None:
        try:
            line = self._replies.get(timeout=seconds)
        except Empty:
            return None
        return None if line is None else json.loads(line)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    _close(pipe)
        self._process = None


def _read_lines(process: "subprocess.Popen[str]", replies: "SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            replies.put(line)
    except ValueError:
        # Closed by _stop while it was read.
        pass
    replies.put(None)


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:
        # What was not yet written has nowhere to go.
        return


_WORKER = MathWorker()
