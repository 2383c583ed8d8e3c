"""A server on a socket of this machine, around a tiny model."""

import base64
import socket
from contextlib import ExitStack, contextmanager
from io import BytesIO
from threading import Thread
from types import SimpleNamespace

import httpx2
import pytest
import torch
import uvicorn


@pytest.fixture(scope="session")
def scorer(vl_backbone):
    """A tiny Qwen2.5-VL reward model; a server changes its limits and its memory, and none of its scores."""
    from basereward.models.checkpoint import new_reward_model
    from basereward.scoring.local import LocalScorer

    torch.manual_seed(0)
    return LocalScorer(new_reward_model(vl_backbone), "tiny")


@pytest.fixture(scope="session")
def new_scorer(scorer):
    """``new_scorer()``: another scorer of the same weights with a template of its own."""
    from copy import copy

    from basereward.models.reward_model import RewardModel
    from basereward.scoring.local import LocalScorer

    def make():
        model = RewardModel(scorer.model.backbone, scorer.model.head, copy(scorer.model.template))
        return LocalScorer(model, "tiny")

    return make


@pytest.fixture(scope="session")
def start():
    """``start(model, key, **settings)``: a running server with ``url``, ``service`` and ``client``."""
    with ExitStack() as stack:
        yield lambda model, key=None, fetcher=None, name="tiny", **settings: stack.enter_context(
            _run(model, key, fetcher, name, settings)
        )


@contextmanager
def _run(model, key, fetcher, name, settings):
    from basereward.configuration import parse_configuration
    from basereward.serving.app import build_app
    from basereward.serving.protocol import BoundedProtocol
    from basereward.serving.service import Service
    from basereward.serving.settings import ServeSettings

    service = Service(model, name, parse_configuration(ServeSettings, settings), fetcher)
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    config = uvicorn.Config(build_app(service, key), http=BoundedProtocol, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx2.HTTPTransport(retries=50)
    try:
        with httpx2.Client(base_url=url, headers=headers, transport=transport, timeout=60) as client:
            _wait(client)
            yield SimpleNamespace(url=url, service=service, client=client)
    finally:
        server.should_exit = True
        thread.join()


def _wait(client):
    for _ in range(500):
        try:
            assert client.get("/health").status_code == 200
            return
        except httpx2.ConnectError:
            Thread(target=lambda: None).run()


@pytest.fixture(scope="session")
def server(start, new_scorer):
    """A server of the tiny model without a key."""
    return start(new_scorer())


@pytest.fixture(scope="session")
def encoded():
    """``encoded(image)``: a data URI of a PNG."""

    def make(image):
        file = BytesIO()
        image.save(file, "PNG")
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

    return make


@pytest.fixture(scope="session")
def user():
    """``user(*parts)``: a message of the user; a data URI among the parts is an image."""

    def make(*parts):
        content = [
            {"type": "image_url", "image_url": {"url": part}}
            if part.startswith("data:")
            else {"type": "text", "text": part}
            for part in parts
        ]
        return {"role": "user", "content": content}

    return make
