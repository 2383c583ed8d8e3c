"""Where the nodes of a packed row stand and what they continue, and the same row as separate sequences."""

from collections.abc import Sequence
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

    @property
    def size(self) -> int:
        """How many tokens."""
        return self.end - self.start


class TreeLayout:
    """The nodes of a packed row as host integers: parents first, each directly behind what stands before it.

    A plain class: FSDP2 would take a dataclass apart to cast what it holds.

    Args:
        parents: of each node, -1 for one that continues nothing.
        spans: the tokens of each node; they fill the row in order.
        images: the node and the number of every image or video of the row, in its order.
    """

    def __init__(self, parents: Sequence[int], spans: Sequence[Span], images: Sequence[tuple[int, int]] = ()) -> None:
        self.parents = tuple(parents)
        self.spans = tuple(spans)
        self.images = tuple(images)
        # Host integers, because a length that is read from the device stops every layer until the device has caught up.
        self.sizes = tuple(span.size for span in spans)
        chains: list[tuple[int, ...]] = []
        for node, parent in enumerate(parents):
            chains.append((*(chains[parent] if parent >= 0 else ()), node))
        # Of each node, itself and all that it continues, from the root on.
        self.chains = tuple(chains)
        self._varlen: VarlenIndex | None = None

    @property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The nodes that continue each node."""
        found: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                found[parent].append(node)
        return tuple(map(tuple, found))

    def varlen(self, device: torch.device) -> "VarlenIndex":
        """Return the row as variable-length queries and keys, built once for all layers."""
        if self._varlen is None or self._varlen.gather.device != device:
            self._varlen = _index(self, device)
        return self._varlen

    def tokens(self, node: int) -> Int[Tensor, " token"]:
        """Return the places in the row of the sequence that ends with a node."""
        return torch.cat([torch.arange(*self.spans[own]) for own in self.chains[node]])

    def shown(self, nodes: Sequence[int]) -> list[int]:
        """Return the numbers of the images and videos in some nodes of one sequence, in its order."""
        # Parents stand before their children in the row, so the order of the row is that of the sequence.
        return [item for node, item in self.images if node in nodes]

    @classmethod
    def of(cls, batch: GroupBatch) -> "TreeLayout":
        """Read the layout of a batch (small copies from the device)."""
        nodes = batch["nodes"].tolist()
        places = [batch[key].tolist() for key in ("image_nodes", "image_items") if key in batch]
        return cls(
            [parent for parent, _, _ in nodes], [Span(*span) for _, *span in nodes], list(zip(*places, strict=True))
        )


class VarlenIndex(NamedTuple):
    """A packed row as variable-length attention: queries in row order, keys gathered.

    A node asks all that it continues and itself, aligned at the end.
    """

    query_starts: Int[Tensor, " segment_and_one"]
    key_starts: Int[Tensor, " segment_and_one"]
    longest_query: int
    longest_key: int
    gather: Int[Tensor, " key"]


def _index(layout: TreeLayout, device: torch.device) -> VarlenIndex:
    # Causal attention of a kernel is aligned at the end: the last query sees all keys, the one before all but one. So a
    # node as queries, over its ancestors and, last, itself as keys, is a causal segment, and needs no mask.
    keys = [layout.tokens(node) for node in range(len(layout.spans))]
    sizes = [len(key) for key in keys]
    starts = [
        torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device) for lengths in (layout.sizes, sizes)
    ]
    return VarlenIndex(starts[0], starts[1], max(layout.sizes), max(sizes), torch.cat(keys).to(device))


class SequenceBatch(NamedTuple):
    """Every sequence of a packed row alone, right-padded, once however many responses it is.

    ``rows`` and ``last`` are the sequence of each response and the place of its last token; sequences of groups without
    responses come after those. ``images`` are the row's images, once for every sequence that shows them.
    """

    input_ids: Int[Tensor, "sequence token"]
    position_ids: Int[Tensor, "axis sequence token"]
    attention_mask: Int[Tensor, "sequence token"]
    rows: Int[Tensor, " response"]
    last: Int[Tensor, " response"]
    images: Int[Tensor, " image"]


def unpack(batch: GroupBatch, layout: TreeLayout) -> SequenceBatch:
    """Return the row's sequences, each with its own copy of all that it continues, images too."""
    leaves = batch["leaves"].tolist()
    # Trees without responses, the dummies, come last: whatever is indexed by response needs no gaps for them.
    read = list(dict.fromkeys(leaves))
    seen = {node for leaf in read for node in layout.chains[leaf]}
    ends = read + [node for node in range(len(layout.spans)) if node not in seen]
    rows = [layout.tokens(node) for node in ends]
    lengths = torch.tensor([len(row) for row in rows])
    device = batch["input_ids"].device
    mask: Bool[Tensor, "sequence token"] = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    # Row by row, the true places of the mask take the places of the packed row; the padding points at its first token
    # and is masked out below.
    index = torch.zeros(mask.shape, dtype=torch.long).masked_scatter(mask, torch.cat(rows)).to(device)
    mask = mask.to(device)
    numbers = {node: number for number, node in enumerate(read)}
    own = torch.tensor([numbers[leaf] for leaf in leaves], dtype=torch.long)
    return SequenceBatch(
        input_ids=batch["input_ids"][0][index].masked_fill(~mask, 0),
        position_ids=batch["position_ids"][:, 0][:, index],
        attention_mask=mask.long(),
        rows=own.to(device),
        last=(lengths[own] - 1).to(device),
        images=torch.tensor([item for node in ends for item in layout.shown(layout.chains[node])]).long().to(device),
    )
