"""The page of a training set: its statistics as tables and plots, and sampled pairs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from basereward.curation.columns import PairColumns
from basereward.data.schema import REQUIRED_KEYS
from basereward.reporting import data_plots, plots
from basereward.reporting.data_origin import drop_section, origin_sections
from basereward.reporting.data_statistics import Statistics, score_gaps
from basereward.reporting.documents import Chapter, Document, Headline
from basereward.reporting.items import CardList
from basereward.reporting.tables import MISSING, Table, count, interval, percent

SOURCES_SHOWN, SOURCES_DRAWN = 100, 24
NOT_OPENED = "Images are not opened for this table; training opens them all."
RATED, RATED_SIDES = "rating of chosen - rating of rejected", ("rejected rated higher", "chosen rated higher")
SPREAD = ("n", "mean", "p5", "median", "p95", "max")


def build_data_report(
    name: str,
    statistics: Statistics,
    columns: PairColumns,
    items: CardList,
    tokens: Mapping[str, Sequence[int]] | None = None,
) -> Document:
    """Return the report of a training set.

    Args:
        statistics: of ``describe_set``, with ``manifests``, and ``tokens`` if they were counted.
        columns: what the plots draw.
        items: the pairs to show.
        tokens: counts to draw, if a tokenizer was given.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return Document(
        kind="basereward training set",
        name=name,
        headlines=list(_headlines(statistics)),
        sections=[
            _source_section(statistics),
            *_length_sections(statistics, columns),
            *_token_section(statistics, tokens),
            *_image_section(statistics),
            *_rating_section(statistics, columns),
            _repeat_section(statistics),
            drop_section(statistics["drops"], "Dropped rows", NOT_OPENED),
            *(section for manifest in statistics["manifests"] for section in origin_sections(manifest)),
        ],
        items=items,
    )


def _headlines(statistics: Statistics) -> Iterator[Headline]:
    pairs, longer = statistics["pairs"], statistics["chosen_longer"]
    dropped = statistics["rows"] - pairs
    yield Headline("pairs", count(pairs), f"of {count(statistics['rows'])} rows" if dropped else "")
    yield Headline("with images or videos", percent(statistics["multimodal"] / pairs))
    note = f"95 %: {interval(longer.get('low'), longer.get('high'))}" if longer["n"] else "all are equally long"
    yield Headline("chosen is longer", percent(longer["value"]), note)
    yield Headline("sources", count(len(statistics["sources"])))
    yield Headline("exact duplicates", percent(statistics["duplicates"] / pairs), count(statistics["duplicates"]))


def _source_section(statistics: Statistics) -> Chapter:
    ranked = sorted(statistics["sources"].items(), key=lambda item: (-item[1]["pairs"], item[0]))
    counted = ("source", "pairs", "share", "multimodal", "images", "chosen longer", "95 % interval", "equal")
    shown = ranked[:SOURCES_SHOWN] if len(ranked) == 1 else [("all", statistics), *ranked[:SOURCES_SHOWN]]
    rows = [_source_row(name, own, statistics["pairs"]) for name, own in shown]
    lines = []
    if rest := ranked[SOURCES_SHOWN:]:
        pairs = count(sum(own["pairs"] for _, own in rest))
        lines.append(f"{count(len(rest))} smaller sources with {pairs} pairs are in no row of their own.")
    if len(ranked) > SOURCES_DRAWN:
        lines.append(f"The plot shows the {SOURCES_DRAWN} largest sources.")
    bars = {name: (own["multimodal"], own["pairs"] - own["multimodal"]) for name, own in ranked[:SOURCES_DRAWN]}
    note = (
        "Chosen longer is the share among pairs whose responses differ in characters; equal counts the others. Prompt, "
        "chosen and rejected are characters: mean / median / 95 % quantile."
    )
    return Chapter(
        "Sources",
        note,
        data_plots.source_bars(bars).decode(),
        Table((*counted, *REQUIRED_KEYS, "duplicates", "conflicts"), rows),
        lines,
    )


def _source_row(name: str, own: Statistics, pairs: int) -> tuple[str, ...]:
    lengths = [own["characters"][side] for side in REQUIRED_KEYS]
    longer = own["chosen_longer"]
    return (
        name,
        count(own["pairs"]),
        percent(own["pairs"] / pairs),
        percent(own["multimodal"] / own["pairs"]),
        count(own["images"]),
        percent(longer["value"]),
        interval(longer.get("low"), longer.get("high")),
        count(longer["equal"]),
        *(" / ".join(f"{spread[key]:,.0f}" for key in ("mean", "median", "p95")) for spread in lengths),
        *map(count, (own["duplicates"], own["conflicts"])),
    )


