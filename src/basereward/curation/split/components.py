"""Connected components of rows: which rows hang together by any chain of links."""

import numpy as np


class Components:
    """Rows that are joined step by step; each component is named by the smallest place of its rows.

    ``labels`` holds for each row the name of its component, shape (rows,).
    """

    def __init__(self, rows: int) -> None:
        self.labels = np.arange(rows)

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Join rows pair by pair; both arrays have shape (n,)."""
        while len(first):
            roots = self.labels[first], self.labels[second]
            low, high = np.minimum(*roots), np.maximum(*roots)
            is_apart = low != high
            if not is_apart.any():
                return
            first, second, low, high = (values[is_apart] for values in (first, second, low, high))
            # Names are roots, and a root only ever points to a smaller one, so that no circle can arise.
            np.minimum.at(self.labels, high, low)
            self._flatten()

    def join_equal(self, places: np.ndarray, keys: np.ndarray) -> None:
        """Join rows that have a key in common; a row may have any number of keys, one entry each."""
        order = np.lexsort((places, keys))
        is_same = keys[order[1:]] == keys[order[:-1]]
        self.join(places[order[:-1][is_same]], places[order[1:][is_same]])

    def sizes(self) -> np.ndarray:
        """Return the number of rows of each component, largest first."""
        counts = np.bincount(self.labels)
        return np.sort(counts[counts > 0])[::-1]

    def _flatten(self) -> None:
        while True:
            further = self.labels[self.labels]
            if np.array_equal(further, self.labels):
                return
            self.labels = further
