"""The OpenAPI description holds: whatever it allows or forbids, answers are of the kinds that it names."""

import pytest

from basereward.data.outcomes import About, Verdict

pytestmark = pytest.mark.slow
EXAMPLES = 150


class FirstOfAll:
    """A judge for whom the first response is better."""

    about = About("first", sees_images=False)

    def compare(self, questions):
        return [Verdict(0, "the first") for _ in questions]


def answers_as_described(url, mode):
    """Send what the description of a server allows, or forbids, and check every answer against it."""
    # Not through its plugin of pytest, which would be loaded by every run.
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi import checks

    wanted = [schemathesis.checks.not_a_server_error, checks.status_code_conformance]
    wanted += [checks.content_type_conformance, checks.response_schema_conformance]
    tried = []
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        operation = found.ok()
        if mode == "negative" and not operation.body:
            continue

        @given(operation.as_strategy(schemathesis.GenerationMode(mode)))
        @settings(
            max_examples=EXAMPLES if operation.body else 3,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        def ask(case):
            case.call_and_validate(checks=wanted)

        ask()
        tried.append(operation.path)
    return tried


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_a_scorer_answers_as_described(server, mode):
    tried = answers_as_described(server.url, mode)
    assert {"/v1/score", "/classify", "/pooling", "/get_reward"} <= set(tried)
    answer = server.client.post("/v1/score", json={"groups": [{"messages": "?", "responses": ["a", "b"]}]}).json()
    assert len(answer["rewards"][0]) == 2


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_a_judge_answers_as_described(start, mode):
    server = start(FirstOfAll())
    assert "/v1/compare" in answers_as_described(server.url, mode)
    asked = {"questions": [{"messages": "?", "responses": ["a", "b"]}]}
    assert server.client.post("/v1/compare", json=asked).json()["verdicts"][0]["choice"] == 0
