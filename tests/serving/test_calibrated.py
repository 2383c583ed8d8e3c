"""A calibrated model behind HTTP: the rewards that it gives in this process, to the bit where the raw ones are."""

import asyncio

import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.scoring.calibration.artifact import CalibratedModel, Calibration, CalibrationData
from basereward.scoring.calibration.bounds import Bounds
from basereward.scoring.calibration.curves import Curve
from basereward.scoring.calibration.maps import Bias, Maps, Temperature
from basereward.scoring.calibration.reliability import measure_reliability
from basereward.scoring.compose.calibrated import Calibrated, CalibratedRemote
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.remote import RemoteScorer, open_remote

SCORE = "/v1/score"


@pytest.fixture(scope="module")
def calibration():
    """Maps of every kind that look at a group."""
    maps = Maps(
        biases=(Bias(feature="length", curve=Curve(x=(1.0, 3.0, 5.0), y=(-0.3, 0.1, 0.2))),),
        visual=Curve(x=(0.0, 8.0, 9.0), y=(0.0, 0.7, 0.5 + 0.3)),
        scale=Temperature(text=3.0, images=0.7),
    )
    measured = measure_reliability([1.0], [0])
    return Calibration(
        model=CalibratedModel(name="tiny", identity=None),
        data=CalibrationData(name="pairs", sha256=None, pairs=1, prompts=1, held_out=1, failed={}),
        maps=maps,
        bounds=Bounds(alpha=0.1, text=0.5, images=0.9, pairs=9),
        candidates=(),
        before=measured,
        after=measured,
        accuracy_before=1.0,
        accuracy_after=1.0,
        versions={},
    )


class Words:
    """Rewards thirds of words; a response that says nothing has no score."""

    about = About("words", sees_images=True, identity={"words": 1})

    def score(self, groups):
        return [
            [
                Score(len(own.text.split()) / 3, parts={"words": 1.0}) if own.text else Failure("empty", "Nothing.")
                for own in group.responses
            ]
            for group in groups
        ]


def sent(group, encoded, user):
    images = [encoded(image) for image in group.images]
    return {"messages": [user(*images, group.prompt[0].text)], "responses": [own.text for own in group.responses]}


def test_any_scorer_gives_the_bits_of_this_process(start, calibration, make_group, picture, encoded, user):
    scorer = Calibrated(Words(), calibration)
    groups = [
        make_group("What?", ["a few words", "", "many more words than a few of them"], [picture(60, 40, 1)]),
        make_group("Why?", ["so", "so it is"]),
    ]
    local = scorer.score(groups)
    server = start(scorer)
    answer = server.client.post(SCORE, json={"groups": [sent(group, encoded, user) for group in groups]}).json()
    assert answer["rewards"] == [[own.value if isinstance(own, Score) else None for own in each] for each in local]
    assert answer["details"][0][0]["parts"] == local[0][0].parts
    assert [error["reason"] for error in answer["errors"]] == ["empty"]
    remote = open_remote(ModelSpec(model=server.url), None)
    assert isinstance(remote, RemoteScorer)
    assert remote.score(groups)[1] == local[1]
    assert remote.about.identity == scorer.about.identity


def test_a_remote_model_can_be_calibrated_here(start, calibration, make_group):
    groups = [make_group("Why?", ["so", "so it is"])]
    remote = open_remote(ModelSpec(model=start(Words()).url), None)
    local = Calibrated(Words(), calibration).score(groups)
    here = CalibratedRemote(remote, calibration)
    assert asyncio.run(here.score_async(groups)) == local
    assert here.score(groups) == local


def test_a_model_in_rows_keeps_its_prompts_shared(
    start, new_scorer, scorer, calibration, make_group, picture, encoded, user
):
    group = make_group("What is this?", ["noise", "a very long answer " * 6, "x"], [picture(56, 84, 1)])
    [local] = Calibrated(scorer, calibration).score([group])
    server = start(Calibrated(new_scorer(), calibration))
    assert server.service.batcher.engine.template is not None
    body = sent(group, encoded, user)
    each = [{**body, "responses": [text]} for text in body["responses"]]
    answer = server.client.post(SCORE, json={"groups": [body, *each]}).json()
    assert answer["rewards"][0] == pytest.approx([own.value for own in local], abs=1e-4)
    assert [value for [value] in answer["rewards"][1:]] == pytest.approx(answer["rewards"][0], abs=1e-4)
    # What the raw rewards of the server become is, to the bit, what they become here.
    raw = [Score(detail["parts"]["raw"]) for detail in answer["details"][0]]
    own = Calibrated(scorer, calibration)
    assert [one.value for one in own.map_scores(own.form(group), raw)] == answer["rewards"][0]


def test_an_image_that_cannot_be_read_fails_alone(calibration, make_group, picture):
    broken, whole = make_group("What?", ["a"], ["/nowhere.png"]), make_group("What?", ["a"], [picture()])
    [[failed], [fine]] = Calibrated(Words(), calibration).score([broken, whole])
    assert failed.reason == "image_missing"
    assert isinstance(fine, Score)
