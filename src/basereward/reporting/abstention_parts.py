"""What a page says of a scorer that knows how sure it is: accuracy of the pairs that it would answer."""

from basereward.evaluation.abstention import Abstention
from basereward.reporting import plots, tables
from basereward.reporting.documents import Chapter

NOTE = (
    "Accuracy when the pairs with the least |margin| / sqrt(spread of correct^2 + spread of rejected^2) are left out. "
    "The spread is that of the members or heads of the scorer; the grey line is the accuracy of all pairs."
)


def abstention_chapter(found: Abstention) -> Chapter:
    """Return the curve of accuracy against coverage, its table and its area."""
    points = [point for point in found.points if point.accuracy.value is not None]
    coverage = [100 * point.coverage for point in points]
    value, low, high = (
        [100 * float(getattr(point.accuracy, side)) for point in points] for side in ("value", "low", "high")
    )
    lines = {"accuracy": plots.Line(coverage, value, low, high)}
    if len(points) > 1:
        lines["by chance"] = plots.Line([coverage[-1], coverage[0]], [value[0], value[0]], is_faint=True)
    panel = plots.Panel("Accuracy of the pairs that are kept, %", "pairs that are kept, %", lines)
    rows = [
        (
            tables.percent(point.coverage),
            tables.percent(point.accuracy.value),
            tables.interval(point.accuracy.low, point.accuracy.high),
            tables.count(point.accuracy.n),
        )
        for point in points
    ]
    areas = (
        f"Area under risk against coverage: {found.area:.4f}; {found.margin_area:.4f} if pairs were left out by the "
        f"margin alone, {found.random_area:.4f} by chance, {found.best_area:.4f} if all wrong ones were left out first."
    )
    table = tables.Table(("kept", "accuracy", "95 %", "pairs"), rows)
    return Chapter("Abstention", NOTE, plots.line_panels([panel]).decode(), table, [areas])
