"""Sharing by copies of the cache: what several responses begin with is read once, for layers of every kind."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from basereward.encoding.collate import GroupBatch
from basereward.encoding.layout import TreeLayout
from basereward.models.vision import RowFeatures, read_images

# What is shared by several responses is read in a call of its own from so many tokens on; less is read again with each.
LEAST_SHARED = 32


def expand_row(backbone: Any, batch: GroupBatch, axes: int) -> Float[Tensor, "response hidden"]:
    """Return the hidden state at the end of every response of a row.

    Args:
        axes: rotary position axes of the family.
    """
    layout = TreeLayout.of(batch)
    walk = _Walk(backbone, batch, layout, read_images(backbone, batch, layout), axes)
    leaves = batch["leaves"].tolist()
    # Trees without responses are dummies, which nobody reads.
    for root in sorted({layout.chains[leaf][0] for leaf in leaves}):
        walk.visit((root,), None)
    return torch.stack([walk.ends[leaf] for leaf in leaves])


class _Walk:
    """Reads trees from their roots on; ``ends`` are the states at the end of every node read so far."""

    def __init__(self, backbone: Any, batch: GroupBatch, layout: TreeLayout, features: RowFeatures, axes: int) -> None:
        self.backbone, self.batch, self.layout = backbone, batch, layout
        self.features, self.axes = features, axes
        self.children = layout.children
        self.ends: dict[int, Float[Tensor, " hidden"]] = {}

    def visit(self, nodes: tuple[int, ...], cache: Any) -> None:
        """Read nodes that continue each other behind a cache, then all that continues them."""
        cache = self._read([nodes], cache)
        below = list(self._below(nodes[-1]))
        rows = [chain for chain in below if not self.children[chain[-1]]]
        for chain in below:
            if self.children[chain[-1]]:
                self.visit(chain, copy.deepcopy(cache))
        if rows:
            cache.reorder_cache(torch.zeros(len(rows), dtype=torch.long, device=self.batch["input_ids"].device))
            self._read(rows, cache)

    def _below(self, node: int) -> Iterator[tuple[int, ...]]:
        """Yield the chains that continue a node, each up to the first node that is read alone or has no children."""
        for child in self.children[node]:
            if not self.children[child] or self.layout.sizes[child] >= LEAST_SHARED:
                yield (child,)
            else:
                yield from ((child, *chain) for chain in self._below(child))

    def _read(self, rows: Sequence[tuple[int, ...]], cache: Any) -> Any:
        """Read chains of nodes, one a row, behind a cache of as many; return the cache behind them."""
        places = [torch.cat([torch.arange(*self.layout.spans[node]) for node in chain]) for chain in rows]
        sizes = torch.tensor([len(own) for own in places])
        # Right padding: a padded place repeats the last token, and nothing before it sees it.
        steps = torch.minimum(torch.arange(int(sizes.max()))[None], sizes[:, None] - 1)
        index: Int[Tensor, "row token"] = torch.stack([own[step] for own, step in zip(places, steps, strict=True)]).to(
            self.batch["input_ids"].device
        )
        positions = self.batch["position_ids"][:, 0][:, index]
        output = self.backbone(
            input_ids=self.batch["input_ids"][0][index],
            position_ids=positions if self.axes > 1 else positions[0],
            past_key_values=cache,
            use_cache=True,
            **self.features.of([item for chain in rows for item in self.layout.shown(chain)]),
        )
        for row, chain in enumerate(rows):
            last = -1
            for node in chain:
                last += self.layout.sizes[node]
                self.ends[node] = output.last_hidden_state[row, last]
        return output.past_key_values
