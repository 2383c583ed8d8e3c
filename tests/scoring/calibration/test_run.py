"""From a file of pairs to a scorer whose rewards are changed, wherever it is used."""

import json
from dataclasses import replace
from math import log1p

import numpy as np
import pytest

from basereward.data.images import image_size
from basereward.data.outcomes import About, Failure, Score
from basereward.errors import DataError, MissingFileError, RecipeError, ScoringError, WorkError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import Rollouts
from basereward.scoring.baselines import BASELINES
from basereward.scoring.calibration.artifact import check_model, read_calibration
from basereward.scoring.calibration.run import calibrate
from basereward.scoring.compose.calibrated import Calibrated, open_calibrated
from basereward.scoring.spec import open_judge, open_scorer


@pytest.fixture(scope="module")
def biased(known):
    return known(2.0)


@pytest.fixture(scope="module")
def file(biased, pairs_file, tmp_path_factory):
    """The calibration of the biased model."""
    out = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibrate(biased, str(pairs_file), out)
    return out


@pytest.fixture
def group(make_group):
    return make_group("Which?", ["1.5 " + "word " * 200, "2.5 word", "no number", "1.5 word"])


def test_the_bias_is_gone_and_the_file_says_what_was_done(file, biased, known, group):
    found = read_calibration(file)
    assert [bias.feature for bias in found.maps.biases] == ["length"]
    assert found.accuracy_after > found.accuracy_before + 0.05
    assert found.after.log_loss < found.before.log_loss - 0.1
    assert {own.name for own in found.candidates if own.is_chosen} == {"length", "none"}
    assert found.data.pairs == found.data.prompts == 600
    assert found.data.failed == {}
    raw, changed = biased.score([group])[0], open_calibrated(biased, file).score([group])[0]
    assert raw[0].value > raw[1].value + 5
    assert changed[0].value < changed[1].value
    # Equal quality in a long and a short text, far outside of what was seen.
    assert changed[0].value == pytest.approx(changed[3].value, abs=1.5)


def test_parts_hold_the_raw_reward_and_an_interval(file, biased, group):
    changed, raw = (own.score([group])[0] for own in (open_calibrated(biased, file), biased))
    for one, other in zip(changed, raw, strict=True):
        if isinstance(other, Failure):
            assert one == other
            continue
        assert (one.parts["raw"], one.parts["first"]) == (other.value, other.parts["first"])
        bounds = read_calibration(file).bounds
        assert one.parts["high"] - one.parts["low"] == pytest.approx(bounds.text)
        assert one.parts["low"] + one.parts["high"] == pytest.approx(2 * one.value)


def test_a_score_depends_on_no_other_response(file, biased, group):
    scorer = open_calibrated(biased, file)
    together = scorer.score([group])[0]
    alone = [scorer.score([replace(group, responses=(one,))])[0][0] for one in group.responses]
    assert alone == together


def test_about_is_passed_on_with_the_digest(file, biased):
    about = open_calibrated(biased, file).about
    assert (about.name, about.sees_images) == ("known", False)
    assert about.identity == {"weights": "bias 2.0", "calibration": read_calibration(file).digest}


def test_rewards_in_rl_and_in_an_evaluation_are_those_in_python(file, biased, group, pairs_file, tmp_path):
    scorer = open_calibrated(biased, file)
    [rewarded] = RewardFunction(scorer, "model")([Rollouts(group)])
    assert list(rewarded.scored) == scorer.score([group])[0]
    options = EvaluationOptions(references=False)
    for own, ece in ((scorer, 0.12), (biased, 1.0)):
        result = evaluate(own, read_pairs(str(pairs_file)), tmp_path / str(ece), options)
        assert result.reliability.n == 600
        assert result.reliability.ece < ece
    records = [json.loads(line) for line in (tmp_path / "0.12" / "records.jsonl").read_text().splitlines()]
    opened = read_pairs(str(pairs_file))
    asked = [score.value for item in opened.items for own in scorer.score(item.groups) for score in own]
    assert sorted(value for one in records for value in (*one["correct"], *one["rejected"])) == sorted(asked)


def test_a_model_without_a_fault_is_refused_and_nothing_is_written(known, pairs_file, tmp_path):
    out = tmp_path / "out.json"
    with pytest.raises(ScoringError, match="There is nothing to remove"):
        calibrate(known(0.0), str(pairs_file), out)
    assert not list(tmp_path.iterdir())