def _length_sections(statistics: Statistics, columns: PairColumns) -> Iterator[Chapter]:
    lengths = columns.characters[columns.usable]
    spreads = {f"{side}, {unit}": statistics[unit][side] for unit in ("characters", "words") for side in REQUIRED_KEYS}
    svg = data_plots.length_histogram(dict(zip(REQUIRED_KEYS, lengths.T, strict=True)), "characters")
    yield Chapter("Lengths", svg=svg.decode(), table=spread_table("text", spreads))
    svg = data_plots.length_difference_histogram(lengths[:, 1] - lengths[:, 2], "characters")
    note = "A reward model learns length where one colour outweighs the other at the same distance from zero."
    yield Chapter("Length difference", note, svg.decode())


def _token_section(statistics: Statistics, tokens: Mapping[str, Sequence[int]] | None) -> Iterator[Chapter]:
    if not tokens:
        return
    told = statistics["tokens"]
    drawn = {name: np.asarray(values) for name, values in tokens.items() if any(values)}
    note = (
        f"With the chat template and the image tokens of {told['tokenizer']}, as training counts them. A pair computes "
        "its prompt once; its longest sequence is prompt and one response."
    )
    lines = [f"dropped, {reason}: {count(own['count'])}" for reason, own in told["drops"]["reasons"].items()]
    svg = data_plots.length_histogram(drawn, "tokens").decode() if drawn else ""
    yield Chapter("Tokens", note, svg, spread_table("tokens", {name: told[name] for name in tokens}), lines)


def _image_section(statistics: Statistics) -> Iterator[Chapter]:
    measured = statistics["image_sizes"]
    if not measured["pairs_drawn"]:
        return
    note = (
        f"{count(statistics['images'])} images and {count(statistics['videos'])} videos. Sizes are those of "
        f"{count(measured['pairs_drawn'])} pairs drawn at random, frames of videos included; the area of a dot is the "
        "number of images of that size."
    )
    lines = [f"cannot be opened, {reason}: {count(number)}" for reason, number in measured["unreadable"].items()]
    if not measured["sizes"]:
        yield Chapter("Images", note, lines=lines)
        return
    svg = data_plots.image_sizes(measured["sizes"], statistics["images_per_pair"]).decode()
    spreads = {name: measured[name] for name in ("width", "height", "megapixels")}
    yield Chapter("Images", note, svg, spread_table("size", spreads), lines)


def _rating_section(statistics: Statistics, columns: PairColumns) -> Iterator[Chapter]:
    if statistics["score_gap"]:
        gaps = score_gaps(columns)[columns.usable]
        svg = plots.margin_histogram(gaps[~np.isnan(gaps)].tolist(), below=RATED, sides=RATED_SIDES).decode()
        equal = count(int((gaps == 0).sum()))
        note = f"{count(statistics['rated'])} of {count(statistics['pairs'])} pairs are rated, {equal} of them equally."
        yield Chapter("Ratings", note, svg, spread_table("rating", {"chosen - rejected": statistics["score_gap"]}))
    if statistics["margin"]:
        note = "The target difference of rewards that a source gives; training uses it with objective.use_margin."
        yield Chapter("Target margins", note, table=spread_table("margin", {"margin": statistics["margin"]}))


def _repeat_section(statistics: Statistics) -> Chapter:
    pairs, prompts = statistics["pairs"], statistics["prompts"]
    found = {
        "duplicates: pairs with the images and texts of an earlier one": statistics["duplicates"],
        "conflicts: pairs that at least as many others contradict": statistics["conflicts"],
        "pairs whose prompt has the text of another one": prompts["pairs_that_share_one"],
        "pairs whose prompt has the text of one in another source": prompts["pairs_in_several_sources"],
        "different texts of prompts": prompts["distinct"],
    }
    rows = [(name, count(number), percent(number / pairs)) for name, number in found.items()]
    note = "Texts are compared without case and punctuation, images by the bytes of their files."
    lines = [f"{count(own['pairs'])} pairs: {own['prompt']}" for own in statistics["most_repeated"]]
    return Chapter("Repeats", note, table=Table(("", "pairs", "share"), rows), lines=lines)


def spread_table(title: str, spreads: Mapping[str, Mapping[str, Any] | None]) -> Table:
    """Return count, mean and quantiles of several things."""
    rows = [(name, *(MISSING if own is None else _number(own[key]) for key in SPREAD)) for name, own in spreads.items()]
    return Table((title, "n", "mean", "5 %", "median", "95 %", "largest"), rows)


def _number(value: float) -> str:
    """Return a number with at least three digits."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
