"""Groups that ask the same thing become one group, so that their prompt is computed once for all of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from basereward.encoding.media import Positions
from basereward.encoding.template import EncodedGroup, Removed, shared_prefix


def merge_groups(groups: Sequence[EncodedGroup]) -> EncodedGroup:
    """Return one tree of the responses of all groups, in their order.

    Args:
        groups: at least one; all of the same prompt and the same images, which is not checked.
    """
    # Equal prompts have unequal prefixes: a group with one response shares everything but its last token, another one
    # whatever its own responses have in common. So whole sequences are laid out anew.
    whole = [(group, suffix) for group in groups for suffix in group.suffixes]
    ids = [_join(group, suffix) for group, suffix in whole]
    # Positions are causal, so those of a shorter prefix begin those of the longest one; of more, none are known.
    longest = max(groups, key=lambda group: len(group.prefix))
    split = min(shared_prefix(ids), len(longest.prefix))
    return EncodedGroup(
        prefix=ids[0][:split],
        suffixes=tuple(own[split:] for own in ids),
        positions=cut_positions(longest.positions, split),
        answer_lengths=tuple(length for group in groups for length in group.answer_lengths),
        images=groups[0].images,
        removed=Removed(groups[0].removed.prompt, tuple(one for group in groups for one in group.removed_counts)),
    )


def _join(group: EncodedGroup, suffix: Int[np.ndarray, " suffix"]) -> Int[np.ndarray, " sequence"]:
    return np.concatenate([group.prefix, suffix])


def cut_positions(positions: Positions, length: int) -> Positions:
    """Return the positions of a prefix that is cut in text: what continues it stands where its next token stood."""
    known = positions.prefix.shape[1]
    if length < known:
        return Positions(positions.prefix[:, :length], int(positions.prefix[0, length]))
    return positions
