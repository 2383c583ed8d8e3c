"""The protocol of a connection: heads of requests are bounded in bytes and time, which uvicorn leaves to proxies."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from basereward.serving.refusals import RequestError

HEAD_BYTES = 64 * 2**10
HEAD_SECONDS = 20.0


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose head does not end.

    Bodies are counted by the gate. What is neither body nor complete head is kept by the parser: headers, their
    trailers, extensions of chunks. It is bounded here, before anyone has shown a key.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unread = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless there is too much of what the parser keeps."""
        self._unread += len(data)
        super().data_received(data)
        if self._unread > HEAD_BYTES:
            self._refuse(RequestError(431, "head_too_large", f"The head of a request has at most {HEAD_BYTES} bytes."))

    def on_message_begin(self) -> None:
        """Give the head of a further request its time."""
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head has ended."""
        self._unread = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that what came is counted elsewhere."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that nothing is kept any more."""
        self._unread = 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        if self._late is None:
            error = RequestError(408, "head_too_late", f"The head of a request ends within {HEAD_SECONDS:g} seconds.")
            self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, error)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, error: RequestError) -> None:
        """Answer, unless another answer may be on its way, and end the connection."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = error.answer.model_dump_json().encode()
            head = f"HTTP/1.1 {error.answer.error.code} Refused\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self.transport.close()
