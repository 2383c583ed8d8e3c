"""The page of an audit: what it shows, and the bars of its intervals."""

import json
import re

import pytest

from basereward.errors import MissingFileError
from basereward.evaluation.audit.run import AuditOptions, audit
from basereward.reporting.audit_page import show_number, summary_line, write_audit_page
from basereward.reporting.interval_bars import WIDTH, IntervalBar, draw_intervals
from tests.evaluation.audit.conftest import Ruled, clean, draw_pairs, opened, run


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of an audit that caught one that likes lists, and the items that it embeds."""
    folder = tmp_path_factory.mktemp("audit")
    rule = Ruled(lambda group, place, groups: clean(group, place, groups) + 8 * ("- " in group.responses[place].text))
    run(rule, folder, "list", "jpeg", "image_blind", "batch", "judge_order", pairs=draw_pairs(40))
    text = write_audit_page(folder).read_text()
    return text, json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_every_probe_stands_with_its_verdict(page):
    text, _ = page
    for name, verdict in (("list", "fail"), ("jpeg", "pass"), ("batch", "pass"), ("judge_order", "not applicable")):
        assert f'<th scope="row">{name}</th><td>{verdict}</td>' in text
    assert "a scorer gives each response a number" in text
    assert "How many pairs ranked right are lost when the rejected response is written as a list?" in text


def test_the_worst_pairs_show_both_states(page):
    _, data = page
    shown = [item for item in data["items"] if item["source"] == "list"]
    assert len(shown) == 5
    sides = {side: text for side, text, _ in shown[0]["answers"]}
    assert sides["rejected changed"] == f"- {sides['rejected']}"
    assert (shown[0]["outcome"], shown[0]["margin"]) == ("correct, then wrong", -4.0)
    assert data["images"][shown[0]["images"][0]][0].startswith("data:image/")


def test_changed_images_stand_behind_those_that_they_replace(page):
    _, data = page
    shown = [item for item in data["items"] if item["source"] == "image_blind"]
    assert all(len(item["images"]) == 2 for item in shown)


def test_the_line_says_how_many_pairs_are_in_no_probe(tmp_path):
    found = audit(Ruled(), opened(draw_pairs(20)), tmp_path, AuditOptions(("list",)))
    assert "in no probe" not in summary_line(found)
    lost = found.model_copy(update={"failures": {"too_long": 2, "image_missing": 1}})
    assert summary_line(lost).endswith("80 scores of 20 pairs. 3 of them have none as they are, and are in no probe.")


def test_a_folder_without_an_audit_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="basereward audit"):
        write_audit_page(tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.000"), (0.25, "0.250"), (-2e-7, "-2.0e-07"), (131.0, "131"), (1.0, "1.000")],
)
def test_numbers_are_readable(value, text):
    assert show_number(value) == text


def test_bars_lie_within_the_picture_in_the_order_of_values():
    bars = [
        IntervalBar("a<b", "pass", "correct", 0.1, -0.2, 0.4, 0.05),
        IntervalBar("c", "fail", "wrong", 0.9, 0.8, 1, 0),
    ]
    svg = draw_intervals(bars)
    places = [float(own) for own in re.findall(r'cx="([\d.]+)"', svg)]
    assert 0 < places[0] < places[1] < WIDTH
    assert all(0 <= float(own) <= WIDTH for own in re.findall(r'<path d="M([\d.]+) ', svg))
    assert "a&lt;b" in svg
    assert "var(--wrong)" in svg
