"""Monitors of a run of reinforcement learning: numbers of every step in ``monitors.jsonl``, and the alarms on them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from basereward.configuration import Section
from basereward.data.io import replacing
from basereward.errors import DataError, MissingFileError, WorkError
from basereward.rl.alarms import RuleTest
from basereward.rl.rules import RULES, Alarm, MonitorSettings
from basereward.rl.step_values import Measured, measure_step
from basereward.rl.watched import WatchedGroup
from basereward.statistics import Interval, wilson_interval

MONITORS = "monitors.jsonl"


class StepRecord(Section):
    """One line of ``monitors.jsonl``."""

    step: int
    groups: int
    responses: int
    values: Mapping[str, Measured]
    alarms: tuple[Alarm, ...] = ()
    settings: MonitorSettings | None = None
    """Of the whole log; the first line has them."""


class AlarmTests:
    """All rules over the steps of one run, without files."""

    def __init__(self, settings: MonitorSettings | None = None) -> None:
        self.settings = settings or MonitorSettings()
        rate = self.settings.false_alarm_rate / len(RULES)
        self._tests = [RuleTest(rule, self.settings, rate) for rule in RULES]
        self._window: list[tuple[int, Mapping[str, Measured]]] = []
        self.windows = 0

    @property
    def alarms(self) -> list[Alarm]:
        """The alarms so far, in the order of steps."""
        raised = [test.alarm for test in self._tests if test.alarm is not None]
        return sorted(raised, key=lambda alarm: alarm.step)

    @property
    def tests(self) -> int:
        """How often a window was tested under a rule."""
        return sum(test.tests for test in self._tests)

    def add(self, step: int, values: Mapping[str, Measured]) -> tuple[Alarm, ...]:
        """Take the numbers of the next step, and return the alarms that it raises; each rule raises one at most."""
        self._window.append((step, values))
        if len(self._window) < self.settings.window:
            return ()
        window, self._window = self._window, []
        self.windows += 1
        return tuple(alarm for test in self._tests if (alarm := test.add(window)) is not None)


class RewardMonitor:
    """Watches the rewards of a run, and writes a line for each step.

    Args:
        path: the log, such as ``RUN/monitors.jsonl``; None keeps nothing. One that is there is gone on from.
        settings: how it tests.

    Raises:
        DataError: the log is broken, or was written under other settings.
    """

    def __init__(self, path: Path | None = None, settings: MonitorSettings | None = None) -> None:
        self.path = path
        self.settings = settings or MonitorSettings()
        self._records: list[StepRecord] = []
        self._size = 0
        if path is not None and path.is_file() and (records := list(_complete_records(path))):
            _check_settings(path, records[0], self.settings)
            self._records = records
            self._rewrite()
        self._restart()

    @property
    def alarms(self) -> list[Alarm]:
        """The alarms so far, in the order of steps."""
        return self._tests.alarms

    @property
    def last_step(self) -> int | None:
        """The last step that was observed."""
        return self._records[-1].step if self._records else None

    def rewind(self, step: int) -> None:
        """Forget all later steps than this: the run goes on from a checkpoint that was made after it."""
        kept = [record for record in self._records if record.step <= step]
        if len(kept) < len(self._records):
            self._records = kept
            self._rewrite()
            self._restart()

    def observe(self, step: int, groups: Sequence[WatchedGroup]) -> tuple[Alarm, ...]:
        """Take the groups of a step and return the alarms that they raise.

        A step that is not behind the last one means that the run went back to a checkpoint: what the log has from
        there on is forgotten.

        Raises:
            DataError: no responses.
            WorkError: something else writes the log.
        """
        if not any(group.responses for group in groups):
            raise DataError(f"Step {step} has no responses to observe; expected at least one group.")
        self.rewind(step - 1)
        values = measure_step(groups)
        alarms = self._tests.add(step, values)
        record = StepRecord(
            step=step,
            groups=len(groups),
            responses=sum(len(group.responses) for group in groups),
            values=values,
            alarms=alarms,
            settings=None if self._records else self.settings,
        )
        self._append(record)
        return alarms

    def _restart(self) -> None:
        self._tests = AlarmTests(self.settings)
        for record in self._records:
            self._tests.add(record.step, record.values)

    def _append(self, record: StepRecord) -> None:
        self._records.append(record)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            if file.tell() != self._size:
                raise WorkError(
                    f"{self.path} changed while this run wrote it: it has {file.tell()} bytes, not {self._size}. Two "
                    "runs may share the folder; give each its own."
                )
            file.write(_line(record))
            self._size = file.tell()

    def _rewrite(self) -> None:
        """Write all records again: what a kill cut off, or a run that went back left behind, is gone."""
        if self.path is None:
            return
        with replacing(self.path) as temporary:
            temporary.write_bytes(b"".join(map(_line, self._records)))
        self._size = self.path.stat().st_size


class FalseAlarms(NamedTuple):
    """What the monitors said of runs that are known to be honest."""

    runs: int
    windows: int
    alarms: Mapping[str, int]
    """Alarms by monitor."""
    runs_with_alarms: int
    share_of_windows: Interval
    """Windows that raise an alarm, as a 95 % interval."""

    @property
    def per_window(self) -> float:
        """Alarms for each window."""
        return sum(self.alarms.values()) / self.windows


def read_monitors(path: Path) -> list[StepRecord]:
    """Return the lines of a log; a last one that a kill cut off, or that is being written, is not there.

    Raises:
        MissingFileError: no such file.
        DataError: a line is no record of a step, or steps do not rise.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no log of monitors {path}.")
    return list(_complete_records(path))


