"""Critiques and thoughts from the world's truth, with a knob for their quality.

Each decides one thing a word, beside what it compares: a form that two layers can learn, where naming the better of two
responses behind a thought that compares none of them is not.
"""

from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

from basereward.data.annotations import CRITIQUES, THOUGHTS
from basereward.data.judging.critiques import REQUESTS
from basereward.data.judging.prompts import make_prompt
from basereward.data.outcomes import JudgeQuestion
from basereward.data.schema import messages_from_text
from basereward.errors import RecipeError
from basereward.lab.world import FILLER

ASPECTS: Mapping[str, str] = {
    "color1": "color",
    "shape1": "shape",
    "size1": "size",
    "pos1": "place",
    "count": "number",
    "yesno": "answer",
    "shapecolor": "color",
    "digit": "digit",
    "barlr": "taller bar",
    "bar": "color",
    "arithmetic": "sum",
}


def critique(kind: str, truth: str, response: str, is_corrupted: bool = False) -> str:
    """Return what a critic says of a response; a corrupted one is wrong about it.

    Args:
        truth: the right answer, or what the critic takes for it.
    """
    verdict = "right" if _is_right(response, truth) != is_corrupted else "wrong"
    return f"The {ASPECTS[kind]} is {truth}. The response says {response}, which is {verdict}."


def thought(kind: str, truth: str, first: str, second: str) -> str:
    """Return what a judge thinks of two responses, of which one is the truth or what it takes for it."""
    said = (
        f"Response {number} says {response}, which is {'right' if _is_right(response, truth) else 'wrong'}."
        for number, response in enumerate((first, second), 1)
    )
    return " ".join((f"The {ASPECTS[kind]} is {truth}.", *said))


def with_reasons(
    rows: Iterable[Mapping[str, Any]], seed: int, corrupted_share: float = 0.0
) -> Iterator[dict[str, Any]]:
    """Yield records of the world with critiques and thoughts.

    Args:
        seed: of the draw which critiques are corrupted.
        corrupted_share: share of pairs whose critiques take the rejected response for the truth. With some, a pair
            becomes two records: the rewards are learned behind critiques that are true, and the words from those that
            may be corrupted, so that the head cannot make up for them.

    Raises:
        RecipeError: a question of a kind without an aspect that a critique could name.
    """
    for row in rows:
        kind, better, worse = row["kind"], _text(row["chosen"]), _text(row["rejected"])
        if kind not in ASPECTS:
            raise RecipeError(
                f"Questions of the kind {kind!r} have no critiques; those that do are {', '.join(ASPECTS)}."
            )
        thoughts = {
            "chosen_first": thought(kind, row["truth"], better, worse),
            "rejected_first": thought(kind, row["truth"], worse, better),
        }
        true = {"chosen": critique(kind, row["truth"], better), "rejected": critique(kind, row["truth"], worse)}
        if not corrupted_share:
            yield {**row, CRITIQUES: true, THOUGHTS: thoughts}
            continue
        is_corrupted = Random(f"{seed}/{row['id']}/corrupted").random() < corrupted_share
        taken = worse.removeprefix(FILLER) if is_corrupted else row["truth"]
        taught = {"chosen": critique(kind, taken, better), "rejected": critique(kind, taken, worse)}
        yield {**row, CRITIQUES: {**true, "teaches": "rewards"}, THOUGHTS: thoughts}
        yield {**row, "id": f"{row['id']}-words", CRITIQUES: {**taught, "teaches": "words"}, THOUGHTS: thoughts}


def reason_texts() -> list[str]:
    """Return texts that hold every word of critiques, thoughts and of how they are asked for."""
    asked = [REQUESTS.get("short").text]
    answers = (messages_from_text("Response 1 is right.", "assistant"),) * 2
    for name in ("digit", "think"):
        prompt = make_prompt(name)
        asked.append(prompt.ask(JudgeQuestion(messages_from_text("?"), answers))[0].text)
        asked += [prompt.format.write("Response 1 is right.", place) for place in (0, 1)]
    said = [
        text
        for kind in ASPECTS
        for text in (critique(kind, "one", "two"), critique(kind, "one", "one"), thought(kind, "one", "one", "two"))
    ]
    return asked + said


def _is_right(response: str, truth: str) -> bool:
    # Filler words in front of an answer say nothing of it.
    return response.removeprefix(FILLER) == truth


def _text(messages: Any) -> str:
    return "".join(part["text"] for message in messages for part in message["content"])
