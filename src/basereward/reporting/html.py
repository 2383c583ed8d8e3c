"""The page of a run: one self-contained HTML file made from the run folder's result files alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from basereward.evaluation.files import write_text
from basereward.reporting import plots, tables
from basereward.reporting.results import RunResults, read_run
from basereward.reporting.thumbnails import Thumbnail, make_thumbnail

REPORT = "report.html"
# A page stays under 30 MB: this much for the examples, the rest for tables and plots.
EXAMPLE_BYTES = 27_000_000
CARD_MARKUP_BYTES = 2_000
OUTCOMES = ("correct", "wrong", "tie", "failed")
ACCURACY_NOTE = (
    "A pair is right if its chosen response scores higher. A tie is wrong under accuracy, half right under ties half. "
    "A failed pair has no score: it lowers the coverage and is in no accuracy."
)
HEADLINE_KEYS = {"accuracy", "image_blind_accuracy", "pairs", "seconds", "evaluations"}


class Headline(NamedTuple):
    """One large number, what it is, and what stands below it."""

    label: str
    value: str
    note: str = ""


class Section(NamedTuple):
    """A part of the page: a title, and what there is of a note, an inline SVG and a table."""

    title: str
    note: str = ""
    svg: str = ""
    table: tables.Table | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One example: its images (``None`` where a file is missing), texts and scores."""

    id: str
    source: str
    outcome: str
    prompt: str
    answers: tuple[tuple[str, str, float | None], ...]
    images: tuple[Thumbnail | None, ...]

    @property
    def size(self) -> int:
        """About how many bytes the card takes in the page."""
        texts = [self.prompt, *(text for _, text, _ in self.answers)]
        pictures = sum(len(image.address) for image in self.images if image)
        return pictures + sum(len(escape(text).encode("utf-8", "replace")) for text in texts) + CARD_MARKUP_BYTES


def write_run_report(run_folder: Path) -> Path:
    """Write ``report.html`` into the run folder and return its path.

    Reads ``recipe.yaml``, ``metrics.jsonl``, ``result.json``, ``records.jsonl`` and ``examples.jsonl``; what
    is missing is left out of the page. Examples that would make the page too large are left out, and counted.

    Raises:
        MissingFileError: no such folder.
        DataError: the folder holds nothing to report, or a file is not what its name says.
        MissingExtraError: matplotlib is not installed.
    """
    results = read_run(run_folder)
    page = run_folder / REPORT
    write_text(page, render(results))
    return page


def render(results: RunResults) -> str:
    """Return the page of a run as HTML.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    cards = list(_fitting(results.examples, results.folder))
    return _template().render(
        name=results.name,
        headlines=list(_headlines(results)),
        sections=list(_sections(results)),
        cards=cards,
        examples=len(results.examples),
        outcomes={kind: sum(card.outcome == kind for card in cards) for kind in OUTCOMES},
        recipe=results.recipe,
        details={key: value for key, value in results.result.items() if key not in HEADLINE_KEYS},
    )


def _template() -> Template:
    loader = PackageLoader("basereward.reporting")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")


def _headlines(results: RunResults) -> Iterator[Headline]:
    result, evaluations = results.result, results.evaluations
    model = _accuracy(next(iter(evaluations.values()), {}))
    share = result.get("accuracy", model.get("value"))
    if share is not None:
        note = f"{tables.interval(model)} (95 %)" if model.get("low") is not None else ""
        yield Headline("held-out accuracy", tables.percent(share), note)
    if result.get("image_blind_accuracy") is not None:
        yield Headline("without the images", tables.percent(result["image_blind_accuracy"]), "the same model, blind")
    shares = {name: _accuracy(summary).get("value") for name, summary in evaluations.items()}
    baselines = {name: value for name, value in shares.items() if name.startswith("baseline:") and value is not None}
    if baselines:
        best = max(baselines, key=lambda name: baselines[name])
        yield Headline("best trivial scorer", tables.percent(baselines[best]), best)
    if result.get("pairs") is not None:
        yield Headline("pairs", tables.count(result["pairs"]))
    if result.get("seconds") is not None:
        yield Headline("time", tables.duration(result["seconds"]))


def _accuracy(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    return summary.get("metrics", {}).get("accuracy", {})


def _sections(results: RunResults) -> Iterator[Section]:
    if any("step" in row and {"loss", "accuracy", "eval_accuracy"} & row.keys() for row in results.metrics):
        yield Section("Training", svg=plots.training_curve(results.metrics).decode())
    if evaluations := results.evaluations:
        is_scored = any(_accuracy(summary).get("value") is not None for summary in evaluations.values())
        bars = plots.accuracy_bars(evaluations).decode() if is_scored else ""
        yield Section("Accuracy beside trivial scorers", ACCURACY_NOTE, bars, tables.accuracy_table(evaluations))
        sources = tables.source_table(evaluations)
        if len(sources.rows) > 1:
            yield Section("By source", table=sources)
    margins = [record.margin for record in results.records if record.margin is not None]
    if margins:
        yield Section("Margins", svg=plots.margin_histogram(margins).decode())


def _fitting(examples: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[Card]:
    """Yield cards until the page is full."""
    left = EXAMPLE_BYTES
    for example in examples:
        card = _card(example, folder)
        left -= card.size
        if left < 0:
            return
        yield card


def _card(example: Mapping[str, Any], folder: Path) -> Card:
    return Card(
        id=str(example.get("id", "")),
        source=str(example.get("source", "")),
        outcome=str(example.get("outcome", "failed")),
        prompt=str(example.get("prompt", "")),
        answers=tuple(
            (side, str(example.get(side, "")), example.get(f"{side}_score")) for side in ("chosen", "rejected")
        ),
        images=tuple(make_thumbnail(folder / image) for image in example.get("images") or ()),
    )
