"""What a comparison of paradigms prints: a table of costs, and one of quality where models were given."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from basereward.cli.output import console, print_json
from basereward.reporting.tables import MISSING, Table, count, interval, percent, to_rich

if TYPE_CHECKING:
    from basereward.speed.paradigm_quality import ParadigmQuality
    from basereward.speed.paradigm_report import ParadigmReport, ParadigmRow
    from basereward.speed.report import Spread

BY_CONSTRUCTION = "100 %, by construction"


class TitledTable(NamedTuple):
    """A table and what stands above it."""

    title: str
    table: Table


def print_paradigms(report: "ParadigmReport", as_json: bool) -> None:
    """Print a report as one JSON object, or as tables."""
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    for title, table in paradigm_tables(report):
        console().print(to_rich(table, title=title))


def paradigm_tables(report: "ParadigmReport") -> Iterator[TitledTable]:
    """Yield the tables of a report for people."""
    lengths = report.lengths
    image = "with an image" if lengths.with_image else "text only"
    how = f"{report.device}, {report.dtype}, threads {report.threads}, rounds {report.repeats}"
    how = how if report.repeats else "by formula"
    title = (
        f"{report.preset}, {lengths.group} responses of {lengths.response} tokens to a prompt of {lengths.prompt}, "
        f"{image}; critiques of {lengths.critique}, thoughts of {lengths.thought}; {how}"
    )
    yield TitledTable(title, cost_table(report))
    if report.quality:
        yield TitledTable("held-out pairs, asked in several wordings", quality_table(report.quality))


def cost_table(report: "ParadigmReport") -> Table:
    """Return what each paradigm costs; ``x`` is times the Naive-RM."""
    seconds = "device s" if report.device.startswith("cuda") else "CPU s"
    header: tuple[str, ...] = ("paradigm", "questions", "read", "written", "GFLOPs a response", "x")
    if not report.repeats:
        return Table(header, [_cost(row) for row in report.rows])
    header += ("rewards/s", "low to high", "x", f"{seconds} a response", "low to high", "x", "peak MiB", "x")
    return Table(header, [_cost(row) + _timing(row) for row in report.rows])


def quality_table(qualities: "list[ParadigmQuality]") -> Table:
    """Return the accuracy in every wording, and how far it hangs on the wording."""
    header = ("paradigm", "wording", "accuracy", "95 %", "same in both orders", "unparsable", "min to max", "range")
    rows: list[tuple[str, ...]] = []
    for own in qualities:
        spread = (f"{percent(own.lowest)} to {percent(own.highest)}", f"{100 * own.range:.1f}")
        for place, asked in enumerate(own.asked):
            order = asked.order_consistency
            rows.append(
                (
                    "" if place else own.paradigm,
                    asked.wording,
                    percent(asked.accuracy.value),
                    interval(asked.accuracy.low, asked.accuracy.high),
                    percent(order.value) if order else BY_CONSTRUCTION,
                    percent(asked.unparsable),
                    # One wording has no spread.
                    *(spread if len(own.asked) > 1 and not place else (MISSING, MISSING)),
                )
            )
    return Table(header, rows)


def _cost(row: "ParadigmRow") -> tuple[str, ...]:
    own = row.cost
    flops = (f"{own.flops_per_response / 1e9:,.1f}", f"{row.times_naive_flops:.1f}")
    return (row.paradigm, count(own.questions), count(own.read_tokens), count(own.written_tokens), *flops)


def _timing(row: "ParadigmRow") -> tuple[str, ...]:
    own = row.timing
    assert own
    memory = MISSING if own.peak_memory_bytes is None else f"{own.peak_memory_bytes / 2**20:,.0f}"
    times = MISSING if own.times_naive_memory is None else f"{own.times_naive_memory:.1f}"
    clock, seconds = own.times_naive_clock, own.times_naive_seconds
    return (
        *_spread(own.rewards_per_second),
        f"{clock.median:.1f}",
        *_spread(own.seconds_per_response),
        f"{seconds.median:.1f}",
        memory,
        times,
    )


def _spread(spread: "Spread") -> tuple[str, str]:
    return f"{spread.median:.3g}", f"{spread.low:.3g} to {spread.high:.3g}"
