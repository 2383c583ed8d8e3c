"""Where the prompts and responses of a packed row stand, and the same row as separate sequences."""

from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from basereward.encoding.collate import GroupBatch


class Span(NamedTuple):
    """Tokens ``start`` to ``end`` of a packed row."""

    start: int
    end: int


class Tree(NamedTuple):
    """One prompt and the responses that continue it."""

    prefix: Span
    responses: tuple[Span, ...]


class TreeLayout:
    """The trees of a packed row, in order, as host integers.

    A plain class: FSDP2 would take a dataclass apart to cast what it holds.

    Args:
        trees: every prompt with its responses.
    """

    def __init__(self, trees: tuple[Tree, ...]) -> None:
        self.trees = trees
        spans = [span for tree in trees for span in (tree.prefix, *tree.responses)]
        # Lengths of all spans in row order: each prompt, then its responses. Host integers, because a length that is
        # read from the device stops every layer until the device has caught up.
        self.sizes = tuple(span.end - span.start for span in spans)
        self._varlen: VarlenIndex | None = None

    def varlen(self, device: torch.device) -> "VarlenIndex":
        """Return the row as variable-length queries and keys, built once for all layers."""
        if self._varlen is None or self._varlen.gather.device != device:
            self._varlen = _index(self, device)
        return self._varlen

    @classmethod
    def of(cls, batch: GroupBatch) -> "TreeLayout":
        """Read the layout of a batch (two small copies from the device)."""
        prefixes = batch["prefixes"].tolist()
        members: list[list[Span]] = [[] for _ in prefixes]
        for group, start, end in batch["responses"].tolist():
            members[group].append(Span(start, end))
        return cls(tuple(Tree(Span(*span), tuple(own)) for span, own in zip(prefixes, members, strict=True)))


class VarlenIndex(NamedTuple):
    """A packed row as variable-length attention: queries in row order, keys gathered.

    A prompt asks itself; a response asks its prompt and itself, aligned at the end.
    """

    query_starts: Int[Tensor, " segment_and_one"]
    key_starts: Int[Tensor, " segment_and_one"]
    longest_query: int
    longest_key: int
    gather: Int[Tensor, " key"]


def _index(layout: TreeLayout, device: torch.device) -> VarlenIndex:
    # Causal attention of a kernel is aligned at the end: the last query sees all keys, the one before all but one. So a
    # response as queries, over its prompt and itself as keys, is a causal segment, and needs no mask.
    keys = [
        torch.cat([_range(tree.prefix), _range(span)]) if span is not tree.prefix else _range(span)
        for tree in layout.trees
        for span in (tree.prefix, *tree.responses)
    ]
    sizes = [len(key) for key in keys]
    starts = [
        torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device) for lengths in (layout.sizes, sizes)
    ]
    return VarlenIndex(starts[0], starts[1], max(layout.sizes), max(sizes), torch.cat(keys).to(device))


class SequenceBatch(NamedTuple):
    """Every sequence of a packed row alone, right-padded.

    ``last`` is the place of each response's last token; rows of groups without responses come after them.
    """

    input_ids: Int[Tensor, "sequence token"]
    position_ids: Int[Tensor, "axis sequence token"]
    attention_mask: Int[Tensor, "sequence token"]
    last: Int[Tensor, " response"]
    images: Int[Tensor, " image"]


def unpack(batch: GroupBatch, layout: TreeLayout) -> SequenceBatch:
    """Return the row's sequences ``[prompt; response]``, each with its own copy of prompt and images.

    ``images`` indexes the row's images once for every sequence that shows them.
    """
    # Groups without responses, the dummies, come last: whatever is indexed by response needs no gaps for them.
    order = [(int(group), Span(start, end)) for group, start, end in batch["responses"].tolist()]
    childless = [number for number, tree in enumerate(layout.trees) if not tree.responses]
    rows = [torch.cat([_range(layout.trees[group].prefix), _range(span)]) for group, span in order]
    rows += [_range(layout.trees[group].prefix) for group in childless]
    lengths = torch.tensor([len(row) for row in rows])
    device = batch["input_ids"].device
    mask: Bool[Tensor, "sequence token"] = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    # Row by row, the true places of the mask take the places of the packed row; the padding points at its first token
    # and is masked out below.
    index = torch.zeros(mask.shape, dtype=torch.long).masked_scatter(mask, torch.cat(rows)).to(device)
    mask = mask.to(device)
    owners = batch["image_groups"].tolist() if "image_groups" in batch else []
    shown = [image for group in [g for g, _ in order] + childless for image, own in enumerate(owners) if own == group]
    return SequenceBatch(
        input_ids=batch["input_ids"][0][index].masked_fill(~mask, 0),
        position_ids=batch["position_ids"][:, 0][:, index],
        attention_mask=mask.long(),
        last=(lengths[: len(order)] - 1).to(device),
        images=torch.tensor(shown, dtype=torch.long, device=device),
    )


def _range(span: Span) -> Int[Tensor, " token"]:
    return torch.arange(span.start, span.end)
