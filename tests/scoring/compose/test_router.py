"""Routers as specs: where prompts go, that the responses of one go together, and what is refused."""

import json
import logging
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.errors import RecipeError, ScoringError
from basereward.scoring.compose.decisions import ByClassifier
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.router import open_router
from basereward.scoring.compose.routing.folder import Experts, write_folder
from basereward.scoring.compose.routing.model import save_router
from basereward.scoring.compose.routing.run import RouteSettings, route
from basereward.scoring.compose.specs import RouterOptions, RouterSpec
from basereward.scoring.judges.opening import is_judge
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.spec import open_scorer, open_spec
from tests.scoring.compose.routing.worlds import TOLD, Expert, plant

MEMBERS = "members: [{model: 'baseline:longer', name: long}, {model: 'baseline:shorter', name: short}]\nrouter: "
IMAGES = MEMBERS + "{routes: {text: short, images: long}}\n"
TASK = MEMBERS + "{by: task, routes: {story: long, summary: short}}\n"


@pytest.fixture
def opened(tmp_path):
    """``opened(text)``: the scorer of a spec."""

    def make(text):
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return open_scorer(str(path))

    return make


def values(scorer, *groups):
    return [[one.value if isinstance(one, Score) else one.reason for one in own] for own in scorer.score(groups)]


def test_images_decide(opened, make_group, picture):
    scorer = opened(IMAGES)
    text, shown = make_group("Which?", ["a", "bbb"]), make_group("Which?", ["a", "bbb"], [picture()])
    assert values(scorer, text, shown) == [[-1, -3], [1, 3]]
    assert [own[0].parts for own in scorer.score([text, shown])] == [{"short": -1.0}, {"long": 1.0}]
    assert scorer.about.sees_images
    assert scorer.about.identity is None


def test_members_may_be_called_as_what_they_are_for(opened, make_group):
    scorer = opened(
        "members: [{model: 'baseline:longer', name: text}, {model: 'baseline:first', name: images}]\nrouter: {}"
    )
    assert values(scorer, make_group("Which?", ["a", "bbb"])) == [[1, 3]]


def test_the_task_of_the_record_decides_and_without_a_route_a_prompt_fails(opened, make_group):
    group = make_group("Which?", ["a", "bbb"])
    asked = [replace(group, task=task) for task in ("story", "summary", "poem", None)]
    assert values(opened(TASK), *asked) == [[1, 3], [-1, -3], ["no_route"] * 2, ["no_route"] * 2]
    assert values(opened(TASK.replace("}\n", ", otherwise: short}\n")), *asked)[2:] == [[-1, -3], [-1, -3]]
    [[failure, _]] = opened(TASK).score([asked[3]])
    assert "task None" in failure.message
    assert "otherwise" in failure.message


def test_the_responses_of_a_prompt_go_together_and_nothing_else_changes_where(opened, make_group, tmp_path):
    scorer = trained(tmp_path)
    prompts = [f"{task}{number} common{number}" for task in TOLD.tasks for number in range(4)]
    groups = [make_group(prompt, ["good", "bad", "good", "other " * 40]) for prompt in prompts]
    together = scorer.decide(groups)
    assert all(len(own) == 1 for own in together)
    assert together == [scorer.decide([own])[0] for own in groups] == scorer.decide(groups[::-1])[::-1]
    assert together == scorer.decide([replace(own, responses=own.responses[2:3]) for own in groups])
    assert {next(iter(own)) for own in together} == {"chart", "code", "large"}
    for own in scorer.score(groups):
        assert len({tuple(one.parts) for one in own}) == 1


@cache
def planted_router():
    """A router of the planted world."""
    planted = plant(TOLD, 1000, 11)
    return route(planted.members, planted.pairs, RouteSettings(1.3, TOLD.costs))


def trained(folder, options=""):
    """The planted router over baselines under the names of its experts."""
    specs = [ModelSpec(model="baseline:longer", name=name) for name in TOLD.strengths]
    write_folder(folder / "router", planted_router(), Experts(specs, None))
    path = folder / "router" / "router.yaml"
    # The options of the router stand last.
    path.write_text(path.read_text() + options)
    return open_scorer(str(path))


