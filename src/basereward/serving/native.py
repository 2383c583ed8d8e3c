"""The project's own forms: groups to score, and questions for a judge."""

from collections.abc import Sequence

from basereward.data.outcomes import Failure, JudgeQuestion, Score, Verdict
from basereward.data.schema import ResponseGroup
from basereward.serving.engines import Outcome
from basereward.serving.forms import Form, Served
from basereward.serving.refusals import explain
from basereward.serving.wire import (
    CompareAnswer,
    CompareRequest,
    Detail,
    ScoreAnswer,
    ScoreRequest,
    WireError,
    WireVerdict,
)

Outcomes = Sequence[Sequence[Outcome]]


def read_groups(served: Served, sent: ScoreRequest) -> list[ResponseGroup | Failure]:
    """Return the groups of a request.

    Raises:
        RequestError: another model, or as ``RequestReader.groups``.
    """
    served.check_model(sent.model)
    return served.reader.groups(sent.groups)


def write_scores(served: Served, sent: ScoreRequest, outcomes: Outcomes) -> ScoreAnswer:
    """Return the rewards of a request."""
    # A group that could not be read has one failure, which is that of all its responses.
    rows = [
        list(own) * len(group.responses) if len(own) == 1 else own
        for own, group in zip(outcomes, sent.groups, strict=True)
    ]
    details = [[_detail(one) for one in own] for own in rows]
    return ScoreAnswer(
        model=served.card.id,
        fingerprint=served.card.fingerprint,
        rewards=[[one.value if isinstance(one, Score) else None for one in own] for own in rows],
        errors=[
            _error(group, place, one)
            for group, own in enumerate(rows)
            for place, one in enumerate(own)
            if isinstance(one, Failure)
        ],
        details=details if any(detail for own in details for detail in own) else None,
    )


def read_questions(served: Served, sent: CompareRequest) -> list[JudgeQuestion | Failure]:
    """Return the questions of a request.

    Raises:
        RequestError: another model, or as ``RequestReader.questions``.
    """
    served.check_model(sent.model)
    return served.reader.questions(sent.questions)


def write_verdicts(served: Served, sent: CompareRequest, outcomes: Outcomes) -> CompareAnswer:
    """Return the verdicts of a request."""
    verdicts = [one for [one] in outcomes]
    return CompareAnswer(
        model=served.card.id,
        fingerprint=served.card.fingerprint,
        verdicts=[_verdict(one) if isinstance(one, Verdict) else None for one in verdicts],
        errors=[_error(place, None, one) for place, one in enumerate(verdicts) if isinstance(one, Failure)],
    )


def _verdict(verdict: Verdict) -> WireVerdict:
    shares = verdict.probabilities
    return WireVerdict(
        choice=verdict.choice,
        text=verdict.text,
        probabilities=None if shares is None else list(shares),
        mass=verdict.mass,
        is_cut_off=verdict.is_cut_off,
    )


def _error(group: int, response: int | None, failure: Failure) -> WireError:
    return WireError(group=group, response=response, reason=failure.reason, message=explain(failure.reason))


def _detail(outcome: Outcome) -> Detail | None:
    if not isinstance(outcome, Score) or (outcome.text is None and outcome.parts is None):
        return None
    return Detail(text=outcome.text, parts=None if outcome.parts is None else dict(outcome.parts))


SCORE = Form("/v1/score", "Score the responses of groups", ScoreRequest, ScoreAnswer, read_groups, write_scores)
COMPARE = Form(
    "/v1/compare",
    "Ask which response is better",
    CompareRequest,
    CompareAnswer,
    read_questions,
    write_verdicts,
)
