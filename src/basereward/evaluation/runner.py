"""Evaluates a scorer or a judge on a benchmark or a file of pairs into a folder, beside trivial baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from basereward.benchmarks.items import BenchmarkItem, ItemFacts, survey
from basereward.benchmarks.records import RowRecord, score_records
from basereward.data.outcomes import About
from basereward.data.progress import Progress, no_progress
from basereward.errors import DataError, ScoringError
from basereward.evaluation.asking import Ask, ask_judge, ask_scorer, collect
from basereward.evaluation.blind import IMAGE_BLIND, ExchangedItems, exchange_images
from basereward.evaluation.conclusion import Asked, conclude
from basereward.evaluation.given import read_scores
from basereward.evaluation.items import write_items
from basereward.evaluation.opened import Opened
from basereward.evaluation.result import Result
from basereward.evaluation.store import open_store, work_identity
from basereward.scoring.baselines import BASELINES
from basereward.scoring.interface import Judge, Scorer, checked_scores
from basereward.scoring.judges.answers import trust
from basereward.statistics import Ties


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How an evaluation runs.

    Args:
        ties: rule for ties; that of each protocol by default.
        references: also evaluate the trivial baselines, and a scorer that sees with the images of other items.
        samples: how often a judge is asked each question.
        resume: go on from what the folder holds; failed rows are asked again.
        overwrite: delete what the folder holds.
        partial: scores made elsewhere may be of some rows alone; then all numbers are of these.
        settings: what else than the name of what is asked decides its answers, such as a dtype.
    """

    ties: Ties | None = None
    references: bool = True
    samples: int = 1
    resume: bool = False
    overwrite: bool = False
    partial: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_OPTIONS = EvaluationOptions()


def evaluate(
    subject: Scorer | Judge | Path,
    opened: Opened,
    folder: Path,
    options: EvaluationOptions = DEFAULT_OPTIONS,
    on_progress: Progress = no_progress,
) -> Result:
    """Evaluate; write ``records.jsonl``, ``items.jsonl`` and ``result.json`` and return the latter.

    Args:
        subject: what is asked; the path of a file is of scores made elsewhere.
        on_progress: called with the number of items done and to do; the image-blind pass counts too.

    Raises:
        WorkError: another process writes the folder, or it holds an evaluation already.
        DataError: scores made elsewhere that do not fit, or a bad record.
        ScoringError: what is asked gives no answers at all, or the same to every sample; answers are kept.
    """
    asked = _asked(subject, options)
    records: list[RowRecord] = []
    if isinstance(subject, Path):
        opened, records = read_scores(subject, opened, options.partial)
    facts = survey(opened.items)
    identity = work_identity(asked.about, asked.settings, facts.sha256)
    with open_store(folder, identity, options.resume, options.overwrite) as store:
        references: dict[str, list[RowRecord]] = {}
        notes: list[str] = []
        if not isinstance(subject, Path):
            ask = ask_judge(subject, options.samples) if isinstance(subject, Judge) else ask_scorer(subject)
            if isinstance(subject, Judge) and any(record.judged for record in store.known.values()):
                trust(subject)
            is_blind_too = options.references and asked.about.sees_images and not asked.is_judge
            passes = _Passes(facts, is_blind_too, on_progress)
            records = collect(ask, opened.items, facts.rows, store.known, store.add, passes.first)
            if is_blind_too:
                references[IMAGE_BLIND], notes = score_blind(ask, opened.items, facts, records, passes.second)
        if options.references:
            references |= score_baselines(opened.items)
        shown = {name: own for name, own in references.items() if own}
        result = conclude(asked, opened, facts, records, shown, notes, options.ties)
        write_items(folder, opened.items, facts, records)
        store.finish(records, result)
    return result


class _Passes:
    """One count of progress for the model's pass over the items and the image-blind one behind it."""

    def __init__(self, facts: ItemFacts, is_blind_too: bool, on_progress: Progress) -> None:
        self._items = len(facts.rows)
        self._total = self._items + (_exchangeable(facts) if is_blind_too else 0)
        self._on_progress = on_progress

    def first(self, done: int, _: int) -> None:
        self._on_progress(done, self._total)

    def second(self, done: int, _: int) -> None:
        self._on_progress(self._items + done, self._total)


def _asked(subject: Scorer | Judge | Path, options: EvaluationOptions) -> Asked:
    if isinstance(subject, Path):
        return Asked(About(str(subject), sees_images=False), dict(options.settings))
    if not isinstance(subject, Judge):
        return Asked(subject.about, dict(options.settings))
    if options.samples == 1:
        return Asked(subject.about, dict(options.settings), is_judge=True)
    known = subject.about.identity or {}
    if not known.get("temperature") or "seed" in known:
        raise ScoringError(
            f"{subject.about.name} would give the same answer {options.samples} times: it is asked greedily, or with a "
            "fixed seed. Give a server --judge-option temperature=0.7,seed=null, or ask once."
        )
    return Asked(subject.about, {**options.settings, "judge_samples": options.samples}, is_judge=True)


def score_items(scorer: Scorer, items: Sequence[BenchmarkItem]) -> list[RowRecord]:
    """Return the records of all rows, in memory alone.

    Raises:
        ScoringError: the scorer did not return one score for each response.
    """
    return collect(ask_scorer(scorer), items, [[row.row for row in item.rows] for item in items])


def score_baselines(items: Sequence[BenchmarkItem]) -> dict[str, list[RowRecord]]:
    """Return the records of the trivial baselines by name, from one walk over the items."""
    baselines = [BASELINES.get(name) for name in BASELINES.names()]
    found: dict[str, list[RowRecord]] = {baseline.about.name: [] for baseline in baselines}
    for number, item in enumerate(items):
        for baseline in baselines:
            scores = [score for own in checked_scores(baseline, item.groups) for score in own]
            found[baseline.about.name] += score_records(item, number, scores)
    return found


class BlindRecords(NamedTuple):
    """The records of a model that is shown the images of other items, and notes on what they leave out."""

    records: list[RowRecord]
    notes: list[str]


def score_blind(
    ask: Ask,
    items: Sequence[BenchmarkItem],
    facts: ItemFacts,
    records: Sequence[RowRecord],
    on_progress: Progress = no_progress,
) -> BlindRecords:
    """Ask about the items with images and videos exchanged; without any there is nothing to exchange, and no record.

    Items of which a row failed are left out: their images may be those that cannot be read.
    """
    if not any(facts.images):
        return BlindRecords([], [])
    failed = {record.item for record in records if record.failure is not None}
    notes = [f"{len(failed)} items with a failed row are not in the image-blind accuracy."] if failed else []
    usable = [number for number in range(len(facts.rows)) if number not in failed]
    try:
        exchange = exchange_images(facts, usable)
    except DataError as error:
        return BlindRecords([], [*notes, str(error)])
    if not exchange.givers:
        return BlindRecords([], notes)
    shown = set(usable) - set(exchange.left_out)
    rows = [own if number in shown else () for number, own in enumerate(facts.rows)]
    blind = collect(ask, ExchangedItems(items, exchange), rows, on_progress=on_progress)
    return BlindRecords(blind, [*notes, *exchange.notes])


def _exchangeable(facts: ItemFacts) -> int:
    """Return how many items the image-blind pass will ask about, if none fails."""
    try:
        exchange = exchange_images(facts)
    except DataError:
        return 0
    return len(facts.rows) - len(exchange.left_out) if exchange.givers else 0
