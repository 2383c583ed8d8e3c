"""Response groups as token trees: ids equal to those of the chat template, shared prompts, images in their places."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from basereward.data.images import ImageLimits, VideoSize, hold_image, load_frames, load_image
from basereward.data.schema import Messages, PartType, ResponseGroup, count_parts
from basereward.encoding.conversation import ChatTemplate
from basereward.encoding.facts import InputFacts, digest
from basereward.encoding.groups import EncodedGroup, EncodedPrompt, GroupLength, Removed, SharingKeys
from basereward.encoding.keys import content_key, key_tokens, media_keys
from basereward.encoding.media import Clip, EncodedImages, Expansion, text_positions
from basereward.encoding.memory import PromptMemory
from basereward.encoding.text import Memo, TextEncoder, any_of
from basereward.encoding.tree import common_length, shared_prefix
from basereward.encoding.vision import VisionEncoding
from basereward.errors import RowError, TemplateError


class _Conversation(NamedTuple):
    """The ids of a conversation, and the characters that its template left out, message by message."""

    ids: Int[np.ndarray, " token"]
    removed: tuple[int, ...]


class _Tree(NamedTuple):
    """All conversations of a group, and how many tokens they share."""

    ids: list[Int[np.ndarray, " _"]]
    split: int
    removed: Removed


class Template:
    """Encodes groups with the tokenizer, chat template and vision encoding of one backbone.

    Args:
        processor: the Hugging Face processor of a vision-language backbone, or the tokenizer of a text backbone.
        vision: encoding of images and videos, or None for a text backbone, whose message content is flattened to a
            string.
        axes: rotary position axes: 3 for M-RoPE, 1 otherwise.
        max_length: the longest sequence (prompt and one response) in tokens; longer ones are refused, never cut.
        positions: how many tokens the backbone itself can place; None if nothing says so.

    Attributes:
        memory: what is kept of texts and images from one group to the next; by default nothing.
    """

    memory: PromptMemory | None = None

    def __init__(
        self,
        processor: Any,
        vision: VisionEncoding | None = None,
        axes: int = 1,
        max_length: int | None = None,
        image_limits: ImageLimits | None = None,
        positions: int | None = None,
    ) -> None:
        if not isinstance(processor.chat_template, str):
            raise TemplateError("The backbone has no single chat template; add chat_template.jinja to its folder.")
        self.processor = processor
        self.tokenizer = processor.tokenizer if vision else processor
        self.chat_template: str = processor.chat_template
        self.vision = vision
        self.axes = axes
        self.max_length = max_length
        self.positions = positions
        self.image_limits = image_limits or ImageLimits()
        self._placeholders = {text: kind for kind, text in vision.placeholders.items()} if vision else {}
        self._placeholder_pattern = any_of(self._placeholders)
        self._encoder = TextEncoder(self.tokenizer, self._placeholders)
        # Text templates render a list of parts as nothing at all.
        self._chat = ChatTemplate(self.tokenizer, self.chat_template, self._encoder.control, is_flat=vision is None)
        # A tokenizer's own apply_chat_template adds nothing around what was rendered; a processor's calls the tokenizer
        # as for any text, unless the template has written the first token itself.
        self._frame = self._encoder.frame if vision else ((), ())

    @cached_property
    def facts(self) -> InputFacts:
        """Everything that decides ids and pixels."""
        named = {name: str(token) for name, token in self.tokenizer.special_tokens_map.items()}
        written = {name: token for name, token in named.items() if name in self.chat_template}
        processors = self.vision.describe() if self.vision else {}
        return InputFacts(
            tokenizer=self._encoder.facts,
            chat_template=digest(self.chat_template),
            special_tokens={**written, "around": [list(part) for part in self._frame]},
            image_processor=processors.get("image_processor", {}),
            video_processor=processors.get("video_processor", {}),
        )

    @property
    def hash(self) -> str:
        """A fingerprint of everything that decides ids and pixels."""
        return self.facts.hash

    @property
    def control(self) -> frozenset[str]:
        """The strings that stand for control tokens and placeholders where the chat template writes them."""
        return self._encoder.control

    def encode(self, group: ResponseGroup) -> EncodedGroup:
        """Encode a group with its images and videos.

        Raises:
            RowError: an image or frame cannot be read, text is malformed, or ``too_long``.
            TemplateError: the template loses text, there are no responses, or the backbone reads no images.
        """
        images = self._encode_images(group)
        expansions = images.expansions if images else []
        memo: Memo = self.memory.texts if self.memory else {}
        tree = self._lay_out(group, expansions, memo)
        prefix = tree.ids[0][: tree.split]
        positions = self.vision.positions(prefix, images) if self.vision else text_positions(prefix, self.axes)
        suffixes = tuple(sequence[tree.split :] for sequence in tree.ids)
        in_prompt = expansions[: count_parts(group.prompt, "image") + count_parts(group.prompt, "video")]
        # Whole conversations without a common first message have no common generation prompt either.
        opening = self._encode(group.prompt, in_prompt, True, memo).ids if group.prompt else prefix[:0]
        answers = tuple(len(own) - common_length([opening, own]) for own in tree.ids)
        keys = key_tokens(prefix, self.vision.pad_ids, expansions, images.keys) if self.vision and images else prefix
        return EncodedGroup(prefix, suffixes, positions, answers, images, tree.removed, keys)

    def encode_prompt(self, group: ResponseGroup) -> EncodedPrompt:
        """Encode the prompt of a group with its images and videos, and the generation prompt; responses are not read.

        Raises:
            RowError: an image or frame cannot be read, or text is malformed.
            TemplateError: the template loses text, or the backbone reads no images.
        """
        images = self._encode_images(replace(group, responses=()))
        ids = self.conversation_ids(group.prompt, images.expansions if images else (), prompt=True)
        return EncodedPrompt(ids, images)

    def measure(
        self,
        group: ResponseGroup,
        image_sizes: Sequence[tuple[int, int]],
        video_sizes: Sequence[VideoSize] = (),
        media: Sequence[int] | None = None,
    ) -> GroupLength:
        """Return the lengths that ``encode`` would give, from sizes alone.

        Args:
            group: what to measure; its images and the frames of its videos are not looked at.
            image_sizes: (width, height) of each image.
            video_sizes: size of each video.
            media: a number that equal images and videos have, of each in the order of their parts; asks for the keys.

        Raises:
            RowError: text is malformed, or ``too_long``.
            TemplateError: as ``encode``.
        """
        expansions: list[Expansion] = []
        if image_sizes or video_sizes:
            vision = self._require_vision(group.id)
            images = [vision.expand_image(*size) for size in image_sizes]
            rates = [video.fps for video in group.videos]
            videos = [vision.expand_video(size, fps) for size, fps in zip(video_sizes, rates, strict=True)]
            expansions = in_order(group, images, videos)
        tree = self._lay_out(group, expansions, {})
        suffixes = tuple(len(sequence) - tree.split for sequence in tree.ids)
        tokens = sum(sum(expansion.counts) for expansion in expansions)
        length = GroupLength(tree.split, suffixes, tokens, tree.removed.total)
        return length if media is None else self._with_keys(length, group, tree, expansions, media)

    def _with_keys(
        self,
        length: GroupLength,
        group: ResponseGroup,
        tree: "_Tree",
        expansions: Sequence[Expansion],
        media: Sequence[int],
    ) -> GroupLength:
        pad_ids = self.vision.pad_ids if self.vision else ()
        asked = self._encode(group.prompt, expansions, True, {}).ids if group.prompt else tree.ids[0][:0]
        # The beginning of all sequences that no response decides: responses may begin alike, or be written otherwise.
        keyed = [key_tokens(own, pad_ids, expansions, media) for own in tree.ids]
        pads = np.flatnonzero(keyed[0] < 0)
        opening = int(pads[-1]) + 1 if len(pads) else 0
        prompt = max(common_length([asked, *tree.ids]), opening)
        responses = tuple(content_key(own.tobytes()) for own in keyed)
        keys = SharingKeys(
            content_key(keyed[0][:opening].tobytes()), content_key(keyed[0][:prompt].tobytes()), responses
        )
        return length._replace(prompt=prompt, opening=opening, keys=keys)

    def conversation_ids(
        self, messages: Messages, expansions: Sequence[Expansion] = (), prompt: bool = False
    ) -> Int[np.ndarray, " token"]:
        """Return the ids of a whole conversation: those of ``apply_chat_template``, images and videos expanded.

        Args:
            messages: all messages.
            expansions: the tokens of each image and video, in the order of their parts.
            prompt: whether to end with the generation prompt.

        Raises:
            RowError: ``malformed``: text that is no Unicode.
            TemplateError: the template loses text, or its placeholders are not those of the expansions.
        """
        return self._encode(messages, expansions, prompt, {}).ids

    def render(self, messages: Messages, prompt: bool = False) -> str:
        """Return the text of a conversation as the chat template writes it, images and videos as their placeholders.

        Raises:
            RowError: ``malformed``: text that is no Unicode.
            TemplateError: the template loses text.
        """
        rendered = self._chat.render(messages, prompt)
        return rendered.hidden.restore(rendered.text)

    def _encode(self, messages: Messages, expansions: Sequence[Expansion], prompt: bool, memo: Memo) -> _Conversation:
        rendered = self._chat.render(messages, prompt)
        ids = self._encoder.encode(self._fill(rendered.text, expansions), rendered.hidden, memo)
        first = self.tokenizer.bos_token
        if first is None or not rendered.text.startswith(first):
            ids = [*self._frame[0], *ids, *self._frame[1]]
        return _Conversation(self._repeat_pads(np.array(ids, dtype=np.int64), expansions), rendered.removed)

    def _lay_out(self, group: ResponseGroup, expansions: Sequence[Expansion], memo: Memo) -> _Tree:
        if not group.responses:
            raise TemplateError(f"Group {group.id!r} has no responses; expected at least one.")
        if any(part.type != "text" for message in group.prompt for part in message.content):
            self._require_vision(group.id)
        whole = [
            self._encode(group.prompt + response.messages, expansions, False, memo) for response in group.responses
        ]
        ids = [conversation.ids for conversation in whole]
        self._check_length(group.id, max(map(len, ids)))
        split = shared_prefix(ids)
        if self.vision and any(np.isin(own[split:], self.vision.pad_ids).any() for own in ids):
            raise TemplateError(
                f"Group {group.id!r} has an image after its shared prefix; "
                "a response with images needs a group of its own."
            )
        turns = len(group.prompt)
        of_responses = tuple(sum(conversation.removed[turns:]) for conversation in whole)
        return _Tree(ids, split, Removed(sum(whole[0].removed[:turns]), of_responses))

    def _check_length(self, name: str, length: int) -> None:
        """Refuse a sequence before anything is allocated for it; it fails alone, and nothing is cut."""
        if self.max_length and length > self.max_length:
            raise RowError(
                "too_long", f"{name!r} has {length} tokens, more than max_length {self.max_length}; raise it."
            )
        if self.positions and length > self.positions:
            raise RowError(
                "too_long",
                f"{name!r} has {length} tokens, more than the model's {self.positions} positions; shorten it.",
            )

    def _encode_images(self, group: ResponseGroup) -> EncodedImages | None:
        if not group.images and not group.videos:
            return None
        vision = self._require_vision(group.id)
        # What is decoded is what the keys are made of: a file may be written anew, and one picture lie in many files.
        group = _hold_images(group, self.image_limits)

        def encode() -> EncodedImages:
            images = [load_image(image, self.image_limits) for image in group.images]
            clips = [Clip(load_frames(video.frames, self.image_limits), video.fps) for video in group.videos]
            return vision.encode(in_order(group, images, clips))._replace(keys=keys)

        keys = media_keys(group, in_order(group, ["image"] * len(group.images), ["video"] * len(group.videos)))
        return self.memory.images.get_or_make(keys, encode) if self.memory else encode()

    def _require_vision(self, group_id: str) -> VisionEncoding:
        if self.vision is None:
            raise TemplateError(f"Group {group_id!r} has images or videos, but this backbone reads text only.")
        return self.vision

    def _fill(self, text: str, expansions: Sequence[Expansion]) -> str:
        """Replace the placeholders, which only the template can have written, by what stands for each image."""
        if self.vision is None:
            return text
        written = [self._placeholders[found] for found in self._placeholder_pattern.findall(text)]
        given = [expansion.kind for expansion in expansions]
        if written != given:
            counts = [
                ", ".join(f"{kinds.count(kind)} {kind} tokens" for kind in self.vision.placeholders)
                for kinds in (written, given)
            ]
            raise TemplateError(
                f"The template wrote {counts[0]} for {counts[1]}, or another order; check messages and template."
            )
        left = iter(expansions)
        return self._placeholder_pattern.sub(lambda match: next(left).text, text)

    def _repeat_pads(
        self, ids: Int[np.ndarray, " token"], expansions: Sequence[Expansion]
    ) -> Int[np.ndarray, " longer"]:
        if self.vision is None:
            return ids
        counts = [count for expansion in expansions for count in expansion.counts]
        is_pad = np.isin(ids, self.vision.pad_ids)
        if is_pad.sum() != len(counts):
            raise TemplateError(
                f"The tokenizer made {is_pad.sum()} pad tokens of {len(counts)}; its placeholders are no added tokens."
            )
        repeats = np.ones(len(ids), dtype=np.int64)
        repeats[is_pad] = counts
        return np.repeat(ids, repeats)


def _hold_images(group: ResponseGroup, limits: ImageLimits) -> ResponseGroup:
    """Return the group with the bytes of its images and frames."""
    return replace(
        group,
        images=tuple(hold_image(image, limits) for image in group.images),
        videos=tuple(
            replace(video, frames=tuple(hold_image(frame, limits) for frame in video.frames)) for video in group.videos
        ),
    )


def in_order(group: ResponseGroup, images: Sequence[Any], videos: Sequence[Any]) -> list[Any]:
    """Return images and videos in the order of their parts in the prompt and the first response."""
    messages = group.prompt + (group.responses[0].messages if group.responses else ())
    given: dict[PartType, Sequence[Any]] = {"image": images, "video": videos}
    kinds = [part.type for message in messages for part in message.content if part.type in given]
    for kind, own in given.items():
        if kinds.count(kind) != len(own):
            raise TemplateError(f"Group {group.id!r} has {kinds.count(kind)} {kind} parts for {len(own)} {kind}s.")
    left = {kind: iter(own) for kind, own in given.items()}
    return [next(left[kind]) for kind in kinds]
