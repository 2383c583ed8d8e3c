"""Conversations as a chat template wrote them, read back into messages: what RL loops send of their policy's texts.

A text is read back only if rendering the messages gives the same text again. So a text of another template, or of none,
is refused instead of being scored as if it were one, and its reward is that of the messages.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from basereward.data.schema import Message, Messages, Part
from basereward.errors import RowError, TemplateError

if TYPE_CHECKING:
    from basereward.encoding.template import Template

# Marks of turns look so in most templates; in a prompt without a template one is of another template.
_FOREIGN_MARK = re.compile(r"<\|[^|<>]{1,40}\|>")
# Stand where a conversation has text; no template writes them.
_SYSTEM, _ASKED, _SAID, _ASKED_AGAIN, _SAID_AGAIN = (chr(0xF0000 + place) for place in range(5))


class ReadText(NamedTuple):
    """A prompt, and the response that stood behind it; ``is_rendered`` if a template wrote the prompt."""

    prompt: Messages
    response: str
    is_rendered: bool


class _TurnMarks(NamedTuple):
    """What a template writes before, between and behind the texts of a conversation."""

    start: str
    system: tuple[str, str] | None
    to_answer: str
    to_question: str
    end: str
    to_generate: str

    @property
    def written(self) -> tuple[str, ...]:
        """All of it."""
        return self.start, *(self.system or ()), self.to_answer, self.to_question, self.end, self.to_generate


class RenderedReader:
    """Reads texts of one template, which it learns by rendering.

    Args:
        template: of the served model.

    Raises:
        TemplateError: nothing tells the turns of this template apart.
    """

    def __init__(self, template: "Template") -> None:
        self._template = template
        self._turns = _learn_turns(template)
        tokenizer = template.tokenizer
        written = "".join(self._turns.written)
        # Between turns of another role than these three they would be taken for something that someone said.
        self._marks = [mark for mark in template.control if mark in written]
        self._ends = [text for text in (tokenizer.eos_token, tokenizer.pad_token) if text]
        self._pad = self._image = ""
        if template.vision:
            self._pad = template.vision.placeholders["image"]
            shown = template.render((Message("user", (Part("image"), Part("text", _ASKED))),))
            self._image = _between(shown, _ASKED, self._turns.start)

    def read(self, text: str, prompt: str | None = None) -> ReadText:
        """Return the prompt and the response of a text.

        Args:
            text: prompt and response; marks of the end behind it are taken off.
            prompt: the beginning of ``text``, rendered or as the user wrote it, where it is known. Then nothing that
                the response spells can be taken for a turn.

        Raises:
            RowError: ``malformed``: not a text of this template.
        """
        text, prompt = self._collapse(text), None if prompt is None else self._collapse(prompt)
        if prompt is not None and text.startswith(prompt):
            begin = len(prompt)
            if not prompt.endswith(self._turns.to_generate):
                return ReadText((self._plain(prompt),), self._cut_end(text[begin:]), is_rendered=False)
        else:
            begin = text.rfind(self._turns.to_generate)
            begin = begin if begin < 0 else begin + len(self._turns.to_generate)
        if begin < 0:
            raise _foreign()
        response = self._thought() + self._cut_end(text[begin:])
        return ReadText(self._read_prompt(text[:begin]), response, is_rendered=True)

    def _collapse(self, text: str) -> str:
        """Write each run of pad tokens, decoded from ids, as the one placeholder that a template writes."""
        return re.sub(f"(?:{re.escape(self._pad)})+", lambda _: self._pad, text) if self._pad else text

    def _plain(self, prompt: str) -> Message:
        """Return what the user wrote, without any template."""
        if _FOREIGN_MARK.search(prompt):
            raise _foreign()
        return _say("user", prompt)

    def _thought(self) -> str:
        """Return what of the response the generation prompt has begun, such as the mark of a thought."""
        opening, generate = self._turns.to_answer, self._turns.to_generate
        return generate.removeprefix(opening) if generate.startswith(opening) else ""

    def _cut_end(self, response: str) -> str:
        marks = [mark for mark in (self._turns.end, self._turns.end.strip(), *self._ends) if mark]
        # By place: a padded text would be copied once for each of its pads.
        end = len(response)
        while cut := next((mark for mark in marks if response.endswith(mark, 0, end)), None):
            end -= len(cut)
        return response[:end]

    def _read_prompt(self, text: str) -> Messages:
        turns = self._turns
        body = text.removesuffix(turns.to_generate)
        messages: list[Message] = []
        if turns.system and body.startswith(turns.system[0]) and turns.system[1] in body:
            system, body = body.removeprefix(turns.system[0]).split(turns.system[1], 1)
            messages.append(Message("system", (Part("text", system),)))
        elif body.startswith(turns.start):
            body = body.removeprefix(turns.start)
        else:
            raise _foreign()
        for number, said in enumerate(self._cut_turns(body)):
            messages.append(Message("assistant", (Part("text", said),)) if number % 2 else self._question(said))
        prompt = tuple(messages)
        if any(mark in message.text for message in prompt for mark in self._marks) or self._render(prompt) != text:
            # A default system prompt is part of ``start``; others may begin as it does.
            raise _foreign()
        return prompt

    def _cut_turns(self, body: str) -> list[str]:
        """Cut a body into questions and answers, in turn."""
        said: list[str] = []
        marks = (self._turns.to_answer, self._turns.to_question)
        begin = 0
        while True:
            mark = marks[len(said) % 2]
            end = body.find(mark, begin)
            said.append(body[begin:end] if end >= 0 else body[begin:])
            if end < 0:
                return said
            begin = end + len(mark)

    def _question(self, text: str) -> Message:
        texts = text.split(self._image) if self._image else [text]
        parts = [Part("text", texts[0])]
        for more in texts[1:]:
            parts += [Part("image"), Part("text", more)]
        return Message("user", tuple(part for part in parts if part.type != "text" or part.text or len(parts) == 1))

    def _render(self, prompt: Messages) -> str | None:
        try:
            return self._template.render(prompt, prompt=True)
        except (RowError, TemplateError):
            return None


def _learn_turns(template: "Template") -> _TurnMarks:
    dialogue = [
        _say("user", _ASKED),
        _say("assistant", _SAID),
        _say("user", _ASKED_AGAIN),
        _say("assistant", _SAID_AGAIN),
    ]
    whole = template.render(tuple(dialogue))
    start, to_answer, to_question, _, end = _cut(whole, (_ASKED, _SAID, _ASKED_AGAIN, _SAID_AGAIN))
    _, to_generate = _cut(template.render((dialogue[0],), prompt=True), (_ASKED,))
    try:
        opening, behind, _ = _cut(template.render((_say("system", _SYSTEM), dialogue[0]), True), (_SYSTEM, _ASKED))
        system: tuple[str, str] | None = (opening, behind)
    except TemplateError:
        # The template takes no system prompt.
        system = None
    if not (to_answer and to_question and to_generate):
        raise TemplateError("The chat template writes nothing between turns.")
    return _TurnMarks(start, system, to_answer, to_question, end, to_generate)


def _cut(text: str, marks: tuple[str, ...]) -> list[str]:
    """Return what stands before, between and behind marks that stand in this order."""
    places = [text.find(mark) for mark in marks]
    if min(places) < 0 or places != sorted(places):
        raise TemplateError("The chat template changes the order of a conversation.")
    ends = [0, *(place + 1 for place in places)]
    return [text[one:other] for one, other in zip(ends, [*places, len(text)], strict=True)]


def _say(role: str, text: str) -> Message:
    return Message(role, (Part("text", text),))


def _between(text: str, mark: str, start: str) -> str:
    return text[: text.find(mark)].removeprefix(start)


def _foreign() -> RowError:
    return RowError("malformed", "Expected a text that the model's chat template wrote; send messages instead.")
