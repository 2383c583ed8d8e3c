"""What a model learns to write: the last message of every conversation of a group, token by token."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from basereward.data.schema import Messages, ResponseGroup
from basereward.encoding.collate import GroupBatch
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.media import Positions
from basereward.encoding.template import Template
from basereward.encoding.tree import common_length
from basereward.errors import TemplateError


class TargetSpan(NamedTuple):
    """Tokens ``start`` to ``end`` of a suffix: the last message up to the token that ends the turn.

    Of a judge, ``verdict`` is the place of the first token in which its answer differs from that with the other
    verdict, and ``other`` the token that stands there in that one.
    """

    start: int
    end: int
    verdict: int | None = None
    other: int | None = None


class TargetGroup(NamedTuple):
    """A tree and what is learned in each of its suffixes; the token before a target stands in the same suffix."""

    group: EncodedGroup
    targets: tuple[TargetSpan, ...]


def encode_targets(template: Template, group: ResponseGroup, others: Sequence[Messages] = ()) -> TargetGroup:
    """Encode a group whose conversations, prompt and response together, each end with what is learned.

    Args:
        others: of a judge, every response with the other verdict.

    Raises:
        RowError: as ``Template.encode``.
        TemplateError: as ``Template.encode``, or the template ends no turn, or opens answers in another way.
    """
    encoded = template.encode(group)
    expansions = encoded.images.expansions if encoded.images else []
    whole = [np.concatenate([encoded.prefix, suffix]) for suffix in encoded.suffixes]
    starts = []
    for response, ids in zip(group.responses, whole, strict=True):
        asked = (group.prompt + response.messages)[:-1]
        opening = template.conversation_ids(asked, expansions, prompt=True)
        if common_length([opening, ids]) < len(opening):
            raise TemplateError(
                f"The chat template opens an answer of {group.id!r} otherwise than it writes this one, such as with a "
                "thought; what would be learned is nothing that the model goes on with. Train on thoughts, or take a "
                "backbone that does not think first."
            )
        starts.append(len(opening))
    # The token in front of a target belongs to the suffix too: nothing that is learned is read off the prefix.
    split = min(len(encoded.prefix), min(starts) - 1)
    suffixes = tuple(ids[split:] for ids in whole)
    tree = replace(
        encoded,
        prefix=encoded.prefix[:split],
        suffixes=suffixes,
        positions=_cut_positions(encoded.positions, split),
        keys=encoded.keys[:split],
        # What is learned has places of its own, even where two responses are to learn the same.
        is_apart=True,
        answer_lengths=tuple(len(ids) - start for ids, start in zip(whole, starts, strict=True)),
    )
    end = template.tokenizer.eos_token_id
    targets = [
        TargetSpan(start - split, _end_of_turn(suffix, start - split, end))
        for suffix, start in zip(suffixes, starts, strict=True)
    ]
    for place, other in enumerate(others):
        ids = template.conversation_ids(group.prompt + other, expansions)
        first = common_length([ids, whole[place]])
        targets[place] = targets[place]._replace(verdict=first - split, other=int(ids[first]))
    return TargetGroup(tree, tuple(targets))


def collate_targets(
    batch: GroupBatch, groups: Sequence[TargetGroup], responses_of_pairs: Sequence[int]
) -> dict[str, Tensor]:
    """Return the targets of a row, token by token: places, owners and weights.

    The weights of a pair sum to 1: each of its responses counts alike, and so does each token of a response.
    ``verdict_targets`` are the targets that are verdicts, ``verdict_others`` the tokens of the other verdict there.

    Args:
        batch: the row, as ``collate`` packs these groups.
        responses_of_pairs: how many responses belong to each pair, in the order of the row.
    """
    shares = [1 / count for count in responses_of_pairs for _ in range(count)]
    # A node ends with the suffix; where nothing branches it begins before that.
    ends = batch["nodes"][batch["leaves"], 2].tolist()
    suffixes = [suffix for group in groups for suffix in group.group.suffixes]
    places: list[int] = []
    owners: list[int] = []
    weights: list[float] = []
    verdicts: list[int] = []
    others: list[int] = []
    targets = [target for group in groups for target in group.targets]
    for owner, (end, suffix, target) in enumerate(zip(ends, suffixes, targets, strict=True)):
        start = end - len(suffix)
        if target.verdict is not None and target.other is not None:
            verdicts.append(len(places) + target.verdict - target.start)
            others.append(target.other)
        count = target.end - target.start
        places += range(start + target.start, start + target.end)
        owners += [owner] * count
        weights += [shares[owner] / count] * count
    return {
        "target_places": torch.tensor(places),
        "target_owners": torch.tensor(owners),
        "target_weights": torch.tensor(weights, dtype=torch.float32),
        "verdict_targets": torch.tensor(verdicts, dtype=torch.long),
        "verdict_others": torch.tensor(others, dtype=torch.long),
    }


def _end_of_turn(suffix: Int[np.ndarray, " suffix"], start: int, end: int) -> int:
    """Return the place behind the token that ends the turn; what a template writes behind it is not learned."""
    found = np.flatnonzero(suffix[start:] == end)
    if not len(found):
        raise TemplateError(
            f"The chat template writes no token {end} behind an answer; a model could not learn to end."
        )
    return start + int(found[-1]) + 1


def _cut_positions(positions: Positions, length: int) -> Positions:
    """Return the positions of a prefix that is cut in text: what continues it stands where its next token stood."""
    known = positions.prefix.shape[1]
    if length < known:
        return Positions(positions.prefix[:, :length], int(positions.prefix[0, length]))
    return positions
