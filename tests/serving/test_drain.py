"""The end of a server: SIGTERM finishes what is in flight, and what has no time left is answered 503."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

DRIVER = Path(__file__).parent / "drivers" / "slow_server.py"
CLIENTS = 8


def start_slow(*arguments):
    command = [sys.executable, DRIVER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def ended():
    """``ended[drain]``: the answers of eight requests that were in flight when SIGTERM came, and the exit status."""
    started = {drain: start_slow(seconds, drain) for drain, seconds in ((30, 0.2), (1, 30))}
    try:
        with ThreadPoolExecutor(len(started)) as pool:
            return dict(zip(started, pool.map(_end, started.values()), strict=True))
    finally:
        for process in started.values():
            process.kill()


def _end(process):
    url = process.stdout.readline().strip()
    with httpx2.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(CLIENTS) as pool:
        sent = [{"groups": [{"messages": "?", "responses": ["x" * number]}]} for number in range(CLIENTS)]
        asked = [pool.submit(client.post, "/v1/score", json=own) for own in sent]
        while f"basereward_in_flight {CLIENTS}.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        replies = [own.result() for own in asked]
        process.wait(30)
        return replies, process.returncode, time.monotonic() - start


def test_everything_in_flight_is_finished(ended):
    replies, code, _ = ended[30]
    assert [reply.status_code for reply in replies] == [200] * CLIENTS
    assert [reply.json()["rewards"] for reply in replies] == [[[float(number)]] for number in range(CLIENTS)]
    assert code == 143


def test_what_is_cut_off_is_told_so(ended):
    replies, code, seconds = ended[1]
    assert [reply.status_code for reply in replies] == [503] * CLIENTS
    assert {reply.json()["error"]["type"] for reply in replies} == {"draining"}
    assert code == 143
    assert seconds < 15


@pytest.mark.slow
def test_a_row_that_is_still_computed_does_not_abort_the_process():
    process = start_slow(30, 1, "torch")
    try:
        replies, code, _ = _end(process)
    finally:
        process.kill()
    assert [reply.status_code for reply in replies] == [503] * CLIENTS
    assert code == 143
