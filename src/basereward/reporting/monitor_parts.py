"""What a page says of the monitors of a run: alarms, and the numbers of its steps with the alarms marked."""

from collections.abc import Iterator, Sequence

from basereward.reporting import plots, tables
from basereward.reporting.documents import Chapter, Headline
from basereward.reporting.plots import Line, Panel
from basereward.rl.monitors import StepRecord
from basereward.rl.rules import RULES, Alarm, MonitorSettings
from basereward.rl.step_values import pool

# What a panel shows, in its order.
TITLES = {
    "reward": "Reward",
    "model_reward": "Reward of the model",
    "matched": "Matched responses",
    "length": "Length",
    "length_correlation": "Reward follows length",
    "saturated_unmatched": "Model sure, but unmatched",
    "disagreement": "Model prefers unmatched",
    "without_spread": "Groups of equal rewards",
    "spread": "Spread within groups",
    "cut": "Cut at the limit",
    "missing": "Without a reward",
    "image_correlation": "Reward follows images",
    "format_correlation:list": "Reward follows lists",
    "format_correlation:boxed": "Reward follows boxes",
    "format_correlation:markdown": "Reward follows markdown",
}
# What is drawn only where it is more than nothing.
_QUIET = ("missing", "cut")


def monitor_headlines(records: Sequence[StepRecord]) -> Iterator[Headline]:
    """Yield how many alarms a run raised."""
    if records:
        alarms = sum(len(record.alarms) for record in records)
        yield Headline("alarms", tables.count(alarms), f"in {records[-1].step:,} steps")


def monitor_chapters(records: Sequence[StepRecord]) -> Iterator[Chapter]:
    """Yield the alarms of a run and the curves of its monitors.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if not records:
        return
    settings = records[0].settings or MonitorSettings()
    alarms = [alarm for record in records for alarm in record.alarms]
    rate = f"{100 * settings.false_alarm_rate:.3g} %"
    note = (
        f"Each window of {settings.window} steps is compared with the first {settings.baseline * settings.window} "
        f"under {len(RULES)} rules. In a run that stays within all of them, the probability of any alarm is at most "
        f"{rate}."
    )
    panels = [panel for name in TITLES if (panel := _panel(name, records, settings, alarms)) is not None]
    svg = plots.line_panels(panels).decode() if panels else ""
    table = alarm_table(alarms) if alarms else None
    yield Chapter("Monitors", note=note, svg=svg, table=table, lines=[alarm.message for alarm in alarms])
    yield Chapter("Monitors at the start and at the end", table=movement_table(records, settings))


def alarm_table(alarms: Sequence[Alarm]) -> tables.Table:
    """Return the alarms of a run as a table."""
    rows = [
        (alarm.monitor, f"{alarm.step:,}", f"{alarm.value:.3g}", f"{alarm.reference:.3g}", f"{alarm.threshold:.3g}")
        for alarm in alarms
    ]
    return tables.Table(("monitor", "step", "value", "reference", "threshold"), rows)


def movement_table(records: Sequence[StepRecord], settings: MonitorSettings) -> tables.Table:
    """Return every monitor over the steps that alarms compare with, and over as many at the end.

    ``shift`` is the change in standard deviations of single responses at the start, for the monitors that have one.
    """
    count = settings.window * settings.baseline
    rows = []
    for name in dict.fromkeys(name for record in records for name in record.values):
        first, last = (_mean(part, name) for part in (records[:count], records[-count:]))
        if first is None or last is None:
            continue
        deviation = _mean(records[:count], f"{name}_deviation")
        shift = f"{(last - first) / deviation:+.2f}" if deviation else ""
        rows.append((name, f"{first:.3g}", f"{last:.3g}", shift))
    header = ("monitor", f"first {count} steps", f"last {count} steps", "shift")
    return tables.Table(header, rows)


def _mean(records: Sequence[StepRecord], name: str) -> float | None:
    values = [record.values[name] for record in records if name in record.values]
    return pool(values).value if values else None


def _panel(
    name: str, records: Sequence[StepRecord], settings: MonitorSettings, alarms: Sequence[Alarm]
) -> Panel | None:
    known = [(record.step, record.values[name]) for record in records if name in record.values]
    if not known or (name in _QUIET and not any(own.value for _, own in known)):
        return None
    windows = [known[start : start + settings.window] for start in range(0, len(known), settings.window)]
    means = [pool([own for _, own in window]).value for window in windows]
    lines = {
        "steps": Line([step for step, _ in known], [own.value for _, own in known], is_faint=True),
        "windows": Line([window[-1][0] for window in windows], means),
    }
    return Panel(TITLES[name], "step", lines, [alarm.step for alarm in alarms if alarm.monitor == name])
