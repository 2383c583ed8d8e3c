"""How good trained models of each paradigm are, and how far that hangs on the words they are asked with."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from basereward.benchmarks.formulas import Metric
from basereward.configuration import Section
from basereward.data.judging.critiques import REQUESTS
from basereward.data.judging.prompts import DETAILED, SHORT, Wording, make_prompt
from basereward.errors import CheckpointError, DataError, MissingFileError
from basereward.evaluation.opened import Opened
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.models.facts import read_judge_facts
from basereward.models.hub import open_folder
from basereward.scoring.interface import Judge, Scorer
from basereward.scoring.model_spec import CriticOptions, ModelSpec
from basereward.scoring.spec import open_judge, open_spec
from basereward.speed.paradigm_plan import CRITIC, GRM, LONGCOT, NAIVE

TEST, MODEL = "test.parquet", "model"
# As ``lab table1`` calls their folders.
FOLDERS: Mapping[str, str] = {NAIVE: "naive", CRITIC: "critic", GRM: "grm", LONGCOT: "longcot"}
# Judges of the lab are trained with the first; the next two say the same in its very words.
WORDINGS: Mapping[str, Wording] = {
    "short": SHORT,
    "numbers alone": Wording("", "\n{number}: ", "\nWhich response is {best}? {form}"),
    "question first": Wording("Which response is {best}? ", "\nResponse {number}: ", "\n{form}"),
    "detailed": DETAILED,
}


class AskedAccuracy(Section):
    """What a model gets when it is asked with some words; both orders of a pair count half for a judge."""

    wording: str
    """The name of a wording or of a critique request; ``none`` for a Naive-RM."""
    accuracy: Metric
    """Share of held-out pairs, an unparsable verdict is wrong; with its 95 % interval."""
    order_consistency: Metric | None
    """Pairs with the same verdict in both orders; null for a score, which knows no order and so is always the same."""
    unparsable: float | None
    """Share of a judge's answers without one clear verdict."""


class ParadigmQuality(Section):
    """A trained model of a paradigm, asked in several wordings."""

    paradigm: str
    pairs: int
    asked: list[AskedAccuracy]
    lowest: float
    """The smallest accuracy over wordings."""
    highest: float
    range: float
    """How far the accuracies lie apart."""


class _Worded(NamedTuple):
    """A model and the words it is asked with."""

    wording: str
    subject: Scorer | Judge


def measure_quality(
    folder: Path,
    limit: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    on_part: Callable[[str], None] = lambda part: None,
) -> list[ParadigmQuality]:
    """Evaluate the models of a seed's folder of ``lab table1`` on its held-out pairs, a judge in every wording.

    Args:
        folder: holds ``naive``, ``critic``, ``grm`` and ``longcot`` with a ``model`` in each, or some of them, and
            ``test.parquet``.
        limit: use only the first pairs.
        on_part: called with the name of what begins.

    Raises:
        MissingFileError: no held-out pairs, or none of the models.
        CheckpointError: a model is of another paradigm than its folder says.
        DataError: a model could not be asked about any pair.
    """
    known = {name: folder / own / MODEL for name, own in FOLDERS.items() if (folder / own / MODEL).is_dir()}
    if not known or not (folder / TEST).is_file():
        expected = ", ".join(f"{own}/{MODEL}" for own in FOLDERS.values())
        raise MissingFileError(f"{folder} is no seed's folder of lab table1: expected {TEST} and some of {expected}.")
    opened = read_pairs(folder / TEST, limit)
    qualities = []
    for name, model in known.items():
        asked = []
        for wording, subject in _worded(name, model, device, dtype):
            on_part(f"{name}, {wording}")
            asked.append(_ask(wording, subject, opened))
        qualities.append(_summarise(name, len(opened.items), asked))
    return qualities


def _summarise(paradigm: str, pairs: int, asked: list[AskedAccuracy]) -> ParadigmQuality:
    # What has no accuracy has raised.
    found = [own.accuracy.value for own in asked if own.accuracy.value is not None]
    lowest, highest = min(found), max(found)
    return ParadigmQuality(
        paradigm=paradigm, pairs=pairs, asked=asked, lowest=lowest, highest=highest, range=highest - lowest
    )


def _worded(paradigm: str, model: Path, device: str, dtype: str) -> Iterator[_Worded]:
    """Yield the model once for each of the wordings that its paradigm is asked with, one at a time in memory."""
    spec = ModelSpec(model=str(model), device=device, dtype=dtype)
    if paradigm == NAIVE:
        yield _Worded("none", open_spec(spec))
    elif paradigm == CRITIC:
        for request in REQUESTS.names():
            options = CriticOptions(request=request)
            yield _Worded(request, open_spec(spec.model_copy(update={"critic": options})))
    else:
        facts = read_judge_facts(open_folder(model))
        if facts is None:
            raise CheckpointError(f"{model} is no trained judge: its config.json has no section 'judge'.")
        prompt = make_prompt(facts.role.prompt, facts.role.max_tokens)
        for name, wording in WORDINGS.items():
            asked = replace(prompt, wording=wording)
            yield _Worded(name, open_judge(f"judge:{model}", asked, dtype=dtype, device=device))


def _ask(wording: str, subject: Scorer | Judge, opened: Opened) -> AskedAccuracy:
    with TemporaryDirectory(prefix="basereward-speed-") as place:
        result = evaluate(subject, opened, Path(place), EvaluationOptions(references=False, overwrite=True))
    metrics, said = result.main.model.metrics, result.judgements
    if metrics["accuracy"].value is None:
        raise DataError(f"No pair could be asked about in the wording {wording!r}: {result.failures}.")
    return AskedAccuracy(
        wording=wording,
        accuracy=metrics["accuracy"],
        order_consistency=metrics.get("order_consistency"),
        unparsable=said.unparsable / said.asked if said else None,
    )
