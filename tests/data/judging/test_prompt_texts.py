"""Prompts of files: places filled once, images where they were sent, official texts known by their digest."""

import hashlib
import logging

import pytest

from basereward.data.judging.official import OFFICIAL, OfficialPrompt
from basereward.data.judging.prompts import make_prompt
from basereward.data.judging.ratings import make_critic_prompt
from basereward.data.outcomes import JudgeQuestion
from basereward.errors import DataError, MissingFileError, RecipeError, RowError, UnknownNameError

OURS = 'Which? {"json": 1}\nQ: {request}\nA: {response_1}\nB: {response_2}\n<answer>1/2</answer>'
THEIRS = OURS.replace("request", "q").replace("response_1", "first").replace("response_2", "second")
PYTHON = f"""import nowhere


def make(q):
    template = (
        {THEIRS[:20]!r}
        {THEIRS[20:]!r}
    )
    return template
"""
CARD = r"""# Card
```python
# template = "no"
model = open("weights")
template = "Q: [What?]\nA: [It is [x].]\nB: [Yes]\n"
```
"""


def entry(text, places, form="think"):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return OfficialPrompt("r1_reward", "A project", "src/a.py", "fetch a.py", "template", places, form, digest, 99)


@pytest.fixture
def official(monkeypatch):
    """The text of R1-Reward is ``OURS``, as long as the test lasts."""
    own = entry(OURS, {"q": "request", "first": "response_1", "second": "response_2"})
    monkeypatch.setitem(OFFICIAL._entries, "r1_reward", own)


@pytest.fixture
def ask(say):
    def make(*responses, prompt=("Look", None, "why {response_1}?")):
        sides = tuple((say("assistant", text),) for text in responses)
        return JudgeQuestion((say("user", *prompt),), sides, ("image.png",))

    return make


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def shown(prompt, question):
    return [part.text if part.type == "text" else part.type for part in prompt.ask(question)[0].content]


def test_a_file_is_asked_as_it_stands_and_images_stay_in_the_request(tmp_path, ask):
    prompt = make_prompt(str(written(tmp_path / "mine.txt", f"format=answer_tag\n{OURS}\n")))
    texts = shown(prompt, ask("red {request}", "blue"))
    # What stands in the material is no place.
    assert texts == [
        'Which? {"json": 1}\nQ: Look',
        "image",
        "why {response_1}?\nA: red {request}\nB: blue\n<answer>1/2</answer>",
    ]
    assert prompt.format.name == "answer_tag"
    assert prompt.identity["prompt"].startswith("mine.txt (")
    assert prompt.identity["prompt_sha256"] == hashlib.sha256(OURS.encode()).hexdigest()


def test_images_may_stand_first(tmp_path, ask):
    file = written(tmp_path / "mine.txt", f"format=think,images=first,max_tokens=7\n{OURS}")
    prompt = make_prompt(str(file))
    assert (shown(prompt, ask("a", "b"))[0], prompt.max_tokens) == ("image", 7)
    assert make_prompt(str(file), 8).max_tokens == 8
    assert prompt.identity["images"] == "first"


def test_a_file_takes_as_many_responses_as_it_has_places(tmp_path, ask):
    prompt = make_prompt(str(written(tmp_path / "mine.txt", f"format=think\n{OURS}")))
    with pytest.raises(RowError, match=r"Found 3 responses to compare, expected 2\."):
        prompt.ask(ask("a", "b", "c"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (OURS, DataError, "expected format=NAME"),
        ("format=think\nQ: {request}", DataError, "has the places request"),
        ("format=think\n{response_1}{response_2}{request}", DataError, "then {response_1}"),
        ("format=think\n{request}{request}{response_1}{response_2}", DataError, "each once"),
        ("format=thinks\n" + OURS, UnknownNameError, "Did you mean 'think'"),
        ("format=think,image=first\n" + OURS, RecipeError, "Did you mean 'images'"),
        ("format=score\n{request} {response}", RecipeError, "--kind critiques"),
    ],
)
def test_a_file_that_is_no_prompt_of_a_judge_is_refused(text, error, words, tmp_path):
    with pytest.raises(error, match=words):
        make_prompt(str(written(tmp_path / "mine.txt", text)))


@pytest.mark.parametrize("text", [PYTHON, OURS, THEIRS + "\n"])
def test_the_official_text_is_found_in_its_project_s_file_and_named(text, official, tmp_path, ask):
    prompt = make_prompt(f"r1_reward={written(tmp_path / 'a.py', text)}")
    assert prompt.identity["prompt"] == "r1_reward (official)"
    assert (prompt.format.name, prompt.max_tokens) == ("think", 99)
    assert shown(prompt, ask("a", "b"))[:1] == ["image"]