def replay(path: Path, settings: MonitorSettings | None = None) -> list[Alarm]:
    """Return the alarms that the numbers of a log raise under these settings, by default its own.

    Raises:
        MissingFileError: no such file.
        DataError: the log is broken.
    """
    return _replay(read_monitors(path), settings).alarms


def count_false_alarms(paths: Iterable[Path], settings: MonitorSettings | None = None) -> FalseAlarms:
    """Replay logs of honest runs and count what the monitors would have raised.

    Raises:
        MissingFileError: no such file.
        DataError: a broken log, or none that has a complete window.
    """
    replayed = [_replay(read_monitors(path), settings) for path in paths]
    windows = sum(run.windows for run in replayed)
    if not windows:
        raise DataError("The logs hold no complete window; nothing can be said of false alarms.")
    alarms: dict[str, int] = {}
    places = set()
    for number, run in enumerate(replayed):
        for alarm in run.alarms:
            alarms[alarm.monitor] = alarms.get(alarm.monitor, 0) + 1
            places.add((number, alarm.step))
    raised = sum(bool(run.alarms) for run in replayed)
    return FalseAlarms(len(replayed), windows, alarms, raised, wilson_interval(len(places), windows))


def _replay(records: Sequence[StepRecord], settings: MonitorSettings | None) -> AlarmTests:
    tests = AlarmTests(settings or (records[0].settings if records else None))
    for record in records:
        tests.add(record.step, record.values)
    return tests


def _complete_records(path: Path) -> Iterator[StepRecord]:
    *lines, _ = path.read_bytes().split(b"\n")
    last = None
    for number, line in enumerate(lines, 1):
        try:
            record = StepRecord.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}, line {number} is no record of a step: {error.errors()[0]['msg']!s}.") from error
        if last is not None and record.step <= last:
            raise DataError(f"{path}, line {number} is step {record.step} behind step {last}; expected rising steps.")
        last = record.step
        yield record


def _check_settings(path: Path, first: StepRecord, settings: MonitorSettings) -> None:
    if first.settings is not None and first.settings != settings:
        raise DataError(
            f"{path} was written with {first.settings!r}, not {settings!r}; give the same, or another run folder."
        )


def _line(record: StepRecord) -> bytes:
    return (json.dumps(record.model_dump(mode="json", exclude_none=True), allow_nan=False) + "\n").encode()
