"""When a rule raises its alarm: windows of steps, tested against the first windows of the run.

After window ``k`` each span of last windows is tested at ``rate / (rules spans k (k + 1))``. Over all spans, all rules
and all windows of a run of any length that adds up to at most ``rate``: the probability of any alarm in a run whose
numbers stay within the rules. Shares are tested by the exact binomial of their groups, other numbers by Student's t.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import floor, sqrt
from typing import NamedTuple

from basereward.rl.rules import Alarm, MonitorSettings, Rule
from basereward.rl.step_values import Measured, StepValues, pool
from basereward.statistics import critical_count, student_quantile

# More degrees of freedom change the quantile by less than a hundredth.
_MANY = 400


class Window(NamedTuple):
    """A number over some steps: its mean, the weighted squares of what the steps differ from it, and where it ends."""

    mean: Measured
    squares: float
    steps: int
    last: int


def make_window(values: Sequence[Measured], last: int) -> Window:
    """Return the window of steps up to ``last`` that have a number."""
    middle = pool(values)
    squares = sum(own.weight * (own.value - middle.value) ** 2 for own in values)
    return Window(middle, squares, len(values), last)


class RuleTest:
    """One rule over the windows of one run; it raises one alarm at most.

    Args:
        rate: the probability of that in a run that stays within the rule, for all its windows together.
    """

    def __init__(self, rule: Rule, settings: MonitorSettings, rate: float) -> None:
        self._rule = rule
        self._settings = settings
        self._rate = rate
        self._baseline: list[Window] = []
        self._baseline_steps: list[StepValues] = []
        self._recent: list[Window] = []
        self._squares = 0.0
        self._degrees = 0
        self.tests = 0
        self.alarm: Alarm | None = None

    def add(self, steps: Sequence[tuple[int, StepValues]]) -> Alarm | None:
        """Take the next window of steps, and return the alarm if this one raises it.

        A window in which fewer than two steps have the number does not count.
        """
        values = [own[self._rule.monitor] for _, own in steps if self._rule.monitor in own]
        if len(values) < 2 or self.alarm is not None:
            return None
        window = make_window(values, steps[-1][0])
        self._squares += window.squares
        self._degrees += window.steps - 1
        if self._rule.kind != "level" and len(self._baseline) < self._settings.baseline:
            self._baseline.append(window)
            self._baseline_steps += [own for _, own in steps]
            return None
        self._recent = [*self._recent, window][-max(self._settings.spans) :]
        self.tests += 1
        raised = (self._test(self._recent[-span:]) for span in self._settings.spans if span <= len(self._recent))
        self.alarm = next((alarm for alarm in raised if alarm is not None), None)
        return self.alarm

    def _test(self, windows: Sequence[Window]) -> Alarm | None:
        found = pool([own.mean for own in windows])
        start = pool([own.mean for own in self._baseline]) if self._baseline else None
        allowed = self._allowed(start)
        share = self._rate / (len(self._settings.spans) * self.tests * (self.tests + 1))
        if self._rule.is_share:
            threshold = _share_threshold(allowed, found.groups, self._rule.direction, share)
            passed = 1e-9
        else:
            threshold = allowed + self._rule.direction * self._chance(found, start, share)
            passed = 0.0
        # A share alarms where it reaches the critical count, other numbers beyond their threshold.
        gap = self._rule.direction * (found.value - threshold)
        if gap < -passed or (gap <= 0 and not self._rule.is_share):
            return None
        reference = allowed if start is None else start.value
        return Alarm(
            monitor=self._rule.monitor,
            step=windows[-1].last,
            value=found.value,
            reference=reference,
            threshold=threshold,
            false_alarm_rate=self._rate,
            message=self._message(found.value, reference, threshold, windows),
        )

    def _chance(self, found: Measured, start: Measured | None, share: float) -> float:
        """Return how far a mean is from what is allowed by chance alone, at most but for ``share`` of the cases.

        Steps that differ by more than their groups explain widen it; steps that agree do not narrow it.
        """
        dispersion = self._squares / self._degrees
        spread, drawn = dispersion / found.weight, found.error**2
        if start is not None:
            scale = self._rule.amount if self._rule.kind == "ratio" else 1.0
            spread += scale**2 * dispersion / start.weight
            drawn += (scale * start.error) ** 2
        return _quantile(1 - share, min(self._degrees, _MANY)) * sqrt(max(spread, drawn))

    def _allowed(self, start: Measured | None) -> float:
        rule = self._rule
        if start is None:
            return rule.amount
        if rule.kind == "ratio":
            return rule.amount * start.value
        if rule.kind == "beyond_best":
            deviation = self._at_start(f"{rule.monitor}_deviation")
            return self._at_start(f"best_{rule.monitor}") + rule.amount * deviation
        unit = self._at_start("reward_deviation") if rule.monitor == "reward" else 1.0
        return start.value + rule.direction * rule.amount * unit

    def _at_start(self, name: str) -> float:
        return pool([own[name] for own in self._baseline_steps if name in own]).value

    def _message(self, value: float, reference: float, threshold: float, windows: Sequence[Window]) -> str:
        rule, settings = self._rule, self._settings
        beside = "allowed is" if rule.kind == "level" else f"the first {settings.baseline * settings.window} steps had"
        return (
            f"{rule.says}: {rule.monitor} is {value:.3g} in the {len(windows) * settings.window} steps up to "
            f"{windows[-1].last}; {beside} {reference:.3g}, the alarm is {'above' if rule.direction > 0 else 'below'} "
            f"{threshold:.3g}"
        )


def _share_threshold(allowed: float, groups: float, direction: int, share: float) -> float:
    """Return the share of groups that is reached with probability ``share`` at most where ``allowed`` is true.

    Responses of a group may all be alike, so that each group counts once however many responses it has.
    """
    count = max(floor(groups), 1)
    if direction > 0:
        return critical_count(count, min(allowed, 1.0), share) / count
    return 1 - critical_count(count, min(1 - allowed, 1.0), share) / count


@lru_cache(4096)
def _quantile(probability: float, degrees: int) -> float:
    return student_quantile(probability, degrees)
