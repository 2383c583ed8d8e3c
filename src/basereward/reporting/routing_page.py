"""The report of a trained router: what it costs and is right about, beside each expert and the oracle."""

from basereward.reporting import plots, tables
from basereward.reporting.documents import Chapter, Document, Headline
from basereward.reporting.plots import Line, Panel
from basereward.scoring.compose.routing.model import ClusterMean, RoutingRecord, TrainedRouter

NOTE = (
    "All numbers are of pairs of prompts that weights, ridge and price had not seen. The oracle asks, for each pair, "
    "the cheapest expert that is right about it, which no router can know beforehand. Costs are means over prompts; a "
    "ratio of 1 is that of always asking the cheapest."
)
CURVE_NOTE = (
    "Left, what the router gives at other prices, with its own choice marked by a dashed line, and the oracle above it "
    "in grey. Right, how right it is about the prompts that it is surest of, for the option least."
)


def build_routing_report(router: TrainedRouter, name: str) -> Document:
    """Return the report of a trained router.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    record = router.record
    svg = plots.line_panels(routing_panels(record), columns=2).decode()
    return Document(
        kind="router",
        name=name,
        headlines=[
            Headline(
                "router", tables.percent(record.router.value), f"{_ratio(record, record.router_cost)} the cheapest"
            ),
            Headline(f"gain over {record.single}", _points(record.gain), f"{_points_range(record.gain)} points"),
            Headline("regret to the oracle", _points(record.regret), f"{_points_range(record.regret)} points"),
        ],
        sections=[
            Chapter("What is asked", NOTE, table=choice_table(record), lines=routing_lines(router)),
            Chapter("Accuracy and cost", CURVE_NOTE, svg),
            Chapter("Experts", table=expert_table(record)),
        ],
    )


def choice_table(record: RoutingRecord) -> tables.Table:
    """Return accuracy and cost of the router, of soft weights, of each expert alone and of the oracle."""
    named = {"router": (record.router, record.router_cost)}
    named |= {f"{name} alone": (own.accuracy, own.cost) for name, own in record.experts.items()}
    named |= {"all, soft weights": (record.soft, record.soft_cost), "oracle": (record.oracle, record.oracle_cost)}
    rows = [
        (name, tables.percent(own.value), tables.interval(own.low, own.high), f"{cost:.2f}", _ratio(record, cost))
        for name, (own, cost) in named.items()
    ]
    return tables.Table(("asked", "right", "95 %", "mean cost", "to the cheapest"), rows)


def expert_table(record: RoutingRecord) -> tables.Table:
    """Return how well each expert's share of right rankings is foretold, and how often it is asked."""
    rows = [
        (name, tables.percent(own.chosen), f"{own.brier:.4f}", f"{own.brier_constant:.4f}", tables.count(own.failed))
        for name, own in record.experts.items()
    ]
    return tables.Table(("expert", "asked", "Brier", "Brier of its mean", "pairs failed"), rows)


def routing_lines(router: TrainedRouter) -> list[str]:
    """Return what stands under the tables."""
    record, worth = router.record, 100 * router.price
    return [
        f"{tables.count(record.pairs)} pairs of {tables.count(record.prompts)} prompts (sha256 "
        f"{record.data_sha256[:12]}), {record.folds} folds; {tables.count(len(router.words))} words are known.",
        f"Gain over {record.single}, the best expert that alone is within {record.budget:g} times the cheapest: "
        f"{_points(record.gain)} points ({_points_range(record.gain)}).",
        f"Regret to the oracle: {_points(record.regret)} points ({_points_range(record.regret)}).",
        f"A dearer expert is asked where it is expected to be right more often by {worth:.2f} points for each unit of "
        "cost."
        if worth
        else "The budget is not used up: the expert that is expected to be right most often is always asked.",
    ]


def routing_panels(record: RoutingRecord) -> list[Panel]:
    """Return accuracy over cost, and over the share of prompts that are not left to others."""
    curve = sorted(record.curve, key=lambda point: point.cost)
    bound = [record.oracle.value] * 2
    costs = [point.cost / record.cheapest for point in curve]
    lines = {
        "router at any price": Line(costs, [point.accuracy for point in curve]),
        "oracle": Line([min(costs), max(max(costs), 1.05)], bound, is_faint=True),
    }
    covered = sorted(record.coverage, key=lambda point: point.coverage)
    kept = Line([point.coverage for point in covered], [point.accuracy for point in covered])
    return [
        Panel("Right, over cost", "mean cost, cheapest = 1", lines, marks=[record.router_cost / record.cheapest]),
        Panel("Right, over coverage", "share of prompts answered", {"router": kept}),
    ]


def _ratio(record: RoutingRecord, cost: float) -> str:
    return f"{cost / record.cheapest:.2f}x"


def _points(own: ClusterMean) -> str:
    return f"{100 * own.value:+.1f}"


def _points_range(own: ClusterMean) -> str:
    return f"{100 * own.low:+.1f} to {100 * own.high:+.1f}"
