"""Where a training set comes from: sources, steps, drops and overlaps with benchmarks, as its manifest states them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from basereward.curation.steps import CURATION_REASONS
from basereward.data.overlap import EXPLANATIONS, KINDS, BenchmarkOverlap, OverlapSummary
from basereward.reporting.documents import Chapter
from basereward.reporting.tables import MISSING, Table, count

EXAMPLE_CHARACTERS = 300
# Keys of a step that stand elsewhere on the page, or, as a whole recipe, nowhere.
_TOLD = {"step", "in", "out", "dropped", "candidates", "counts", "source", "recipe"}


def drop_section(drops: Mapping[str, Any], title: str, note: str = "") -> Chapter:
    """Return how many rows were dropped, by reason, with what each reason means and examples."""
    lines, table = [], []
    for name, own in drops["reasons"].items():
        table.append((name, count(own["count"])))
        lines.append(f"{name}: {own['explanation']}")
        lines += [f"e.g. {_shorten(example)}" for example in own["examples"]]
    if not table:
        return Chapter(title, f"None. {note}")
    return Chapter(title, note, table=Table(("reason", "rows"), table), lines=lines)


def origin_sections(described: Mapping[str, Any]) -> Iterator[Chapter]:
    """Yield what a folder was made from and how, what was dropped on the way, and overlaps with benchmarks."""
    place, steps = described["place"], described["steps"]
    lines = [
        f"{source['name']}: {source['repository']}, revision {source['revision'] or 'unknown'}, {source['licence']}"
        for source in described["sources"]
    ]
    lines += [f"input {own['name']}, manifest {(own['sha256'] or 'none')[:12]}" for own in described["inputs"]]
    lines += [_judge_line(own) for own in described["judges"]]
    note = (
        f"{described['kind']} by {described['created_by']}: {count(described['rows'])} rows, "
        f"{described['shards']} shards, manifest {described['sha256'][:12]}."
    )
    lines += [line for own in steps for line in _step_lines(own)]
    table = Table(("step", "in", "out", "dropped", "by reason"), [_step_row(own) for own in steps])
    yield Chapter(f"Origin of {place}", note, table=table if steps else None, lines=lines)
    for own in steps:
        if counts := own.get("counts"):
            yield Chapter(f"Mixture of {place}", table=_mixture_table(counts))
    if described["drops"]["reasons"]:
        yield drop_section(described["drops"], f"Dropped when {place} was made")
    if described["contamination"]:
        yield _overlap_section(OverlapSummary.from_dict(described["contamination"]), place)


def _judge_line(use: Mapping[str, Any]) -> str:
    """Return what a judge wrote, and what that took."""
    cost = "" if use["cost"] is None else f", cost {use['cost']:g}"
    return (
        f"{use['name']} wrote {use['wrote']} of {count(use['pairs'])} pairs: prompt {use['prompt']}, "
        f"{count(use['requests'])} questions, {count(use['prompt_tokens'])} tokens of prompts and "
        f"{count(use['completion_tokens'])} of answers{cost}"
    )


def _step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    dropped: Mapping[str, int] = step.get("dropped", {})
    before = step.get("in", step.get("candidates"))
    reasons = ", ".join(f"{name} {count(number)}" for name, number in dropped.items() if number)
    return (
        str(step["step"]),
        count(before),
        count(step.get("out")),
        count(sum(dropped.values())) if "dropped" in step else MISSING,
        reasons or MISSING,
    )


def _step_lines(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of a step, and what its reasons mean."""
    told = {name: value for name, value in step.items() if name not in _TOLD and value not in (None, {})}
    options = (
        f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in told.items()
    )
    if told:
        yield _shorten(f"{step['step']}: {', '.join(options)}")
    for reason in step.get("dropped", {}):
        if reason in CURATION_REASONS:
            yield f"{reason}: {CURATION_REASONS[reason]}"


def _mixture_table(counts: list[dict[str, Any]]) -> Table:
    names = ("available", "requested", "taken")
    rows = [
        (
            own["name"],
            *(count(sum(own[name].values())) for name in names),
            count(own["repeated"]),
            count(own["missing"]),
        )
        for own in counts
    ]
    return Table(("input", *names, "repeated", "missing"), rows)


def _overlap_section(summary: OverlapSummary, place: str) -> Chapter:
    note = (
        f"Pairs that match an item of a benchmark, by the strongest kind of match, among {count(summary.pairs)} pairs. "
        f"Kinds whose pairs were dropped: {', '.join(summary.dropped) or 'none'}. Left are items that a pair of the "
        "set still matches by a contaminating kind."
    )
    rows = [
        (name, *map(count, (own.items, own.rows, own.unreadable, *_by_kind(own), len(own.known))))
        for name, own in summary.benchmarks.items()
    ]
    lines = [f"{kind.replace('_', ' ')}: {EXPLANATIONS[kind]}" for kind in KINDS]
    header = ("benchmark", "items", "rows", "unreadable", *(kind.replace("_", " ") for kind in KINDS), "left")
    return Chapter(f"Overlaps of {place} with benchmarks", note, table=Table(header, rows), lines=lines)


def _by_kind(overlap: BenchmarkOverlap) -> list[int]:
    return [overlap.found.get(kind, 0) for kind in KINDS]


def _shorten(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]} ..."
