"""Conversations that end where the assistant goes on, as a tree: what they share, images above all, stands once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from basereward.data.schema import Messages, ResponseGroup
from basereward.encoding.groups import EncodedPrompt
from basereward.encoding.media import EncodedImages, Positions, text_positions
from basereward.encoding.template import Template
from basereward.encoding.tree import shared_prefix
from basereward.errors import TemplateError


@dataclass(frozen=True, slots=True)
class Openings:
    """What a model is to continue: ``prefix`` is computed once, every suffix ends with the generation prompt.

    Both have at least one token. ``images`` all stand in the prefix. ``firsts`` are the numbers of the first samples of
    openings that are sampled again; all begin with 0 if there are none.
    """

    prefix: Int[np.ndarray, " prefix"]
    suffixes: tuple[Int[np.ndarray, " _"], ...]
    positions: Positions
    images: EncodedImages | None = None
    firsts: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens computed for all of them."""
        return len(self.prefix) + sum(map(len, self.suffixes))


def encode_openings(template: Template, group: ResponseGroup, conversations: Sequence[Messages]) -> Openings:
    """Encode conversations about the images and videos of a group, whose own messages are not read.

    Raises:
        RowError: an image or frame cannot be read, or text is malformed.
        TemplateError: the template loses text, the backbone reads no images, or conversations share no beginning that
            holds all of these.
    """
    first = template.encode_prompt(replace(group, prompt=conversations[0], responses=()))
    expansions = first.images.expansions if first.images else ()
    others = [template.conversation_ids(messages, expansions, prompt=True) for messages in conversations[1:]]
    return _grow(template, group.id, [first.ids, *others], first.images)


def open_prompt(template: Template, prompt: EncodedPrompt) -> Openings:
    """Return one prompt as a tree: its last token is the suffix.

    Raises:
        TemplateError: it has fewer than two tokens.
    """
    return _grow(template, "prompt", [prompt.ids], prompt.images)


def _grow(
    template: Template, name: str, sequences: Sequence[Int[np.ndarray, " _"]], images: EncodedImages | None
) -> Openings:
    split = shared_prefix(sequences)
    vision = template.vision
    if split < 1 or (vision and any(np.isin(own[split:], vision.pad_ids).any() for own in sequences)):
        raise TemplateError(
            f"The conversations of {name!r} share no beginning with all images; ask about each of them alone."
        )
    prefix = sequences[0][:split]
    positions = vision.positions(prefix, images) if vision else text_positions(prefix, template.axes)
    return Openings(prefix, tuple(own[split:] for own in sequences), positions, images)
