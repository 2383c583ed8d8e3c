"""Judges from what a user writes after MODEL, and how a spec tells what it is."""

from pathlib import Path
from typing import NamedTuple

from basereward.data.judging.prompts import JudgePrompt, make_prompt
from basereward.errors import ScoringError
from basereward.scoring.compose.files import SUFFIXES, read_spec
from basereward.scoring.compose.specs import EnsembleSpec, RouterSpec
from basereward.scoring.interface import Judge
from basereward.scoring.judges.options import SERVER_OPTIONS, JudgeOptions
from basereward.scoring.model_spec import ModelSpec, Spec

JUDGE, TOURNAMENT, ENSEMBLE, ROUTER = "judge", "tournament", "ensemble", "router"


def kind_of(spec: str) -> str:
    """Return the kind of a spec, a name in ``spec.OPENERS``; what is nothing else is a folder or a hub id."""
    prefix, colon, _ = spec.partition(":")
    if colon and prefix in ("baseline", JUDGE, TOURNAMENT):
        return prefix
    if spec.startswith(("http://", "https://")):
        return "server"
    return "file" if Path(spec).suffix in SUFFIXES else "folder"


def kind_of_spec(spec: Spec) -> str:
    """Return the kind of a spec that was read, a name in ``spec.OPENERS``."""
    if isinstance(spec, EnsembleSpec):
        return ENSEMBLE
    if isinstance(spec, RouterSpec):
        return ROUTER
    assert isinstance(spec, ModelSpec)
    kind = kind_of(spec.model)
    return TOURNAMENT if kind == JUDGE and spec.tournament else kind


def is_judge(spec: str) -> bool:
    """Return whether a spec names a judge, which compares and has no scores: ``judge:...``, or a YAML file of one."""
    kind = kind_of(spec)
    if kind != "file" or not Path(spec).is_file():
        return kind == JUDGE
    return kind_of_spec(read_spec(ModelSpec(model=spec))) == JUDGE


def _judge_member(spec: str) -> ModelSpec:
    """Return the judge that a spec names.

    Raises:
        ScoringError: it names something else.
        BaseRewardError: as ``read_spec``.
    """
    member: Spec = ModelSpec(model=spec)
    member = read_spec(ModelSpec(model=spec)) if kind_of(spec) == "file" else member
    if not isinstance(member, ModelSpec) or kind_of(member.model) != JUDGE:
        raise ScoringError(f"Found {spec}; expected judge:http://HOST:PORT/v1#MODEL or judge:FOLDER.")
    if member.calibrated:
        raise ScoringError(f"{spec} says calibrated: {member.calibrated}; a judge has no scores to change.")
    return member


class AskedPrompt(NamedTuple):
    """The name or file of a prompt and the longest answer; None where nobody says."""

    name: str | None
    max_tokens: int | None


def asked_prompt(
    spec: str, prompt: str | None = None, max_tokens: int | None = None, options: JudgeOptions | None = None
) -> AskedPrompt:
    """Return what is asked of a judge: what is given here, or what its YAML file says.

    Raises:
        ScoringError: no judge.
        BaseRewardError: as ``compose.files.read_spec``.
    """
    member = _judge_member(spec)
    longest = _options(member, options).max_completion_tokens or max_tokens or member.max_tokens
    return AskedPrompt(prompt or member.prompt, longest)


def _options(member: ModelSpec, options: JudgeOptions | None) -> JudgeOptions:
    return options if options and options.model_fields_set else member.judge or JudgeOptions()


def open_judge(
    spec: str,
    prompt: str | JudgePrompt | None = None,
    max_tokens: int | None = None,
    options: JudgeOptions | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> Judge:
    """Return the judge that a spec names; what is given here goes before what a YAML file says.

    Args:
        spec: ``judge:http://host:port/v1#model``, ``judge:`` and a folder or hub id of a generative model, or a YAML
            file of either.
        prompt: as ``make_prompt`` takes it, or ready; by default that of a trained judge's folder.
        max_tokens: the longest answer, thoughts included; by default that of a trained judge's folder, as long as its
            prompt is used.
        options: how it runs.
        dtype: of a model in this process, as for ``open_scorer``.
        device: of a model in this process.

    Raises:
        UnknownNameError: no such prompt.
        MissingFileError: neither an address, a folder nor a hub id that can be downloaded; no such prompt file.
        CheckpointError: the folder holds no complete generative model of a known family.
        ScoringError: no judge, the endpoint does not answer or take the key, an option of another kind of judge, no
            such dtype or device, or the prompt of a trained judge has other words than in its training.
    """
    member = _judge_member(spec)
    chosen = _options(member, options)
    given = prompt if isinstance(prompt, JudgePrompt) else asked_prompt(spec, prompt, max_tokens, options)
    # A name that is unknown is told before a model is fetched.
    asked = given if isinstance(given, JudgePrompt) else make_prompt(*given)
    place = member.model.removeprefix(f"{JUDGE}:")
    if place.startswith(("http://", "https://")):
        from basereward.scoring.judges.endpoint import open_endpoint

        if foreign := chosen.model_fields_set - SERVER_OPTIONS:
            raise ScoringError(
                f"Judge option {', '.join(sorted(foreign))} is of models in this process; a server takes "
                f"{', '.join(sorted(SERVER_OPTIONS))}."
            )
        return open_endpoint(place, asked, chosen)
    from basereward.models.facts import read_judge_facts
    from basereward.models.hub import open_folder
    from basereward.scoring.devices import parse_device, parse_dtype
    from basereward.scoring.judges.local import LocalJudge

    folder = open_folder(place)
    facts = read_judge_facts(folder)
    if facts and isinstance(given, AskedPrompt) and given.name in (None, facts.role.prompt):
        asked = make_prompt(facts.role.prompt, given.max_tokens or facts.role.max_tokens)
        if given.name is None and facts.role.words not in (None, asked.sha256):
            raise ScoringError(
                f"{folder.name} was trained with other words under the prompt {facts.role.prompt!r} than stand there "
                "now. Ask it with the version, or the prompt file, that trained it, or say --judge-prompt."
            )
    return LocalJudge(folder, asked, chosen, parse_dtype(dtype or member.dtype), parse_device(device or member.device))