def test_another_model_is_refused_by_what_differs(file, known):
    with pytest.raises(ScoringError, match=r"known is another model: weights 'bias 2.0', not 'bias 0.0'"):
        open_calibrated(known(0.0), file)
    with pytest.raises(ScoringError, match="another model"):
        open_calibrated(known(2.0, identity=False), file)
    elsewhere = known(2.0)
    elsewhere.about = replace(elsewhere.about, identity={"weights": "bias 2.0", "device": "cuda", "torch": "9"})
    assert isinstance(open_calibrated(elsewhere, file), Calibrated)


@pytest.mark.parametrize("name", ["device", "backend", "torch", "basereward"])
def test_a_member_may_be_called_like_a_fact_that_is_free(file, name):
    def asked(weights, weight):
        members = {name: {"identity": {"weights": weights, "device": "cpu"}}}
        return About("all", True, {"ensemble": {"weights": {name: weight}, "members": members}})

    fitted = read_calibration(file)
    model = fitted.model.model_copy(update={"identity": dict(asked("old", 1.0).identity)})
    fitted = fitted.model_copy(update={"model": model})
    check_model(fitted, asked("old", 1.0), file)
    for other in (asked("new", 1.0), asked("old", 2.0)):
        with pytest.raises(ScoringError, match="another model"):
            check_model(fitted, other, file)


def test_what_cannot_be_calibrated_is_said(file, biased, known, pairs_file, tmp_path):
    with pytest.raises(ScoringError, match="calibrated already"):
        calibrate(open_calibrated(biased, file), str(pairs_file), tmp_path / "a.json")
    with pytest.raises(ScoringError, match="expected 100 prompts to fit on"):
        calibrate(biased, str(pairs_file), tmp_path / "b.json", limit=50)
    with pytest.raises(ScoringError, match="held out"):
        calibrate(biased, str(pairs_file), tmp_path / "c.json", alpha=0.001)
    with pytest.raises(WorkError, match="is there already"):
        calibrate(biased, str(pairs_file), file)
    assert not list(tmp_path.iterdir())


def test_what_is_known_of_a_model_without_an_identity_is_compared(known, pairs_file, tmp_path):
    def of(route):
        scorer = known(2.0, identity=False)
        scorer.about = replace(scorer.about, partial={"router": {"routes": {"x": route}}})
        return scorer

    calibrate(of("a"), str(pairs_file), tmp_path / "c.json")
    assert isinstance(open_calibrated(of("a"), tmp_path / "c.json"), Calibrated)
    with pytest.raises(ScoringError, match=r"routes\.x 'a', not 'b'"):
        open_calibrated(of("b"), tmp_path / "c.json")
    with pytest.raises(ScoringError, match="calibrated already"):
        calibrate(open_calibrated(of("a"), tmp_path / "c.json"), str(pairs_file), tmp_path / "d.json")


