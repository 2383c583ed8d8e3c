"""The page of a calibration and the reliability of evaluations: numbers are those of the result."""

from xml.etree import ElementTree

import pytest

from basereward.errors import DataError
from basereward.reporting import plots
from basereward.reporting.calibration_page import build_calibration_page, calibration_lines, candidate_table
from basereward.reporting.html import render
from basereward.reporting.reliability_parts import bin_table, reliability_chapter, reliability_line
from basereward.scoring.calibration.artifact import CalibratedModel, Calibration, CalibrationData
from basereward.scoring.calibration.bounds import Bounds
from basereward.scoring.calibration.choice import Candidate
from basereward.scoring.calibration.curves import Curve
from basereward.scoring.calibration.maps import Bias, Isotonic, Maps, Temperature, ZScore
from basereward.scoring.calibration.reliability import measure_reliability

MEASURED = measure_reliability([2.0, -0.5, 0.1, 3.0] * 10, range(40))


def calibration(scale, bounds=(0.5, 0.9)):
    """A calibration with maps of every kind."""
    bias = Bias(feature="lists", curve=Curve(x=(0.0, 2.0, 6.0), y=(-0.5, 0.0, 1.0)))
    candidate = {"stage": "bias", "loss": 0.5, "accuracy": 0.7, "gain": 0.1, "low": 0.05, "high": 0.15}
    return Calibration(
        model=CalibratedModel(name="mine", identity={"weights": "abc"}),
        data=CalibrationData(name="p.jsonl", sha256="0", pairs=500, prompts=480, held_out=100, failed={"too_long": 3}),
        maps=Maps(biases=(bias,), visual=Curve(x=(0.0, 13.0), y=(1.0, -1.0)), scale=scale),
        bounds=Bounds(alpha=0.1, text=bounds[0], images=bounds[1], pairs=96),
        candidates=(
            Candidate(name="none", is_chosen=False, **{**candidate, "gain": 0, "low": 0, "high": 0}),
            Candidate(name="format", is_chosen=True, **candidate),
        ),
        before=MEASURED,
        after=MEASURED,
        accuracy_before=0.7,
        accuracy_after=0.75,
        versions={"numpy": "2"},
    )


@pytest.mark.parametrize(
    ("scale", "line"),
    [
        (Temperature(text=2, images=3), "temperature: 2 (text), 3 (images)"),
        (Temperature(text=2, images=2), "temperature: 2"),
        (ZScore(mean=1, sd=2), "z-score: mean 1, standard deviation 2"),
        (Isotonic(curve=Curve(x=(0, 1), y=(0, 1)), temperature=0.5), "isotonic: "),
    ],
)
def test_the_page_says_what_is_changed(scale, line):
    own = calibration(scale)
    lines = calibration_lines(own)
    assert any(one.startswith(line) for one in lines)
    assert "bias of lists: 1.5 from few to many" in lines
    assert "visual offset: -2 from few pixels to many" in lines
    assert "3 x too_long: no score, left out" in lines
    assert any("at least 90 %" in one and "up to 0.5 (text) or 0.9 (images)" in one for one in lines)
    assert not any("(text)" in one for one in calibration_lines(calibration(None, (0.5, 0.5))))


def test_the_page_has_every_part():
    scale = Isotonic(curve=Curve(x=(0, 1), y=(0, 1)), temperature=0.5)
    page = render(build_calibration_page(calibration(scale)))
    for text in ("Bias of lists", "Bias of images", "Log odds of winning", "75.0 %", "+0.0500 to +0.1500"):
        assert text in page


def test_none_has_no_gain_and_what_is_chosen_is_marked():
    none, chosen = candidate_table(calibration(None)).rows
    assert (none[3:], chosen[3], chosen[5]) == (("-", "-", ""), "+0.1000", "chosen")


def test_reliability_is_a_line_a_table_and_a_diagram():
    line = reliability_line(MEASURED)
    assert f"ECE {100 * MEASURED.ece:.1f} %" in line
    assert f"Brier score {MEASURED.brier:.4f}" in line
    assert len(bin_table(MEASURED).rows) == len(MEASURED.bins)
    chapter = reliability_chapter({"before": MEASURED, "after": MEASURED})
    assert [own.partition(":")[0] for own in chapter.lines] == ["before", "after"]
    svg = plots.reliability_diagram({"model": [(0.6, 0.5, 0.5), (0.9, 0.8, 0.5)]})
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == plots.reliability_diagram({"model": [(0.6, 0.5, 0.5), (0.9, 0.8, 0.5)]})
    with pytest.raises(DataError, match="no comparisons"):
        plots.reliability_diagram({"model": []})
