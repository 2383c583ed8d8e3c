"""``basereward data annotate`` and ``distill``: what they print, and what is refused."""

import json
import re
from pathlib import Path

import pytest


@pytest.fixture
def pairs(tmp_path):
    rows = [{"prompt": f"Q{n}", "better": f"apple {n}", "worse": f"pear {n}"} for n in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "pairs.jsonl"


@pytest.fixture
def server(chat_server):
    def answer(request):
        if request.body is None:
            return (200, {"data": [{"id": "m"}]}, {})
        text = f"It is one.\nScore: {9 if 'apple' in request.text else 1}"
        if "apple" in request.text and "pear" in request.text:
            place = 1 + (request.text.index("apple") > request.text.index("pear"))
            text = f"<think>It is {place}.</think><answer>{place}</answer>"
        usage = {"prompt_tokens": 50, "completion_tokens": 7}
        return (200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}, {})

    return chat_server(answer)


COLUMNS = ("--map", "chosen=better,rejected=worse")


def test_both_kinds_are_written_one_after_the_other(command, server, pairs):
    judge = ("--judge", f"judge:{server.url}#m", "--price", 2, 10)
    ended = command("data", "annotate", pairs, "--out", "thought", "--kind", "thoughts", *judge, *COLUMNS)
    assert ended.code == 0
    assert re.search(r"pairs +3 of 3 have thoughts by judge:.*#m, prompt think", ended.out)
    assert re.search(r"tokens +300 of prompts, 42 of answers, cost 0\.00102", ended.out)
    both = command("data", "annotate", "thought", "--out", "both", "--kind", "critiques", *judge, "--json").json
    assert [use["wrote"] for use in both["judges"]] == ["thoughts", "critiques"]
    assert both["judges"][1]["prompt"] == "critic score"
    from basereward.data.annotations import critiques_of, thoughts_of
    from basereward.data.pairs import load_pairs

    (pair, *_) = load_pairs(["both"]).pairs
    assert critiques_of(pair)[:2] == ("It is one.", "It is one.")
    assert thoughts_of(pair) == ("It is 1.", "It is 2.")
    # The page of a set says who wrote into it.
    from basereward.data.manifest import read_manifest
    from basereward.reporting.data_origin import origin_sections
    from basereward.reporting.data_statistics import describe_manifest

    (origin, *_) = origin_sections(describe_manifest("both", read_manifest(Path("both"))))
    told = [line for line in origin.lines if line.startswith("judge:")]
    assert [re.search(r"wrote (\w+) of 3 pairs: prompt ([\w ]+), 6 questions", line).groups() for line in told] == [
        ("thoughts", "think"),
        ("critiques", "critic score"),
    ]


def test_a_judge_is_distilled_with_the_prompt_of_a_file(command, server, pairs, tmp_path):
    (tmp_path / "mine.txt").write_text("format=think\n{request}: {response_1} or {response_2}?")
    call = (
        "data",
        "distill",
        pairs,
        "--out",
        "soft",
        "--judge",
        f"judge:{server.url}#m",
        "--judge-prompt",
        "mine.txt",
        *COLUMNS,
    )
    ended = command(*call)
    assert ended.code == 0
    assert "100.0% of the preferences are the label's, which took no part" in ended.out
    assert server.requests[-1].text in {
        f"Q{n}: {a} {n} or {b} {n}?" for n in range(3) for a, b in (("apple", "pear"), ("pear", "apple"))
    }
    asked = len(server.requests)
    assert command(*call, "--json").json["judges"][0]["prompt"].startswith("mine.txt (")
    # Complete: the server is looked at, and asked nothing.
    assert len(server.requests) == asked + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kind", "thoughts", "--judge", "judge:nowhere", "--judge-prompt", "digit"), "asks for no thoughts"),
        (
            ("--kind", "thoughts", "--judge", "judge:nowhere", "--judge-prompt", "r1_reward"),
            "then r1_reward=r1_reward.py",
        ),
        (("--kind", "critiques", "--judge", "judge:nowhere", "--judge-prompt", "scores"), "Did you mean 'score'"),
        (("--kind", "critiques", "--judge", "baseline:longer"), "expected judge:http://HOST"),
        (("--kind", "critiques", "--judge", "nowhere.yaml"), "no file 'nowhere.yaml'"),
        (("--judge", "judge:nowhere"), "Missing option '--kind'"),
        (("--kind", "words", "--judge", "judge:nowhere"), "critiques"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(arguments, message, command, pairs):
    ended = command("data", "annotate", pairs, "--out", "out", *arguments, *COLUMNS)
    assert ended.code != 0
    assert message in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err
