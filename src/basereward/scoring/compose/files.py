"""Specs in YAML files: models with their own precision, device and backend, and what is composed of them."""

from pathlib import Path
from typing import Any

import yaml

from basereward.configuration import parse_configuration, read_content
from basereward.data.io import replacing
from basereward.errors import MissingFileError, RecipeError, ScoringError
from basereward.scoring.compose.specs import AnySpec, ComposedSpec, kind_of_content
from basereward.scoring.interface import Scorer
from basereward.scoring.model_spec import ModelSpec, OpenSpec, Spec

SUFFIXES = (".yaml", ".yml")
# What members of a composition take over from what names it, where they leave it open.
INHERITED = ("dtype", "device", "backend")


def open_file(member: ModelSpec, open_spec: OpenSpec) -> Scorer:
    """Return the scorer that a YAML file describes.

    Raises:
        ScoringError: it is restricted to some prompts, which only a member of others can be.
        BaseRewardError: as ``read_spec``, and as its models.
    """
    described = read_spec(member)
    if described.only and not member.only:
        raise ScoringError(f"{member.model} says only: {described.only}; that goes with a member of an ensemble.")
    return open_spec(described)


def read_spec(member: ModelSpec) -> AnySpec:
    """Return what a YAML file describes, the files that it names read in their places.

    What the file leaves open is as for the file itself.

    Raises:
        MissingFileError: no such file.
        RecipeError: an unknown key (the message names close ones) or a value of the wrong kind.
        ScoringError: a file names itself, by whatever way round, or settings of both contradict each other.
    """
    return _read(member, ())


def write_spec(file: Path, spec: AnySpec) -> None:
    """Write the YAML file that describes a spec, complete or not at all."""
    with replacing(file) as temporary:
        content = spec.model_dump(mode="json", exclude_defaults=True)
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _read(member: ModelSpec, opened: tuple[Path, ...]) -> AnySpec:
    file = Path(member.model)
    if not file.is_file():
        raise MissingFileError(f"There is no file {member.model!r}; expected a YAML file that names a model.")
    if file.resolve() in opened:
        chain = " -> ".join(map(str, (*opened[opened.index(file.resolve()) :], file)))
        raise ScoringError(f"Files of models name each other in a circle: {chain}.")
    content = read_content(file)
    described = _parsed(kind_of_content(content), content, file)
    return _inlined(_merged(member, described), (*opened, file.resolve()))


def _parsed(kind: type[Spec], content: dict[str, Any], file: Path) -> Any:
    try:
        return parse_configuration(kind, content)
    except RecipeError as error:
        raise RecipeError(f"{file}: {error}") from None


def _merged(member: ModelSpec, described: Spec) -> AnySpec:
    """Return what a file describes, with what its name came with where it leaves that open."""
    own = {key: getattr(described, key) for key in described.model_fields_set}
    given = {key: getattr(member, key) for key in member.model_fields_set - {"model"}}
    for key in ("only", "calibrated"):
        if own.get(key) and given.get(key) and own[key] != given[key]:
            raise ScoringError(
                f"{member.model} says {key}: {own[key]}, and who names it {given[key]}; say one of them."
            )
    # Who names a file has the last word: weights and routes are by that name.
    name = {"name": member.name or described.name or member.label}
    if isinstance(described, ModelSpec):
        return described.model_copy(update={**given, **own, **name})
    if foreign := sorted(given.keys() - {"name", "only", "calibrated", *INHERITED}):
        raise ScoringError(f"{member.model} is composed; {', '.join(foreign)} go with one of its members.")
    more = {key: given[key] for key in ("only", "calibrated") if given.get(key)}
    passed_on = {key: given[key] for key in INHERITED if key in given}
    return _inheriting(described.model_copy(update={**more, **name}), passed_on)


def _inheriting(spec: Any, given: dict[str, Any]) -> AnySpec:
    if isinstance(spec, ModelSpec):
        # A server has its own, and says so where somebody asks for another.
        own = spec.model_fields_set | (set(INHERITED) if "://" in spec.model else set())
        return spec.model_copy(update={key: value for key, value in given.items() if key not in own})
    return spec.model_copy(update={"members": [_inheriting(member, given) for member in spec.members]})


def _inlined(spec: Any, opened: tuple[Path, ...]) -> AnySpec:
    if isinstance(spec, ComposedSpec):
        own = {key: getattr(spec, key) for key in spec.model_fields_set}
        # Checked again: members are now called what their files say, where nothing else was said.
        members = [_inlined(member, opened) for member in spec.members]
        return _parsed(type(spec), {**own, "members": members}, opened[-1])
    return _read(spec, opened) if spec.model.endswith(SUFFIXES) else spec
