"""Soups of reward models, uniform or greedy, and whether they are as good on held-out pairs as what is in them."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from basereward.benchmarks.records import RowRecord
from basereward.curation.seen import seen_rows
from basereward.data.record import read_record
from basereward.data.shards import check_free
from basereward.data.work import Work, open_work
from basereward.errors import CheckpointError
from basereward.evaluation.opened import Opened
from basereward.evaluation.runner import score_items
from basereward.models.card.file import write_card
from basereward.models.hub import ModelFolder
from basereward.models.merging.report import MeasuredModel, MergeReport, check_connected, write_report
from basereward.models.merging.soup import open_members, write_average
from basereward.scoring.spec import open_scorer
from basereward.statistics import wilson_interval

_ADVICE = (
    "Average runs of one start and one head (the same model.head_seed); or give held-out pairs with --data, on which "
    "the average is then measured."
)
SOUP = "soup"


def cook_soup(
    places: Sequence[str | Path],
    out: str | Path,
    held_out: Opened | None = None,
    greedy: bool = False,
    device: str | None = None,
) -> MergeReport:
    """Average the weights of reward models into a new one.

    Without pairs the weights themselves must be near each other. With pairs the accuracies decide: a uniform soup below
    the 95 % interval of its worst member is refused, a greedy one takes a member only if the soup is not worse with it.

    Args:
        places: two or more reward models.
        out: folder, which may not hold anything.
        held_out: pairs that none was trained on.
        greedy: members in the order of their accuracy, each kept if the average with it is not worse.
        device: as for ``open_scorer``.

    Raises:
        CheckpointError: models that do not fit, weights that are not connected, or ``greedy`` without pairs.
        DataError: ``out`` holds something else.

    Source: Wortsman et al., Model soups, ICML 2022, Recipe 1.
    """
    if greedy and held_out is None:
        raise CheckpointError("A greedy soup is chosen by its accuracy; give held-out pairs with --data.")
    members = open_members(places)
    target = Path(out)
    check_free(target)
    with open_work(target) as work:
        # Under the lock once more: another call may have ended meanwhile.
        check_free(work.target)
        try:
            report = _cook(work, members, held_out, greedy, device)
            if held_out:
                report = report.model_copy(update={"notes": _overlap_notes(members, held_out)})
        except CheckpointError:
            work.discard()
            raise
        write_report(report, work.folder)
        write_card(work.folder)
        work.publish()
    return report


def _cook(
    work: Work, members: Sequence[ModelFolder], held_out: Opened | None, greedy: bool, device: str | None
) -> MergeReport:
    if held_out is None:
        report = _written(work, members, "soup")
        check_connected(report, _ADVICE)
        return report
    measure = partial(_measure, held_out=held_out, device=device)
    alone = [measure(member.name, member.path) for member in members]
    if greedy:
        return _cook_greedily(work, members, alone, measure, len(held_out.items))
    report = _written(work, members, "soup")
    mixed = measure(SOUP, work.folder)
    worst = min(alone, key=lambda own: own.accuracy)
    if mixed.accuracy < worst.low:
        raise CheckpointError(
            f"The weights are not connected: their average ranks {mixed.accuracy:.1%} of the pairs right, and "
            f"{worst.name}, the worst of the models, {worst.accuracy:.1%} (95 % interval from {worst.low:.1%}). "
            "Leave models out: --greedy."
        )
    return report.model_copy(update={"measured": (*alone, mixed), "pairs": len(held_out.items)})


def _cook_greedily(
    work: Work, members: Sequence[ModelFolder], alone: Sequence[MeasuredModel], measure: partial, pairs: int
) -> MergeReport:
    order = sorted(range(len(members)), key=lambda place: -alone[place].accuracy)
    kept, best = [order[0]], alone[order[0]]
    for place in order[1:]:
        _written(work, [members[own] for own in (*kept, place)], "greedy soup")
        mixed = measure(SOUP, work.folder)
        if mixed.accuracy >= best.accuracy:
            kept, best = [*kept, place], mixed
    # The last one tried may not have been kept.
    report = _written(work, [members[own] for own in kept], "greedy soup")
    measured = [own.model_copy(update={"kept": place in kept}) for place, own in enumerate(alone)]
    soup = best.model_copy(update={"name": SOUP})
    return report.model_copy(update={"measured": (*measured, soup), "pairs": pairs})


def _written(work: Work, members: Sequence[ModelFolder], kind: str) -> MergeReport:
    shutil.rmtree(work.folder, ignore_errors=True)
    work.folder.mkdir()
    modules = write_average(members, work.folder)
    names = tuple(member.name for member in members)
    return MergeReport(kind=kind, members=names, formula=f"mean of {len(names)}", modules=modules)  # type: ignore[arg-type]


def _overlap_notes(members: Sequence[ModelFolder], held_out: Opened) -> tuple[str, ...]:
    """Return a warning for each model that was trained on some of the pairs."""
    records = {member.name: read_record(member.path) for member in members}
    seen = {name: len(seen_rows(held_out.items, own.pairs)) for name, own in records.items() if own and own.pairs}
    return tuple(
        f"{name} was trained on {rows} of {len(held_out.items)} held-out pairs; accuracies on them are no estimate."
        for name, rows in seen.items()
        if rows
    )


def _measure(name: str, folder: Path, held_out: Opened, device: str | None) -> MeasuredModel:
    records: list[RowRecord] = score_items(open_scorer(str(folder), device=device), held_out.items)
    if all(record.failure is not None for record in records):
        raise CheckpointError(f"{name} scores none of the pairs: {records[0].failure_message}")
    right = sum(record.outcome == "correct" for record in records)
    low, high = wilson_interval(right, len(records))
    return MeasuredModel(name=name, accuracy=right / len(records), low=low, high=high)