def test_a_trained_router_is_sure_or_hands_on(make_group, tmp_path):
    scorer = trained(tmp_path, "  least: 0.99\n  otherwise: code\n")
    told = scorer.decide([make_group("chart1 chart2", ["x"]), make_group("nothing that is known", ["x"])])
    assert told[1] == {"code": 1.0}
    [unsure] = trained(tmp_path / "other", "  least: 1.0\n").decide([make_group("nothing that is known", ["x"])])
    assert isinstance(unsure, Failure)
    assert unsure.reason == "no_route"


def test_soft_weights_ask_all_and_are_told(make_group, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "basereward"):
        scorer = trained(tmp_path, "  choose: soft\n")
    assert "calibrate" in caplog.text
    [[score]] = scorer.score([make_group("chart1 chart2", ["four"])])
    assert score.value == pytest.approx(4.0)
    weights = {name: value for name, value in score.parts.items() if name.startswith("weight of ")}
    assert max(weights, key=weights.get) == "weight of chart"
    assert score.parts["chart"] == 4.0


@dataclass
class Stateful(Expert):
    """An expert whose state behind a prompt is its task; it remembers how often it was read."""

    read: int = 0

    def hidden_states(self, groups):
        self.read += len(groups)
        return [[np.array([float(task in group.prompt[0].text) for task in TOLD.tasks])] for group in groups]


def test_the_state_of_a_member_decides(make_group, tmp_path):
    planted = plant(TOLD, 300, 12)
    experts = {name: Stateful(name, planted.experts[name].right) for name in TOLD.strengths}
    specs = [ModelSpec(model=name) for name in experts]
    members = Members(specs, lambda spec: experts[spec.model])
    found = route(members, planted.pairs, RouteSettings(2.3, TOLD.costs, "chart"))
    assert (found.features, found.state_of, len(found.mean), experts["chart"].read) == ("state", "chart", 3, 300)
    save_router(found, tmp_path / "router.json")
    options = RouterOptions(by="trained", file=str(tmp_path / "router.json"))
    router = open_router(RouterSpec(members=specs, router=options), lambda spec: experts[spec.model])
    asked = [make_group(f"{task}1", ["good"]) for task in TOLD.tasks]
    assert router.decide(asked) == [{"chart": 1.0}, {"code": 1.0}, {"large": 1.0}]


def test_other_members_than_those_of_the_training_are_refused_or_told(tmp_path, caplog):
    trained(tmp_path)
    path = tmp_path / "router" / "router.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("name: code", "name: prose"))
    with pytest.raises(ScoringError, match="trained on chart, code, large; the members are chart, prose, large"):
        open_scorer(str(path))
    router = json.loads((tmp_path / "router" / "router.json").read_text())
    router["experts"]["code"]["identity"] = "another"
    (tmp_path / "router" / "router.json").write_text(json.dumps(router))
    path.write_text(whole)
    with caplog.at_level(logging.WARNING, "basereward"):
        open_scorer(str(path))
    assert "code is not what" in caplog.text
    (tmp_path / "router" / "router.json").write_text(json.dumps({**router, "version": 0}))
    with pytest.raises(ScoringError, match="version 0"):
        open_scorer(str(path))
    (tmp_path / "router" / "router.json").write_text("{}")
    with pytest.raises(ScoringError, match="is no trained router"):
        open_scorer(str(path))


CLASSIFIER = MEMBERS.replace("{", "{{").replace("}", "}}") + (
    "{{by: classifier, routes: {{story: long, summary: short}}, tasks: {{story: tell a tale, summary: make it short}}, "
    "classifier: {{model: 'judge:{url}#m'}}}}\n"
)


