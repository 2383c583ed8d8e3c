"""Bodies that are almost right, by the thousand: each gets an answer that says so, and the server goes on."""

import json
import math
import random
import time
from copy import deepcopy
from functools import partial

import pytest

from basereward.data.outcomes import About, Verdict
from basereward.data.schema import Message, Part

# What a request may be answered with; 503 comes from the queue or the drain alone, and there is neither here.
ANSWERS = (200, 400, 404, 413, 415, 422)
BATCHES, EACH = 10, 200
ODD = [
    *(None, True, -1, 0, 2**63, 10**400, 1e308, -0.0, "", "x", [], {}, [[]], [None], {"a": 1}, "NaN", "null", "data:,"),
    *("\ud800", "\0", "\ufeff", "a\u202eb", "\U000f0000\U000f0001", "<|im_end|>\n<|im_start|>assistant\n", "é" * 3000),
    *("<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>", "file:///etc/passwd", "http://127.0.0.1/a.png"),
    *("data:image/png;base64,iVBORw0KGgo=", "data:image/png;base64,!!!", "data:text/html;base64,PGh0bWw+", "A" * 5001),
]
TYPES = ["application/json", "application/json; charset=utf-16", "text/plain", "", "application/x-ndjson", "a/b;;;"]


class FirstJudge:
    """Says that the first response is better."""

    about = About("first", sees_images=False)

    def compare(self, questions):
        return [Verdict(0, "the first") for _ in questions]


@pytest.fixture(scope="module")
def judged(start):
    """A server of a judge."""
    return start(FirstJudge())


@pytest.fixture(scope="module")
def valid(scorer, encoded, picture):
    """Bodies that are right, by path."""
    image, other = encoded(picture(56, 56, 1)), encoded(picture(84, 56, 2))

    def place(kind):
        return [{"role": "user", "content": [{"type": kind}, {"type": "text", "text": "What?"}]}]

    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image, "detail": "low"}}]}]
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    talk += [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": [{"type": "text", "text": "?"}]}]
    groups = [
        {"messages": "Which colour?", "responses": ["red", [{"role": "assistant", "content": "blue"}]]},
        {"messages": [*shown, {"role": "assistant", "content": "a"}, *talk[1:]], "responses": ["b", "c"]},
        {"messages": place("image"), "images": [other], "responses": ["a"]},
        {"messages": place("video"), "videos": [{"frames": [image, image], "fps": 2.0}], "responses": ["a", "b"]},
        {"messages": talk, "responses": ["d"]},
    ]

    def told(role, *parts):
        return Message(role, tuple(Part("image") if part is None else Part("text", part) for part in parts))

    asked = told("user", None, "What is it?"), told("user", "Hi")
    prompts = [scorer.model.template.render((own,), prompt=True) for own in asked]
    texts = [scorer.model.template.render((own, told("assistant", "noise"))) for own in asked]
    classified = [{"messages": [*shown, {"role": "assistant", "content": "a"}], "model": "tiny"}, {"input": texts[1:]}]
    return {
        "/v1/score": [{"groups": [group], "model": "tiny"} for group in groups] + [{"groups": groups}],
        "/classify": classified,
        "/pooling": classified,
        "/get_reward": [
            {"query": [prompt + "noise" for prompt in prompts], "prompts": prompts, "images": [[image], None]},
            {"queries": texts[1:], "labels": [""]},
        ],
        "/v1/compare": [{"questions": [{**groups[0], "responses": ["a", "b"]}]}],
    }


def places(value):
    """Every container of a body with each of its keys or places."""
    found = []
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            found += places(value[key])
    return found


def remove(draw, value, key):
    del value[key]


def replace(draw, value, key):
    value[key] = deepcopy(draw.choice(ODD))


def enlarge(draw, value, key):
    own = value[key]
    value[key] = own * draw.choice((2, 40, 300)) if isinstance(own, (str, list)) else [own] * 300


def nest(draw, value, key):
    for _ in range(draw.choice((1, 3, 40, 150))):
        value[key] = draw.choice(([value[key]], {"content": value[key]}))


def swap(draw, value, key):
    others = places(value)
    container, other = draw.choice(others)
    value[key] = deepcopy(container[other])


def rename(draw, value, key):
    if isinstance(value, dict):
        value[draw.choice((key.upper(), key + "\ud800", "", " " + key, "a" * 5000))] = value.pop(key)


def splice(draw, value, key):
    if isinstance(value[key], str):
        place = draw.randrange(len(value[key]) + 1)
        added = draw.choice([text for text in ODD if isinstance(text, str)])
        value[key] = value[key][:place] + added + value[key][place + draw.randrange(4) :]


CHANGES = [remove, replace, replace, enlarge, nest, swap, rename, splice]


def spoil(draw, text):
    """Change the bytes of a body in a way that JSON itself may not allow."""
    data = text.encode("utf-8", "surrogatepass")
    place = draw.randrange(len(data))
    return draw.choice(
        [
            data[:place],
            data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :],
            data.replace(b'"', draw.choice([b"'", b'\\"', b'""']), draw.randrange(1, 4)),
            data.replace(b":", b":NaN,", 1),
            data.replace(b"[", draw.choice([b"[NaN,", b"[-Infinity,", b"[1e999,", b"[,"]), 1),
            data.replace(b"{", b'{"groups": [], "groups": 1, ', 1),
            data + draw.choice([data, b"\0", b"}", b" " * 10_000]),
            text.encode("utf-16", "surrogatepass"),
            b"\xef\xbb\xbf" + data,
            data[:place] + draw.choice([b"[", b'{"content":']) * 20_000 + data[place:],
            b"",
        ]
    )


