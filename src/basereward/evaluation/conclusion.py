"""What protocols make of the records of an evaluation, as its result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.items import ItemFacts
from basereward.benchmarks.records import RowRecord
from basereward.benchmarks.summary import Summary, subset_metrics, summarize
from basereward.data.outcomes import About
from basereward.evaluation.abstention import abstention_curve
from basereward.evaluation.calibration import row_reliability
from basereward.evaluation.contamination import find_overlap, trained_notes
from basereward.evaluation.dominance import dominance_notes
from basereward.evaluation.judge_rates import RATE_DEFINITIONS, describe_judgements, judge_rates
from basereward.evaluation.opened import Opened, used_data
from basereward.evaluation.provenance import SEEDS, versions_of
from basereward.evaluation.result import Judgements, ProtocolResult, Result
from basereward.statistics import Ties

# From this share on an evaluation says that a judge's answers cannot be read.
MOST_UNPARSABLE = 0.2
COMPARATIVE = (
    "The scores are comparative: each depends on the other responses of its row, and means nothing beside those of "
    "other rows."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, and with which settings."""

    about: About
    settings: Mapping[str, Any]
    is_judge: bool = False


def conclude(
    asked: Asked,
    opened: Opened,
    facts: ItemFacts,
    records: Sequence[RowRecord],
    references: Mapping[str, Sequence[RowRecord]],
    notes: Sequence[str],
    ties: Ties | None,
) -> Result:
    """Return the result of an evaluation under each protocol, and for a judge under each rule.

    Args:
        references: records of others to stand beside it, by name.
        notes: what is known already that a reader must know.
    """
    known = find_overlap(asked.about.data_record, opened.name, opened.items, facts.sha256)
    clean = [record for record in records if record.row not in known.rows] if known.rows else []
    # Rates are of the judge, whatever protocol and rule read its answers.
    rates, clean_rates = (judge_rates(own) if asked.is_judge and own else {} for own in (records, clean))
    protocols: dict[str, ProtocolResult] = {}
    for protocol in opened.protocols:
        beside = {name: summarize(opened.name, protocol, own, ties) for name, own in references.items()}
        for rule in protocol.judge_rules if asked.is_judge else (None,):
            model = _add_rates(summarize(opened.name, protocol, records, ties, rule), rates)
            protocols[model.protocol.key] = ProtocolResult(
                model=model,
                references=beside,
                subsets=subset_metrics(protocol, records, ties, rule),
                clean=_add_rates(summarize(opened.name, protocol, clean, ties, rule), clean_rates) if clean else None,
            )
    judgements = describe_judgements(records, opened.protocols[0].group) if asked.is_judge else None
    return Result(
        benchmark=opened.name,
        scorer=asked.about.name,
        n=len(records),
        items=len(facts.rows),
        responses=facts.responses,
        data=used_data(opened, facts),
        protocols=protocols,
        judgements=judgements,
        reliability=None if asked.is_judge else row_reliability(records),
        failures=dict(Counter(record.failure for record in records if record.failure is not None)),
        abstention=abstention_curve(records),
        notes=[
            *notes,
            *trained_notes(known.overlap, len(records)),
            *dominance_notes(records, asked.about.members),
            *_notes(opened, facts, records, judgements),
            *([COMPARATIVE] if asked.about.compares else []),
        ],
        contamination=known.overlap,
        trained_by=asked.about.data_record.trained_by if asked.about.data_record else None,
        settings=dict(asked.settings),
        identity=None if asked.about.identity is None else dict(asked.about.identity),
        partial_identity=None if asked.about.partial is None else dict(asked.about.partial),
        seeds=SEEDS,
        versions=versions_of(asked.about),
    )


def _add_rates(summary: Summary, rates: Mapping[str, Metric]) -> Summary:
    definitions = {**summary.definitions, **{name: RATE_DEFINITIONS[name] for name in rates}}
    return summary.model_copy(update={"metrics": {**summary.metrics, **rates}, "definitions": definitions})


def _notes(opened: Opened, facts: ItemFacts, records: Sequence[RowRecord], judgements: Judgements | None) -> list[str]:
    notes = []
    if all(record.failure is not None for record in records):
        [(message, number)] = Counter(record.failure_message for record in records).most_common(1)
        notes.append(f"All {len(records)} rows of {opened.name} failed, {number} of them so: {message}")
    if judgements and judgements.cut_off:
        notes.append(
            f"{judgements.cut_off} answers reached the limit of tokens and are unparsable; give more --judge-tokens."
        )
    if judgements and judgements.unparsable > MOST_UNPARSABLE * judgements.asked:
        share = f"{judgements.unparsable / judgements.asked:.0%}"
        notes.append(
            f"{judgements.unparsable} of {judgements.asked} answers ({share}) hold no clear verdict, which counts "
            "against the judge: the numbers may say more about the form of its answers than about its choices. Read "
            "some of its answers, and try another --judge-prompt or more --judge-tokens."
        )
    if missing := facts.missing:
        notes.append(
            f"{len(missing)} image or video files are missing, {missing[0]} first; what looks at them fails. "
            f"{opened.bring}".strip()
        )
    return notes