def test_a_judge_says_the_task_of_a_prompt_once(opened, chat_server, make_group):
    def answer(request):
        request_text = request.text.partition("=== Request ===")[2].partition("=== Kind 1 ===")[0]
        return "1" if "dragon" in request_text else "2" if "shorten" in request_text else "maybe 1 or 2"

    server = chat_server(answer)
    scorer = opened(CLASSIFIER.format(url=server.url))
    tale, short, odd = (make_group(text, ["a", "bbb"]) for text in ("of a dragon", "shorten it", "what?"))
    assert values(scorer, tale, short, odd) == [[1, 3], [-1, -3], ["no_route"] * 2]
    asked = [request for request in server.requests if request.body]
    assert len(asked) == 3
    assert "story: tell a tale" in asked[0].text
    assert not any("bbb" in request.text for request in asked)
    assert values(opened(CLASSIFIER.replace("}}}}\n", "}}, otherwise: long}}\n").format(url=server.url)), odd) == [
        [1, 3]
    ]


def test_a_classifier_that_does_not_answer_sends_nothing_to_otherwise(make_group):
    class Down:
        about = About("down", sees_images=False)

        def compare(self, questions):
            return [Failure("server", "connection refused") for _ in questions]

    options = RouterOptions(
        by="classifier", tasks={"a": "x", "b": "y"}, classifier=ModelSpec(model="judge:x"), otherwise="m"
    )
    [decision] = ByClassifier(options, Down()).decide([make_group("Which?", ["a", "b"])])
    assert decision == Failure("server", "classifier: connection refused")


def test_experts_may_be_judges_and_routers_members(opened, chat_server, make_group):
    server = chat_server(lambda request: "Verdict: 1" if request.body else (200, {"data": [{"id": "m"}]}, {}))
    text = (
        f"members:\n  - {{model: 'judge:{server.url}#m', name: safety, tournament: {{}}}}\n"
        "  - name: rest\n    members: [{model: 'baseline:longer'}]\n    router: {otherwise: 'baseline:longer'}\n"
        "router: {by: task, routes: {safety: safety}, otherwise: rest}\n"
    )
    scorer = opened(text)
    group = make_group("How?", ["a", "bbb"])
    assert values(scorer, group) == [[1, 3]]
    judged = scorer.score([replace(group, task="safety")])[0]
    assert sorted(one.parts["safety"] for one in judged) == sorted(one.value for one in judged)
    assert len([request for request in server.requests if request.body]) == 2


def test_a_member_for_others_gets_no_prompt(opened, make_group):
    text = IMAGES.replace("name: short", "name: short, only: images")
    [[failure, _]] = opened(text).score([make_group("Which?", ["a", "b"])])
    assert failure.reason == "no_route"
    assert "only: images" in failure.message


def test_a_failure_of_the_member_fails_the_response(tmp_path, make_group):
    class Broken:
        about = open_scorer("baseline:longer").about

        def score(self, groups):
            return [[Failure("too_long", "shorten it"), Score(1.0, text="why")] for _ in groups]

    spec = RouterSpec(members=[ModelSpec(model="x", name="text")], router=RouterOptions(otherwise="text"))
    [scored] = open_router(spec, lambda spec: Broken()).score([make_group("Which?", ["a", "b"])])
    assert scored == [Failure("too_long", "text: shorten it"), Score(1.0, "why", {"text": 1.0})]


@pytest.mark.parametrize(
    ("router", "words"),
    [
        ("{by: color}", "'images', 'task', 'classifier' or 'trained'"),
        ("{by: images, file: r.json}", "file go with by: trained"),
        ("{by: trained}", "by: trained needs file"),
        ("{by: classifier, tasks: {a: b, c: d}}", "needs classifier"),
        ("{routes: {text: long, image: short}}", "images and text, found image"),
        ("{routes: {text: long, images: nobody}}", "lead to nobody; the members are long, short"),
        ("{by: trained, file: f, routes: {a: long}}", "leave routes out"),
        ("{by: task, other_ways: long}", "Did you mean 'otherwise'"),
    ],
)
def test_a_wrong_option_is_named(opened, router, words):
    with pytest.raises(RecipeError, match=words):
        opened(MEMBERS + router)


def test_prompts_that_are_known_to_come_need_a_route(opened, tmp_path):
    with pytest.raises(ScoringError, match="no route for images, text; the members are long, short"):
        opened(MEMBERS + "{by: images}")
    path = tmp_path / "router.yaml"
    path.write_text(IMAGES)
    assert not is_judge(str(path))
    assert open_spec(ModelSpec(model=str(path))).name == str(path)
