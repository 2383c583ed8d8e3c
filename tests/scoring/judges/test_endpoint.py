"""A judge behind an endpoint: what is sent, what is tried again, what stops the run, and where the key may be."""

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO

import httpx2
import pytest
from PIL import Image

from basereward.data.judging.formats import FORMATS
from basereward.data.judging.prompts import JudgePrompt
from basereward.data.outcomes import Failure, JudgeQuestion, Verdict
from basereward.data.schema import Video
from basereward.errors import RecipeError, ScoringError, UnknownNameError
from basereward.scoring.judges.chat import data_uri
from basereward.scoring.judges.client import JsonClient, Reply, wait_seconds
from basereward.scoring.judges.endpoint import FIRST_ANSWERS, KEY_VARIABLE, EndpointJudge
from basereward.scoring.judges.options import JudgeOptions, parse_options
from basereward.scoring.judges.votes import SEPARATOR
from basereward.scoring.spec import open_judge, open_scorer

USAGE = {"prompt_tokens": 100, "completion_tokens": 5}
PROMPT = JudgePrompt(FORMATS.get("verdict_line"), 64)


@pytest.fixture
def ask(say):
    """``ask(prompt, first, second, images)``: a question; images stand before the prompt."""

    def make(prompt="Why?", first="Because.", second="No.", images=()):
        shown = say("user", *[None] * len(images), prompt)
        return JudgeQuestion((shown,), ((say("assistant", first),), (say("assistant", second),)), tuple(images))

    return make


def judge_at(server, key=None, **options):
    """A judge that waits for nothing, and the waits that it was asked for."""
    waits = []
    return EndpointJudge(JsonClient(server.url, key, sleep=waits.append, **options), "m", PROMPT), waits


def test_questions_are_answered_in_order_and_greedily(chat_server, ask):
    server = chat_server(lambda request: f"Verdict: {2 - ('odd' in request.text)}")
    judge, _ = judge_at(server)
    answers = judge.compare([ask("odd" if number % 2 else "even") for number in range(40)])
    assert [answer.choice for answer in answers] == [1, 0] * 20
    body = server.requests[0].body
    assert {key: body[key] for key in ("model", "temperature", "seed", "max_tokens")} == {
        "model": "m",
        "temperature": 0,
        "seed": 0,
        "max_tokens": 64,
    }
    # Servers of text models want a string.
    assert isinstance(body["messages"][0]["content"], str)


def test_the_prompt_holds_request_and_responses_in_the_order_of_the_question(chat_server, ask):
    server = chat_server(lambda request: "Verdict: tie")
    judge_at(server)[0].compare([ask("WHY", "FIRST", "SECOND")])
    text = server.requests[0].text
    places = [text.index(word) for word in ("WHY", "Response 1", "FIRST", "Response 2", "SECOND", "Verdict: tie")]
    assert places == sorted(places)


def test_images_arrive_as_they_are_and_where_they_stand(chat_server, ask, picture, tmp_path):
    server = chat_server(lambda request: "Verdict: 1")
    picture(30, 20).save(tmp_path / "a.jpg")
    source = (tmp_path / "a.jpg").read_bytes()
    judge_at(server)[0].compare([ask("Which?", images=[str(tmp_path / "a.jpg"), {"bytes": source, "path": None}])])
    before, first, second, question, *_ = server.requests[0].parts
    assert (before["type"], question["text"]) == ("text", "Which?")
    for part in (first, second):
        head, _, body = part["image_url"]["url"].partition(",")
        assert (head, base64.b64decode(body)) == ("data:image/jpeg;base64", source)


def test_an_image_that_a_server_may_read_otherwise_is_sent_as_png(picture, tmp_path):
    upright = picture(30, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "turned.webp", exif=exif, lossless=True)
    upright.save(tmp_path / "a.bmp")
    for path, size in ((tmp_path / "turned.webp", (20, 30)), (tmp_path / "a.bmp", (30, 20)), (upright, (30, 20))):
        head, _, body = data_uri(path if isinstance(path, Image.Image) else str(path)).partition(",")
        sent = Image.open(BytesIO(base64.b64decode(body)))
        assert (head, sent.size) == ("data:image/png;base64", size)


