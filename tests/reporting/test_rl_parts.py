"""Pages of runs that hold monitors or a forecast."""

from pathlib import Path

import pytest

from basereward.data.io import write_json
from basereward.errors import DataError
from basereward.reporting.forecast_parts import curve_table, forecast_lines
from basereward.reporting.monitor_parts import monitor_chapters
from basereward.reporting.reports import write_report
from basereward.rl.forecast import FORECAST, ScoredPrompt, make_forecast
from basereward.rl.monitors import MONITORS, RewardMonitor
from basereward.rl.watched import WatchedGroup, WatchedResponse


def write_run(folder: Path) -> RewardMonitor:
    """A run whose responses all end at the limit."""
    monitor = RewardMonitor(folder / MONITORS)
    group = WatchedGroup((WatchedResponse(0.0, is_cut=True), WatchedResponse(1.0, is_cut=True)))
    for step in range(1, 13):
        monitor.observe(step, [group] * 8)
    return monitor


def test_a_run_with_monitors_has_their_curves_and_alarms(tmp_path: Path) -> None:
    [alarm] = write_run(tmp_path / "run").alarms
    page, markdown = write_report(tmp_path / "run", None, ("html", "markdown"))
    assert "<svg" in page.read_text()
    assert "Cut at the limit" in page.read_text()
    text = markdown.read_text()
    assert "- alarms: 1 (in 12 steps)" in text
    assert f"| cut | {alarm.step} | 1 | 0.5 |" in text
    assert alarm.message in text
    assert "| reward | 0.5 | 0.5 | +0.00 |" in text


def test_a_run_without_monitors_has_no_chapter() -> None:
    assert list(monitor_chapters([])) == []


def test_a_forecast_has_a_page_and_says_where_gold_falls(tmp_path: Path) -> None:
    prompts = [ScoredPrompt((3.0, 2.0, 1.0, 0.0), (0.0, 1.0, 1.0, 0.0), str(n)) for n in range(4)]
    found = make_forecast("my/model", "scores in scores", prompts, {"malformed": 2})
    assert [row[:2] for row in curve_table(found).rows] == [("1", "0.500"), ("2", "0.500"), ("4", "0.000")]
    assert "Gold is highest at n = 1" in forecast_lines(found)[1]
    assert forecast_lines(found)[2] == "Left out prompts: malformed 2."
    write_json(tmp_path / FORECAST, found.model_dump(mode="json"))
    [page] = write_report(tmp_path)
    assert "Best of n" in page.read_text()
    assert "chosen by the reward" in page.read_text()


def test_a_file_that_is_no_forecast_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / FORECAST, {"model": "m"})
    with pytest.raises(DataError, match="no forecast"):
        write_report(tmp_path)
