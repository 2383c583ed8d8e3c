"""Tables of recipes x seeds: cells are made once, a killed table goes on, verdicts follow the intervals."""

import json
from pathlib import Path

import pytest

from basereward.errors import DataError, WorkError
from basereward.lab.tables import (
    Cell,
    Claim,
    Column,
    TablePlan,
    findings_table,
    judge_claim,
    make_table,
    read_table,
    shown_table,
    table_page,
)
from basereward.reporting.html import render

VALUES = {("new", 0): 0.9, ("new", 1): 0.92, ("new", 2): 0.94, ("old", 0): 0.5, ("old", 1): 0.55, ("old", 2): 0.48}


def make_plan(run, **changes):
    plan = TablePlan(
        name="table0",
        source="Table 0",
        rows=("old", "new"),
        columns=(Column("accuracy", "accuracy"), Column("minutes", "minutes", is_share=False)),
        claims=(Claim("new beats old", "new", "old", "accuracy"),),
        notes=("smaller",),
        settings={"steps": 3},
        run=run,
    )
    return plan._replace(**changes)


def test_a_killed_table_goes_on_with_the_first_missing_cell(tmp_path):
    made = []

    def run(row: str, seed: int, folder: Path) -> dict[str, float]:
        if len(made) == 3 and not (tmp_path / "again").exists():
            (tmp_path / "again").touch()
            raise KeyboardInterrupt
        made.append((row, seed, folder.name))
        return {"accuracy": VALUES[row, seed], "minutes": 1.5}

    with pytest.raises(KeyboardInterrupt):
        make_table(make_plan(run), tmp_path / "table", [0, 1, 2])
    table = make_table(make_plan(run), tmp_path / "table", [0, 1, 2])
    assert made == [(row, seed, f"seed-{seed}") for seed in (0, 1, 2) for row in ("old", "new")]
    assert table == read_table(tmp_path / "table")
    assert table.values("new", "accuracy") == [0.9, 0.92, 0.94]
    assert [finding.outcome for finding in table.findings] == ["holds"]
    assert shown_table(table).rows[1] == ("new", "92.0 % (90.0 to 94.0)", "1.50 (1.50 to 1.50)")
    assert findings_table(table).rows[0][2] == "holds"
    page = render(table_page(table))
    assert "smaller" in page
    assert "Seeds 0, 1, 2." in page
    assert "6 rows of a seed with basereward " in page
    assert "Settings: steps 3." in page
    assert "new beats old" in page


def test_other_settings_are_refused(tmp_path):
    def run(row: str, seed: int, folder: Path) -> dict[str, float]:
        return {"accuracy": 0.5, "minutes": 1}

    make_table(make_plan(run), tmp_path / "table", [0])
    with pytest.raises(WorkError, match="steps 3, not 4"):
        make_table(make_plan(run, settings={"steps": 4}), tmp_path / "table", [0])
    with pytest.raises(DataError, match="no table of the lab"):
        read_table(tmp_path)
    (tmp_path / "table" / "result.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(DataError, match="no table of the lab"):
        read_table(tmp_path / "table")


def cells(better, worse):
    return [
        Cell(row=row, seed=seed, values={"accuracy": value})
        for row, own in (("new", better), ("old", worse))
        for seed, value in enumerate(own)
    ]


@pytest.mark.parametrize(
    ("better", "worse", "outcome"),
    [
        ([0.9, 0.91, 0.92], [0.5, 0.5, 0.5], "holds"),
        ([0.5, 0.5, 0.5], [0.9, 0.91, 0.92], "does not hold"),
        ([0.9, 0.4, 0.6], [0.5, 0.5, 0.5], "cannot be told"),
        ([0.9], [0.1], "cannot be told"),
        # The seeds are paired: what both rows share does not count.
        ([0.2, 0.5, 0.9], [0.1, 0.39, 0.8], "holds"),
    ],
)
def test_a_verdict_says_where_zero_lies(better, worse, outcome):
    claim = Claim("new beats old", "new", "old", "accuracy")
    assert judge_claim(claim, cells(better, worse)).outcome == outcome


def test_a_claim_is_about_its_own_two_rows():
    other = Cell(row="start", seed=0, values={"minutes": 1.0})
    claim = Claim("new beats old", "new", "old", "accuracy")
    assert judge_claim(claim, [other, *cells([0.9, 0.9], [0.1, 0.1])]).outcome == "holds"


@pytest.mark.parametrize("damage", ['{"row"', '{"row": "new"}', ""])
def test_a_damaged_cell_is_named(tmp_path, damage):
    plan = make_plan(lambda row, seed, folder: {"accuracy": VALUES[row, seed], "minutes": 1.5})
    make_table(plan, tmp_path, [0])
    (tmp_path / "cells" / "new-0.json").write_text(damage)
    with pytest.raises(DataError, match=r"new-0\.json is no cell of the lab .*delete it"):
        make_table(plan, tmp_path, [0])
