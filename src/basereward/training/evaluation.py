"""Validation pairs during training: batches under the token cap, equally many on every rank, read by processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from basereward.data.schema import PreferencePair
from basereward.training.stop import start_loader


@dataclass(frozen=True)
class ValidationPairs:
    """Pairs with their packed tokens, and the most tokens that a batch of several may have."""

    pairs: Sequence[PreferencePair]
    tokens: Sequence[int] | np.ndarray
    cap: int

    def batches(self, ranks: int, rank: int) -> list[list[int]]:
        """Return the pairs of each batch of a rank; all ranks have equally many batches, the last may be empty."""
        # Of similar length together, so that the ranks of a round finish at the same time.
        order = np.argsort(self.tokens, kind="stable").tolist()
        batches: list[list[int]] = []
        filled = 0
        for pair in order:
            if not batches or filled + self.tokens[pair] > self.cap:
                batches.append([])
                filled = 0
            batches[-1].append(pair)
            filled += self.tokens[pair]
        rounds = -(-len(batches) // ranks)
        batches += [[] for _ in range(rounds * ranks - len(batches))]
        return batches[rank::ranks]

    def load(
        self, batches: Sequence[Sequence[int]], collate: Callable[[Sequence[PreferencePair]], Any], workers: int
    ) -> Iterator[Any]:
        """Yield each batch collated, by ``workers`` processes; an empty one holds the shortest pair.

        A rank without pairs of its own takes part in the collectives of the forward pass all the same.
        """
        shortest = int(np.argmin(self.tokens))
        return iter(
            DataLoader(
                self.pairs,  # type: ignore[arg-type]
                batch_sampler=[list(own) or [shortest] for own in batches],
                collate_fn=collate,
                num_workers=workers,
                worker_init_fn=start_loader,
            )
        )
