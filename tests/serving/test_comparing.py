"""A served model that compares responses: groups whole, and no form in which responses come one by one."""

import pytest
import torch

from basereward.models.checkpoint import new_reward_model
from basereward.models.head import HeadSettings
from basereward.scoring.local import LocalScorer

ANSWERS = ["red", "blue, I would say", "neither"]


@pytest.fixture(scope="module")
def comparing(text_backbone):
    torch.manual_seed(0)
    model = new_reward_model(text_backbone, HeadSettings(cross_response=2)).eval()
    torch.nn.init.normal_(model.head.layers[-1].weight)
    return LocalScorer(model, "tiny")


@pytest.fixture(scope="module")
def server(start, comparing):
    return start(comparing, row_tokens=64, limits={"max_tokens": 100})


def post(server, *groups):
    sent = {"groups": [{"messages": "Which colour?", "responses": group} for group in groups]}
    return server.client.post("/v1/score", json=sent).json()


def test_a_group_is_scored_as_a_whole_whatever_is_beside_it(server, comparing):
    [card] = server.client.get("/v1/models").json()["data"]
    assert card["compares"]
    asked = [{"prompt": "Which colour?", "responses": own} for own in (ANSWERS, ANSWERS[:2])]
    both, fewer = comparing.model.score_groups(asked)
    assert post(server, ANSWERS, ANSWERS[:2])["rewards"] == [
        pytest.approx(both, abs=1e-5),
        pytest.approx(fewer, abs=1e-5),
    ]
    assert abs(both[0] - fewer[0]) > 1e-3


def test_what_is_too_long_together_fails_together(server):
    answer = post(server, [f"{word} " * 40 for word in ("red", "blue", "green")], ANSWERS)
    assert answer["rewards"][0] == [None] * 3
    assert {error["reason"] for error in answer["errors"]} == {"long_group"}
    assert all(isinstance(reward, float) for reward in answer["rewards"][1])


@pytest.mark.parametrize(
    ("path", "sent"),
    [("/classify", {"input": "x"}), ("/pooling", {"input": "x"}), ("/get_reward", {"query": ["x"]})],
)
def test_responses_one_by_one_are_refused(server, path, sent):
    reply = server.client.post(path, json=sent)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "unsupported")
    assert "/v1/score" in reply.json()["error"]["message"]
