"""How many rows of each input a mixture takes, and which: exact integers and seeded draws, without reading data."""

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from basereward.curation.mix_recipe import MixInput, MixRecipe, Ratio
from basereward.errors import DataError


class Modalities(NamedTuple):
    """Rows with images or videos, and rows of text alone."""

    multimodal: int
    text: int

    @property
    def total(self) -> int:
        """All rows."""
        return self.multimodal + self.text


class MixCount(NamedTuple):
    """What the recipe asks of one input, what is there, and what is taken.

    ``capped`` is what is there under the cap; ``taken`` beyond it are repeats.
    """

    name: str
    available: Modalities
    capped: Modalities
    requested: Modalities
    taken: Modalities

    @property
    def repeated(self) -> int:
        """How many taken rows are repeats of others."""
        return sum(max(0, taken - there) for taken, there in zip(self.taken, self.capped, strict=True))

    @property
    def missing(self) -> int:
        """How many requested rows are not taken."""
        return self.requested.total - self.taken.total


def apportion(total: int, weights: Sequence[int | Fraction]) -> list[int]:
    """Split a total in proportion to weights by largest remainder; equal remainders go to the first.

    Raises:
        DataError: there is something to split and no weight above 0.
    """
    whole = sum(weights)
    if not whole:
        if total:
            raise DataError(f"{total} rows cannot be split over {len(weights)} parts without weight.")
        return [0] * len(weights)
    exact = [Fraction(total) * weight / whole for weight in weights]
    counts = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda place: counts[place] - exact[place])
    for place in order[: total - sum(counts)]:
        counts[place] += 1
    return counts


def count_mixture(recipe: MixRecipe, available: Mapping[str, Modalities]) -> list[MixCount]:
    """Return the rows to take of each input, in the recipe's order.

    Without ``size`` a mixture is as large as its proportions allow: the weighted rows, the largest size at which no
    input runs out of its share, or of its side of the ratio. Counts are exact by largest remainder.

    Args:
        recipe: what is asked.
        available: usable rows of each input, by name.

    Raises:
        DataError: an input or a side of the ratio has too few rows, and neither ``repeat`` nor ``allow_shortfall``.
    """
    capped = [_cap(given, available[given.name]) for given in recipe.inputs]
    requested = _request_by_ratio(recipe, recipe.ratio, capped) if recipe.ratio else _request(recipe, capped)
    counts = []
    for given, there, asked in zip(recipe.inputs, capped, requested, strict=True):
        # What is not there at all cannot be repeated either.
        taken = Modalities(*(a if recipe.repeat and t else min(a, t) for a, t in zip(asked, there, strict=True)))
        counts.append(MixCount(given.name, available[given.name], there, asked, taken))
    short = [count for count in counts if count.missing]
    if short and not recipe.allow_shortfall:
        found = "; ".join(f"{one.name}: {one.requested.total} asked, {one.taken.total} there" for one in short)
        raise DataError(
            f"{recipe.name} asks for more rows than there are ({found}). Ask for less, or set repeat or "
            "allow_shortfall in the recipe."
        )
    if not sum(count.taken.total for count in counts):
        raise DataError(f"{recipe.name} takes no rows; its inputs have {sum(map(sum, available.values()))}.")
    return counts


def draw_rows(rows: np.ndarray, cap: int, count: int, seed: int, name: str) -> np.ndarray:
    """Draw ``count`` of the row numbers, shape (n,), at random; each of ``cap`` drawn ones comes before any repeat.

    The draw depends on the seed and the name alone, so other inputs change nothing about it.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    pool = np.random.default_rng([seed, key]).permutation(rows)[:cap]
    return np.resize(pool, count) if count else pool[:0]


def _cap(given: MixInput, available: Modalities) -> Modalities:
    if given.cap is None or given.cap >= available.total:
        return available
    return Modalities(*apportion(given.cap, available))


def _request(recipe: MixRecipe, capped: list[Modalities]) -> list[Modalities]:
    pulls = _pulls(recipe, capped)
    size = recipe.size
    if size is None and recipe.inputs[0].share is not None:
        shares = [_exact(given.share) for given in recipe.inputs if given.share is not None]
        size = int(min(there.total / share for there, share in zip(capped, shares, strict=True)))
    totals = apportion(int(sum(pulls)) if size is None else size, pulls)
    return [
        Modalities(*apportion(count, there if there.total else (1, 0)))
        for count, there in zip(totals, capped, strict=True)
    ]


def _request_by_ratio(recipe: MixRecipe, ratio: Ratio, capped: list[Modalities]) -> list[Modalities]:
    parts = [_exact(ratio.multimodal), _exact(ratio.text)]
    weights = [_exact(given.weight) for given in recipe.inputs]
    sides = [[weight * there[side] for weight, there in zip(weights, capped, strict=True)] for side in (0, 1)]
    for name, part, side in zip(Modalities._fields, parts, sides, strict=True):
        if part and not sum(side):
            raise DataError(f"The ratio of {recipe.name} asks for {name} rows and its inputs have none.")
    if recipe.size is None:
        scale = min(sum(side) / part for part, side in zip(parts, sides, strict=True) if part)
        totals = [int(scale * part) for part in parts]
    else:
        totals = apportion(recipe.size, parts)
    split = [apportion(total, side) for total, side in zip(totals, sides, strict=True)]
    return [Modalities(*counts) for counts in zip(*split, strict=True)]


def _pulls(recipe: MixRecipe, capped: list[Modalities]) -> list[Fraction]:
    return [
        _exact(given.weight) * there.total if given.share is None else _exact(given.share)
        for given, there in zip(recipe.inputs, capped, strict=True)
    ]


def _exact(value: float) -> Fraction:
    # What is written: 0.1 is a tenth here, not the nearest binary number.
    return Fraction(str(value))
