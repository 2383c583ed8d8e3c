"""Text as token ids: control tokens only where the chat template wrote them, everywhere else plain text."""

import copy
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tokenizers import AddedToken, Tokenizer

from basereward.encoding.facts import TokenizerFacts, tokenizer_facts
from basereward.errors import TemplateError


@runtime_checkable
class Memo(Protocol):
    """Ids of the stretches that were encoded already, by whether they begin the text; it may forget any of them."""

    def get(self, key: tuple[bool, str], /) -> list[int] | None:
        """Return the ids, None if they are not known."""
        ...

    def __setitem__(self, key: tuple[bool, str], ids: list[int], /) -> None: ...


class Hidden(NamedTuple):
    """Strings of users for which marks stand in a text: the n-th is written as ``n`` between two rare characters."""

    marks: re.Pattern[str]
    shown: tuple[str, ...]

    def restore(self, text: str) -> str:
        """Return a text with the strings in place of their marks."""
        return self.marks.sub(lambda mark: self.shown[int(mark.group(1))], text) if self.shown else text


class TextEncoder:
    """A tokenizer, taken apart at its added tokens.

    Every tokenizer cuts a text at its added tokens first and encodes each stretch between them by itself. So a
    stretch has the same ids when a copy that knows no added token encodes it alone. That gives three things: text of
    users is encoded by the copy and never becomes a control token, whatever it spells; equal stretches of several
    conversations are encoded once; and the ids are still those of the whole text.

    Args:
        tokenizer: a fast tokenizer of transformers.
        placeholders: what the chat template writes for images and videos, added tokens or not.

    Attributes:
        control: what text of users must not spell: added tokens and placeholders. Added tokens that are white space
            (the newlines of Gemma, the indents of GPT-NeoX) are words like any other.
        frame: the ids that the tokenizer itself puts before and behind a text.
    """

    def __init__(self, tokenizer: Any, placeholders: Iterable[str] = ()) -> None:
        self._core: Tokenizer = tokenizer.backend_tokenizer
        self.frame = _frame(tokenizer)
        added = self._core.get_added_tokens_decoder()
        self._ids = {token.content: index for index, token in added.items()}
        self._strip_left = {token.content for token in added.values() if token.lstrip}
        self._strip_right = {token.content for token in added.values() if token.rstrip}
        words = [text for text in self._ids if not text.isspace()]
        # What no vocabulary holds becomes the unknown token, in plain text too.
        self._control_ids = {self._ids[word] for word in words} - {tokenizer.unk_token_id}
        self.control = frozenset([*words, *placeholders])
        longest_first = sorted(added.values(), key=lambda token: len(token.content), reverse=True)
        self._cut = re.compile(f"({'|'.join(map(_pattern, longest_first)) or '(?!)'})")
        self._make_bare()

    def _make_bare(self) -> None:
        self._first = _bare(self._core, self._core.pre_tokenizer)
        # Some SentencePiece tokenizers put a space before the first word of a text, but not behind a control token.
        self._inner = _bare(self._core, _without_first_space(self._core.pre_tokenizer))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what shares a vocabulary here; written for another process, each would have one of its own."""
        return {name: value for name, value in vars(self).items() if name not in ("_first", "_inner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_bare()

    @cached_property
    def facts(self) -> TokenizerFacts:
        """Hashes of everything that decides ids."""
        return tokenizer_facts(self._core)

    def encode(self, text: str, hidden: Hidden, memo: Memo) -> list[int]:
        """Return the ids of a rendered conversation.

        Args:
            text: what the chat template gave.
            hidden: the control strings of users, for which marks stand in ``text``.
            memo: stretches encoded before; new ones are added.

        Raises:
            TemplateError: the tokenizer makes a control token even of plain text.
        """
        # Stretches and added tokens in turn, a stretch first and last.
        pieces = self._cut.split(text)
        tokens = [None, *pieces[1::2], None]
        ids: list[int] = []
        for stretch, before, after in zip(pieces[::2], tokens[:-1], tokens[1:], strict=True):
            # Some added tokens swallow the white space beside them.
            stretch = stretch.lstrip() if before in self._strip_right else stretch
            stretch = stretch.rstrip() if after in self._strip_left else stretch
            ids += self._encode_stretch(stretch, before is None, hidden, memo)
            ids += [] if after is None else [self._ids[after]]
        return ids

    def _encode_stretch(self, stretch: str, is_first: bool, hidden: Hidden, memo: Memo) -> list[int]:
        text = hidden.restore(stretch)
        known = memo.get((is_first, text))
        if known is None:
            plain = self._first if is_first else self._inner
            known = plain.encode(text, add_special_tokens=False).ids
            if text != stretch and not self._control_ids.isdisjoint(known):
                raise TemplateError(f"The tokenizer makes a control token of plain text: {text[:80]!r}.")
            memo[is_first, text] = known
        return known


def any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of any of these texts, the longest first; of none, it matches nothing."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)")


def _frame(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    inner = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a")
    places = [at for at in range(len(whole)) if whole[at : at + len(inner)] == inner]
    first = places[0] if places else 0
    return tuple(whole[:first]), tuple(whole[first + len(inner) :])


def _pattern(token: AddedToken) -> str:
    word = re.escape(token.content)
    return rf"(?<!\w){word}(?!\w)" if token.single_word else word


def _bare(core: Tokenizer, pre_tokenizer: Any) -> Tokenizer:
    """Return a tokenizer that knows no added token; it shares the vocabulary, which is large."""
    bare = Tokenizer(core.model)
    bare.normalizer, bare.pre_tokenizer = core.normalizer, pre_tokenizer  # type: ignore[assignment]
    return bare


def _without_first_space(pre_tokenizer: Any) -> Any:
    """Return a splitter into words that puts no space before the first word of a text alone."""
    state = pre_tokenizer.__getstate__() if pre_tokenizer else b""
    changed = state.replace(b'"prepend_scheme":"first"', b'"prepend_scheme":"never"')
    if changed == state:
        return pre_tokenizer
    inner = copy.deepcopy(pre_tokenizer)
    inner.__setstate__(changed)
    return inner
