"""The report of a run folder: of training, of an evaluation, or of both."""

from collections.abc import Iterator

from basereward.reporting import plots, tables
from basereward.reporting.documents import Chapter, Document, Headline
from basereward.reporting.evaluation_parts import DETAILS, chapters, headlines, row_cards
from basereward.reporting.forecast_parts import forecast_chapters, forecast_headlines
from basereward.reporting.monitor_parts import monitor_chapters, monitor_headlines
from basereward.reporting.rollout_parts import policy_chapter, policy_headlines, rollout_cards
from basereward.reporting.runs import RunFolder

HEADLINE_KEYS = {"accuracy", "image_blind_accuracy", "pairs", "seconds", "evaluations"}


def build_run_report(run: RunFolder) -> Document:
    """Return the report of a run; what its folder lacks is left out.

    Raises:
        DataError: ``items.jsonl`` is not what its name says.
        MissingExtraError: matplotlib is not installed.
    """
    own = run.evaluation
    is_evaluation = own is not None and own.folder == run.folder
    details = {key: value for key, value in run.facts.items() if key not in HEADLINE_KEYS}
    if own is not None:
        stored = own.result.model_dump(mode="json")
        details |= {key: stored[key] for key in DETAILS if stored[key]}
    return Document(
        kind=f"{own.result.scorer} on" if own and is_evaluation else "basereward run",
        name=own.result.benchmark if own and is_evaluation else run.name,
        headlines=list(headlines(own) if own and is_evaluation else _headlines(run)),
        sections=[*_training(run), *(chapters(own) if own else ())],
        items=row_cards(own) if own else rollout_cards(run.rollouts, run.folder),
        details=details,
        recipe=run.recipe,
    )


def _headlines(run: RunFolder) -> Iterator[Headline]:
    shares = (
        ("accuracy", "held-out accuracy", ""),
        ("image_blind_accuracy", "image-blind accuracy", "with images of other pairs"),
    )
    for key, label, note in shares:
        if run.facts.get(key) is not None:
            yield Headline(label, tables.percent(run.facts[key]), note)
    if run.evaluation:
        yield from (own for own in headlines(run.evaluation) if own.label == "best trivial scorer")
    if run.policy is not None:
        yield from policy_headlines(run.policy)
    yield from monitor_headlines(run.monitors)
    if run.forecast is not None:
        yield from forecast_headlines(run.forecast)
    if run.facts.get("pairs") is not None:
        yield Headline("pairs", tables.count(run.facts["pairs"]))
    if run.facts.get("seconds") is not None:
        yield Headline("time", tables.duration(run.facts["seconds"]))


def _training(run: RunFolder) -> Iterator[Chapter]:
    # The loss of GRPO is an advantage around zero: it says nothing.
    if run.policy is None and any(
        "step" in row and {"loss", "accuracy", "eval_accuracy"} & row.keys() for row in run.metrics
    ):
        yield Chapter("Training", svg=plots.training_curve(run.metrics).decode())
    if run.policy is not None and (chapter := policy_chapter(run.policy)) is not None:
        yield chapter
    yield from monitor_chapters(run.monitors)
    if run.forecast is not None:
        yield from forecast_chapters(run.forecast)
