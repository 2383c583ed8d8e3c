"""Results of evaluations in the card of the model that was evaluated."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from basereward.benchmarks.formulas import Metric
from basereward.errors import DataError
from basereward.evaluation.result import Result
from basereward.evaluation.runs import evaluation_folders, read_evaluation
from basereward.models.card.facts import CardNumber, CardResult, read_card_facts
from basereward.models.card.file import write_card
from basereward.scoring.folders import weights_of


class CardUpdate(NamedTuple):
    """What a card holds now.

    Args:
        left_out: evaluations beside the model that are not of its weights, and results of older weights, in words.
    """

    path: Path
    results: tuple[CardResult, ...]
    left_out: tuple[str, ...]


def update_card(model: Path, places: Sequence[Path] = ()) -> CardUpdate:
    """Write the card of a model folder, with the results of evaluations of exactly these weights.

    A result takes the place of that of the same benchmark and protocol. Results of other weights than the folder holds
    go: they are of another model.

    Args:
        places: folders of evaluations, or of several; without any, those beside the model in its run folder.

    Raises:
        MissingFileError: no such folder.
        DataError: a folder that was named holds no evaluation, or one of another model.
        CheckpointError: the folder holds no model of this library.
    """
    weights = weights_of(model).digest()
    before = read_card_facts(model)
    kept = {(own.benchmark, own.protocol): own for own in before.results if own.weights == weights}
    left_out = [
        f"{own.benchmark} under {own.protocol}: measured on other weights than the folder holds"
        for own in before.results
        if own.weights != weights
    ]
    for folder in _folders(model, places):
        result = read_evaluation(folder).result
        if problem := _problem(result, weights):
            if places:
                raise DataError(f"{folder} is {problem}; evaluate the model itself: basereward eval {model} ...")
            left_out.append(f"{folder}: {problem}")
            continue
        kept |= {(own.benchmark, own.protocol): own for own in card_results(result, weights)}
    results = tuple(kept[key] for key in sorted(kept))
    path = write_card(model, before.model_copy(update={"results": results}))
    return CardUpdate(path, results, tuple(left_out))


def card_results(result: Result, weights: str) -> list[CardResult]:
    """Return what a card says of an evaluation, protocol by protocol."""
    part = next(iter(result.data.parts.values()), None)
    return [
        CardResult(
            benchmark=result.benchmark,
            protocol=key,
            protocol_text=own.model.protocol.line,
            metrics={name: _number(metric) for name, metric in own.model.main_metrics().items()},
            rows=own.model.n,
            failed=own.model.failed,
            ties=own.model.ties,
            hub_id=part.hub_id if part else None,
            revision=part.revision if part else None,
            data_sha256=result.data.sha256,
            contamination=result.contamination.status,
            weights=weights,
        )
        for key, own in result.protocols.items()
    ]


def _number(metric: Metric) -> CardNumber:
    return CardNumber(value=metric.value, low=metric.low, high=metric.high, n=metric.n)


def _folders(model: Path, places: Sequence[Path]) -> list[Path]:
    if not places:
        # A folder of one evaluation, or of one for each benchmark.
        inner = [place for place in sorted(model.resolve().parent.iterdir()) if place.is_dir()]
        return [folder for place in inner for folder in evaluation_folders(place)]
    found = [(place, evaluation_folders(place)) for place in places]
    if empty := [place for place, own in found if not own]:
        raise DataError(f"{empty[0]} holds no evaluation; `basereward eval MODEL --bench NAME` writes one.")
    return [folder for _, own in found for folder in own]


def _problem(result: Result, weights: str) -> str | None:
    """Return in words why a result is not of these weights, None if it is."""
    if result.data.limit is not None or result.data.part_of is not None:
        return "an evaluation of a part of the data, which no card states"
    if result.identity is None:
        return "an evaluation that does not say which weights it is of"
    if result.identity.get("weights") != weights:
        return f"an evaluation of {result.scorer}, whose weights are others"
    return None
