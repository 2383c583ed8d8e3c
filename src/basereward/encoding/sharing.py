"""What pairs share, as flat arrays: openings with their images, prompts, responses."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from basereward.encoding.lengths import Lengths
from basereward.encoding.packing import CostModel, NodeLength, TreeLength


class PairSharing(NamedTuple):
    """What pairs share and how large it is, pair by pair.

    Equal codes say equal tokens. A sequence is read from its start: the opening ends with the last image, the prompt
    holds the opening, and both sequences hold the prompt.

    Args:
        opening: code of the tokens up to the end of the last image, the images included; -1 without one.
        prompt: code of the whole prompt, its images included.
        responses: codes of chosen and rejected; they tell the responses of one prompt apart.
        opening_tokens: 0 without an image.
        prompt_tokens: with those of the opening.
        sequence_tokens: of chosen and rejected with their prompt.
        image_tokens: of all images of the opening.
    """

    opening: Int[np.ndarray, " pair"]
    prompt: Int[np.ndarray, " pair"]
    responses: Int[np.ndarray, "pair 2"]
    opening_tokens: Int[np.ndarray, " pair"]
    prompt_tokens: Int[np.ndarray, " pair"]
    sequence_tokens: Int[np.ndarray, "pair 2"]
    image_tokens: Int[np.ndarray, " pair"]

    def tree(self, pairs: Sequence[int]) -> TreeLength:
        """Return the tree that holds what these pairs share once, those of one opening or prompt or of many."""
        nodes: dict[tuple[int, ...], NodeLength] = {}
        images: dict[int, int] = {}
        for pair in pairs:
            opening, prompt = int(self.opening[pair]), int(self.prompt[pair])
            opened, asked = int(self.opening_tokens[pair]), int(self.prompt_tokens[pair])
            if opening >= 0:
                nodes[(opening,)] = NodeLength(opened, 0)
                images[opening] = int(self.image_tokens[pair])
            nodes[opening, prompt] = NodeLength(asked - opened, opened)
            for response, whole in zip(self.responses[pair].tolist(), self.sequence_tokens[pair].tolist(), strict=True):
                nodes[opening, prompt, response] = NodeLength(whole - asked, asked)
        return TreeLength(tuple(nodes.values()), tuple(images.values()))

    def nodes(self, model: CostModel) -> Float[np.ndarray, "pair 4"]:
        """Return the cost of the nodes of each pair: opening with its images, rest of the prompt, both responses."""
        opened, asked = self.opening_tokens, self.prompt_tokens[:, None]
        opening = model.node(opened, np.zeros_like(opened)) + model.image * self.image_tokens
        prompt = model.node(self.prompt_tokens - opened, opened)
        return np.column_stack([opening, prompt, model.node(self.sequence_tokens - asked, asked)])


class Further(NamedTuple):
    """What is computed for each pair beside its tree and shared with no other, such as its swapped group."""

    tokens: Int[np.ndarray, " pair"]
    costs: Float[np.ndarray, " pair"]


def share_pairs(lengths: Lengths) -> PairSharing:
    """Return what the pairs share, of each its first group; the keys of all groups are read now."""
    found = lengths.sharing()
    firsts = np.searchsorted(found.pairs, np.arange(len(lengths)))
    opened, asked, prefix, one, two, image_tokens = lengths.table[firsts].astype(np.int64).T
    responses = found.responses[firsts].astype(np.int64)
    # A group of one response is as one of two equal ones.
    is_alone = responses[:, 1] < 0
    responses[is_alone, 1] = responses[is_alone, 0]
    sequences = prefix[:, None] + np.column_stack([one, np.where(is_alone, one, two)])
    openings = np.where(opened > 0, found.openings[firsts].astype(np.int64), -1)
    return PairSharing(
        openings, found.prompts[firsts].astype(np.int64), responses, opened, asked, sequences, image_tokens
    )


def share_nothing(lengths: Lengths, model: CostModel) -> Further:
    """Return the sizes of the groups of each pair behind its first one."""
    sizes = lengths.sizes()
    firsts = np.arange(len(lengths)) if lengths.firsts is None else lengths.firsts[:-1]
    tokens, costs = sizes.tokens, model.of_sizes(sizes)
    return Further(lengths.of_pairs(tokens) - tokens[firsts], lengths.of_pairs(costs) - costs[firsts])
