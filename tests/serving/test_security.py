"""Hostile requests: each gets its own clear refusal, nothing is opened, fetched or unpickled, and nothing is told."""

import base64
import json
import pickle
import struct
import tracemalloc
import zlib
from io import BytesIO

import pytest
from PIL import Image

SCORE = "/v1/score"
SECRET = "zebra42"


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises many pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def noise(mode: str = "RGB", side: int = 56) -> Image.Image:
    return Image.effect_noise((side, side), 50).convert(mode)


def ask(server, *images, **more):
    parts = [{"type": "image_url", "image_url": {"url": image}} for image in images]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": f"What is this, {SECRET}?"}]}]
    group = {"messages": messages, "responses": [f"a {SECRET}"], **more}
    return server.client.post(SCORE, json={"groups": [group]})


def reason_of(reply):
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert answer["rewards"] == [[None]]
    assert_silent(reply)
    return answer["errors"][0]["reason"]


def assert_silent(reply):
    """Neither what was asked, nor a path, an address in memory or on the net, nor a traceback."""
    for word in (SECRET, "/etc", "/root", "site-packages", "Traceback", "0x", ".py", "127.0.0.1", "169.254"):
        assert word not in reply.text, word


BROKEN = {
    "truncated": (uri(saved(noise(), "PNG")[:200]), "image_unreadable"),
    "no image": (uri(b"<html>hello</html>", "text/html"), "image_unreadable"),
    "a pickle": (uri(pickle.dumps({"a": 1}), "application/octet-stream"), "image_unreadable"),
    "postscript": (uri(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "image/eps"), "image_unreadable"),
    "svg": (uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "image_unreadable"),
    "empty": (uri(b""), "image_unreadable"),
    "one pixel": (uri(saved(noise(side=1), "PNG")), "image_limit"),
    "a line": (uri(saved(Image.new("RGB", (2, 600)), "PNG")), "image_limit"),
    "a bomb": (uri(png_header(20_000, 20_000)), "image_limit"),
    "the largest bomb": (uri(png_header(2**31 - 1, 2**31 - 1)), "image_limit"),
    "frames": (
        uri(saved(noise("P"), "GIF", save_all=True, append_images=[noise("P"), noise("P")]), "image/gif"),
        "image_animated",
    ),
    "a path": ("/etc/passwd", "image_missing"),
    "a relative path": ("../../etc/passwd", "image_missing"),
    "a file address": ("file:///etc/passwd", "image_missing"),
    "an address": ("http://127.0.0.1:1/x.png", "image_missing"),
    "a secret address": ("https://169.254.169.254/latest/meta-data", "image_missing"),
    "another scheme": ("gopher://127.0.0.1/", "image_missing"),
    "no base64": ("data:image/png;base64,####", "image_missing"),
    "unencoded": ("data:image/png,hello", "image_unreadable"),
    "only a head": ("data:", "image_unreadable"),
    "nothing": ("", "image_unreadable"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_images_that_cannot_be_used(server, name):
    image, expected = BROKEN[name]
    assert reason_of(ask(server, image)) == expected


@pytest.mark.parametrize("place", ["images", "frames"])
def test_paths_are_paths_nowhere(server, place, tmp_path):
    path = tmp_path / "a.png"
    noise().save(path)
    kind, more = (
        ("image", {"images": [str(path)]})
        if place == "images"
        else ("video", {"videos": [{"frames": [str(path)] * 2}]})
    )
    messages = [{"role": "user", "content": [{"type": kind}, {"type": "text", "text": "What?"}]}]
    reply = server.client.post(SCORE, json={"groups": [{"messages": messages, "responses": ["a"], **more}]})
    assert reason_of(reply) == "image_missing"


@pytest.mark.parametrize(
    "data",
    [
        saved(noise("CMYK"), "JPEG"),
        saved(noise("L"), "PNG"),
        saved(noise("RGBA"), "PNG"),
        saved(noise("P"), "GIF"),
        saved(noise(), "WEBP"),
        saved(noise(), "BMP"),
        saved(noise(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
        saved(noise(), "JPEG") + b"more behind it",
    ],
    ids=["cmyk", "grey", "alpha", "palette", "webp", "bmp", "exif", "trailing"],
)
def test_unusual_images_are_read_as_files_are(server, scorer, make_group, data):
    reply = ask(server, uri(data))
    group = make_group(f"What is this, {SECRET}?", [f"a {SECRET}"], [{"bytes": data, "path": None}])
    assert reply.json()["rewards"][0][0] == pytest.approx(scorer.score([group])[0][0].value, abs=1e-5)


def test_sizes_are_bounded(start, new_scorer):
    limits = {"max_images": 2, "max_image_bytes": 20_000, "max_pixels": 10_000, "max_frames": 3, "max_characters": 500}
    limits |= {"max_groups": 3, "max_responses": 4}
    server = start(new_scorer(), limits=limits)
    small, large = uri(saved(noise(), "PNG")), uri(saved(noise(side=101), "PNG"))
    assert ask(server, small, small).json()["errors"] == []
    assert reason_of(ask(server, small, small, small)) == "image_limit"
    assert reason_of(ask(server, large)) == "image_limit"
    assert reason_of(ask(server, uri(b"\0" * 20_001))) == "image_limit"
    assert reason_of(ask(server, videos=[{"frames": [small] * 2}] * 2)) == "image_limit"
    long = {"messages": "?", "responses": ["x" * 600]}
    assert reason_of(server.client.post(SCORE, json={"groups": [long]})) == "too_long"
    group = {"messages": "?", "responses": ["a"]}
    for groups, param in (([group] * 4, "groups"), ([{**group, "responses": ["a"] * 5}], "groups.0.responses")):
        reply = server.client.post(SCORE, json={"groups": groups})
        assert (reply.status_code, reply.json()["error"]["param"]) == (413, param)


def test_images_of_a_prompt_are_bounded_together(start, new_scorer):
    server = start(new_scorer(), limits={"max_total_pixels": 3 * 56 * 56})
    image = uri(saved(noise(), "PNG"))
    assert ask(server, image, image, image).json()["errors"] == []
    assert reason_of(ask(server, image, image, image, image)) == "image_limit"
    frames = {"videos": [{"frames": [image] * 4}]}
    messages = [{"role": "user", "content": [{"type": "video"}, PART]}]
    reply = server.client.post(SCORE, json={"groups": [{"messages": messages, "responses": ["a"], **frames}]})
    assert reason_of(reply) == "image_limit"


def test_a_hundred_megabytes_of_base64_are_not_decoded():
    from basereward.data.images import ImageLimits
    from basereward.errors import RowError
    from basereward.serving.fetching import Fetcher
    from basereward.serving.media import ImageReader

    text = "data:image/png;base64," + "A" * (100 * 2**20)
    tracemalloc.start()
    with pytest.raises(RowError, match="base64") as caught:
        ImageReader(ImageLimits(max_bytes=16 * 2**20), 10**9, Fetcher((), 10)).read(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == "image_limit"
    # The text itself is cut once.
    assert peak < 1.1 * len(text)


@pytest.mark.parametrize("kind", ["zTXt", "iCCP"])
def test_compressed_notes_in_an_image_are_not_unpacked(server, kind):
    data = saved(noise(), "PNG")
    note = b"k\0\0" + zlib.compress(b"a" * 5_000_000)
    chunk = struct.pack(">I", len(note)) + kind.encode() + note + struct.pack(">I", zlib.crc32(kind.encode() + note))
    assert reason_of(ask(server, uri(data[:33] + chunk + data[33:]))) == "image_unreadable"


def test_messages_and_parts_without_text_are_bounded(start, new_scorer):
    server = start(new_scorer(), limits={"max_messages": 5})
    empty = {"role": "user", "content": ""}
    for group in (
        {"messages": [empty] * 6, "responses": ["a"]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * 6}], "responses": ["a"]},
        {"messages": "?", "responses": [[{"role": "assistant", "content": "a"}] * 6]},
    ):
        assert reason_of(server.client.post(SCORE, json={"groups": [group]})) == "too_long"


MESSAGE = {"role": "user", "content": f"{SECRET}?"}
PART = {"type": "text", "text": SECRET}
MALFORMED = {
    "no json": b"{",
    "not utf-8": b'{"groups": "\xff"}',
    "a list": b"[]",
    "null": b"null",
    "empty": b"",
    "deep": b"[" * 100_000,
    "deep keys": b'{"groups":' * 50_000,
    "no groups": {},
    "groups is a number": {"groups": 7},
    "an unknown key": {"groups": [], SECRET: 1},
    "no responses": {"groups": [{"messages": [MESSAGE]}]},
    "no messages": {"groups": [{"messages": [], "responses": ["a"]}]},
    "another role": {"groups": [{"messages": [{**MESSAGE, "role": SECRET}], "responses": ["a"]}]},
    "tool calls": {"groups": [{"messages": [{**MESSAGE, "tool_calls": [{"id": SECRET}]}], "responses": ["a"]}]},
    "a thought apart": {"groups": [{"messages": [{**MESSAGE, "reasoning_content": SECRET}], "responses": ["a"]}]},
    "another part": {
        "groups": [{"messages": [{"role": "user", "content": [{**PART, "type": SECRET}]}], "responses": []}]
    },
    "audio": {"groups": [{"messages": [{"role": "user", "content": [{"type": "input_audio"}]}], "responses": []}]},
    "a response of the user": {"groups": [{"messages": [MESSAGE], "responses": [[MESSAGE]]}]},
    "a response of nobody": {"groups": [{"messages": [MESSAGE], "responses": [[]]}]},
    "a response that is null": {"groups": [{"messages": [MESSAGE], "responses": [None]}]},
    "an image in a response": {
        "groups": [{"messages": "?", "responses": [[{"role": "assistant", "content": [{"type": "image"}]}]]}]
    },
    "a place without an image": {
        "groups": [{"messages": [{"role": "user", "content": [{"type": "image"}, PART]}], "responses": ["a"]}]
    },
    "a video without frames": {
        "groups": [{"messages": [{"role": "user", "content": [{"type": "video"}]}], "responses": ["a"]}]
    },
    "images of the wrong type": {
        "groups": [{"messages": "?", "responses": ["a"], "images": [{"path": "/etc/passwd"}]}]
    },
    "a bad rate": {"groups": [{"messages": "?", "responses": ["a"], "videos": [{"frames": [], "fps": "fast"}]}]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_request_is_refused_and_not_repeated(server, name):
    sent = MALFORMED[name]
    content = sent if isinstance(sent, bytes) else json.dumps(sent)
    reply = server.client.post(SCORE, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"]
    assert_silent(reply)


def test_more_images_than_places_are_refused(server):
    image = uri(saved(noise(), "PNG"))
    messages = [{"role": "user", "content": [{"type": "image"}, PART]}]
    group = {"messages": messages, "responses": ["a"], "images": [image, image]}
    reply = server.client.post(SCORE, json={"groups": [group]})
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "placeholder_count")
    assert_silent(reply)


def test_text_that_is_no_unicode_never_reaches_the_model(server):
    body = b'{"groups": [{"messages": "?", "responses": ["half \\ud83d"]}]}'
    reply = server.client.post(SCORE, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (200, 400)
    assert "reward" not in reply.text or reply.json()["rewards"] == [[None]]


def test_broken_weights_give_no_number(start, vl_backbone):
    import torch

    from basereward.errors import ScoringError
    from basereward.models.checkpoint import new_reward_model
    from basereward.scoring.local import LocalScorer

    model = new_reward_model(vl_backbone)
    server = start(LocalScorer(model, "broken"))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.fill_(float("nan"))
    assert reason_of(ask(server)) == "not_finite"
    with pytest.raises(ScoringError, match="not_finite"):
        server.service.warm_up()


def test_the_page_runs_its_own_script_alone(server):
    for path in ("/", "/page.js", "/page.css"):
        reply = server.client.get(path)
        assert reply.status_code == 200
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