def test_frames_of_a_video_are_sent_as_images(chat_server, say, picture):
    from basereward.data.schema import Message as Said
    from basereward.data.schema import Part

    server = chat_server(lambda request: "Verdict: 1")
    prompt = (Said("user", (Part("video"), Part("text", "What happens?"))),)
    frames = Video((picture(seed=1), picture(seed=2)))
    sides = (say("assistant", "a"),), (say("assistant", "b"),)
    judge_at(server)[0].compare([JudgeQuestion(prompt, sides, (), (frames,))])
    assert [part["type"] for part in server.requests[0].parts].count("image_url") == 2


def test_a_missing_image_fails_its_question_and_is_not_sent(chat_server, ask):
    server = chat_server(lambda request: "Verdict: 1")
    bad, good = judge_at(server)[0].compare([ask(images=["nowhere.png"]), ask()])
    assert (bad.reason, good.choice, len(server.requests)) == ("image_missing", 0, 1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_is_temporary_is_tried_again(status, chat_server, ask):
    replies = iter([(status, {}, {"Retry-After": "7"}), (status, {}, {}), "Verdict: 2"])
    judge, waits = judge_at(chat_server(lambda request: next(replies)))
    assert judge.compare([ask()])[0].choice == 1
    assert waits == [7.0, 2.0]


@pytest.mark.parametrize(
    ("reply", "reason", "requests"),
    [
        ((500, {"error": "no"}, {}), "http_500", 3),
        ((429, {}, {}), "http_429", 3),
        ((400, {"error": "maximum context length is 8192 tokens"}, {}), "too_long", 1),
        ((413, {}, {}), "too_long", 1),
        ((400, {"error": "content policy"}, {}), "refused", 1),
        ((200, {"detail": "hello"}, {}), "bad_reply", 1),
        ((200, [], {}), "bad_reply", 1),
    ],
)
def test_a_question_without_an_answer_is_a_failure_with_its_reason(reply, reason, requests, chat_server, ask):
    server = chat_server(lambda request: reply)
    [answer] = judge_at(server, attempts=3)[0].compare([ask()])
    assert isinstance(answer, Failure)
    assert (answer.reason, len(server.requests)) == (reason, requests)


def test_a_cut_off_or_empty_answer_is_unparsable(chat_server, ask):
    def choice(content, reason):
        return (200, {"choices": [{"message": {"content": content}, "finish_reason": reason}]}, {})

    replies = iter([choice("Verdict: 1", "length"), choice(None, "stop")])
    judge, _ = judge_at(chat_server(lambda request: next(replies)))
    cut, empty = [judge.compare([ask()])[0] for _ in range(2)]
    assert cut == Verdict("unparsable", "Verdict: 1", is_cut_off=True)
    assert empty == Verdict("unparsable", "")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((401, {"error": "bad key sekret"}, {}), rf"refuses access.*\*\*\*.*{KEY_VARIABLE}"),
        ((404, {"error": "no such model"}, {}), "knows no model 'm'"),
        ((302, {}, {"Location": "http://127.0.0.1:1/v1"}), "not followed"),
    ],
)
def test_what_no_question_can_survive_stops_and_does_not_tell_the_key(reply, words, chat_server, ask):
    server = chat_server(lambda request: reply)
    with pytest.raises(ScoringError, match=words) as caught:
        judge_at(server, key="sekret")[0].compare([ask()])
    assert "sekret" not in str(caught.value)
    assert server.requests[0].headers["Authorization"] == "Bearer sekret"


def test_a_server_that_is_not_there_stops(ask):
    judge = EndpointJudge(JsonClient("http://127.0.0.1:9/v1", sleep=lambda seconds: None), "m", PROMPT)
    with pytest.raises(ScoringError, match=r"cannot be asked.*--resume"):
        judge.compare([ask()])


def test_a_silent_server_is_a_failure(chat_server, ask):
    from threading import Event

    ended = Event()
    server = chat_server(lambda request: (ended.wait(5), "Verdict: 1")[1])
    [answer] = judge_at(server, timeout=0.05, attempts=2)[0].compare([ask()])
    ended.set()
    assert answer.reason == "timeout"


