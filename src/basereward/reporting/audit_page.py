"""The page of an audit: every probe with its interval beside its pass mark, and the worst pairs of each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from basereward.data.io import read_json
from basereward.errors import MissingFileError
from basereward.evaluation.audit.probe import PROBE_KINDS
from basereward.evaluation.audit.result import PAGE, AuditResult, ProbeExample, ProbeResult, ShownPair
from basereward.evaluation.result import RESULT
from basereward.reporting.documents import Chapter, Document, Headline
from basereward.reporting.html import render, write_page
from basereward.reporting.interval_bars import IntervalBar, draw_intervals
from basereward.reporting.items import Card, CardList, ShownAnswer
from basereward.reporting.tables import MISSING, Table, count, percent

NOTES = {
    "looks and reads": "Accuracy lost when something is taken away that the better response depends on. A model that "
    "loses nothing answers from what is left.",
    "same numbers": "The largest difference of any score when the same responses are asked about in other company, in "
    "standard deviations of all scores. It is exact, so it has no interval.",
    "same ranking": "Share of pairs that end differently although the change is of no account.",
    "attacks": "Share of the pairs ranked right that are lost when the rejected response gets what makes it no better.",
    "properties": "What the answers to the pairs as they are say already.",
}
TONES = {"pass": "correct", "fail": "wrong", "cannot tell": "soft", "not applicable": "soft"}
RULE = "the worst rows of each probe come first"


def write_audit_page(folder: Path) -> Path:
    """Write the page of an audit's folder and return its path.

    Raises:
        MissingFileError: the folder holds no result of an audit.
    """
    path = folder / RESULT
    if not path.is_file():
        raise MissingFileError(f"{folder} holds no {RESULT}; expected the folder of basereward audit.")
    result = AuditResult.model_validate(read_json(path), strict=False)
    write_page(folder / PAGE, render(build_audit_report(result, folder)))
    return folder / PAGE


def build_audit_report(result: AuditResult, folder: Path) -> Document:
    """Return the report of an audit.

    Args:
        folder: where its thumbnails lie.
    """
    cards = [
        _card(probe, example, folder, number)
        for probe in result.probes
        for number, example in enumerate(probe.examples)
    ]
    return Document(
        kind="audit",
        name=f"{result.scorer} on {result.benchmark}",
        headlines=list(_headlines(result)),
        sections=list(_chapters(result)),
        items=CardList(
            "Worst pairs", cards, RULE, ("score",), "margin after", ("all probes", "all outcomes", ""), "subset"
        ),
        details={"seed": result.seed, "settings": result.settings, "versions": result.versions},
    )


def probe_table(probes: Sequence[ProbeResult]) -> Table:
    """Return one row for each probe: its verdict, value, interval, pass mark and number of pairs."""
    rows = [
        (
            probe.name,
            probe.status,
            show_number(probe.value),
            MISSING if probe.low is None else f"{show_number(probe.low)} to {show_number(probe.high)}",
            f"{probe.direction} {probe.mark:g}",
            count(probe.n),
        )
        for probe in probes
    ]
    return Table(("probe", "verdict", "value", "95 % interval", "pass mark", "pairs"), rows)


def summary_line(result: AuditResult) -> str:
    """Return how many probes ended how, and what the audit cost, in one line."""
    counts = ", ".join(f"{number} {status}" for status, number in sorted(result.counts.items()))
    what = "verdicts" if result.is_judge else "scores"
    failed = f"; failed: {', '.join(result.failed)}" if result.failed else ""
    lost = sum(result.failures.values())
    missing = f" {count(lost)} of them have none as they are, and are in no probe." if lost else ""
    told = f"{len(result.probes)} probes: {counts}{failed}. {count(result.answers)} {what} of {count(result.n)} pairs."
    return told + missing


def show_number(value: float | None) -> str:
    """Return a number: a count as it is, else three decimals, or its power of ten where these would all be zero."""
    if value is None:
        return MISSING
    if value > 1 and value == int(value):
        return count(int(value))
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def _headlines(result: AuditResult) -> Iterator[Headline]:
    counts = result.counts
    yield Headline("failed", str(counts["fail"]), ", ".join(result.failed))
    yield Headline("passed", str(counts["pass"]))
    yield Headline("cannot tell", str(counts["cannot tell"]))
    yield Headline("not applicable", str(counts["not applicable"]))
    yield Headline(
        "accuracy", percent(result.accuracy), f"{count(result.n)} pairs, {count(result.n_images)} with images"
    )
    yield Headline("verdicts" if result.is_judge else "scores", count(result.answers), "asked for in all")


def _chapters(result: AuditResult) -> Iterator[Chapter]:
    for kind in PROBE_KINDS:
        probes = [probe for probe in result.probes if probe.kind == kind]
        if not probes:
            continue
        bars = [
            IntervalBar(probe.name, probe.status, TONES[probe.status], probe.value, probe.low, probe.high, probe.mark)
            for probe in probes
            if probe.value is not None and probe.low is not None and probe.high is not None
        ]
        svg = draw_intervals(bars) if bars else ""
        yield Chapter(kind.capitalize(), NOTES[kind], svg, probe_table(probes), [*map(_line, probes)])
    if result.failures:
        lines = [f"{reason}: {number} pairs" for reason, number in result.failures.items()]
        yield Chapter("Pairs without a score as they are", "They are in no probe.", lines=lines)


def _line(probe: ProbeResult) -> str:
    """Return the question of a probe and what else is known."""
    facts = [probe.reason] if probe.reason else []
    facts += [f"{name.replace('_', ' ')} {show_number(value)}" for name, value in probe.details.items()]
    facts += [f"{number} without a score ({reason})" for reason, number in probe.failures.items()]
    facts += [f"{probe.left_out} pairs left out"] if probe.asked and probe.left_out else []
    return f"{probe.name}: {probe.question} {'; '.join(facts)}".strip()


def _card(probe: ProbeResult, example: ProbeExample, folder: Path, number: int) -> Card:
    before, after = example.before, example.after
    shown = after or before
    prompt = before.prompt if shown.prompt == before.prompt else f"{before.prompt}\n\nchanged:\n{shown.prompt}"
    images = before.images if shown.images == before.images else [*before.images, *shown.images]
    right, wrong = shown.scores
    return Card(
        row=number + 1,
        id=f"{example.subset} / {example.id} / row {example.row}",
        source=probe.name,
        outcome=before.outcome if after is None else f"{before.outcome}, then {after.outcome}",
        margin=None if right is None or wrong is None else right - wrong,
        prompt=prompt,
        answers=(*_answers(before, ""), *(_answers(after, " changed") if after else ())),
        images=tuple(None if image is None else folder / image for image in images),
    )


def _answers(pair: ShownPair, what: str) -> Iterator[ShownAnswer]:
    for side, text, score in zip(("correct", "rejected"), (pair.correct, pair.rejected), pair.scores, strict=True):
        yield ShownAnswer(side + what, text, (score,))
