"""A ``basereward serve`` in a process of its own, and what the system says of it: CPU seconds, memory, counters."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx2

from basereward.errors import ScoringError

_TOLD, _PAUSE = " is served on ", 0.02
# As LocalScorer is timed: one thread, which does not spin while it waits.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class ServedProcess:
    """A context with a running server.

    Args:
        model: the checkpoint folder.
        settings: ``KEY=VALUE`` of ``basereward serve``.

    Raises:
        ScoringError: it does not start, or this system has no ``/proc`` to read its CPU seconds from.
    """

    def __init__(self, model: Path, *settings: str) -> None:
        command = [sys.executable, "-m", "basereward", "serve", str(model), "--port", "0", *settings]
        if not Path("/proc/self/stat").exists():
            raise ScoringError("The CPU seconds of a server are read from /proc, which this system lacks; use Linux.")
        environment = {**os.environ, **_ENVIRONMENT}
        environment.pop("BASEREWARD_API_KEY", None)
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self._client = httpx2.Client(timeout=60)
        self.host, self.port = "127.0.0.1", 0

    def __enter__(self) -> "ServedProcess":
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if _TOLD in line:
                self.port = int(line.rpartition(":")[2])
                threading.Thread(target=_drain, args=(self._process.stderr,), daemon=True).start()
                self._wait_until_ready()
                return self
        self.__exit__(None, None, None)
        raise ScoringError(f"The server did not start: {''.join(said[-5:]).strip()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()

    def _wait_until_ready(self) -> None:
        """Wait until connections are taken: the address is told a moment before that."""
        while self._process.poll() is None:
            try:
                self._client.get(f"http://{self.host}:{self.port}/ready").raise_for_status()
                return
            except httpx2.ConnectError:
                time.sleep(_PAUSE)

    def cpu_seconds(self) -> float:
        """Return user and system seconds of all its threads so far."""
        # The name of the process may hold spaces; it ends with the last parenthesis.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    def counted(self, name: str) -> float:
        """Return a counter or gauge of ``/metrics`` that has no labels, ``tokens_total`` for example."""
        text = self._client.get(f"http://{self.host}:{self.port}/metrics").text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"basereward_{name} "))

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its exit status."""
        return self._process.wait(seconds)


def _drain(stream: IO[str]) -> None:
    """Read what the server says, so that it never waits for a reader."""
    for _ in stream:
        pass
