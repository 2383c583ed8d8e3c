"""The gate: who is let in, what is read, how long it may take, and what happens when a client leaves."""

import asyncio
import base64
import contextlib
import json
import socket
import time
from dataclasses import dataclass, field
from threading import Event

import httpx2
import pytest

from basereward.data.outcomes import About, Score
from basereward.errors import ScoringError
from basereward.serving.gate import is_loopback
from basereward.serving.server import bind

SCORE, KEY = "/v1/score", "s3cret"
BODY = json.dumps({"groups": [{"messages": "?", "responses": ["a"]}]}).encode()
PATHS = ["/", "/page.js", "/page.css", "/metrics", "/v1/models", "/openapi.json", "/nowhere"]
POSTS = [SCORE, "/classify", "/pooling", "/get_reward", "/v1/compare", "/nowhere"]


@dataclass
class Slow:
    """Scores when it may, and remembers what it computed."""

    about: About = field(default_factory=lambda: About("slow", sees_images=False))
    may_go: Event = field(default_factory=Event)
    begun: Event = field(default_factory=Event)
    computed: list = field(default_factory=list)

    def score(self, groups):
        self.begun.set()
        self.may_go.wait(10)
        self.computed += [response.text for group in groups for response in group.responses]
        return [[Score(1.0) for _ in group.responses] for group in groups]


@pytest.fixture
def slow(start):
    """A server that answers when ``may_go`` is set, with two places."""
    scorer = Slow()
    server = start(scorer, max_requests=2, deadline=8)
    server.scorer = scorer
    yield server
    scorer.may_go.set()


def raw(server, head, body=b"", length=None):
    """Send a request over a socket of its own."""
    connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10)
    size = len(body) if length is None else length
    common = "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}\r\n{common}Content-Length: {size}\r\n\r\n".encode() + body)
    return connection


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("It never came true.")


def status(connection):
    return int(connection.recv(65536).split()[1])


@pytest.fixture(scope="module")
def stranger():
    """A client that sends what it is told and nothing else."""
    with httpx2.Client() as client:
        yield client


@pytest.fixture(scope="module")
def locked(start, new_scorer):
    """A server with a key."""
    return start(new_scorer(), key=KEY)


@pytest.mark.parametrize("sent", [None, "Bearer wrong", f"Bearer {KEY}x", "Basic !", KEY, f"Digest {KEY}"])
def test_no_path_is_open_without_the_key(locked, stranger, sent):
    for path in PATHS:
        reply = stranger.get(locked.url + path, headers={"Authorization": sent} if sent else {})
        assert reply.status_code == 401
        assert "Basic" in reply.headers["WWW-Authenticate"]
        assert KEY not in reply.text


def test_no_work_is_done_without_the_key(locked, stranger):
    for path in POSTS:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert stranger.request(method, locked.url + path, content=BODY).status_code == 401


def test_only_whether_it_lives_is_told_to_everyone(locked, stranger):
    assert stranger.get(locked.url + "/health").json() == {"status": "ok"}
    assert stranger.get(locked.url + "/ready").json() == {"status": "ready"}


def test_the_key_opens_as_token_and_as_password(locked, stranger):
    basic = base64.b64encode(f"anyone:{KEY}".encode()).decode()
    for sent in (f"Bearer {KEY}", f"Basic {basic}"):
        headers = {"Authorization": sent, "Content-Type": "application/json"}
        assert stranger.post(locked.url + SCORE, content=BODY, headers=headers).status_code == 200
        assert stranger.get(locked.url + "/", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "10.0.0.1:8000", "localhost.evil.example"])
def test_without_a_key_a_page_from_elsewhere_gets_nothing(server, stranger, host):
    assert stranger.get(server.url + "/v1/models", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_without_a_key_this_machine_is_answered(server, stranger, host):
    assert stranger.get(server.url + "/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_without_a_key_nothing_else_is_listened_on(host):
    assert not is_loopback(host)
    with pytest.raises(ScoringError, match="BASEREWARD_API_KEY"):
        bind(host, 0, None)


@pytest.mark.parametrize("key", ["", " a", "a\nb", "ä"])
def test_a_key_that_no_header_can_hold_is_refused(key):
    with pytest.raises(ScoringError, match="key"):
        bind("127.0.0.1", 0, key)


def test_a_taken_address_is_named(server):
    with pytest.raises(OSError, match=r"127\.0\.0\.1:\d+ cannot be listened on"):
        bind("127.0.0.1", int(server.url.rpartition(":")[2]), None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/json", "X-Deadline-Seconds": "soon"}, 400),
        ({"Content-Type": "application/json", "X-Deadline-Seconds": "nan"}, 400),
        ({"Content-Type": "application/json", "X-Deadline-Seconds": "30"}, 200),
    ],
)
def test_what_is_sent_has_the_type_that_it_says(server, stranger, headers, expected):
    assert stranger.post(server.url + SCORE, content=BODY, headers=headers).status_code == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"), [("GET", SCORE, 405), ("POST", "/nowhere", 404), ("PUT", "/", 405)]
)
def test_errors_of_paths_have_the_form_of_all_errors(server, stranger, method, path, expected):
    reply = stranger.request(method, server.url + path, content=b"")
    assert (reply.status_code, reply.json()["error"]["code"]) == (expected, expected)


