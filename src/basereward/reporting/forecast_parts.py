"""A forecast as a table, a plot and a chapter of a page."""

from collections.abc import Iterator

from basereward.reporting import plots, tables
from basereward.reporting.documents import Chapter, Headline
from basereward.reporting.plots import Line, Panel
from basereward.rl.forecast import CurvePoint, Estimate, Forecast

NOTE = (
    "The reward chooses the best of n responses; gold is what that choice is worth. Each point is the unbiased mean "
    "over all subsets of n, with its 95 % interval over prompts. The gap is how much more the reward rises than gold, "
    "each in its standard deviation within prompts."
)


def curve_table(forecast: Forecast) -> tables.Table:
    """Return best of n as a table."""
    header = ("n", "gold", "95 %", "best possible", "reward", "gap")
    return tables.Table(header, [_row(point) for point in forecast.curve])


def fact_table(forecast: Forecast) -> tables.Table:
    """Return what a forecast says beside its curve."""
    rows = [
        ("pairs in the right order", *_percent(forecast.pair_accuracy)),
        ("tied pairs", *_percent(forecast.pair_ties)),
        ("rank correlation within prompts", *_plain(forecast.rank_correlation)),
        ("standard deviation within prompts", *_plain(forecast.within_deviation)),
        ("share of variance within prompts", tables.percent(forecast.within_share), ""),
        ("prompts with equal rewards", *_percent(forecast.without_spread)),
        ("prompts with equal gold", *_percent(forecast.without_gold_spread)),
    ]
    return tables.Table(("", "value", "95 %"), rows)


def forecast_lines(forecast: Forecast) -> list[str]:
    """Return what stands under the tables."""
    lines = [f"{forecast.responses:,} responses to {forecast.prompts:,} prompts; gold: {forecast.gold}."]
    last = forecast.curve[-1]
    if forecast.best_n < last.n:
        lines.append(f"Gold is highest at n = {forecast.best_n}: beyond it the reward is optimised, not the answers.")
    if forecast.dropped:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in forecast.dropped.items())
        lines.append(f"Left out prompts: {counts}.")
    return lines


def forecast_chapters(forecast: Forecast) -> Iterator[Chapter]:
    """Yield the chapters of a page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    svg = plots.line_panels(forecast_panels(forecast), columns=2).decode()
    yield Chapter("Best of n", note=NOTE, svg=svg, table=curve_table(forecast), lines=forecast_lines(forecast))
    yield Chapter("Within prompts", table=fact_table(forecast))


def forecast_headlines(forecast: Forecast) -> Iterator[Headline]:
    """Yield the ends of the curve."""
    first, last = forecast.curve[0], forecast.curve[-1]
    yield Headline("gold of one response", f"{first.gold.value:.3f}")
    yield Headline(f"gold of the best of {last.n}", f"{last.gold.value:.3f}", f"at best {last.best_gold.value:.3f}")
    if last.gap is not None:
        yield Headline("gap", f"{last.gap.value:+.2f}", "reward gained beyond gold, in standard deviations")


def forecast_panels(forecast: Forecast) -> list[Panel]:
    """Return gold and reward over n."""
    sizes = [point.n for point in forecast.curve]
    gold = {
        "chosen by the reward": _line(sizes, [point.gold for point in forecast.curve]),
        "chosen by gold": _line(sizes, [point.best_gold for point in forecast.curve]),
    }
    reward = {"reward": _line(sizes, [point.reward for point in forecast.curve])}
    return [Panel("Gold of the best of n", "n", gold, is_log=True), Panel("Its reward", "n", reward, is_log=True)]


def _line(sizes: list[int], estimates: list[Estimate]) -> Line:
    lows = [own.value if own.low is None else own.low for own in estimates]
    highs = [own.value if own.high is None else own.high for own in estimates]
    return Line(sizes, [own.value for own in estimates], lows, highs)


def _row(point: CurvePoint) -> tuple[str, ...]:
    gold, interval = _plain(point.gold)
    gap = tables.MISSING if point.gap is None else f"{point.gap.value:+.2f}"
    return (str(point.n), gold, interval, f"{point.best_gold.value:.3f}", f"{point.reward.value:.3f}", gap)


def _plain(own: Estimate | None) -> tuple[str, str]:
    if own is None:
        return tables.MISSING, ""
    return f"{own.value:.3f}", "" if own.low is None or own.high is None else f"{own.low:.3f} to {own.high:.3f}"


def _percent(own: Estimate | None) -> tuple[str, str]:
    return (tables.MISSING, "") if own is None else (tables.percent(own.value), tables.interval(own.low, own.high))
