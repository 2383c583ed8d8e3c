"""JSON over HTTP with patience: what is temporary is tried again, as long as the server asks to wait."""

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NamedTuple

import httpx2

from basereward.errors import ScoringError

TEMPORARY = (408, 409, 425, 429)
# Seconds before the second attempt; each further wait is twice as long. The longest one is also the most that a
# server's Retry-After is waited for: a rate limit of hours is a failure of its question, not a silent run.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
# Seconds until a connection stands; an answer may take longer.
CONNECT_TIMEOUT = 30.0


class Reply(NamedTuple):
    """What came back: a status with the text behind it, or no status and why (``timeout``, ``unreachable``, ...)."""

    status: int | None
    text: str
    headers: Mapping[str, str] = httpx2.Headers()

    @property
    def is_temporary(self) -> bool:
        """Whether another attempt may succeed."""
        return self.status is None or self.status in TEMPORARY or self.status >= 500


@dataclass(frozen=True)
class JsonClient:
    """Sends requests to one server, from any number of threads.

    Args:
        url: what every path is appended to.
        key: sent as a bearer token; in no reply that this class returns, nor in its ``repr``.
        timeout: seconds of silence after which an attempt is given up.
        attempts: how often a request is tried at most.
        patience: seconds that one request may take with all its attempts.
        sleep: waits so many seconds.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 600.0
    attempts: int = 5
    patience: float = math.inf
    sleep: Callable[[float], None] = time.sleep

    def send(self, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Return the reply to a GET, or to a POST of the body, after as many attempts as it takes."""
        data, retries = _encode(body), _Retries(self)
        while True:
            try:
                reply = _read(self._http.request("GET" if data is None else "POST", self.url + path, content=data))
            except httpx2.RequestError as error:
                reply = _lost(error)
            if (wait := retries.wait(reply)) is None:
                return self._hide_key(reply)
            self.sleep(wait)

    async def send_async(self, http: httpx2.AsyncClient, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Return what ``send`` does; a task that is cancelled closes its connection.

        Args:
            http: what ``open_async`` gave in this event loop.
        """
        data, retries = _encode(body), _Retries(self)
        while True:
            try:
                reply = _read(await http.request("GET" if data is None else "POST", self.url + path, content=data))
            except httpx2.RequestError as error:
                reply = _lost(error)
            if (wait := retries.wait(reply)) is None:
                return self._hide_key(reply)
            await asyncio.sleep(wait)

    def open_async(self) -> httpx2.AsyncClient:
        """Return connections for ``send_async``, to be closed in the event loop that uses them."""
        return httpx2.AsyncClient(**self._options)

    def _hide_key(self, reply: Reply) -> Reply:
        return reply._replace(text=reply.text.replace(self.key, "***")) if self.key else reply

    @cached_property
    def _http(self) -> httpx2.Client:
        return httpx2.Client(**self._options)

    @property
    def _options(self) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return {
            "headers": headers,
            "timeout": httpx2.Timeout(self.timeout, connect=min(self.timeout, CONNECT_TIMEOUT)),
            # The caller limits what runs at once; a pool of its own would time questions out while they queue.
            "limits": httpx2.Limits(max_connections=None),
            # A redirect is answered to the caller: followed, it would carry the key to another host.
            "follow_redirects": False,
        }


class _Retries:
    """The attempts of one request."""

    def __init__(self, client: JsonClient) -> None:
        self._client = client
        self._start = time.monotonic()
        self._attempts = 0

    def wait(self, reply: Reply) -> float | None:
        """Return how long to wait before the next attempt, None if this reply is the last."""
        self._attempts += 1
        if not reply.is_temporary or self._attempts >= self._client.attempts:
            return None
        wait = wait_seconds(reply, self._attempts)
        return wait if time.monotonic() - self._start + wait <= self._client.patience else None


def open_client(form: str, spec: str, url: str, variable: str, **options: Any) -> JsonClient:
    """Return a client of an address, with the key that stands in an environment variable, if any does.

    Args:
        form: what is expected, for messages.
        spec: what the user wrote, for messages.
        options: of ``JsonClient``.

    Raises:
        ScoringError: the address is none or holds a password, or the key cannot be sent.
    """
    try:
        place = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ScoringError(f"Expected {form}, found {spec!r} ({error}).") from error
    if not place.host:
        raise ScoringError(f"Expected {form}, found {spec!r}.")
    if place.userinfo or place.query:
        raise ScoringError(
            "The address of a server stands in result files and may hold no password or query; give a key in the "
            f"environment variable {variable}."
        )
    key = os.environ.get(variable, "").strip() or None
    if key and not (key.isascii() and key.isprintable()):
        raise ScoringError(f"The key in {variable} holds a character that no HTTP header can; copy it again.")
    return JsonClient(url.rstrip("/"), key, **options)


def _encode(body: Mapping[str, Any] | None) -> bytes | None:
    # Escaped to ASCII: text of models may hold half a surrogate pair, which no UTF-8 can.
    return None if body is None else json.dumps(body).encode()


def _read(found: httpx2.Response) -> Reply:
    return Reply(found.status_code, found.text, found.headers)


def _lost(error: httpx2.RequestError) -> Reply:
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return Reply(None, f"unreachable: {error}")
    return Reply(
        None, "timeout" if isinstance(error, httpx2.TimeoutException) else f"disconnected: {type(error).__name__}"
    )


def wait_seconds(reply: Reply, attempt: int) -> float:
    """Return how long to wait after an attempt: what ``Retry-After`` says (seconds or a date), else 1, 2, 4, ...

    Never more than ``LONGEST_WAIT``.
    """
    asked = reply.headers.get("Retry-After")
    wait = FIRST_WAIT * 2 ** (attempt - 1)
    if asked:
        # Neither a number nor a date says nothing.
        with contextlib.suppress(ValueError):
            wait = float(asked) if asked.strip().isdigit() else _seconds_until(parsedate_to_datetime(asked))
    return min(max(wait, 0.0), LONGEST_WAIT)


def _seconds_until(moment: datetime) -> float:
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (known - datetime.now(UTC)).total_seconds()
