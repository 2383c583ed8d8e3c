"""All tables of the lab by name, made within a time, and the page that collects what there is of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from basereward.errors import BaseRewardError, StoppedError, WorkError
from basereward.lab.alarms import plan_alarms
from basereward.lab.figure1 import plan_figure as plan_figure1
from basereward.lab.figure2 import plan_figure as plan_figure2
from basereward.lab.frozen import FrozenSizes, plan_frozen
from basereward.lab.grouping import GroupingSizes, plan_grouping
from basereward.lab.length_bias import plan_length_bias
from basereward.lab.objectives import plan_objectives
from basereward.lab.severity import plan_severity
from basereward.lab.shortcut import plan_shortcut
from basereward.lab.table1 import plan_table as plan_table1
from basereward.lab.table2 import plan_table as plan_table2
from basereward.lab.table5 import plan_table as plan_table5
from basereward.lab.table6 import plan_table as plan_table6
from basereward.lab.table7 import ArmSizes
from basereward.lab.table7 import plan_table as plan_table7
from basereward.lab.table11 import plan_table as plan_table11
from basereward.lab.table15 import plan_table as plan_table15
from basereward.lab.tables import RESULT, LabTable, TablePlan, make_table, read_table, table_page
from basereward.registry import Registry
from basereward.reporting.documents import Chapter, Document
from basereward.reporting.tables import Table

# Those of the fewest steps first: within a short time there is something of many.
TABLES: Registry[Callable[[], TablePlan]] = Registry(
    "table of the lab",
    {
        "frozen": lambda: plan_frozen(FrozenSizes()),
        "figure2": lambda: plan_figure2(ArmSizes(100)),
        "table7": lambda: plan_table7(ArmSizes(250)),
        "severity": plan_severity,
        "table15": plan_table15,
        "grouping": lambda: plan_grouping(GroupingSizes()),
        "table5": plan_table5,
        "figure1": plan_figure1,
        "table6": plan_table6,
        "length-bias": plan_length_bias,
        "table2": plan_table2,
        "objectives": plan_objectives,
        "shortcut": plan_shortcut,
        "table11": plan_table11,
        "table1": plan_table1,
        "alarms": plan_alarms,
    },
)
Say = Callable[[str], None]


class OutOfTimeError(BaseRewardError):
    """The time that was given is over before the next cell of a table."""


class Stopped(NamedTuple):
    """Tables whose seeds are not all there: by name why."""

    failed: Mapping[str, str]
    unfinished: Sequence[str]


def make_all(
    plans: Mapping[str, TablePlan],
    folder: Path,
    seeds: int,
    minutes: float | None = None,
    say: Say = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Stopped:
    """Make the first seed of all tables, then the second, and so on, until the time is over.

    What is done is kept, down to a row of a seed, and a table that has seeds keeps them; no row begins after the time,
    and one that has begun ends. A table that fails does not stop the others.

    Args:
        plans: by the name of the folder.
        seeds: how many each table gets.
        minutes: the time given; None for as long as it takes.

    Raises:
        StoppedError: a signal ended a run; where it was is saved.
    """
    ends = None if minutes is None else clock() + 60 * minutes
    failed: dict[str, str] = {}
    unfinished: dict[str, None] = {}
    for count in range(1, seeds + 1):
        for name, plan in plans.items():
            if name in failed:
                continue
            try:
                _make(name, _until(plan, ends, clock), folder / name, count, say)
            # A signal ends all of it.
            except StoppedError:
                raise
            except OutOfTimeError:
                unfinished[name] = None
            except BaseRewardError as error:
                failed[name] = str(error)
                say(f"{name}: {error}")
    return Stopped(failed, list(unfinished))


def _make(name: str, plan: TablePlan, folder: Path, seeds: int, say: Say) -> None:
    make_table(plan, folder, range(max(seeds, _seeds_of(folder))), lambda text: say(f"{name}: {text}"))


def _until(plan: TablePlan, ends: float | None, clock: Callable[[], float]) -> TablePlan:
    """Return the plan with rows that do not begin after the end."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        if ends is not None and clock() >= ends:
            raise OutOfTimeError(f"The time is over before {row!r} of seed {seed}; give the command again to go on.")
        return plan.run(row, seed, folder)

    return plan._replace(run=run)


def _seeds_of(folder: Path) -> int:
    return len(read_table(folder).seeds) if (folder / RESULT).is_file() else 0


def read_tables(folder: Path) -> dict[str, LabTable]:
    """Return the tables that a folder holds, in the order of the registry.

    Raises:
        WorkError: there is none.
        DataError: one is of another version.
    """
    found = {name: read_table(folder / name) for name in TABLES.names() if (folder / name / RESULT).is_file()}
    if not found:
        raise WorkError(f"{folder} holds no table of the lab yet; give it more time.")
    return found


def tables_page(tables: Mapping[str, LabTable], stopped: Stopped) -> Document:
    """Return one page of all tables: how many findings hold in each, and then each as on its own page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    chapters = [
        chapter._replace(title=f"{table.name} ({table.source}): {chapter.title.lower()}")
        for table in tables.values()
        for chapter in table_page(table).sections
    ]
    missing = [f"{name}: not all seeds that were asked for; the time was over." for name in stopped.unfinished]
    missing += [f"{name}: {why}" for name, why in stopped.failed.items()]
    missing += [
        f"{name}: not made." for name in TABLES.names() if name not in {*tables, *stopped.unfinished, *stopped.failed}
    ]
    note = "How many findings hold at this scale, do not, or cannot be told with these seeds."
    overview = Chapter("Findings", note, table=outcomes_table(tables))
    return Document(
        "the lab", "The paper in miniature", sections=[overview, *chapters, Chapter("What is missing", lines=missing)]
    )


def outcomes_table(tables: Mapping[str, LabTable]) -> Table:
    """Return for each table its seeds and how many findings hold, do not hold, and cannot be told."""
    outcomes = ("holds", "does not hold", "cannot be told")
    rows = [
        (
            name,
            table.source,
            f"{len(table.seeds)}",
            *(f"{sum(finding.outcome == outcome for finding in table.findings)}" for outcome in outcomes),
        )
        for name, table in tables.items()
    ]
    return Table(("table", "about", "seeds", *outcomes), rows)
