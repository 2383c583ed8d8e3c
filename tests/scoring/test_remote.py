"""A server as a scorer: the scores of the model behind it, and no answer is believed unseen."""

import asyncio
import json
import time

import pytest

from basereward.data.outcomes import Failure, Score
from basereward.data.record import DataRecord
from basereward.errors import ScoringError
from basereward.scoring.judges.client import JsonClient
from basereward.scoring.remote import KEY_VARIABLE, PATIENCE_SECONDS, RemoteScorer, read_card
from basereward.scoring.spec import open_scorer

CARD = {
    "id": "m",
    "kind": "scorer",
    "sees_images": True,
    "fingerprint": "f",
    "identity": {"weights": "w"},
    "data_record": {"fingerprint": "d", "inputs": [], "contamination": None},
    "compares": False,
}
ANSWER = {"fingerprint": "f", "rewards": [[1.5, -0.5]], "errors": [], "details": None}


@pytest.fixture
def at(chat_server):
    """``at(answer)``: a scorer of a server that always answers so, and the requests that it gets."""

    def make(answer, card=CARD, **options):
        def reply(request):
            if request.body is None:
                return 200, {"data": [card]}, {}
            found = answer(request) if callable(answer) else answer
            return found if isinstance(found, tuple) else (200, found, {})

        served = chat_server(reply)
        client = JsonClient(served.url.removesuffix("/v1"), sleep=lambda seconds: None, **{"attempts": 2, **options})
        return RemoteScorer(client, read_card(client, "m")), served.requests

    return make


def test_it_says_what_the_server_says_of_its_model(at):
    about = at(ANSWER)[0].about
    assert (about.name, about.sees_images, about.identity) == ("m", True, {"weights": "w"})
    assert about.data_record == DataRecord(fingerprint="d", inputs=(), contamination=None)
    assert (about.writes, at(ANSWER, {**CARD, "writes": True})[0].about.writes) == (False, True)


def test_a_group_is_sent_with_the_bytes_of_its_images(at, make_group, picture, tmp_path):
    picture().save(tmp_path / "a.png")
    scorer, requests = at(ANSWER)
    assert scorer.score([make_group("What?", ["a", "b"], [tmp_path / "a.png"])]) == [[Score(1.5), Score(-0.5)]]
    [group] = requests[-1].body["groups"]
    assert [part["type"] for part in group["messages"][0]["content"]] == ["image", "text"]
    assert group["images"][0].startswith("iVBOR")


def test_an_image_that_cannot_be_read_is_not_sent(at, make_group):
    scorer, requests = at(ANSWER)
    [[one, _]] = scorer.score([make_group("What?", ["a", "b"], ["/nowhere/x.png"])])
    assert one.reason == "image_missing"
    assert len(requests) == 1


def test_what_a_score_is_made_of_comes_along(at, make_group):
    scorer, _ = at({**ANSWER, "details": [[{"text": "good", "parts": {"a": 1.0}}, None]]})
    assert scorer.score([make_group("?", ["a", "b"])]) == [[Score(1.5, "good", {"a": 1.0}), Score(-0.5)]]


@pytest.mark.parametrize(
    "answer",
    [
        {"rewards": [[1.5]]},
        {"rewards": [[1.5, 2.5, 3.5]]},
        {"rewards": [[1.5, -0.5], [1.0]]},
        {"rewards": [[1.5, None]]},
        {"rewards": [[1.5, "x"]]},
        {"rewards": {}},
        {"errors": None},
        [],
    ],
)
def test_an_answer_of_another_shape_gives_no_number(at, make_group, answer):
    scorer, _ = at({**ANSWER, **answer} if isinstance(answer, dict) else answer)
    assert [one.reason for one in scorer.score([make_group("?", ["a", "b"])])[0]] == ["bad_reply"] * 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_what_is_no_fp32_number_is_no_score(at, make_group, value):
    scorer, _ = at({**ANSWER, "rewards": [[1.5, value]]})
    [[one, other]] = scorer.score([make_group("?", ["a", "b"])])
    assert (one, other.reason) == (Score(1.5), "not_finite")


