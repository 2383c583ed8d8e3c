"""Conversations as token ids: equal to the chat template's own, with user text that can never become control tokens."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from basereward.data.images import ImageLimits, load_image
from basereward.data.schema import Message, Messages, ResponseGroup, count_parts
from basereward.encoding.vision import EncodedImages, IntArray, Positions, VisionEncoding, text_positions
from basereward.errors import RowError, TemplateError

# Private-use characters stand for a text part while the template is rendered around it.
_SENTINEL = re.compile("\ue000([0-9]+)\ue001")


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """The token tree of a group: ``prefix`` is computed once, every suffix continues it.

    ``answer_lengths`` are the tokens of each response after the generation prompt, for length normalisation.
    """

    prefix: IntArray
    suffixes: tuple[IntArray, ...]
    positions: Positions
    answer_lengths: tuple[int, ...]
    images: EncodedImages | None = None

    @property
    def tokens(self) -> int:
        """Tokens computed for this group."""
        return len(self.prefix) + sum(map(len, self.suffixes))


class GroupLength(NamedTuple):
    """Tokens of a group, known without decoding an image."""

    prefix: int
    suffixes: tuple[int, ...]
    image_tokens: int

    @property
    def total(self) -> int:
        """Tokens computed for the group in one tree."""
        return self.prefix + sum(self.suffixes)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence: prefix and one suffix."""
        return self.prefix + max(self.suffixes, default=0)