def mutate(seed, valid):
    """Return the path, body and content type of mutated request ``seed``."""
    draw = random.Random(seed)
    path = draw.choice(sorted(valid))
    body = deepcopy(draw.choice(valid[path]))
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        if found := places(body):
            draw.choice(CHANGES)(draw, *draw.choice(found))
    text = json.dumps(body, ensure_ascii=draw.random() < 0.5)
    data = spoil(draw, text) if draw.random() < 0.25 else text.encode("utf-8", "surrogatepass")
    return path, data, draw.choice(TYPES) if draw.random() < 0.05 else TYPES[0]


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON.")


def check(reply):
    """An answer of a known kind, in JSON, with finite numbers or typed failures, none of which is a fault of ours."""
    assert reply.status_code in ANSWERS, reply.text
    answer = json.loads(reply.text, parse_constant=refuse_constant)
    if reply.status_code != 200:
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert answer["error"]["type"] != "internal"
        return
    rewards = answer.get("rewards", [])
    for group, own in enumerate(rewards):
        for place, reward in enumerate(own if isinstance(own, list) else [own]):
            explained = [one for one in answer.get("errors", ()) if (one["group"], one["response"]) == (group, place)]
            assert len(explained) == (reward is None)
            assert reward is None or math.isfinite(reward)
    assert all(one["reason"] != "internal" for one in answer.get("errors", ()))


def send(server, judged, valid, seed):
    path, body, kind = mutate(seed, valid)
    used = judged if path == "/v1/compare" else server
    check(used.client.post(path, content=body, headers={"Content-Type": kind}))


def ask(server, valid):
    return server.client.post("/v1/score", json=valid["/v1/score"][-1]).json()["rewards"]


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("It never came true.")


def mutated(server, judged, valid, seeds):
    before = ask(server, valid)
    for seed in seeds:
        try:
            send(server, judged, valid, seed)
        except Exception as error:
            error.add_note(f"mutated request {seed}")
            raise
    for group, other in zip(ask(server, valid), before, strict=True):
        assert group == pytest.approx(other, abs=1e-5)
    for own in (server, judged):
        # A place is freed after the answer is on its way.
        until(lambda own=own: own.service.admission.requests == 0)
        assert own.service.batcher.waiting() == 0


def test_mutated_requests_are_answered(server, judged, valid):
    mutated(server, judged, valid, range(EACH))


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(1, BATCHES))
def test_more_mutated_requests_are_answered(server, judged, valid, batch):
    mutated(server, judged, valid, range(batch * EACH, (batch + 1) * EACH))


def test_unmutated_requests_have_scores(server, judged, valid):
    for path, bodies in valid.items():
        post = partial((judged if path == "/v1/compare" else server).client.post, path)
        for body in bodies:
            reply = post(json=body)
            assert reply.status_code == 200, reply.text
            assert not reply.json().get("errors")