def test_failures_of_the_server_are_failures_here(at, make_group):
    errors = [{"group": 0, "response": 1, "reason": "too_long", "message": "Shorten it."}]
    scorer, _ = at({**ANSWER, "rewards": [[1.5, None]], "errors": errors})
    assert scorer.score([make_group("?", ["a", "b"])]) == [[Score(1.5), Failure("too_long", "Shorten it.")]]


def test_another_model_behind_the_address_is_an_error(at, make_group):
    scorer, _ = at({**ANSWER, "fingerprint": "g"})
    with pytest.raises(ScoringError, match="another model"):
        scorer.score([make_group("?", ["a", "b"])])


def test_what_is_temporary_is_tried_again(at, make_group):
    calls = []

    def answer(request):
        calls.append(1)
        return ANSWER if len(calls) > 1 else (429, {"error": {"type": "queue_full", "message": "full"}}, {})

    scorer, _ = at(answer)
    assert scorer.score([make_group("?", ["a", "b"])]) == [[Score(1.5), Score(-0.5)]]


def test_attempts_end_with_patience(at, make_group):
    full = (503, {"error": {"type": "draining", "message": "later"}}, {"Retry-After": "60"})
    scorer, requests = at(full, attempts=100, patience=30)
    assert [one.reason for one in scorer.score([make_group("?", ["a", "b"])])[0]] == ["http_503"] * 2
    assert len(requests) == 2
    assert PATIENCE_SECONDS >= 60


def test_a_group_that_the_server_refuses_fails_alone(at, make_group):
    scorer, _ = at((400, {"error": {"type": "placeholder_count", "message": "counts"}}, {}))
    assert [one.reason for one in scorer.score([make_group("?", ["a", "b"])])[0]] == ["placeholder_count"] * 2


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_server_that_cannot_be_used_ends_the_work(at, make_group, status):
    scorer, _ = at((status, {}, {}))
    with pytest.raises(ScoringError, match=f"{KEY_VARIABLE}|{status}"):
        scorer.score([make_group("?", ["a", "b"])])


def test_in_an_event_loop_it_gives_the_same(at, make_group):
    def answer(request):
        [group] = request.body["groups"]
        return {
            **ANSWER,
            "rewards": [[float(len(response[0]["content"][0]["text"])) for response in group["responses"]]],
        }

    scorer, _ = at(answer)
    groups = [make_group("?", ["a" * number, "b"]) for number in range(1, 40)]
    expected = [[Score(float(number)), Score(1.0)] for number in range(1, 40)]
    assert asyncio.run(scorer.score_async(groups)) == scorer.score(groups) == expected


def test_cancelled_it_does_not_wait(at, make_group):
    scorer, _ = at(lambda request: time.sleep(1) or ANSWER)

    async def leave():
        async with asyncio.timeout(0.1):
            await scorer.score_async([make_group("?", ["a", "b"])])

    start = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(leave())
    assert time.monotonic() - start < 0.9


@pytest.mark.parametrize(
    ("card", "words"), [({**CARD, "kind": "judge"}, "serves a judge"), ({"id": "m"}, "no basereward serve")]
)
def test_a_server_of_something_else_is_refused(at, card, words):
    with pytest.raises(ScoringError, match=words):
        at(ANSWER, card)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("http://127.0.0.1:9", "cannot be asked.*basereward serve"),
        ("http://", "Expected http://HOST:PORT"),
        ("http://me:secret@127.0.0.1:9", "no password"),
    ],
)
def test_an_address_without_a_server_is_refused(spec, words):
    with pytest.raises(ScoringError, match=words):
        open_scorer(spec)


def test_how_it_runs_is_the_business_of_the_server():
    with pytest.raises(ScoringError, match="basereward serve"):
        open_scorer("http://127.0.0.1:9", dtype="bfloat16")


def test_the_key_is_sent_and_stands_nowhere(at, make_group, monkeypatch, chat_server):
    monkeypatch.setenv(KEY_VARIABLE, "s3cret")
    served = chat_server(lambda request: (200, {"data": [CARD]} if request.body is None else ANSWER, {}))
    scorer = open_scorer(served.url.removesuffix("/v1"))
    assert served.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in json.dumps([repr(scorer.client), scorer.about.name])