@pytest.mark.parametrize(
    "path", ["/v1/score%0A", "/v1/score/", "//v1/score", "/v1%2fscore%0a", "/health%0A", "/V1/SCORE"]
)
def test_no_spelling_of_a_path_goes_round_the_gate(server, stranger, path):
    """As a page from elsewhere could send it: a type that browsers send without asking."""
    before = _units(server)
    reply = stranger.post(server.url + path, content=BODY, headers={"Content-Type": "text/plain"})
    assert reply.status_code in (307, 400, 404, 405, 415)
    assert _units(server) == before


def _units(server):
    text = server.client.get("/metrics").text
    return next(line for line in text.splitlines() if line.startswith("basereward_units_total"))


def test_every_path_of_the_application_asks_for_the_key(locked, stranger):
    described = locked.client.get("/openapi.json").json()["paths"]
    paths = {*described, *PATHS, *(form.path for form in locked.service.forms)} - {"/health", "/ready"}
    assert len(paths) > 10
    for path in paths:
        for method in ("GET", "POST", "HEAD"):
            assert stranger.request(method, locked.url + path).status_code == 401


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 100_000,
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Many: a\r\n" * 10_000,
        b"GET /" + b"a" * 100_000,
    ],
    ids=["a long header", "many headers", "a long path"],
)
def test_a_head_without_an_end_is_not_kept(server, head):
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(head)
        assert status(connection) == 431
        assert connection.recv(1) == b""


@pytest.mark.parametrize("tail", [b"5;", b"0\r\nX-Trailer: "], ids=["an extension", "a trailer"])
def test_what_stands_around_chunks_is_not_kept(server, tail):
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as connection:
        head = f"POST {SCORE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        connection.sendall(tail)
        # Nobody takes it to its end; all of it is far less than a body may have.
        with pytest.raises(ConnectionError):
            connection.sendall(b"a" * 5_000_000)
    until(lambda: server.service.admission.requests == 0)


