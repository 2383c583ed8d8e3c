"""The folder of an audit: complete, typed, gone on with after a stop, and honest about what failed."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from basereward.data.outcomes import Failure
from basereward.data.schema import messages_from_text
from basereward.errors import DataError, ScoringError, WorkError
from basereward.evaluation.audit.marks import MARKS
from basereward.evaluation.audit.numerics import COMPANION
from basereward.evaluation.audit.probes import PROBES
from basereward.evaluation.audit.result import AuditResult
from basereward.evaluation.audit.run import AuditOptions, audit
from tests.evaluation.audit.conftest import Ruled, by_hash, clean, draw_pairs, opened, run

GUIDE = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
FEW = draw_pairs(40)


class Breaking(Ruled):
    """Stops the call after some groups."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def score(self, groups):
        if sum(self.calls) >= self.after:
            raise ScoringError("the machine went away")
        return super().score(groups)


class Failing(Ruled):
    """Has no score for responses that hold a text."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def score(self, groups):
        found = super().score(groups)
        return [
            [
                Failure("too_long", "no") if self.text in own.text else one
                for one, own in zip(scores, group.responses, strict=True)
            ]
            for scores, group in zip(found, groups, strict=True)
        ]


def test_the_folder_is_complete_and_typed(tmp_path):
    told = []
    found = audit(
        Ruled(), opened(FEW), tmp_path, AuditOptions(("list", "jpeg", "calibration")), lambda *own: told.append(own)
    )
    assert AuditResult.model_validate_json((tmp_path / "result.json").read_text()) == found
    assert sorted(path.stem for path in (tmp_path / "records").iterdir()) == ["jpeg", "list", "original"]
    for path in (tmp_path / "records").iterdir():
        rows = [json.loads(line)["row"] for line in path.read_text().splitlines()]
        assert rows == list(range(40))
    assert not (tmp_path / "identity.json").exists()
    assert (found.n, found.n_images, found.answers, found.accuracy) == (40, 40, 2 * 3 * 40, 1.0)
    assert told[-1] == (120, 120)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_two_audits_are_equal(tmp_path):
    first, second = (run(Ruled(), tmp_path / name, pairs=FEW) for name in "ab")
    assert first == second


def test_examples_show_both_states_with_their_images(tmp_path):
    likes_lists = Ruled(
        lambda group, place, groups: clean(group, place, groups) + 8 * ("- " in group.responses[place].text)
    )
    example = run(likes_lists, tmp_path, "list", pairs=FEW)["list"].examples[0]
    assert (example.before.outcome, example.after.outcome) == ("correct", "wrong")
    assert example.after.rejected == f"- {example.before.rejected}"
    assert (example.before.scores, example.after.scores) == ((4.0, 0.0), (4.0, 8.0))
    assert all((tmp_path / name).is_file() for name in example.before.images)


def test_an_interrupted_audit_goes_on(tmp_path):
    names = ("list", "typo")
    with pytest.raises(ScoringError):
        run(Breaking(70), tmp_path, *names, pairs=FEW)
    again = Ruled()
    found = run(again, tmp_path, *names, pairs=FEW)
    # 40 groups as they are and 40 for each probe, of which the first call kept five batches.
    assert sum(again.calls) == 3 * 40 - (16 + 16 + 8 + 16 + 16)
    assert found == run(Ruled(), tmp_path.with_name("whole"), *names, pairs=FEW)


def test_another_audit_is_not_gone_on_with(tmp_path):
    with pytest.raises(ScoringError):
        run(Breaking(20), tmp_path, "list", pairs=FEW)
    with pytest.raises(WorkError, match="seed 0, not 1"):
        run(Ruled(), tmp_path, "list", pairs=FEW, seed=1)
    with pytest.raises(WorkError, match=r"weights.name 'ruled', not 'other'"):
        run(Ruled(name="other"), tmp_path, "list", pairs=FEW)


def test_a_finished_audit_is_kept_unless_asked(tmp_path):
    run(Ruled(), tmp_path, "list", pairs=FEW)
    with pytest.raises(WorkError, match="--overwrite"):
        run(Ruled(), tmp_path, "list", pairs=FEW)
    again = Ruled()
    run(again, tmp_path, "list", pairs=FEW, overwrite=True)
    assert sum(again.calls) == 80


def test_records_of_nobody_knows_which_audit_are_not_taken_for_its_own(tmp_path):
    """A finished audit whose result was deleted by hand, or one whose deletion was cut off."""
    run(Ruled(), tmp_path, "list", pairs=FEW)
    (tmp_path / "result.json").unlink()
    with pytest.raises(WorkError, match=r"original\.jsonl .*--overwrite"):
        run(Ruled(by_hash, name="other"), tmp_path, "list", pairs=FEW)
    again = Ruled(by_hash, name="other")
    run(again, tmp_path, "list", pairs=FEW, overwrite=True)
    assert sum(again.calls) == 80


def test_another_result_is_never_deleted(tmp_path):
    (tmp_path / "result.json").write_text('{"format": 2}')
    with pytest.raises(WorkError, match="not the result of an audit"):
        run(Ruled(), tmp_path, "list", pairs=FEW, overwrite=True)
    assert (tmp_path / "result.json").read_text() == '{"format": 2}'


def test_failed_rows_are_in_no_number_and_counted(tmp_path):
    found = audit(Failing("to say"), opened(FEW), tmp_path / "a", AuditOptions(("list", "length_gap")))
    lost = found.failures["too_long"]
    assert 0 < lost < 40
    assert {probe.n for probe in found.probes if probe.name == "list"} == {40 - lost}
    half = run(Failing("- It"), tmp_path / "b", "list", pairs=FEW)["list"]
    assert (half.status, half.failures["too_long"] + half.n) == ("cannot tell", 40)
    assert "have no score" in half.reason


def test_nothing_scored_is_nothing_told(tmp_path):
    found = audit(Failing(""), opened(FEW), tmp_path)
    assert (found.answered, found.failures) == (False, {"too_long": 40})
    assert set(found.counts) == {"not applicable"}


def test_images_that_cannot_be_changed_fail_alone(tmp_path):
    pairs = [dataclasses.replace(pair, images=("gone.png",)) if number < 2 else pair for number, pair in enumerate(FEW)]
    blind = Ruled(lambda group, place, groups: float(place))
    found = run(blind, tmp_path, "jpeg", pairs=pairs)["jpeg"]
    assert (found.n, found.failures) == (38, {"image_missing": 2})


def test_who_sees_nothing_is_not_asked_to_look(tmp_path):
    found = run(Ruled(sees_images=False), tmp_path, "image_blind", "jpeg", "typo", pairs=FEW)
    assert [found[name].status for name in ("image_blind", "jpeg")] == ["not applicable"] * 2
    assert "images cannot change" in found["jpeg"].reason
    assert found["typo"].n == 40


def test_texts_alone_have_no_probe_of_images(tmp_path):
    pairs = [dataclasses.replace(own, images=(), prompt=messages_from_text("Which?")) for own in FEW]
    found = run(Ruled(lambda group, place, groups: float(place)), tmp_path, "image_blind", "image_swap", pairs=pairs)
    assert found["image_blind"].reason == "no item shows an image or a video"
    assert found["image_swap"].status == "not applicable"


def test_a_neighbour_without_a_score_proves_nothing(tmp_path):
    found = run(Failing("so on and"), tmp_path, "padding", pairs=FEW)["padding"]
    assert (found.status, found.failures) == ("cannot tell", {COMPANION: 40})


def test_a_single_item_certifies_nothing_of_batches(tmp_path):
    found = run(Ruled(), tmp_path, "batch", "padding", pairs=FEW[:1])
    assert (found["batch"].status, found["padding"].status) == ("not applicable", "pass")


def test_calls_are_as_the_certificates_say(tmp_path):
    scorer = Ruled()
    run(scorer, tmp_path, "batch", "padding", pairs=FEW)
    assert scorer.calls == [16, 16, 8, *[1] * 40, 17, 17, 9]


def test_nothing_to_compare_is_an_error(tmp_path):
    same = [dataclasses.replace(pair, rejected=pair.chosen) for pair in FEW]
    with pytest.raises(DataError, match="nothing to ask"):
        run(Ruled(), tmp_path, pairs=same)


def test_the_docs_state_the_marks():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (at \w+) ([\d.]+) \|$", GUIDE, re.MULTILINE)
    assert {name: (direction, float(limit)) for name, direction, limit in rows} == {
        name: mark[:2] for name, mark in MARKS.items()
    }
    assert len(rows) == len(PROBES.names())