def test_another_text_says_its_own_digest(official, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        prompt = make_prompt(f"r1_reward={written(tmp_path / 'a.py', OURS + '!')}")
    digest = hashlib.sha256(f"{OURS}!".encode()).hexdigest()
    assert prompt.identity["prompt"] == f"r1_reward ({digest[:12]})"
    assert "not the official text of r1_reward" in caplog.text


def test_of_an_example_the_brackets_are_the_places(monkeypatch, tmp_path):
    text = "Q: [{request}]\nA: [It is [{response_1}].]\nB: [{response_2}]\n"
    monkeypatch.setitem(OFFICIAL._entries, "r1_reward", entry(text, {}, "sentence"))
    prompt = make_prompt(f"r1_reward={written(tmp_path / 'card.md', CARD)}")
    assert prompt.identity["prompt"] == "r1_reward (official)"


def test_without_its_file_a_name_says_where_it_is(official, tmp_path):
    for given in ("r1_reward", f"r1_reward={tmp_path / 'nowhere.py'}"):
        with pytest.raises(MissingFileError, match=r"A project.*src/a\.py.*fetch a\.py, then r1_reward=a\.py"):
            make_prompt(given)
    with pytest.raises(DataError, match=r"has the places none.*fetch a\.py"):
        make_prompt(f"r1_reward={written(tmp_path / 'other.py', 'import os')}")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'r1_reward'.*verdict_line.*r1_reward=FILE"):
        make_prompt("r1_rewards")
    with pytest.raises(MissingFileError, match="no prompt file"):
        make_prompt("nowhere.txt")


@pytest.mark.parametrize("name", OFFICIAL.names())
def test_every_official_prompt_says_how_it_is_brought(name):
    own = OFFICIAL.get(name)
    assert own.command in own.where
    assert len(own.sha256) == 64
    make = make_critic_prompt if list(own.places.values())[1:] == ["response"] else make_prompt
    with pytest.raises(MissingFileError, match=name):
        make(name)


@pytest.mark.parametrize(
    ("name", "text", "critique", "value"),
    [
        ("score", "It is red.\n\nScore: 8", "It is red.", 8),
        ("score", "It is red.\n**Final score: 7.5/10**\n", "It is red.", 7.5),
        ("score", "Score: 8", "", 8),
        ("score", "Score: 3\nIt is red.\nScore: 8", "Score: 3\nIt is red.", None),
        ("score", "Score: 8\nIt is red.", "Score: 8\nIt is red.", None),
        ("score", "It is red.\nScore: 11", "It is red.\nScore: 11", None),
        ("score", "<think>Score: 1</think>It is red.\nScore: 8", "It is red.", 8),
        ("score", "<think>It is", "", None),
        ("score", "", "", None),
        ("right_wrong", "It is red.\nRight.", "It is red.", 1),
        ("right_wrong", "It is red.\nVerdict: **wrong**", "It is red.", 0),
        ("right_wrong", "That is right.", "That is right.", None),
        ("none", "It is red.\nScore: 8", "It is red.\nScore: 8", None),
    ],
)
def test_a_critique_stands_before_its_rating(name, text, critique, value):
    assert make_critic_prompt(name).rating.read(text) == (critique, value)


def test_a_critic_is_shown_one_response(tmp_path, ask):
    own = make_critic_prompt()
    assert "blue" in shown(own.prompt, ask("blue"))[-1] or "blue" in "".join(shown(own.prompt, ask("blue")))
    with pytest.raises(RowError, match="Found 2 responses"):
        own.prompt.ask(ask("a", "b"))
    file = written(tmp_path / "critic.txt", "format=right_wrong\n{request} -> {response}")
    assert shown(make_critic_prompt(str(file)).prompt, ask("blue", prompt=(None, "Why?"))) == ["image", "Why? -> blue"]
    with pytest.raises(RecipeError, match="a critic is shown"):
        make_critic_prompt(str(written(tmp_path / "judge.txt", f"format=think\n{OURS}")))
    assert make_critic_prompt("score").prompt.identity != make_critic_prompt("right_wrong").prompt.identity


@pytest.mark.parametrize(
    ("name", "text", "thought"),
    [
        ("think", "<think>a\nb</think><answer>1</answer>", "a\nb"),
        ("think", "It is red.\n<answer>2</answer>", "It is red."),
        ("think", "<think></think>It is red. <answer>1</answer>", "It is red."),
        ("answer_tag", "So far <b>.</think> <answer>1</answer>", "So far <b>."),
        ("verdict_line", "One.\nTwo.\n**Verdict: 2**", "One.\nTwo."),
        (
            "sentence",
            "Response 1 is better in style. All in all, response 2 is better.",
            "Response 1 is better in style.",
        ),
        ("brackets", "A is fine, so [[A]]", "A is fine, so"),
        ("digit", "1", ""),
        ("verdict_line", "Verdict: 1", ""),
    ],
)
def test_a_thought_stands_before_the_verdict(name, text, thought):
    from basereward.data.judging.formats import FORMATS

    assert FORMATS.get(name).thought(text) == thought
