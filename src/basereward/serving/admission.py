"""Who may come in: so many requests and bytes of bodies at once, decided before a byte of the body is read."""

from collections.abc import Iterator
from contextlib import contextmanager

from basereward.serving.refusals import RequestError

RETRY_SECONDS = 1


class Admission:
    """Counts what is in flight; used from the event loop alone.

    Args:
        max_requests: requests at once.
        max_bytes: bytes of all their bodies.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self._is_draining = False

    def drain(self) -> None:
        """Let nobody in from here on."""
        self._is_draining = True

    def check(self) -> None:
        """Check that requests are taken at all.

        Raises:
            RequestError: 503 if the server is going down.
        """
        if self._is_draining:
            raise RequestError(503, "draining", "The server is going down; ask another one.", retry_after=RETRY_SECONDS)

    @contextmanager
    def enter(self, size: int) -> Iterator[None]:
        """Hold a place for a request with a body of ``size`` bytes.

        Raises:
            RequestError: 429 if there is none, 503 if the server is going down.
        """
        self.check()
        # One large body is let in alone, however small the bound of all bodies is.
        if self.requests >= self.max_requests or (self.requests and self.bytes + size > self.max_bytes):
            raise RequestError(
                429, "queue_full", "The server has as many requests as it takes; try again.", retry_after=RETRY_SECONDS
            )
        self.requests += 1
        self.bytes += size
        try:
            yield
        finally:
            self.requests -= 1
            self.bytes -= size
