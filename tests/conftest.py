"""Tiny backbones and the groups that several rooms test with."""

import json
import signal
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from types import SimpleNamespace

import pytest

from basereward.data.schema import Message, Part, Response, ResponseGroup

pytest_plugins = ("tests.toy_source",)


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory):
    """Scores and images are cached in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASEREWARD_CACHE", str(tmp_path_factory.mktemp("user-cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Ctrl-C reaches the tests, which a shell takes from what it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def backbone_of(tmp_path_factory):
    """``backbone_of(family)``: the folder of a tiny backbone."""
    from basereward.lab.backbone import write_backbone

    return cache(lambda family: write_backbone(tmp_path_factory.mktemp(family) / "backbone", family, "test"))


@pytest.fixture(scope="session")
def vl_backbone(backbone_of):
    """The folder of a tiny Qwen2.5-VL."""
    return backbone_of("qwen2_5_vl")


@pytest.fixture(scope="session")
def text_backbone(backbone_of):
    """The folder of a tiny Qwen3."""
    return backbone_of("qwen3")


@pytest.fixture(scope="session")
def vl_template(vl_backbone):
    """The template of the tiny Qwen2.5-VL; do not change it."""
    from basereward.models.inputs import load_template

    return load_template(vl_backbone)


@pytest.fixture(scope="session")
def text_template(text_backbone):
    """The template of the tiny Qwen3; do not change it."""
    from basereward.models.inputs import load_template

    return load_template(text_backbone)


@pytest.fixture(scope="session")
def picture():
    """``picture(width, height, seed)``: an image of noise."""
    import numpy as np
    from PIL import Image

    def make(width=56, height=56, seed=0):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return make


@pytest.fixture(scope="session")
def say():
    """``say(role, *parts)``: a message; ``None`` among the parts is an image."""

    def make(role, *parts):
        return Message(role, tuple(Part("image") if part is None else Part("text", part) for part in parts))

    return make


@pytest.fixture(scope="session")
def make_group(say):
    """``make_group(prompt, responses, images)``: a prompt text (images before it) or messages, and response texts."""
    numbers = count()

    def make(prompt, responses, images=()):
        messages = (say("user", *[None] * len(images), prompt),) if isinstance(prompt, str) else tuple(prompt)
        name = f"group {next(numbers)}"
        answers = tuple(Response(f"{name} {place}", (say("assistant", text),)) for place, text in enumerate(responses))
        return ResponseGroup(name, messages, answers, tuple(images))

    return make


@pytest.fixture
def chat_server():
    """``chat_server(reply)``: the address of a chat endpoint on this machine, and the requests that it gets.

    ``reply(request)`` gives the text of the answer, or ``(status, value, headers)``; a request has ``path``,
    ``headers``, ``body`` and ``text``, the text of the last message, if it holds messages.
    """
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda reply: stack.enter_context(_serving(reply))


@pytest.fixture(scope="session")
def image_tokens():
    """``image_tokens(images)``: the pad tokens of encoded images and videos; of None, none."""
    return lambda images: sum(sum(own.counts) for own in images.expansions) if images else 0


@contextmanager
def _serving(reply):
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = body["messages"][-1]["content"] if "messages" in body else ""
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            text = "".join(part["text"] for part in parts if part["type"] == "text")
            self.respond(SimpleNamespace(path=self.path, headers=self.headers, body=body, text=text, parts=parts))

        def do_GET(self):
            self.respond(SimpleNamespace(path=self.path, headers=self.headers, body=None, text="", parts=[]))

        def respond(self, request):
            requests.append(request)
            said = reply(request)
            if request.body is None and not isinstance(said, tuple):
                said = (200, {"data": [{"id": "m"}]}, {})
            if isinstance(said, str):
                said = (200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}, {})
            status, value, headers = said
            self.send_response(status)
            for name, held in headers.items():
                self.send_header(name, held)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

        def handle_error(self, *_):
            """Say nothing where a client did not wait for the answer."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/v1", requests=requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
