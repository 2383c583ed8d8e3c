"""Images from the web: only over https, from named hosts with public addresses, at every step of the way."""

import httpx2
import pytest

from basereward.errors import RowError
from basereward.serving import fetching
from basereward.serving.fetching import Fetcher

HOST, PUBLIC = "images.example.org", "93.184.216.34"


def fetcher(reply, addresses=(PUBLIC,), hosts=(HOST,), max_bytes=1000):
    """A fetcher whose web is ``reply(request)``, and the requests that it sends."""
    requests = []

    def answer(request):
        requests.append(request)
        return reply(request) if callable(reply) else reply

    return Fetcher(hosts, max_bytes, lambda host: addresses, httpx2.MockTransport(answer)), requests


def found(data=b"bytes"):
    # As from a network: content that is read piece by piece.
    return httpx2.Response(200, content=iter([data]))


def test_an_allowed_image_is_fetched_from_the_address_that_was_checked():
    fetch, requests = fetcher(lambda request: found())
    assert fetch.fetch(f"https://{HOST}/a.png?size=1") == b"bytes"
    [request] = requests
    assert request.url.host == PUBLIC
    assert request.url.raw_path == b"/a.png?size=1"
    assert request.headers["Host"] == HOST
    assert request.extensions["sni_hostname"] == HOST
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    "address",
    [
        f"http://{HOST}/a.png",
        f"https://{HOST}:8443/a.png",
        f"https://me:secret@{HOST}/a.png",
        "https://other.example.org/a.png",
        f"https://{HOST}.evil.example/a.png",
        f"https://evil.example/{HOST}",
        f"https://evil.example\\@{HOST}/",
        "https://127.0.0.1/a.png",
        "https://2130706433/a.png",
        "https://0x7f000001/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://localhost/a.png",
        "https:///a.png",
        "https://",
        "https://\0/",
    ],
)
def test_no_other_address_is_asked(address):
    fetch, requests = fetcher(lambda request: found())
    with pytest.raises(RowError) as caught:
        fetch.fetch(address)
    assert caught.value.reason == "image_missing"
    assert requests == []


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["192.168.0.1"],
        ["172.16.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["fd00::1"],
        ["::ffff:127.0.0.1"],
        ["2002:7f00:1::"],
        ["64:ff9b::7f00:1"],
        [PUBLIC, "127.0.0.1"],
    ],
)
def test_a_name_that_points_inside_is_not_asked(addresses):
    fetch, requests = fetcher(found(), addresses)
    with pytest.raises(RowError, match="public address"):
        fetch.fetch(f"https://{HOST}/a.png")
    assert requests == []


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1/", "https://127.0.0.1/", "https://other.example.org/a.png", f"http://{HOST}/b", "file:///x"],
)
def test_a_redirect_is_checked_as_the_first_address(target):
    fetch, requests = fetcher(httpx2.Response(302, headers={"Location": target}))
    with pytest.raises(RowError, match="allowed hosts"):
        fetch.fetch(f"https://{HOST}/a.png")
    assert len(requests) == 1


def test_an_allowed_redirect_is_followed_and_looked_up_again():
    asked = []

    def resolve(host):
        asked.append(host)
        return [PUBLIC]

    def answer(request):
        return found() if request.url.path == "/b" else httpx2.Response(301, headers={"Location": "/b"})

    fetch = Fetcher([HOST], 1000, resolve, httpx2.MockTransport(answer))
    assert fetch.fetch(f"https://{HOST}/a") == b"bytes"
    assert asked == [HOST, HOST]


def test_redirects_end():
    fetch, requests = fetcher(httpx2.Response(302, headers={"Location": f"https://{HOST}/a"}))
    with pytest.raises(RowError, match="too often"):
        fetch.fetch(f"https://{HOST}/a")
    assert len(requests) == 4


def test_bytes_are_counted_while_they_come():
    sent = []

    def endless():
        for _ in range(10**6):
            sent.append(1)
            yield b"x" * 500

    fetch, _ = fetcher(lambda request: httpx2.Response(200, content=endless()))
    with pytest.raises(RowError) as caught:
        fetch.fetch(f"https://{HOST}/a.png")
    assert caught.value.reason == "image_limit"
    assert len(sent) < 10_000


def test_time_is_counted_while_bytes_come(monkeypatch):
    monkeypatch.setattr(fetching, "SECONDS", 0.0)
    fetch, _ = fetcher(found(b"x" * 10))
    with pytest.raises(RowError, match="longer than"):
        fetch.fetch(f"https://{HOST}/a.png")


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
def test_what_is_not_there_is_missing(status):
    fetch, _ = fetcher(httpx2.Response(status))
    with pytest.raises(RowError, match="answered"):
        fetch.fetch(f"https://{HOST}/a.png")


def test_a_name_that_cannot_be_looked_up_is_missing():
    def fail(host):
        raise OSError("no such host")

    with pytest.raises(RowError, match="cannot be fetched"):
        Fetcher([HOST], 10, fail, httpx2.MockTransport(found)).fetch(f"https://{HOST}/a.png")


def test_a_server_fetches_from_allowed_hosts_alone(start, new_scorer, picture, encoded, user):
    import base64

    image = encoded(picture(56, 56, 1))
    data = base64.b64decode(image.partition(",")[2])
    server = start(new_scorer(), fetcher=fetcher(lambda request: found(data), max_bytes=10**6)[0])
    groups = [
        {"messages": [user("What?")], "responses": ["a"]},
        {"messages": [user(image, "What?")], "responses": ["a"]},
    ]
    for address in (f"https://{HOST}/a.png", "https://other.example.org/a.png"):
        part = {"type": "image_url", "image_url": {"url": address}}
        content = [part, {"type": "text", "text": "What?"}]
        groups.append({"messages": [{"role": "user", "content": content}], "responses": ["a"]})
    answer = server.client.post("/v1/score", json={"groups": groups}).json()
    assert answer["rewards"][2] == pytest.approx(answer["rewards"][1], abs=1e-5)
    assert answer["rewards"][3] == [None]
    assert [error["reason"] for error in answer["errors"]] == ["image_missing"]