def test_options_decide_what_is_sent_and_what_a_verdict_is_known_by(chat_server, ask):
    server = chat_server(lambda request: "Verdict: 1")
    options = parse_options("max_completion_tokens=99,temperature=null,seed=7,timeout=5,concurrency=1")
    judge = open_judge(f"judge:{server.url}#m", options=options)
    judge.compare([ask()])
    body = server.requests[-1].body
    assert (body["max_completion_tokens"], body["seed"]) == (99, 7)
    assert not {"max_tokens", "temperature"} & body.keys()
    assert judge.client.timeout == 5
    identity = judge.about.identity
    assert (identity["max_tokens"], identity["seed"], "temperature" in identity) == (99, 7, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("temperatures=1", "Did you mean 'temperature'"),
        ("temperature", "expected key.sub=value"),
        ("timeout=soon", "timeout"),
        ("timeout=0", "greater than 0"),
        ("max_completion_tokens=1.5", "max_completion_tokens"),
        ("seed=[", "seed"),
    ],
)
def test_a_wrong_option_is_named(text, words):
    with pytest.raises(RecipeError, match=words):
        parse_options(text)
    assert parse_options(None) == JudgeOptions()


@pytest.mark.parametrize("reply", [(400, {"error": "unknown field seed"}, {}), (500, {}, {}), (200, {"hello": 1}, {})])
def test_a_server_that_refuses_the_first_questions_is_not_asked_all(reply, chat_server, ask):
    server = chat_server(lambda request: reply)
    judge, _ = judge_at(server, attempts=1)
    with pytest.raises(ScoringError, match=f"None of the first {FIRST_ANSWERS} questions.*--judge-option"):
        judge.compare([ask(str(number)) for number in range(200)])
    assert len(server.requests) < FIRST_ANSWERS + 2 * judge.options.concurrency


def test_one_answer_shows_that_the_server_can(chat_server, ask):
    server = chat_server(lambda request: "Verdict: 1" if "good" in request.text else (400, {"error": "policy"}, {}))
    judge, _ = judge_at(server)
    assert judge.compare([ask("good")])[0].choice == 0
    answers = judge.compare([ask(str(number)) for number in range(3 * FIRST_ANSWERS)])
    assert {answer.reason for answer in answers} == {"refused"}


def test_what_is_too_long_says_nothing_of_the_others(chat_server, ask):
    server = chat_server(lambda request: (413, {}, {}))
    answers = judge_at(server)[0].compare([ask(str(number)) for number in range(2 * FIRST_ANSWERS)])
    assert {answer.reason for answer in answers} == {"too_long"}


def test_samples_of_a_question_vote_and_each_is_a_request_with_a_seed_of_its_own(chat_server, ask):
    answers = {7: "Verdict: 1", 8: "Verdict: 2", 9: "Verdict: 1", 10: "none", 11: "Verdict: tie"}
    server = chat_server(lambda request: answers[request.body["seed"]] if request.body else (200, {"data": []}, {}))
    options = JudgeOptions(samples=5, temperature=0.7, seed=7)
    judge = open_judge(f"judge:{server.url}#m", options=options)
    [verdict] = judge.compare([ask()])
    assert (verdict.choice, verdict.probabilities, verdict.mass) == (0, (2.5 / 4, 1.5 / 4), 4 / 5)
    assert verdict.text.split(SEPARATOR) == list(answers.values())
    sent = [request.body for request in server.requests if request.body]
    assert [(body["seed"], body["temperature"]) for body in sent] == [(seed, 0.7) for seed in answers]
    assert judge.about.identity["samples"] == 5
    alone = open_judge(f"judge:{server.url}#m", options=JudgeOptions(temperature=0.7, seed=7))
    assert "samples" not in alone.about.identity
    with pytest.raises(ScoringError, match="5 greedy samples are all the same"):
        open_judge(f"judge:{server.url}#m", options=JudgeOptions(samples=5))


