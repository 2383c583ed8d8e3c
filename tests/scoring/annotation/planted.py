"""Judges of planted answers, and the pairs that they are asked about."""

import json
import re

from basereward.data.judging.prompts import make_prompt
from basereward.data.outcomes import About, Verdict
from basereward.errors import ScoringError
from basereward.scoring.annotation.thoughts import ThoughtTask

THOUGHTS = ThoughtTask(make_prompt("think"))


def completion(text, tokens=None, reason="stop"):
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    return (200, {"choices": [{"message": {"content": text}, "finish_reason": reason}], **usage}, {})


def serve(chat_server, answer):
    """A server that answers questions; asked for its models it names one."""
    return chat_server(lambda request: answer(request) if request.body else (200, {"data": [{"id": "m"}]}, {}))


def write_pairs(path, count=6, **extra):
    """Pairs whose chosen response is right, in words that only the test knows."""
    rows = [
        {"id": f"secret-{n}", "prompt": f"Q{n}?", "chosen": f"apple {n}", "rejected": f"pear {n}", "axis": [n], **extra}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def number_of(text):
    return int(re.search(r"Q(\d+)\?", text)[1])


def think_right(text):
    """The answer of a judge that likes apples."""
    place = 1 + (text.index("apple") > text.index("pear"))
    return f"<think>The apple of {number_of(text)} is response {place}.</think><answer>{place}</answer>"


class Stopping:
    """A judge that stops for good after some questions, and tells what it was asked."""

    def __init__(self, after=None, name="stopping"):
        self.after, self.asked = after, []
        self.about = About(name, sees_images=False, identity={"prompt": "think", "name": name})

    def compare(self, questions):
        if self.after is not None and len(self.asked) >= self.after:
            raise ScoringError("gone")
        self.asked += [(own.prompt[0].text, own.responses[0][0].text) for own in questions]
        return [self.answer(own) for own in questions]

    def answer(self, question):
        place = 1 + (not question.responses[0][0].text.startswith("apple"))
        text = f"<think>Apple.</think><answer>{place}</answer>"
        return Verdict(place - 1, text)
