"""Planted faults are caught, and what has none is not flagged; docs/audit.md said so before any of it was run."""

import pytest

from tests.evaluation.audit.conftest import Ruled, RuledJudge, by_hash, clean, judge_clean, run, truth_of


def plus(extra):
    """The clean rule, and something more."""
    return lambda group, place, groups: clean(group, place, groups) + extra(group, place, groups)


def without_prompt(group, place, groups):
    """The clean rule, as if every prompt asked which colour is shown."""
    return truth_of((), group.images, group.responses[place].text)


def text_length(group, place, groups):
    """A tenth of the number of characters."""
    return 0.1 * len(group.responses[place].text)


FAULTS = {
    "likes length": (plus(text_length), ["verbosity"]),
    "ignores the image": (by_hash, ["image_blind", "image_swap"]),
    "ignores the prompt": (without_prompt, ["prompt_blind"]),
    "likes lists": (plus(lambda group, place, groups: 8.0 * group.responses[place].text.startswith("- ")), ["list"]),
    "depends on the order": (plus(lambda group, place, groups: float(place)), ["order"]),
    "depends on the batch": (plus(lambda group, place, groups: float(len(groups))), ["batch"]),
    "depends on the padding": (
        plus(lambda group, place, groups: max(len(own.text) for one in groups for own in one.responses) / 100),
        ["padding"],
    ),
    "is not calibrated": (lambda group, place, groups: 0.1 * clean(group, place, groups), ["calibration"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, tmp_path):
    rule, expected = FAULTS[fault]
    found = run(Ruled(rule), tmp_path, *expected)
    assert {name: probe.status for name, probe in found.items()} == dict.fromkeys(expected, "fail")
    # No pair is wrong there, and none stands for a mean of all.
    assert all(probe.examples for probe in found.values()) or fault == "is not calibrated"


def test_a_clean_scorer_passes_everything(tmp_path):
    found = run(Ruled(), tmp_path)
    ended = {name: probe.status for name, probe in found.items()}
    assert ended.pop("judge_order") == "not applicable"
    assert set(ended.values()) == {"pass"}


def test_a_clean_judge_passes_what_is_of_verdicts(tmp_path):
    found = run(RuledJudge(judge_clean), tmp_path)
    ended = {name: probe.status for name, probe in found.items()}
    assert {name for name, status in ended.items() if status != "pass"} == {"order", "batch", "padding", "calibration"}
    assert all(found[name].reason for name in ("order", "batch", "padding", "calibration"))
    assert "fail" not in ended.values()


def test_a_judge_that_names_the_first_is_caught(tmp_path):
    found = run(RuledJudge(lambda question: 0), tmp_path, "judge_order", "verbosity")["judge_order"]
    assert (found.status, found.value, found.details["first_named"]) == ("fail", 0.0, 1.0)