def test_a_vote_is_of_all_samples_and_counts_the_tokens_of_each(chat_server, ask):
    def reply(request):
        if "bad" in request.text and request.body["seed"] == 2:
            return (400, {"error": "policy"}, {})
        said = {"choices": [{"message": {"content": "Verdict: 1"}, "finish_reason": "stop"}]}
        told = {} if "untold" in request.text and request.body["seed"] == 1 else {"usage": USAGE}
        return (200, {**said, **told}, {})

    server = chat_server(lambda request: reply(request) if request.body else (200, {"data": []}, {}))
    judge = open_judge(f"judge:{server.url}#m", options=JudgeOptions(samples=3, temperature=1.0))
    asked = enumerate([ask("good"), ask("bad"), ask("untold")])
    good, bad, untold = sorted(judge.answers(asked), key=lambda own: own.number)
    assert (good.judged.choice, good.judged.mass, good.usage) == (0, 1.0, (300, 15))
    assert (bad.judged.reason, bad.usage) == ("refused", (200, 10))
    assert (untold.judged.choice, untold.usage) == (0, None)


def test_several_responses_are_asked_about_at_once(chat_server, say):
    server = chat_server(lambda request: "Verdict: 4")
    sides = tuple((say("assistant", f"answer {number}"),) for number in range(4))
    [answer] = judge_at(server)[0].compare([JudgeQuestion((say("user", "Why?"),), sides)])
    assert answer.choice == 3
    assert '"Verdict: 4"' in server.requests[0].text


def test_half_a_surrogate_pair_is_sent_as_it_is(chat_server, ask):
    server = chat_server(lambda request: "Verdict: 1")
    assert judge_at(server)[0].compare([ask(first="half \ud83d")])[0].choice == 0
    assert "half \ud83d" in server.requests[0].text


def test_the_wait_is_what_the_server_asks_for_within_reason():
    def after(value):
        return wait_seconds(Reply(429, "", httpx2.Headers({"retry-after": value})), 1)

    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert after("5") == 5
    assert 28 <= after(soon) <= 30
    assert after("3600") == 60
    assert after("later") == 1
    assert [wait_seconds(Reply(500, ""), attempt) for attempt in (1, 2, 3, 9)] == [1, 2, 4, 60]


def test_a_spec_opens_a_judge_with_the_key_of_the_environment(chat_server, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "sekret\n")
    server = chat_server(lambda request: "Verdict: 1")
    judge = open_judge(f"judge:{server.url}/#m", "answer_tag", 100)
    assert (judge.about.name, judge.prompt.format.name, judge.prompt.max_tokens) == (
        f"judge:{server.url}#m",
        "answer_tag",
        100,
    )
    assert server.requests[0].headers["Authorization"] == "Bearer sekret"
    assert "sekret" not in f"{judge.about.identity} {judge.client!r}"


@pytest.mark.parametrize(
    ("models", "root"),
    [
        ({"data": [{"id": "m", "root": "/models/a"}, {"id": "n", "root": "b"}]}, "/models/a"),
        ({"data": None}, None),
        ([], None),
    ],
)
def test_where_the_weights_lie_is_part_of_the_identity_if_the_server_tells(models, root, chat_server):
    server = chat_server(lambda request: (200, models, {}))
    assert open_judge(f"judge:{server.url}#m").about.identity.get("root") == root


def test_a_key_that_cannot_be_sent_is_refused_without_telling_it(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "sekret\u0437")
    with pytest.raises(ScoringError, match="no HTTP header") as caught:
        open_judge("judge:http://127.0.0.1:9/v1#m")
    assert "sekret" not in str(caught.value)


def test_a_wrong_key_is_found_before_anything_is_asked(chat_server, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    server = chat_server(lambda request: (401, {}, {}))
    with pytest.raises(ScoringError, match=f"no key, because there is none in the environment variable {KEY_VARIABLE}"):
        open_judge(f"judge:{server.url}#m")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("judge:http://127.0.0.1:1/v1", "Expected judge:http://HOST"),
        ("judge:http://127.0.0.1:9/v1#m", "cannot be asked"),
        ("judge:http:///v1#m", "Expected judge:http://HOST"),
        ("judge:http://host:port/v1#m", "Expected judge:http://HOST"),
        ("judge:http://me:secret@127.0.0.1/v1#m", "no password"),
        ("judge:http://127.0.0.1/v1?key=secret#m", "no password or query"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(spec, words):
    with pytest.raises(ScoringError, match=words):
        open_judge(spec)


def test_other_specs_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'answer_tag'"):
        open_judge("judge:http://127.0.0.1:1/v1#m", "answer_tags")
    with pytest.raises(ScoringError, match="is a judge"):
        open_scorer("judge:http://127.0.0.1:1/v1#m")
