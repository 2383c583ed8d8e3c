"""The trivial scorers: their rules, their independence of batch and order, and that they need no torch."""

import subprocess
import sys

import pytest

from basereward.data.outcomes import Score
from basereward.data.schema import PreferencePair, Response, ResponseGroup, messages_from_text
from basereward.errors import UnknownNameError
from basereward.scoring.baselines import BASELINES


def make_group(*texts: str, name: str = "group") -> ResponseGroup:
    responses = tuple(Response(f"{name}/{text}", messages_from_text(text, "assistant")) for text in texts)
    return ResponseGroup(name, messages_from_text("Which?"), responses)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("longer", [1.0, 3.0, 2.0]), ("shorter", [-1.0, -3.0, -2.0]), ("first", [0.0, -1.0, -2.0])],
)
def test_each_rule(name: str, expected: list[float]) -> None:
    assert BASELINES.get(name).score([make_group("a", "äöü", "bc")]) == [[Score(value) for value in expected]]


def test_length_is_counted_in_characters_of_all_messages() -> None:
    messages = messages_from_text("ab", "assistant") + messages_from_text("€", "assistant", images=1)
    group = ResponseGroup("g", messages_from_text("q"), (Response("r", messages),))
    assert BASELINES.get("longer").score([group]) == [[Score(3.0)]]


def test_random_depends_on_the_response_alone() -> None:
    scorer = BASELINES.get("random")
    [[a, b, c]] = scorer.score([make_group("a", "b", "c")])
    assert scorer.score([make_group("z", name="other"), make_group("c", "a")])[1] == [c, a]
    assert len({a, b, c}) == 3
    assert all(0 <= score.value < 1 for score in (a, b, c))


def test_random_is_spread_evenly() -> None:
    scores = [score.value for score in BASELINES.get("random").score([make_group(*map(str, range(2000)))])[0]]
    assert sum(scores) / 2000 == pytest.approx(0.5, abs=0.03)
    assert sum(score < 0.25 for score in scores) / 2000 == pytest.approx(0.25, abs=0.04)


def test_position_says_nothing_about_the_label() -> None:
    texts = [messages_from_text(f"answer {index}", "assistant") for index in range(401)]
    prompt = messages_from_text("Which?")
    pairs = [PreferencePair(str(n), "s", prompt, texts[n], texts[n + 1]) for n in range(400)]
    first = sum(pair.comparison().chosen == 0 for pair in pairs)
    assert 150 < first < 250


def test_names() -> None:
    assert BASELINES.names() == ["first", "longer", "random", "shorter"]
    assert BASELINES.get("longer").about.name == "baseline:longer"
    with pytest.raises(UnknownNameError, match="longer"):
        BASELINES.get("long")


def test_baselines_and_evaluation_do_not_import_torch() -> None:
    code = (
        "import sys, basereward.scoring.baselines, basereward.evaluation.runs, basereward.statistics;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
