"""Groups between text and tensors: their conversations as ids, and the sizes of these."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from basereward.encoding.media import EncodedImages, Positions
from basereward.errors import TemplateError


class Removed(NamedTuple):
    """Characters of text that the chat template itself leaves out: of the prompt, and of every response."""

    prompt: int = 0
    responses: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """All of them; those of the prompt once."""
        return self.prompt + sum(self.responses)


NOTHING_REMOVED = Removed()


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """The conversations of a group: what they all begin with, and how each goes on.

    ``answer_lengths`` are the tokens of each response after the generation prompt, for length normalisation. ``keys``
    are equal where the tokens of two prefixes may be shared: the ids, and in place of pad tokens the image's key.
    ``is_apart`` says that suffixes share nothing with others.
    """

    prefix: Int[np.ndarray, " prefix"]
    suffixes: tuple[Int[np.ndarray, " _"], ...]
    positions: Positions
    answer_lengths: tuple[int, ...]
    images: EncodedImages | None = None
    removed: Removed = NOTHING_REMOVED
    keys: Int[np.ndarray, " prefix"] = None  # type: ignore[assignment]
    is_apart: bool = False

    def __post_init__(self) -> None:
        if self.keys is None:
            if self.images is not None:
                raise TemplateError("A group with images has keys: ids alone do not tell images of one size apart.")
            object.__setattr__(self, "keys", self.prefix)

    @property
    def tokens(self) -> int:
        """Tokens computed for this group alone."""
        return len(self.prefix) + sum(map(len, self.suffixes))

    @property
    def removed_counts(self) -> tuple[int, ...]:
        """Characters of each response that the chat template leaves out."""
        return self.removed.responses or (0,) * len(self.suffixes)

    def take(self, members: Sequence[int]) -> "EncodedGroup":
        """Return the group with some of its responses, in the order given."""
        return replace(
            self,
            suffixes=tuple(self.suffixes[member] for member in members),
            answer_lengths=tuple(self.answer_lengths[member] for member in members),
            removed=self.removed._replace(responses=tuple(self.removed_counts[member] for member in members)),
        )


class EncodedPrompt(NamedTuple):
    """A prompt up to the place where a model goes on."""

    ids: Int[np.ndarray, " token"]
    images: EncodedImages | None


class SharingKeys(NamedTuple):
    """Numbers of 62 bits that are equal where tokens are: up to the last image, of the prompt, of each sequence."""

    opening: int
    prompt: int
    responses: tuple[int, ...]


class GroupLength(NamedTuple):
    """Tokens of a group, known without decoding an image; ``image_tokens`` counts those of videos too.

    ``removed`` counts the characters that the chat template leaves out. ``prompt`` are the tokens up to the answers,
    of which ``opening`` end with the last image (0 without one); both are 0 if no ``keys`` were asked for.
    """

    prefix: int
    suffixes: tuple[int, ...]
    image_tokens: int
    removed: int = 0
    prompt: int = 0
    opening: int = 0
    keys: SharingKeys | None = None

    @property
    def total(self) -> int:
        """Tokens computed for the group in one tree."""
        return self.prefix + sum(self.suffixes)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence: prefix and one suffix."""
        return self.prefix + max(self.suffixes, default=0)
