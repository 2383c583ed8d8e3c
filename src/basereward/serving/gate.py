"""The gate in front of the application: key, place in the queue, size of the body, time, and clients that leave.

It stands outside of the framework, because all of it has to happen before the framework reads a body, and because only
here the connection can be watched while a request is worked on.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from basereward.serving.admission import Admission
from basereward.serving.metrics import Metrics
from basereward.serving.refusals import RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/health", "/ready")
DEADLINE_HEADER = "x-deadline-seconds"


class Gate:
    """Lets requests in.

    Args:
        app: what answers them.
        paths: where a POST is work, which takes a place.
        key: what every path but ``OPEN_PATHS`` asks for; None asks for nothing.
        admission: the places.
        max_body_bytes: of one request.
        deadline: seconds for one request.
        metrics: what is counted.
    """

    def __init__(
        self,
        app: App,
        paths: frozenset[str],
        key: str | None,
        admission: Admission,
        max_body_bytes: int,
        deadline: float,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._paths = paths
        self._key = key
        self._admission = admission
        self._max_body_bytes = max_body_bytes
        self._deadline = deadline
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, answer = time.monotonic(), _Answer(send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"] if scope["path"] in self._paths | {*OPEN_PATHS} else "other"
        try:
            if scope["path"] not in OPEN_PATHS:
                self._check_access(headers)
            if scope["method"] == "POST" and scope["path"] in self._paths:
                await self._work(scope, headers, receive, answer)
            else:
                # Without a place no body is read. Not each spelling of a path that the router takes for a form stands
                # in the set: its patterns match before a line break at the end, too.
                await self._app(scope, _nothing, answer)
        except RequestError as error:
            await answer.refuse(error)
        except asyncio.CancelledError:
            # The time of the drain is over. Unanswered it would look like a fault of the server.
            await answer.refuse(RequestError(503, "draining", "The server went down before this was done."))
        finally:
            self._metrics.requests.labels(path, answer.status or "none").inc()
            if path in self._paths:
                self._metrics.seconds.observe(time.monotonic() - start)

    def _check_access(self, headers: Mapping[str, str]) -> None:
        if self._key is None:
            # A page from anywhere may have its own name point here, and would then be of the same origin.
            if not is_loopback(_host_name(headers.get("host", ""))):
                raise RequestError(403, "wrong_host", "Without a key the server answers under its loopback name alone.")
            return
        if not _is_equal(_sent_key(headers.get("authorization", "")), self._key):
            error = RequestError(401, "wrong_key", "Send the key as bearer token, or as password of basic access.")
            # Browsers ask their user for the key only if basic access is offered; one that stands behind another
            # scheme in the same line is not seen by Chromium.
            error.headers["WWW-Authenticate"] = 'Basic realm="basereward"'
            raise error

    async def _work(self, scope: Any, headers: Mapping[str, str], receive: Receive, answer: "_Answer") -> None:
        # Browsers send this type across origins only after asking, which is not granted.
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestError(415, "content_type", "Expected a body of application/json.")
        if headers.get("content-encoding", "identity") != "identity":
            raise RequestError(415, "content_encoding", "Expected a body that is not compressed.")
        deadline = self._deadline_of(headers)
        size = self._declared_size(headers)
        with self._admission.enter(size):
            try:
                async with asyncio.timeout(deadline):
                    body = await self._read(receive)
                    await self._answer_watched(scope, body, receive, answer)
            except TimeoutError:
                raise RequestError(504, "deadline", f"There was no answer within {deadline:g} seconds.") from None
            except _ClientLeftError:
                self._metrics.abandoned.inc()

    def _deadline_of(self, headers: Mapping[str, str]) -> float:
        asked = headers.get(DEADLINE_HEADER)
        if asked is None:
            return self._deadline
        try:
            seconds = float(asked)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise RequestError(400, "deadline", f"Expected seconds in {DEADLINE_HEADER}.")
        return min(seconds, self._deadline)

    def _declared_size(self, headers: Mapping[str, str]) -> int:
        """Return the bytes that the body will have, or may have if it comes in chunks."""
        declared = int(headers.get("content-length", self._max_body_bytes))
        if declared > self._max_body_bytes:
            raise self._too_large()
        return declared

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeftError
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> RequestError:
        return RequestError(413, "body_too_large", f"A body has at most {self._max_body_bytes} bytes; send several.")

    async def _answer_watched(self, scope: Any, body: bytes, receive: Receive, answer: "_Answer") -> None:
        """Run the application on a body, and stop it when the client leaves."""
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(messages, {"type": "http.disconnect"})

        working = asyncio.ensure_future(self._app(scope, replay, answer))
        # All of the body has been received, so the next message can only say that the client left.
        leaving = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            # The end of an answer is a message, too.
            if not working.done() and not answer.is_complete:
                raise _ClientLeftError
            await working
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class _ClientLeftError(Exception):
    """Nobody waits for the answer."""


class _Answer:
    """Sends an answer, and knows whether it has begun.

    An answer to a request whose body was not read ends the connection: what is left of the body would be taken for the
    next request.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.is_complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.is_complete = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, error: RequestError) -> None:
        """Answer with an error, unless another answer has begun."""
        if self.status is not None:
            return
        body = error.answer.model_dump_json().encode()
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        sent |= error.headers
        headers = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        await self({"type": "http.response.start", "status": error.answer.error.code, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _is_equal(sent: str, key: str) -> bool:
    # Of digests, because the time of comparing texts would tell how long the key is.
    one, other = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (sent, key))
    return hmac.compare_digest(one, other)


def _sent_key(authorization: str) -> str:
    """Return the key of a bearer token, or the password of basic access, which browsers and URLs can send."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def _host_name(host: str) -> str:
    """Return a ``Host`` header without its port, and an address of IPv6 without its brackets."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower().strip("[]")


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
