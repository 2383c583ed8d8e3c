"""How much a pair counts for each of several heads: a bootstrap of the pairs that no batch and no resume can change."""

import hashlib
import json
from bisect import bisect_right
from itertools import accumulate
from math import e, factorial
from typing import NamedTuple

from basereward.data.schema import PreferencePair

# P(w <= n) of a Poisson variable of mean 1; what lies beyond has a probability below 1e-16.
_CUMULATIVE = list(accumulate(1 / (e * factorial(count)) for count in range(18)))


class Bootstrap(NamedTuple):
    """The seed of the first head, of which each further one is one higher, and how many heads there are."""

    seed: int
    heads: int

    def weigh(self, pair: PreferencePair) -> list[float]:
        """Return what a pair counts for each head."""
        return [float(poisson_weight(self.seed + head, pair)) for head in range(self.heads)]


def poisson_weight(seed: int, pair: PreferencePair) -> int:
    """Return how often a pair stands in the bootstrap sample of a seed: Poisson of mean 1.

    It is the limit of drawing n of n pairs with replacement, and depends on the seed and on the source and id of the
    pair alone, so that order, packing, ranks and resume change nothing. Pairs of one id are drawn together.
    """
    key = json.dumps([seed, pair.source, pair.id])
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    # 53 bits are the fraction of a double.
    uniform = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    return bisect_right(_CUMULATIVE, uniform)
