"""docs/serving.md: its requests get answers of the form that stands below them, and its commands and code run."""

import ast
import asyncio
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from basereward.data.outcomes import About, Verdict

GUIDE = Path(__file__).parents[2] / "docs" / "serving.md"
ADDRESS = "http://127.0.0.1:8000"


def read_blocks():
    """Yield kind and text of every block of code."""
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        yield found.group(1), found.group(2)


def read_examples():
    """Return requests with what is answered: path, status, body, and the block below, if it is one of JSON."""
    blocks = list(read_blocks())
    examples = []
    for place, (kind, text) in enumerate(blocks):
        if kind == "http":
            head, _, body = text.partition("\n")
            path, status = re.fullmatch(r"POST (\S+)(?: -> (\d+))?", head).groups()
            below = blocks[place + 1] if place + 1 < len(blocks) else ("", "")
            answer = json.loads(below[1]) if below[0] == "json" else None
            examples.append(SimpleNamespace(path=path, status=int(status or 200), body=json.loads(body), answer=answer))
    return examples


EXAMPLES = read_examples()
COMMANDS = [
    line.partition("#")[0].strip()
    for kind, text in read_blocks()
    if kind == "bash"
    for line in text.splitlines()
    if re.match(r"(\w+=\S* )*basereward ", line)
]
PYTHON = [text for kind, text in read_blocks() if kind == "python"]


@pytest.fixture(scope="module")
def guide_server(start, new_scorer):
    """A server of a scorer under the name that the guide uses."""
    return start(new_scorer(), name="model")


@pytest.fixture(scope="module")
def guide_judge(start):
    """A server of a judge under the name that the guide uses."""

    class GuideJudge:
        about = About("judge", sees_images=False)

        def compare(self, questions):
            return [Verdict(0, "...") for _ in questions]

    return start(GuideJudge(), name="model")


def form_of(value):
    """Return what two answers of one form have in common: names, order, kinds of values, and how many there are."""
    if isinstance(value, dict):
        return {key: form_of(own) for key, own in value.items()}
    if isinstance(value, list):
        return [form_of(own) for own in value]
    # A fingerprint may be missing, and a reward is a number.
    return type(value).__name__ if isinstance(value, (str, float)) else value


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{number} {own.path}" for number, own in enumerate(EXAMPLES)])
def test_requests_of_the_guide_are_answered_as_it_says(guide_server, guide_judge, example):
    client = (guide_judge if example.path == "/v1/compare" else guide_server).client
    reply = client.post(example.path, json=example.body)
    assert reply.status_code == example.status, reply.text
    if example.answer is not None:
        found, expected = reply.json(), dict(example.answer)
        if "created" in expected:
            found["created"] = expected["created"]
        assert form_of(found) == form_of(expected)
        assert found.get("error", {}).get("param") == expected.get("error", {}).get("param")


def test_every_path_has_an_example(guide_server, guide_judge):
    paths = {form.path for own in (guide_server, guide_judge) for form in own.service.forms}
    assert paths == {example.path for example in EXAMPLES}


def test_rewards_of_one_conversation_are_equal_in_every_form(guide_server):
    """The guide asks "Is 7 prime?" in every form; only where it stands differs."""
    found = Counter()
    for example in EXAMPLES:
        if "Is 7 prime?" in json.dumps(example.body) and example.path != "/v1/compare":
            text = guide_server.client.post(example.path, json=example.body).text
            answer = json.loads(text)
            data = answer["data"][0] if "data" in answer else {}
            [*_, last] = answer.get("rewards") or [data.get("probs") or data.get("data")]
            found[round(last[0] if isinstance(last, list) else last, 4)] += 1
    assert len(found) == 1
    assert found.total() >= 4


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_guide_are_understood(line):
    from basereward.cli.main import app

    words = [word for word in shlex.split(line) if "=..." not in word]
    name, *arguments = words[1:]
    command = typer.main.get_command(app).commands[name]
    if hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    known = {option for own in command.params for option in own.opts}
    assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= known
    assert sum(not word.startswith("-") for word in arguments)


@pytest.mark.slow
def test_a_server_is_a_model_like_any_other(guide_server, tmp_path):
    from basereward.cli.main import app

    [line] = [own for own in COMMANDS if own.startswith("basereward eval")]
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"{number}?", "chosen": "yes, it is", "rejected": f"no {number}"} for number in range(4)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = line.replace(ADDRESS, guide_server.url).replace("pairs.jsonl", str(pairs)).split()[1:]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("text", PYTHON)
def test_code_of_the_guide_runs(guide_server, make_group, scorer, text):
    groups = [make_group("Is 7 prime?", ["Yes.", "No."])]
    code = compile(text.replace(ADDRESS, guide_server.url), str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {"groups": groups}
    asyncio.run(eval(code, names))
    found = names["scorer"].score(groups)[0]
    assert [one.value for one in found] == pytest.approx([one.value for one in scorer.score(groups)[0]], abs=1e-5)