def test_a_head_that_takes_too_long_is_given_up(start, monkeypatch):
    from basereward.serving import protocol

    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    server = start(Slow())
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert status(connection) == 408
        assert connection.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        whole = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        connection.sendall(whole)
        assert status(connection) == 200
        # A connection that is kept is not late before its next request begins.
        time.sleep(0.4)
        connection.sendall(whole + whole)
        text = b""
        while text.count(b"HTTP/1.1 200") < 2:
            text += connection.recv(65536)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_requests_in_a_row_are_answered_in_order(server, version):
    bodies = [json.dumps({"groups": [{"messages": "?", "responses": ["a"] * count}]}).encode() for count in (3, 1, 2)]
    head = f"POST {SCORE} {version}\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
    sent = b"".join(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(sent)
        text, expected = "", [3, 1, 2] if version == "HTTP/1.1" else [3]
        while text.count('"rewards"') < len(expected) and (more := connection.recv(65536)):
            text += more.decode()
    answers = [json.loads(own[: own.rindex("}") + 1]) for own in text.split("\r\n\r\n")[1:]]
    assert [len(own["rewards"][0]) for own in answers] == expected


def test_too_large_a_body_is_refused_before_it_is_sent(start):
    server = start(Slow(), limits={"max_body_bytes": 1000})
    with raw(server, f"POST {SCORE} HTTP/1.1", b"{", length=10**9) as connection:
        assert status(connection) == 413


def test_a_body_in_chunks_is_counted(start, stranger):
    server = start(Slow(), limits={"max_body_bytes": 1000})
    sent = []

    def chunks():
        for _ in range(10**6):
            sent.append(1)
            yield b" " * 500

    headers = {"Content-Type": "application/json"}
    # The connection may be gone before the client looks for an answer.
    with contextlib.suppress(httpx2.WriteError):
        assert stranger.post(server.url + SCORE, content=chunks(), headers=headers).status_code == 413
    assert len(sent) < 10**5


def test_a_full_server_refuses_without_reading_and_takes_work_again(slow):
    running = [raw(slow, f"POST {SCORE} HTTP/1.1", BODY) for _ in range(2)]
    until(lambda: slow.service.admission.requests == 2)
    for _ in range(3):
        # Not a byte of the body is sent: what answers now has not waited for it.
        with raw(slow, f"POST {SCORE} HTTP/1.1", length=10_000_000) as refused:
            text = refused.recv(65536).decode()
        assert text.startswith("HTTP/1.1 429")
        assert "retry-after: 1" in text.lower()
        assert "connection: close" in text.lower()
    assert slow.client.get("/health").status_code == 200
    slow.scorer.may_go.set()
    assert [status(connection) for connection in running] == [200, 200]
    for connection in running:
        connection.close()
    until(lambda: slow.service.admission.requests == 0)
    assert slow.client.post(SCORE, content=BODY, headers={"Content-Type": "application/json"}).status_code == 200


def test_bodies_together_are_bounded(start):
    scorer = Slow()
    server = start(scorer, max_pending_bytes=3000, limits={"max_body_bytes": 2000})
    with raw(server, f"POST {SCORE} HTTP/1.1", length=1900), raw(server, f"POST {SCORE} HTTP/1.1", length=1000):
        until(lambda: server.service.admission.requests == 2)
        with raw(server, f"POST {SCORE} HTTP/1.1", length=500) as refused:
            assert status(refused) == 429
    until(lambda: server.service.admission.requests == 0)
    assert server.service.admission.bytes == 0
    scorer.may_go.set()


def test_a_client_that_leaves_frees_its_place_and_costs_nothing_more(slow):
    first = raw(slow, f"POST {SCORE} HTTP/1.1", BODY)
    assert slow.scorer.begun.wait(5)
    body = json.dumps({"groups": [{"messages": "?", "responses": ["for nobody"]}] * 3}).encode()
    second = raw(slow, f"POST {SCORE} HTTP/1.1", body)
    until(lambda: slow.service.batcher.waiting() == 3)
    second.close()
    until(lambda: slow.service.admission.requests == 1)
    slow.scorer.may_go.set()
    assert status(first) == 200
    first.close()
    assert slow.client.post(SCORE, content=BODY, headers={"Content-Type": "application/json"}).status_code == 200
    assert "for nobody" not in slow.scorer.computed
    assert "basereward_abandoned_total 1.0" in slow.client.get("/metrics").text


def test_a_client_that_leaves_within_its_body_frees_its_place(slow):
    with raw(slow, f"POST {SCORE} HTTP/1.1", b"{", length=100):
        until(lambda: slow.service.admission.requests == 1)
    until(lambda: slow.service.admission.requests == 0)


def test_time_is_limited_and_what_is_late_is_not_computed(slow):
    headers = {"Content-Type": "application/json", "X-Deadline-Seconds": "0.3"}
    first = raw(slow, f"POST {SCORE} HTTP/1.1", BODY)
    assert slow.scorer.begun.wait(5)
    late = json.dumps({"groups": [{"messages": "?", "responses": ["late"]}]})
    reply = slow.client.post(SCORE, content=late, headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "deadline")
    slow.scorer.may_go.set()
    assert status(first) == 200
    first.close()
    assert slow.client.post(SCORE, content=BODY, headers={"Content-Type": "application/json"}).status_code == 200
    assert "late" not in slow.scorer.computed


def test_a_body_that_never_comes_is_given_up(slow):
    with raw(slow, f"POST {SCORE} HTTP/1.1\r\nX-Deadline-Seconds: 0.2", b"{", length=100) as connection:
        assert status(connection) == 504


def test_many_requests_on_one_connection(server):
    async def ask():
        async with httpx2.AsyncClient(base_url=server.url, limits=httpx2.Limits(max_connections=1)) as client:
            headers = {"Content-Type": "application/json"}
            replies = [await client.post(SCORE, content=BODY, headers=headers) for _ in range(5)]
            return [reply.json()["rewards"] for reply in replies]

    found = asyncio.run(ask())
    assert found == [found[0]] * 5


def test_counters_tell_reasons_and_nothing_of_what_was_asked(server):
    sent = json.dumps({"groups": [{"messages": "a secret question", "responses": ["\ud800", "a secret"]}]})
    server.client.post(SCORE, content=sent, headers={"Content-Type": "application/json"})
    text = server.client.get("/metrics").text
    assert 'basereward_requests_total{path="/v1/score",status="200"}' in text
    assert "secret" not in text
