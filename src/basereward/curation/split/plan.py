"""What a split will do: which rows go into which part, and how rows hang together."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow.compute as pc

from basereward.curation.fingerprints.features import REASONS, Features, compute_features
from basereward.curation.split.components import Components
from basereward.curation.split.draw import Ordered, draw_parts, order_components
from basereward.curation.split.links import find_links
from basereward.curation.split.settings import GROUP_COLUMNS, REST, SplitSettings
from basereward.errors import DataError, RecipeError

# Sizes that are named one by one; of the others it is said how many components have at most so many rows.
_LARGEST = 5
_UP_TO = (1, 2, 5, 10, 100, 1000)
_ADVICE = {
    "prompt": "with --like-prompts shown a prompt counts as one only beside the same image",
    "like image": "--like-images copies compares like images pixel by pixel",
}
_BY_GROUP = "--group names other columns, --group none leaves them out"
_NO_ADVICE = ("equal pair", "image")


class SplitPlan(NamedTuple):
    """Which rows go where, and why.

    ``parts`` holds the numbers of the rows of each part, rising, the rest last; ``unusable`` those of rows that no pair
    can be read from, by reason; ``facts`` is what manifests say: ``parts``, ``links``, ``components``, ``warnings``.
    """

    parts: Mapping[str, np.ndarray]
    unusable: Mapping[str, np.ndarray]
    multimodal: Mapping[str, int]
    facts: Mapping[str, Any]


class _Tied(NamedTuple):
    """The components of all links together, and what each kind of link says of them."""

    components: Components
    links: dict[str, dict[str, int]]


def plan_split(
    rows: datasets.Dataset,
    settings: SplitSettings,
    workers: int = 1,
    on_progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> SplitPlan:
    """Return what a split of the rows of all inputs does.

    The parts depend on the content of the rows and the seed: neither on the order of the rows nor on their inputs.

    Args:
        workers: processes that compute features.
        on_progress: called with the name of the task, and the rows done and to do.

    Raises:
        DataError: no usable row; a named group that no row has; or a part cannot be made as large as asked for, because
            of what hangs together.
        RecipeError: the parts leave nothing to train on.
    """
    features = compute_features(rows, workers, lambda done: on_progress("features", done, len(rows)))
    kept = np.flatnonzero(features.reason == 0)
    unusable = {
        str(REASONS[code]): np.flatnonzero(features.reason == code) for code in np.unique(features.reason) if code
    }
    if not len(kept):
        told = ", ".join(f"{reason} {len(own):,}" for reason, own in unusable.items())
        raise DataError(f"None of {len(rows):,} rows is a pair ({told}); see what they are with: basereward data show")
    wanted = settings.wanted(len(kept))
    tied = _tie(features, rows, kept, settings, on_progress)
    ordered = order_components(tied.components.labels, features.content[kept], settings.seed, _set_numbers(rows)[kept])
    drawn = draw_parts(ordered, wanted, ("sample",) if settings.sample_over == "sets" else ())
    rest = np.setdiff1d(np.arange(len(ordered.sizes)), np.concatenate(list(drawn.values())))
    _check_sizes(ordered, drawn, wanted, settings, tied)
    parts, facts = {}, {}
    for part, places in {**drawn, REST: rest}.items():
        parts[part] = kept[np.isin(tied.components.labels, ordered.names[places])]
        facts[part] = {"wanted": wanted.get(part), "rows": len(parts[part]), "components": len(places)}
    multimodal = {part: int(np.count_nonzero(features.images[own])) for part, own in parts.items()}
    described = {
        "parts": facts,
        "unusable": {reason: len(own) for reason, own in unusable.items()},
        "links": tied.links,
        "components": _describe_sizes(ordered.sizes),
        "warnings": _warnings(ordered, drawn, wanted, tied),
    }
    return SplitPlan(parts, unusable, multimodal, described)


def _set_numbers(rows: datasets.Dataset) -> np.ndarray:
    """Return, for each row, the place of its source among the sorted names of all, shape (rows,)."""
    column = pc.fill_null(rows.select_columns("source").with_format("arrow")[:]["source"], "")
    return np.unique(column.to_numpy(), return_inverse=True)[1].reshape(-1)


def _tie(
    features: Features,
    rows: datasets.Dataset,
    kept: np.ndarray,
    settings: SplitSettings,
    on_progress: Callable[[str, int, int], None],
) -> _Tied:
    everything, everywhere = Components(len(kept)), np.arange(len(kept))
    links = {}
    for name, own in find_links(features, rows, kept, settings):
        on_progress(f"links: {name}", len(rows), len(rows))
        everything.join(everywhere, own.labels)
        sizes = own.sizes()
        links[name] = {"tied_rows": int(sizes[sizes > 1].sum()), "largest": int(sizes[0])}
    if settings.groups != GROUP_COLUMNS and (unknown := [name for name in settings.groups if name not in links]):
        raise DataError(
            f"No row has a value in the extra column {', '.join(unknown)}, which was to tie rows. Look for it with "
            "basereward data show, or leave it out."
        )
    return _Tied(everything, links)


def _describe_sizes(sizes: np.ndarray) -> dict[str, Any]:
    return {
        "count": len(sizes),
        "largest": np.sort(sizes)[::-1][:_LARGEST].tolist(),
        "up_to": {str(limit): int(np.count_nonzero(sizes <= limit)) for limit in _UP_TO},
    }


def _check_sizes(
    ordered: Ordered, drawn: Mapping[str, np.ndarray], wanted: Mapping[str, int], settings: SplitSettings, tied: _Tied
) -> None:
    for part, places in drawn.items():
        found, asked = int(ordered.sizes[places].sum()), wanted[part]
        if not found or abs(found - asked) > settings.tolerance * asked:
            raise DataError(
                f"{part} cannot have {asked:,} pairs: with what hangs together {found:,} come closest. The largest "
                f"components have {_told(ordered.sizes)} of {int(ordered.sizes.sum()):,} pairs; {_largest_link(tied)}. "
                f"Ask for another size, allow it with --tolerance, or tie less."
            )
    if int(sum(ordered.sizes[places].sum() for places in drawn.values())) == int(ordered.sizes.sum()):
        raise RecipeError("Nothing is left to train on: all components are held out; ask for less.")


def _warnings(ordered: Ordered, drawn: Mapping[str, np.ndarray], wanted: Mapping[str, int], tied: _Tied) -> list[str]:
    told = []
    for part, places in drawn.items():
        found = int(ordered.sizes[places].sum())
        if found != wanted[part]:
            told.append(f"{part} has {found:,} pairs, the closest to {wanted[part]:,} without tearing what is tied")
        if int(ordered.sizes.max()) > wanted[part]:
            is_larger = ordered.sizes > wanted[part]
            told.append(
                f"{int(is_larger.sum()):,} components are larger than {part} ({_told(ordered.sizes[is_larger])} pairs) "
                f"and cannot be in it; {_largest_link(tied)}"
            )
    return told


def _told(sizes: np.ndarray) -> str:
    return ", ".join(f"{size:,}" for size in np.sort(sizes)[::-1][:_LARGEST].tolist())


def _largest_link(tied: _Tied) -> str:
    """Return which kind of link makes the largest component alone, and what would make it smaller."""
    name = max(tied.links, key=lambda kind: tied.links[kind]["largest"])
    told = f"'{name}' alone ties {tied.links[name]['largest']:,}"
    advice = _ADVICE.get(name, "" if name in _NO_ADVICE else _BY_GROUP)
    return f"{told} ({advice})" if advice else told
