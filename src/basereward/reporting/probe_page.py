"""The page of a probe: what heads on frozen features rank right, by set, shape and regulariser."""

from basereward.evaluation.frozen.run import HeadProbe
from basereward.reporting.documents import Chapter, Document
from basereward.reporting.plots import seed_dots
from basereward.reporting.tables import MISSING, Table, percent


def probe_table(result: HeadProbe) -> Table:
    """Return one row for each kind of head, best first on the first held-out set: mean and interval over seeds."""
    header = ("trained on, head", "pairs", *(own.name for own in result.held_out))
    ordered = sorted(result.heads, key=lambda own: -own.measured[0].mean)
    rows = [(own.label, f"{own.pairs:,}", *(_shown(one.mean, one.interval) for one in own.measured)) for own in ordered]
    return Table(header, rows)


def build_probe_report(result: HeadProbe) -> Document:
    """Return the report of a probe.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn = {
        own.name: [head.measured[place].accuracies for head in result.heads]
        for place, own in enumerate(result.held_out)
    }
    failed = [
        f"{own.name}: {own.failed} pairs have no features" for own in (*result.train, *result.held_out) if own.failed
    ]
    seen = [f"{own.name}: {own.seen} of {own.pairs} pairs train heads too" for own in result.held_out if own.seen]
    return Document(
        kind="basereward probe",
        name=result.model,
        sections=[
            Chapter(
                "Heads on frozen features",
                f"{result.caveat} Accuracy on held-out pairs, a tie as half: the mean over seeds of the head and its "
                "95 % interval by Student's t; a dot is a seed.",
                seed_dots([head.label for head in result.heads], drawn).decode(),
                probe_table(result),
                [*failed, *seen],
            )
        ],
        details={"seeds": result.seeds, **result.fit.model_dump()},
    )


def _shown(mean: float, interval: tuple[float, float] | None) -> str:
    low, high = interval or (None, None)
    within = MISSING if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{percent(mean)} ({within})"
