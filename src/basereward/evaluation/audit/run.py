"""Audits a scorer or a judge into a folder: the pairs as they are, then probe by probe the same pairs changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from basereward.benchmarks.records import RowRecord
from basereward.data.identity import Identity, WorkInput
from basereward.data.outcomes import About
from basereward.data.progress import Progress, no_progress
from basereward.errors import DataError
from basereward.evaluation.asking import ask_judge, ask_scorer
from basereward.evaluation.audit.measures import POINTS
from basereward.evaluation.audit.probe import Changed, Probe, Subject
from basereward.evaluation.audit.probes import choose_probes
from basereward.evaluation.audit.records import ORIGINAL, AuditFolder, open_audit
from basereward.evaluation.audit.result import TASK, AuditResult, ProbeResult
from basereward.evaluation.audit.sets import AuditSet, make_set
from basereward.evaluation.audit.verdicts import PreparedProbe, conclude_probe, count_failures, prepare_probe
from basereward.evaluation.opened import Opened, used_data
from basereward.evaluation.provenance import versions_of
from basereward.scoring.interface import Judge, Scorer


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How an audit runs.

    Args:
        probes: names of the probes, all by default.
        seed: of whatever a probe draws.
        overwrite: delete what the folder holds.
        settings: what else than the name of what is asked decides its answers, such as a dtype.
    """

    probes: tuple[str, ...] = ()
    seed: int = 0
    overwrite: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_AUDIT = AuditOptions()


def audit(
    asked: Scorer | Judge,
    opened: Opened,
    folder: Path,
    options: AuditOptions = DEFAULT_AUDIT,
    on_progress: Progress = no_progress,
) -> AuditResult:
    """Audit; write ``result.json``, records and thumbnails, and return the result. The same call goes on after a stop.

    Scores must be computed anew for a certificate to mean anything: give no scorer that answers from a cache.

    Args:
        on_progress: called with the number of items asked about and to ask about, all probes together.

    Raises:
        UnknownNameError: no such probe.
        WorkError: another process writes the folder, or it holds a finished audit or another one.
        DataError: no item has two different responses, or a bad record.
        ScoringError: what is asked gives no answers at all; answers are kept.
    """
    probes = choose_probes(options.probes)
    everything = make_set(opened.items, options.seed)
    if not everything.items:
        raise DataError(f"No item of {opened.name} has a correct and a rejected response that differ; nothing to ask.")
    with open_audit(folder, _identity(asked.about, everything, options), options.overwrite) as place:
        run = _AuditRun(asked, place, on_progress)
        before = run.ask_first(everything, probes)
        usable = [number for number, record in before.items() if record.failure is None]
        found = run.ask_probes(probes, replace(everything, usable=usable), before)
        result = _conclude(run, opened, options, everything, before, found)
        place.finish(result)
    return result


def _identity(about: About, everything: AuditSet, options: AuditOptions) -> Identity:
    return Identity(
        task=TASK,
        inputs=(WorkInput(name="items", sha256=everything.facts.sha256),),
        weights={"name": about.name, **about.facts},
        settings={**options.settings, "seed": options.seed},
    )


def _conclude(
    run: "_AuditRun",
    opened: Opened,
    options: AuditOptions,
    everything: AuditSet,
    before: Mapping[int, RowRecord],
    found: list[ProbeResult],
) -> AuditResult:
    points = [POINTS[record.outcome] for record in before.values() if record.failure is None]
    about = run.subject.about
    return AuditResult(
        benchmark=opened.name,
        scorer=about.name,
        is_judge=run.subject.is_judge,
        n=len(before),
        n_images=sum(map(bool, everything.facts.images)),
        data=used_data(opened, everything.facts),
        seed=options.seed,
        accuracy=fmean(points) if points else None,
        answers=run.answers,
        failures=count_failures(before.values()),
        probes=found,
        left_out=len(opened.items) - len(before),
        settings=dict(options.settings),
        identity=None if about.identity is None else dict(about.identity),
        versions=versions_of(about),
    )


class _AuditRun:
    """One audit: who is asked, where records go, and how far it is."""

    def __init__(self, asked: Scorer | Judge, place: AuditFolder, on_progress: Progress) -> None:
        self._asked = asked
        self.subject = Subject(asked.about, isinstance(asked, Judge))
        self._place = place
        self._on_progress = on_progress
        self._done = self._total = 0

    def ask_first(self, everything: AuditSet, probes: Sequence[Probe]) -> dict[int, RowRecord]:
        """Return the records of the items as they are; the total is what the probes ask about at most."""
        self._total = len(everything.items) * (1 + sum(probe.prepare is not None for probe in probes))
        as_they_are = Changed(everything.usable, everything.items.__getitem__)
        return self._collect(ORIGINAL, None, everything, as_they_are)

    def ask_probes(
        self, probes: Sequence[Probe], asked: AuditSet, before: Mapping[int, RowRecord]
    ) -> list[ProbeResult]:
        """Return what the probes find on the usable items."""
        prepared = [prepare_probe(probe, self.subject, asked) for probe in probes]
        self._total = len(asked.items) + sum(own.to_ask for own in prepared)
        return [self._find(own, asked, before) for own in prepared]

    @property
    def answers(self) -> int:
        """Scores of responses or verdicts: two for each item, as it has two responses, or two orders."""
        return 2 * self._done

    def _find(self, prepared: PreparedProbe, asked: AuditSet, before: Mapping[int, RowRecord]) -> ProbeResult:
        probe, changed, _ = prepared
        after = before if changed is None else self._collect(probe.name, probe, asked, changed)
        return conclude_probe(prepared, asked, before, after, self._place.folder)

    def _collect(self, name: str, probe: Probe | None, asked: AuditSet, changed: Changed) -> dict[int, RowRecord]:
        if isinstance(self._asked, Judge):
            ask = ask_judge(self._asked)
        else:
            ask = ask_scorer(self._asked) if probe is None else probe.ask(self._asked, asked)
        return self._place.collect(name, ask, asked, changed, self._step)

    def _step(self, items: int) -> None:
        self._done += items
        self._on_progress(self._done, self._total)