class Template:
    """Encodes groups with the tokenizer, chat template and vision encoding of one backbone.

    Args:
        processor: the Hugging Face processor of a vision-language backbone, or the tokenizer of a text backbone.
        vision: image encoding, or None for a text backbone, whose message content is flattened to a string.
        axes: rotary position axes: 3 for M-RoPE, 1 otherwise.
        max_length: the longest sequence (prompt and one response) in tokens; longer ones are refused, never cut.
    """

    def __init__(
        self,
        processor: Any,
        vision: VisionEncoding | None = None,
        axes: int = 1,
        max_length: int | None = None,
        image_limits: ImageLimits | None = None,
    ) -> None:
        if not isinstance(processor.chat_template, str):
            raise TemplateError("The backbone has no single chat template; add chat_template.jinja to its folder.")
        self.processor = processor
        self.tokenizer = tokenizer = processor.tokenizer if vision else processor
        self.chat_template: str = processor.chat_template
        self.vision = vision
        self.axes = axes
        self.max_length = max_length
        self.image_limits = image_limits or ImageLimits()
        self._added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
        self._added_pattern = re.compile("|".join(map(re.escape, sorted(self._added, key=len, reverse=True))) or "(?!)")
        self._plain = _without_added_tokens(tokenizer)

    @property
    def hash(self) -> str:
        """A fingerprint of everything that decides the ids: template, added tokens and vocabulary size."""
        facts = [self.chat_template, sorted(self._added.items()), self.tokenizer.vocab_size, self.axes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def encode(self, group: ResponseGroup) -> EncodedGroup:
        """Encode a group with its images.

        Raises:
            RowError: an image cannot be read, text is malformed, or ``too_long``.
            TemplateError: the template loses text, there are no responses, or the backbone reads no images.
        """
        images = self._encode_images(group)
        counts = images.token_counts if images else []
        ids = self._conversations(group, counts)
        split = self._shared(group.id, ids)
        prefix = ids[0][:split]
        grid = images.image_grid_thw if images else None
        positions = self.vision.positions(prefix, grid) if self.vision else text_positions(prefix, self.axes)
        suffixes = tuple(sequence[split:] for sequence in ids)
        return EncodedGroup(prefix, suffixes, positions, self._answer_lengths(group, ids, counts), images)

    def measure(self, group: ResponseGroup, image_sizes: Sequence[tuple[int, int]]) -> GroupLength:
        """Return the lengths that ``encode`` would give, from image sizes (width, height) alone.

        Raises:
            RowError: text is malformed, or ``too_long``.
            TemplateError: as ``encode``.
        """
        counts = [self._require_vision(group.id).count_tokens(*size) for size in image_sizes]
        ids = self._conversations(group, counts)
        split = self._shared(group.id, ids)
        return GroupLength(split, tuple(len(sequence) - split for sequence in ids), sum(counts))

    def conversation_ids(self, messages: Messages, image_tokens: Sequence[int] = (), prompt: bool = False) -> IntArray:
        """Return the ids of a whole conversation: those of ``apply_chat_template``, images expanded.

        Args:
            messages: all messages.
            image_tokens: tokens of each image, in order.
            prompt: whether to end with the generation prompt.

        Raises:
            RowError: ``malformed``: text that is no Unicode.
            TemplateError: the template loses text, or its image tokens do not fit the counts.
        """
        return self._ids(messages, image_tokens, prompt, self._names_control_tokens(messages))

    def _names_control_tokens(self, messages: Messages) -> bool:
        """Whether text holds an added token, also one that only joining the parts of a message would make."""
        return any(self._added_pattern.search(message.text) for message in messages)

    def _ids(self, messages: Messages, image_tokens: Sequence[int], prompt: bool, apart: bool) -> IntArray:
        texts = [part.text for message in messages for part in message.content if part.type == "text"]
        for text in texts:
            _check_unicode(text)
        if apart:
            ids = self._encode_apart(messages, texts, prompt)
        else:
            rendered = self._render(messages, prompt)
            lost = [text for text in texts if text.strip() not in rendered]
            if lost:
                raise TemplateError(f"The chat template loses or cuts text: {lost[0][:80]!r}.")
            ids = self.tokenizer.encode(rendered, add_special_tokens=False)
        return self._expand_images(np.array(ids, dtype=np.int64), image_tokens)

    def _conversations(self, group: ResponseGroup, image_tokens: Sequence[int]) -> list[IntArray]:
        if not group.responses:
            raise TemplateError(f"Group {group.id!r} has no responses; expected at least one.")
        return [self.conversation_ids(group.prompt + response.messages, image_tokens) for response in group.responses]

    def _answer_lengths(
        self, group: ResponseGroup, ids: Sequence[IntArray], image_tokens: Sequence[int]
    ) -> tuple[int, ...]:
        """Count the tokens after the generation prompt, which is encoded in the way of each conversation."""
        in_prompt = image_tokens[: count_parts(group.prompt, "image")]
        ways = [self._names_control_tokens(group.prompt + response.messages) for response in group.responses]
        openings = {apart: self._ids(group.prompt, in_prompt, True, apart) for apart in set(ways)}
        return tuple(len(own) - common_length([openings[apart], own]) for own, apart in zip(ids, ways, strict=True))

    def _encode_images(self, group: ResponseGroup) -> EncodedImages | None:
        if not group.images:
            return None
        vision = self._require_vision(group.id)
        return vision.encode([load_image(image, self.image_limits) for image in group.images])

    def _require_vision(self, group_id: str) -> VisionEncoding:
        if self.vision is None:
            raise TemplateError(f"Group {group_id!r} has images, but this backbone reads text only.")
        return self.vision

    def _shared(self, group_id: str, ids: Sequence[IntArray]) -> int:
        length = max(map(len, ids))
        if self.max_length and length > self.max_length:
            raise RowError(
                "too_long", f"{group_id!r} has {length} tokens, more than max_length {self.max_length}; raise it."
            )
        split = shared_prefix(ids)
        if self.vision and any((own[split:] == self.vision.image_token_id).any() for own in ids):
            raise TemplateError(
                f"Group {group_id!r} has an image after its shared prefix; "
                "a response with images needs a group of its own."
            )
        return split

    def _render(self, messages: Sequence[Message], prompt: bool) -> str:
        plain = [message.to_dict() for message in messages]
        if self.vision is None:
            # Text templates render list content as nothing at all.
            plain = [{"role": message.role, "content": message.text} for message in messages]
        return self.tokenizer.apply_chat_template(
            plain, chat_template=self.chat_template, tokenize=False, add_generation_prompt=prompt
        )

    def _encode_apart(self, messages: Messages, texts: list[str], prompt: bool) -> list[int]:
        """Encode the template's own text with control tokens and every part as plain text."""
        pieces = _SENTINEL.split(self._render(_with_sentinels(messages), prompt))
        found = [int(index) for index in pieces[1::2]]
        if sorted(set(found)) != list(range(len(texts))):
            raise TemplateError(f"The chat template renders text parts {found} of {len(texts)}; it loses or cuts text.")
        ids: list[int] = []
        for position, piece in enumerate(pieces):
            if position % 2 == 0:
                ids += self.tokenizer.encode(piece, add_special_tokens=False)
            else:
                ids += self._encode_plain(texts[int(piece)])
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        ids = self._plain.encode(text, add_special_tokens=False).ids
        if set(ids) & set(self._added.values()):
            raise TemplateError(f"The tokenizer makes a control token of plain text: {text[:80]!r}.")
        return ids

    def _expand_images(self, ids: IntArray, image_tokens: Sequence[int]) -> IntArray:
        if self.vision is None:
            return ids
        is_image = ids == self.vision.image_token_id
        if is_image.sum() != len(image_tokens):
            raise TemplateError(
                f"The template wrote {is_image.sum()} image tokens for {len(image_tokens)} images; check it."
            )
        repeats = np.ones(len(ids), dtype=np.int64)
        repeats[is_image] = image_tokens
        return np.repeat(ids, repeats)


def common_length(sequences: Sequence[IntArray]) -> int:
    """Return the length of the longest common prefix."""
    shortest = min(map(len, sequences))
    first = sequences[0][:shortest]
    differs = np.zeros(shortest, dtype=bool)
    for other in sequences[1:]:
        differs |= other[:shortest] != first
    return int(differs.argmax()) if differs.any() else shortest


def shared_prefix(sequences: Sequence[IntArray]) -> int:
    """Return how many tokens to share: the common prefix, but at least one token is left to every response."""
    return min(common_length(sequences), min(map(len, sequences)) - 1)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError("malformed", f"Found half a surrogate pair in {text[:80]!r}; expected Unicode text.") from error


def _with_sentinels(messages: Messages) -> list[Message]:
    index = 0
    marked = []
    for message in messages:
        parts = []
        for part in message.content:
            if part.type == "text":
                part = type(part)("text", f"\ue000{index}\ue001")
                index += 1
            parts.append(part)
        marked.append(Message(message.role, tuple(parts)))
    return marked


def _without_added_tokens(tokenizer: Any) -> Tokenizer:
    """Return the same tokenizer that knows no added token, so that ``<|im_end|>`` is eight characters of text."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["added_tokens"] = []
    spec["post_processor"] = None
    return Tokenizer.from_str(json.dumps(spec))
