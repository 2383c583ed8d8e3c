"""Conversations as the chat template renders them, with control strings of users hidden from it and the tokenizer."""

import re
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, NamedTuple

from basereward.data.schema import Message, Messages, Part
from basereward.encoding.text import Hidden, any_of
from basereward.errors import RowError, TemplateError

# What templates of reasoning models look for in answers, to move, strip or drop thoughts. There they are left for the
# template to see, and become control tokens as they do for every user of transformers.
THINKING = ("<think>", "</think>")
_THOUGHTS = any_of(THINKING)
# Characters without a meaning; two that no text uses mark what is hidden.
_PRIVATE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE))


class Rendered(NamedTuple):
    """What a chat template wrote, with the control strings of users hidden in it.

    ``removed`` counts, message by message, the characters of text that the template itself leaves out: thoughts of
    earlier turns, or what stands between repeated marks of a thought.
    """

    text: str
    hidden: Hidden
    removed: tuple[int, ...]


class ChatTemplate:
    """Renders conversations.

    Args:
        tokenizer: whose ``apply_chat_template`` renders.
        source: the template.
        control: the strings that text must not spell to the tokenizer.
        is_flat: whether content is given as one string, because the template renders a list of parts as nothing.
    """

    def __init__(self, tokenizer: Any, source: str, control: Collection[str], is_flat: bool) -> None:
        self.source = source
        self._tokenizer = tokenizer
        self._control = any_of(control)
        self._control_in_answers = any_of(set(control) - set(THINKING))
        self._is_flat = is_flat

    def render(self, messages: Messages, prompt: bool = False) -> Rendered:
        """Return the text of a conversation.

        Args:
            prompt: whether to end with the generation prompt.

        Raises:
            RowError: ``malformed``: text that is no Unicode.
            TemplateError: the template refuses the conversation, or loses text that is no thought.
        """
        marks = _free_marks(messages)
        shown: list[str] = []
        masked = [self._hide(message, marks, shown) for message in messages]
        hidden = Hidden(re.compile(f"{marks[0]}([0-9]+){marks[1]}"), tuple(shown))
        text = self._apply(masked, prompt)
        plain = [part.text for message in masked if not _is_thoughtful(message) for part in message.content]
        if lost := [words for words in plain if words.strip() not in text]:
            raise TemplateError(f"The chat template loses or cuts text: {hidden.restore(lost[0])[:80]!r}.")
        if any(map(_is_thoughtful, masked)):
            return Rendered(text, hidden, self._count_removed(masked, prompt, text, hidden, marks))
        return Rendered(text, hidden, (0,) * len(messages))

    def _hide(self, message: Message, marks: str, shown: list[str]) -> Message:
        """Put a mark for every control string, also for one that only joining the parts of the message would make."""
        pattern = self._control_in_answers if message.role == "assistant" else self._control
        spans = [match.span() for match in pattern.finditer(message.text)]
        if not spans:
            return message
        parts, begin = [], 0
        for part in message.content:
            if part.type != "text":
                parts.append(part)
                continue
            pieces, cursor = [], 0
            for start, end in ((max(start - begin, 0), min(end - begin, len(part.text))) for start, end in spans):
                if start < end:
                    pieces += [part.text[cursor:start], f"{marks[0]}{len(shown)}{marks[1]}"]
                    shown.append(part.text[start:end])
                    cursor = end
            parts.append(Part("text", "".join(pieces) + part.text[cursor:]))
            begin += len(part.text)
        return Message(message.role, tuple(parts))

    def _count_removed(
        self, masked: Sequence[Message], prompt: bool, text: str, hidden: Hidden, marks: str
    ) -> tuple[int, ...]:
        """Count what the template removes of answers with thoughts, piece by piece between the marks of thoughts.

        What it keeps shows when the same conversation is rendered with a mark in place of every piece: templates look
        at the marks of thoughts and at white space, never at words.
        """
        pieces: list[list[str]] = []
        outline = [_outline(message, marks, pieces) for message in masked]
        kept = self._apply(outline, prompt)
        # A template that drops what stands between two pieces could join them to a control string.
        if self._control.findall(text) != self._control.findall(kept):
            raise TemplateError("The chat template makes a control token of an answer by removing text from it.")
        removed, number = [], 0
        for own in pieces:
            gone = 0
            for piece in own:
                if f"{marks[1]}{number}{marks[0]}" not in kept:
                    gone += len(hidden.restore(piece))
                elif piece not in text:
                    raise TemplateError(f"The chat template cuts text: {hidden.restore(piece)[:80]!r}.")
                number += 1
            removed.append(gone)
        return tuple(removed)

    def _apply(self, messages: Sequence[Message], prompt: bool) -> str:
        plain = [message.to_dict() for message in messages]
        if self._is_flat:
            plain = [{"role": message.role, "content": message.text} for message in messages]
        try:
            return self._tokenizer.apply_chat_template(
                plain, chat_template=self.source, tokenize=False, add_generation_prompt=prompt
            )
        # A template refuses by an error of its own, or fails as any program does on what it was not written for.
        except Exception as error:
            raise TemplateError(f"The chat template refuses this conversation: {error}") from error


def _is_thoughtful(message: Message) -> bool:
    return message.role == "assistant" and bool(_THOUGHTS.search(message.text))


def _outline(message: Message, marks: str, pieces: list[list[str]]) -> Message:
    """Return an answer with thoughts with a mark for every piece of text between the marks of thoughts.

    The pieces are appended to ``pieces``, without the white space around them; other messages have none.
    """
    pieces.append([])
    if not _is_thoughtful(message):
        return message
    first = sum(map(len, pieces))
    written = []
    for place, piece in enumerate(re.split(f"({_THOUGHTS.pattern})", message.text)):
        core = piece.strip()
        if core and place % 2 == 0:
            before, after = piece.split(core)
            pieces[-1].append(core)
            piece = f"{before}{marks[1]}{first + len(pieces[-1]) - 1}{marks[0]}{after}"
        written.append(piece)
    others = [part for part in message.content if part.type != "text"]
    return Message(message.role, (*others, Part("text", "".join(written))))


def _free_marks(messages: Messages) -> str:
    """Return two characters that no text contains.

    Raises:
        RowError: ``malformed``: half a surrogate pair, or a text of nothing but private characters.
    """
    text = "".join(message.text for message in messages)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError("malformed", f"Found half a surrogate pair in {text[:80]!r}; expected Unicode text.") from error
    used = set(text)
    free = "".join(islice((character for character in map(chr, _PRIVATE) if character not in used), 2))
    if len(free) < 2:
        raise RowError("malformed", "The text uses all private characters of Unicode; expected most of them unused.")
    return free
