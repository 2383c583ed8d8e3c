"""What each way of computing the pairs has to show: tokens, patches and operations, counted from the pairs alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from basereward.data.schema import PreferencePair, Response, ResponseGroup
from basereward.encoding.groups import GroupLength
from basereward.encoding.template import Template
from basereward.models.flops import BackboneSize


class MeasuredPair(NamedTuple):
    """Ids of chosen and rejected, with the image's own key where its tokens stand, and the tokens of the prompt."""

    sequences: tuple[np.ndarray, np.ndarray]
    prompt: int

    @property
    def asked(self) -> bytes:
        """What is equal for the pairs of one prompt."""
        return self.sequences[0][: self.prompt].tobytes()

    @property
    def length(self) -> GroupLength:
        """The sizes of the pair alone."""
        image_tokens = int((self.sequences[0] < 0).sum())
        return GroupLength(self.prompt, tuple(len(own) - self.prompt for own in self.sequences), image_tokens)


def measure_pair(template: Template, pair: PreferencePair) -> MeasuredPair:
    """Encode a pair whose responses differ from their first token on."""
    answers = [Response(name, messages) for name, messages in (("chosen", pair.chosen), ("rejected", pair.rejected))]
    encoded = template.encode(ResponseGroup(pair.id, pair.prompt, tuple(answers), pair.images))
    chosen, rejected = (np.concatenate([encoded.keys, suffix]) for suffix in encoded.suffixes)
    return MeasuredPair((chosen, rejected), len(encoded.prefix))


def workload_facts(size: BackboneSize, steps: Sequence[Sequence[MeasuredPair]], pairs_at_once: int) -> dict[str, Any]:
    """Return mean lengths, what goes through the models for each way of computing, and the shares of the work."""
    pairs = [pair for step in steps for pair in step]
    lengths = [pair.length for pair in pairs]
    alone = sum(size.forward_flops(length, shared=False) for length in lengths)
    text_only = sum(size.forward_flops(length._replace(image_tokens=0), shared=False) for length in lengths)
    prompts = [length for step in steps for length in _prompts(step)]
    image_tokens = sum(length.image_tokens for length in lengths)
    together = [step[at : at + pairs_at_once] for step in steps for at in range(0, len(step), pairs_at_once)]
    tokens = {
        "padded": sum(map(_padded, together)),
        "distinct": sum(len(_distinct(step)) * max(map(len, _distinct(step))) for step in steps),
        "unpadded": sum(len(own) for pair in pairs for own in pair.sequences),
        "shared": sum(_beginnings(_distinct(step)) for step in steps),
    }
    shown = {
        "padded": 2 * image_tokens,
        "distinct": sum(length.image_tokens * len(length.suffixes) for length in prompts),
        "unpadded": 2 * image_tokens,
        "shared": sum(length.image_tokens for length in prompts),
    }
    return {
        "parameters": size.total,
        "prompt_tokens": sum(length.prefix for length in lengths) / len(pairs),
        "image_tokens": image_tokens / len(pairs),
        "response_tokens": sum(sum(length.suffixes) for length in lengths) / len(pairs) / 2,
        "pairs_per_prompt": len(pairs) / len(prompts),
        "responses_per_prompt": sum(len(length.suffixes) for length in prompts) / len(prompts),
        "tokens_per_pair": {way: total / len(pairs) for way, total in tokens.items()},
        "patches_per_pair": {way: size.patches_per_token * total / len(pairs) for way, total in shown.items()},
        "vision_share": 1 - text_only / alone,
        "flops_ratio": alone / sum(size.forward_flops(length) for length in prompts),
    }


def _padded(pairs: Sequence[MeasuredPair]) -> int:
    return 2 * len(pairs) * max(len(own) for pair in pairs for own in pair.sequences)


def _distinct(step: Sequence[MeasuredPair]) -> list[np.ndarray]:
    """Return each sequence of a step once."""
    return list({own.tobytes(): own for pair in step for own in pair.sequences}.values())


def _prompts(step: Sequence[MeasuredPair]) -> list[GroupLength]:
    """Return the sizes of each prompt of a step with its distinct responses."""
    by_prompt: dict[bytes, list[MeasuredPair]] = {}
    for pair in step:
        by_prompt.setdefault(pair.asked, []).append(pair)
    return [
        own[0].length._replace(suffixes=tuple(len(sequence) - own[0].prompt for sequence in _distinct(own)))
        for own in by_prompt.values()
    ]


def _beginnings(sequences: Sequence[np.ndarray]) -> int:
    """Return the different beginnings of all sequences: tokens, if what several begin with is counted once."""
    nodes: dict[tuple[int, int], int] = {}
    for sequence in sequences:
        node = 0
        for token in sequence.tolist():
            node = nodes.setdefault((node, token), len(nodes) + 1)
    return len(nodes)
