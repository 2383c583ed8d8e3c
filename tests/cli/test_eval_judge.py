"""``basereward eval judge:...``: an endpoint and a local model on a benchmark, and what is refused."""

import json
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"
BENCH = ("--bench", "judgebench", "--data-root", FIXTURES)
SUMMARY = [
    *("benchmark", "protocol", "n", "failed", "coverage", "ties", "metrics", "groups", "definitions", "notes"),
]


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    """The key of the environment, and a cache of its own: servers of two tests may have the same address."""
    monkeypatch.setenv("BASEREWARD_JUDGE_KEY", "sekret-key")
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def rate(ended, name):
    """The value of a metric."""
    return ended.json["metrics"][name]["value"]


def test_a_judge_behind_an_endpoint_is_measured_in_both_orders(command, chat_server):
    server = chat_server(lambda request: "Response 1 is it.\nVerdict: 1")
    ended = command("eval", f"judge:{server.url}#m", *BENCH, "--json")
    assert (ended.code, list(ended.json)) == (0, SUMMARY)
    assert ended.json["protocol"]["judge"]["name"] == "both_orders"
    assert (rate(ended, "pair_accuracy"), rate(ended, "order_consistency"), rate(ended, "first_position_rate")) == (
        0.5,
        0.0,
        1.0,
    )
    [folder] = Path("runs").iterdir()
    assert folder.name.startswith("eval-judge-http-")
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert len(texts) == 3
    assert "Response 1 is it." in "".join(texts)
    assert "sekret" not in "".join((*texts, ended.out, ended.err))
    assert server.requests[-1].headers["Authorization"] == "Bearer sekret-key"


def test_tables_name_the_rates(command, chat_server):
    server = chat_server(lambda request: "I cannot say.")
    ended = command("eval", f"judge:{server.url}#m", *BENCH)
    assert ended.code == 0
    for text in ("unparsable_rate", "order_consistency", "baseline:longer", "mean of both orders"):
        assert text in ended.out


def test_a_local_model_with_random_weights_is_unparsable(command, vl_backbone):
    ended = command("eval", f"judge:{vl_backbone}", *BENCH, "--judge-tokens", 4, "--no-references", "--json")
    assert (rate(ended, "unparsable_rate"), rate(ended, "accuracy"), ended.json["failed"]) == (1.0, 0.0, 0)
    assert "6 answers reached the limit of tokens" in ended.err


def test_the_prompt_is_chosen(command, chat_server):
    server = chat_server(lambda request: "<answer>2</answer>")
    ended = command("eval", f"judge:{server.url}#m", *BENCH, "--judge-prompt", "answer_tag", "--out", "out", "--json")
    assert rate(ended, "unparsable_rate") == 0.0
    result = json.loads(Path("out/judgebench/result.json").read_text())
    assert (result["identity"]["prompt"], result["identity"]["model"]) == ("answer_tag", "m")


def test_a_run_that_lost_its_server_goes_on(command, chat_server, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)
    replies = []

    def answer(request):
        replies.append(request)
        # The first request asks for the models.
        return (401, {}, {}) if len(replies) == 4 else "Verdict: 1"

    server = chat_server(answer)
    call = ("eval", f"judge:{server.url}#m", *BENCH, "--out", "out", "--json")
    ended = command(*call)
    assert ended.code == 1
    assert "refuses access" in ended.err
    before = len(server.requests)
    again = command(*call, "--resume")
    assert (again.json["n"], again.json["failed"]) == (3, 0)
    # The two questions of the first item are not asked again.
    assert sum(request.body is not None for request in server.requests[before:]) == 4


def test_a_finished_judge_asks_nothing_again_but_without_the_cache(command, chat_server):
    server = chat_server(lambda request: "Verdict: 1")
    call = ("eval", f"judge:{server.url}#m", *BENCH, "--no-references", "--json")

    def asked():
        return sum(request.body is not None for request in server.requests)

    first = command(*call, "--out", "a").json
    sent = asked()
    assert (command(*call, "--out", "b").json, asked()) == (first, sent)
    assert (command(*call, "--out", "c", "--no-cache").json, asked()) == (first, 2 * sent)


def test_options_reach_the_server(command, chat_server):
    server = chat_server(lambda request: "Verdict: 1")
    option = ("--judge-option", "max_completion_tokens=50,temperature=1")
    assert command("eval", f"judge:{server.url}#m", *BENCH, *option, "--json").code == 0
    assert (server.requests[-1].body["max_completion_tokens"], server.requests[-1].body["temperature"]) == (50, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("judge:nowhere", *map(str, BENCH)), "No folder 'nowhere'"),
        (("judge:http://127.0.0.1:1/v1", *map(str, BENCH)), "judge:http://HOST:PORT/v1#MODEL"),
        (("judge:nowhere", *map(str, BENCH), "--judge-prompt", "bracket"), "Did you mean 'brackets'"),
        (("baseline:longer", *map(str, BENCH), "--judge-prompt", "brackets"), "go with a judge"),
        (("baseline:longer", *map(str, BENCH), "--judge-option", "seed=1"), "go with a judge"),
        (("judge:nowhere", *map(str, BENCH), "--judge-option", "time=1"), "Did you mean 'timeout'"),
    ],
)
def test_errors_say_what_to_do(arguments, message, command):
    ended = command("eval", *arguments)
    assert ended.code != 0
    assert message in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err
