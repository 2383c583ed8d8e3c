"""How far scores are log odds, as lines, a table and a chapter of a page."""

from collections.abc import Mapping

from basereward.reporting import plots
from basereward.reporting.documents import Chapter
from basereward.reporting.tables import Table, interval, percent
from basereward.scoring.calibration.reliability import Reliability

NOTE = (
    "Margins read as log odds: the response with the higher score is named with the confidence sigmoid(|margin|). "
    "Each dot is an equal part of the comparisons, by confidence; on the broken line they are right as often as they "
    "are sure. Raw rewards need not lie there: basereward calibrate changes them so that they do."
)


def reliability_line(own: Reliability) -> str:
    """Return ECE, Brier score and log loss in one line."""
    return (
        f"margins as log odds: ECE {percent(own.ece)} (95 %: {interval(own.low, own.high)}; by noise alone "
        f"{percent(own.chance)}), Brier score {own.brier:.4f}, log loss {own.log_loss:.4f}"
    )


def bin_table(own: Reliability) -> Table:
    """Return the bins of a reliability diagram."""
    rows = [(percent(one.confidence), percent(one.accuracy), percent(one.share)) for one in own.bins]
    return Table(("mean confidence", "right", "of all comparisons"), rows)


def reliability_chapter(measured: Mapping[str, Reliability]) -> Chapter:
    """Return the chapter of one or several scorers; the table is of the last one.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    points = {name: [(one.confidence, one.accuracy, one.share) for one in own.bins] for name, own in measured.items()}
    lines = [
        reliability_line(own) if len(measured) == 1 else f"{name}: {reliability_line(own)}"
        for name, own in measured.items()
    ]
    table = bin_table(list(measured.values())[-1])
    return Chapter("Reliability", NOTE, plots.reliability_diagram(points).decode(), table, lines)
