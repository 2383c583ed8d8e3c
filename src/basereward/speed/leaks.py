"""How many planted leaks of benchmark items the search for contamination finds, mode by mode, and its false alarms."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from basereward.benchmarks.items import BenchmarkItem, build_items, text_row
from basereward.curation.contamination.index import Index, build_index
from basereward.curation.contamination.match import find_matches
from basereward.curation.fingerprints.features import compute_features
from basereward.data.overlap import CONTAMINATING, KINDS
from basereward.data.storage import read_rows, write_rows
from basereward.errors import DataError
from basereward.speed.curation import own_caches
from basereward.speed.planted import (
    IMAGE_MODES,
    REPORTED,
    SHORT_MODES,
    TEXT_MODES,
    Messages,
    answer,
    drawn_picture,
    encode,
    given_pictures,
    other_question,
    question,
    said,
    short_question,
)

BAR = 0.95
CONTROLS, SIBLINGS = "controls", "questions of the same templates"
_FREE = 100_000


@dataclass(frozen=True, slots=True)
class LeakMode:
    """What was found of the leaks of one mode.

    ``found`` are the pairs that match their own item by a kind that contaminates, ``kinds`` the strongest kind of each
    pair with its item. Of controls ``found`` are false alarms.
    """

    name: str
    planted: int
    found: int
    kinds: dict[str, int]
    has_bar: bool

    @property
    def share(self) -> float:
        """Found of planted."""
        return self.found / self.planted


@dataclass(frozen=True, slots=True)
class LeakReport:
    """The modes in order, what leaks nothing last."""

    items: int
    pictures: str
    modes: tuple[LeakMode, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {**asdict(self), "bar": BAR}


class _Planted(NamedTuple):
    """A training pair, the mode that it is of, and the benchmark and row that it leaks."""

    mode: str
    pair: dict[str, Any]
    leaked: tuple[str, int] | None


def measure_leaks(
    items: int = 60, controls: int = 400, pictures: Path | None = None, on_part: Callable[[str], None] = lambda _: None
) -> LeakReport:
    """Plant the items of an invented benchmark among pairs in every mode, and look for them.

    A quarter of the controls ask an item's question about another picture, and a quarter another question about an
    item's picture: neither is the item. The others have both of their own. As many pairs without a picture fill the
    templates of the items' questions with other words; some of them are near an item.

    Args:
        items: questions with a picture, questions without, and short questions, so many of each.
        controls: pairs that leak nothing.
        pictures: folder of the pictures to use, instead of drawn ones.
        on_part: called with the name of each part when it begins.

    Raises:
        DataError: too few items or controls, or too few pictures in the folder.
    """
    if items < 1 or controls < 1:
        raise DataError(f"Expected at least one item and one control, found {items} and {controls}.")
    count = 2 * items + controls
    seen = [drawn_picture(number) for number in range(count)] if pictures is None else given_pictures(pictures, count)
    on_part("planting")
    planted = [*_texts(items), *_shown(items, seen), *_controls(items, controls, seen)]
    with own_caches() as folder:
        write_rows((one.pair for one in planted), folder / "pairs.parquet")
        index = build_index(_benchmarks(items, seen))
        rows = read_rows(folder / "pairs.parquet")
        on_part("features")
        features = compute_features(rows)
        kept = np.flatnonzero(features.reason == 0)
        on_part("contamination")
        found = find_matches(features, kept, rows, index)
        best = _strongest(found.pairs, found.items, found.kinds, planted, index)
    modes = dict.fromkeys(one.mode for one in planted)
    told = tuple(
        _mode(mode, [kind for one, kind in zip(planted, best, strict=True) if one.mode == mode]) for mode in modes
    )
    return LeakReport(items, str(pictures.name) if pictures else "drawn", told)


def _benchmarks(items: int, seen: list[Image.Image]) -> dict[str, list[BenchmarkItem]]:
    wrong = "None of these can be seen."
    return {
        "texts": build_items(
            "texts", [text_row(f"t{n}", "s", question(n), [answer(n)], [wrong]) for n in range(items)]
        ),
        "shorts": build_items(
            "shorts", [text_row(f"s{n}", "s", short_question(n), ["Yes."], ["No."]) for n in range(items)]
        ),
        "shown": build_items(
            "shown",
            [
                text_row(f"p{n}", "s", question(items + n), [answer(items + n)], [wrong], [encode(seen[n])])
                for n in range(items)
            ],
        ),
    }


def _texts(items: int) -> Iterator[_Planted]:
    for number in range(items):
        for name, ask in TEXT_MODES.items():
            yield _Planted(f"text {name}", _pair(ask(question(number))), ("texts", number))
        for name, ask in SHORT_MODES.items():
            yield _Planted(f"text {name}", _pair(ask(short_question(number))), ("shorts", number))
        other = [said("user", question(_FREE + number))]
        yield _Planted("text its response to another question", _pair(other, answer(number)), ("texts", number))


def _shown(items: int, seen: list[Image.Image]) -> Iterator[_Planted]:
    for number in range(items):
        asked = question(items + number)
        for name, change in IMAGE_MODES.items():
            image = encode(change(seen[number]), 75)
            yield _Planted(f"image {name}", _pair([said("user", asked, 1)], images=[image]), ("shown", number))
        both = [encode(seen[items + number], 75), encode(seen[number], 75)]
        yield _Planted("image beside a second one", _pair([said("user", asked, 2)], images=both), ("shown", number))


def _controls(items: int, controls: int, seen: list[Image.Image]) -> Iterator[_Planted]:
    for number in range(controls):
        own, item = 2 * items + number, number % items
        asked = question(items + item) if number % 4 == 1 else other_question(number)
        shown = seen[item] if number % 4 == 3 else seen[own]
        yield _Planted(CONTROLS, _pair([said("user", asked, 1)], answer(_FREE + number), [encode(shown, 75)]), None)
    for number in range(controls):
        yield _Planted(SIBLINGS, _pair([said("user", question(_FREE + number))]), None)


def _pair(prompt: Messages, chosen: str = "This is how I see it.", images: list[bytes] | None = None) -> dict[str, Any]:
    return {
        "images": [{"bytes": image, "path": None} for image in images or ()],
        "prompt": prompt,
        "chosen": [said("assistant", chosen)],
        "rejected": [said("assistant", "I would rather not say.")],
    }


def _strongest(
    pairs: np.ndarray, items: np.ndarray, kinds: np.ndarray, planted: list[_Planted], index: Index
) -> list[str | None]:
    """Return the strongest kind of each pair with the item that it leaks; of a control with any item."""
    best: list[int] = [len(KINDS)] * len(planted)
    for row, item, kind in zip(pairs.tolist(), items.tolist(), kinds.tolist(), strict=True):
        leaked = planted[row].leaked
        own = index.names[index.benchmark[item]], index.rows[item][0]
        if leaked is None or leaked == own:
            best[row] = min(best[row], kind)
    return [KINDS[kind] if kind < len(KINDS) else None for kind in best]


def _mode(name: str, kinds: list[str | None]) -> LeakMode:
    counts = Counter(kind or "none" for kind in kinds)
    found = sum(counts[kind] for kind in CONTAMINATING)
    is_promised = name not in (CONTROLS, SIBLINGS) and name.partition(" ")[2] not in REPORTED
    return LeakMode(name, len(kinds), found, dict(counts.most_common()), is_promised)
