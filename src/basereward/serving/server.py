"""The process that serves: its socket, its signals, and what happens to requests in flight when it ends."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import uvicorn

from basereward.errors import ScoringError
from basereward.serving.app import build_app
from basereward.serving.gate import is_loopback
from basereward.serving.protocol import BoundedProtocol
from basereward.serving.service import Service

KEEP_ALIVE_SECONDS = 60
KEY_VARIABLE = "BASEREWARD_API_KEY"
_INTERRUPTED = 130


class _Server(uvicorn.Server):
    """Takes no new work from the moment at which a signal asks it to end."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)


def bind(host: str, port: int, key: str | None) -> socket.socket:
    """Take an address, before a model is loaded for it; nobody can connect yet.

    Args:
        port: 0 takes a free one.
        key: that clients will need.

    Raises:
        OSError: the address cannot be taken.
        ScoringError: others can reach the address and there is no key, or no header can hold it.
    """
    if key is None and not is_loopback(host):
        raise ScoringError(
            f"Anyone who reaches {host} could use the server; give a key in {KEY_VARIABLE} or with --api-key, or "
            "listen on 127.0.0.1."
        )
    if key is not None and not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise ScoringError("The key is empty or holds a character that no HTTP header can; choose another one.")
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise OSError(error.errno, f"{host}:{port} cannot be listened on ({error.strerror})") from error
    return taken


def serve(
    service: Service, taken: socket.socket, key: str | None = None, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Warm up, listen and answer until a signal comes; what is in flight then is finished first.

    Args:
        taken: the address, from ``bind``.
        on_ready: told the address when the server is about to listen on it.

    Raises:
        ScoringError: the model gives no score.
    """
    service.warm_up()
    config = uvicorn.Config(
        build_app(service, key),
        http=BoundedProtocol,
        access_log=False,
        log_level="warning",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # Zero would mean that nothing is waited for at all.
        timeout_graceful_shutdown=max(1, round(service.settings.drain)),
        server_header=False,
    )
    host, port, *_ = taken.getsockname()
    on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    try:
        _Server(config, service.admission.drain).run(sockets=[taken])
    except (SystemExit, KeyboardInterrupt) as end:
        if service.batcher.is_alive:
            _end_at_once(end)
        raise


def _end_at_once(end: SystemExit | KeyboardInterrupt) -> NoReturn:
    """End the process while a thread computes for nobody: it would abort when the interpreter ends under it."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    status = end.code if isinstance(end, SystemExit) else _INTERRUPTED
    os._exit(status if isinstance(status, int) else 1)