def test_pairs_that_change_while_they_are_scored_are_refused(biased, pairs_file, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(pairs_file.read_bytes())

    def swap(done, total):
        pairs.write_bytes(pairs_file.read_bytes() + b"\n")

    # Whoever looks first refuses it: the rows that are still to be read, or what was read at the end.
    with pytest.raises(DataError, match=r"changed (while it was scored|since the work began)"):
        calibrate(biased, str(pairs), tmp_path / "a.json", on_progress=swap)
    assert not (tmp_path / "a.json").exists()


def test_pairs_without_scores_are_counted(biased, pairs_file, tmp_path):
    lines = pairs_file.read_text().splitlines()
    broken = [json.dumps({**json.loads(line), "chosen": "no number here"}) for line in lines[:7]]
    (tmp_path / "pairs.jsonl").write_text("\n".join([*broken, *lines[7:]]) + "\n")
    found = calibrate(biased, str(tmp_path / "pairs.jsonl"), tmp_path / "out.json")
    assert found.data.failed == {"no_number": 7}
    assert found.data.pairs == 593


def test_a_file_that_is_no_calibration_is_refused(biased, tmp_path):
    with pytest.raises(MissingFileError, match="basereward calibrate"):
        open_calibrated(biased, tmp_path / "none.json")
    for text in ("{}", "not json", "[1]"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ScoringError, match="no calibration of this version"):
            open_calibrated(biased, tmp_path / "bad.json")


def test_a_map_that_would_change_orders_is_no_calibration(file, biased, tmp_path):
    content = json.loads(file.read_text())
    content["maps"]["scale"] = {"kind": "isotonic", "curve": {"x": [0, 1], "y": [1, 0]}, "temperature": 1.0}
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(ScoringError, match="the curve must rise"):
        open_calibrated(biased, tmp_path / "bad.json")


class Larger:
    """Rewards the number that a response begins with, and the pixels of the prompt beside."""

    about = About("larger", sees_images=True, identity={"weights": "larger"})

    def score(self, groups):
        """One number for each response."""
        offsets = [sum(log1p(size.width * size.height) for size in map(image_size, own.images)) for own in groups]
        return [
            [Score(float(one.text.partition(" ")[0]) + offset) for one in own.responses]
            for own, offset in zip(groups, offsets, strict=True)
        ]


def test_an_offset_by_images_is_removed_from_real_images(pairs_file, tmp_path, make_group, picture):
    for side in range(8, 64, 8):
        picture(side, side, side).save(tmp_path / f"{side}.png")
    lines = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    shown = [{**one, "images": [f"{8 + 8 * (n % 7)}.png"] if n % 2 else []} for n, one in enumerate(lines)]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(map(json.dumps, shown)) + "\n")
    found = calibrate(Larger(), str(pairs), tmp_path / "out.json")
    assert found.maps.names == ("visual",)
    scorer = open_calibrated(Larger(), tmp_path / "out.json")
    groups = [make_group("Which?", ["1.0 a", "2.0 a"], [picture(side, side)]) for side in (12, 30, 50)]
    values = [[one.value for one in own] for own in scorer.score([*groups, make_group("Which?", ["1.0 a", "2.0 a"])])]
    # The raw offsets are 5 to 8 with images, and 0 without.
    assert np.ptp([first for first, _ in values]) < 0.6
    assert [second - first for first, second in values] == pytest.approx([1.0] * 4)


@pytest.fixture
def longer(pairs_file, tmp_path):
    """A file of a baseline that likes length, put on a scale."""
    rng = np.random.default_rng(0)
    texts = [["word " * int(size) for size in rng.integers(5, 80, 2)] for _ in range(400)]
    lines = [
        {"prompt": f"Q{n}", "chosen": max(own, key=len), "rejected": min(own, key=len)}
        for n, own in enumerate(texts)
        if len(own[0]) != len(own[1])
    ]
    pairs = tmp_path / "longer.jsonl"
    pairs.write_text("\n".join(map(json.dumps, lines)) + "\n")
    calibrate(BASELINES.get("longer"), str(pairs), tmp_path / "z.json", ["zscore"])
    return tmp_path / "z.json"


def test_a_spec_names_the_file_once_however_deep_it_stands(longer, tmp_path, group):
    (tmp_path / "inner.yaml").write_text(f"model: baseline:longer\ncalibrated: {longer}\n")
    (tmp_path / "outer.yaml").write_text(f"model: {tmp_path}/inner.yaml\n")
    (tmp_path / "members.yaml").write_text(
        f"members:\n- model: baseline:longer\n  calibrated: {longer}\n- model: baseline:shorter\n"
    )
    scale = read_calibration(longer).maps.scale
    raw = [float(len(own.text)) for own in group.responses]
    for name in ("inner.yaml", "outer.yaml"):
        scorer = open_scorer(str(tmp_path / name))
        assert [own.value for own in scorer.score([group])[0]] == [(own - scale.mean) / scale.sd for own in raw]
        assert [own.parts["raw"] for own in scorer.score([group])[0]] == raw
    mean = open_scorer(str(tmp_path / "members.yaml")).score([group])[0]
    assert mean[0].parts["baseline:longer"] == pytest.approx((raw[0] - scale.mean) / scale.sd)
    (tmp_path / "both.yaml").write_text(f"model: {tmp_path}/inner.yaml\ncalibrated: other.json\n")
    with pytest.raises(ScoringError, match="calibrated"):
        open_scorer(str(tmp_path / "both.yaml"))


def test_a_judge_has_no_scores_to_change(tmp_path):
    (tmp_path / "judge.yaml").write_text("model: judge:http://127.0.0.1:1/v1#m\ncalibrated: a.json\n")
    with pytest.raises(ScoringError, match="no scores to change"):
        open_judge(str(tmp_path / "judge.yaml"))
    (tmp_path / "judge.yaml").write_text("model: baseline:first\ncalibrate: a.json\n")
    with pytest.raises(RecipeError, match="calibrated"):
        open_scorer(str(tmp_path / "judge.yaml"))
