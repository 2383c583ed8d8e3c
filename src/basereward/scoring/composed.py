"""Specs in YAML files: a model with its own precision, device and backend."""

from pathlib import Path

from basereward.configuration import load_configuration
from basereward.errors import MissingFileError, ScoringError
from basereward.scoring.interface import Scorer
from basereward.scoring.model_spec import ModelSpec, OpenSpec

SUFFIXES = (".yaml", ".yml")


def open_file(member: ModelSpec, open_spec: OpenSpec) -> Scorer:
    """Return the scorer that a YAML file describes.

    Raises:
        BaseRewardError: as ``read_spec``, and as its model.
    """
    return open_spec(read_spec(member))


def read_spec(member: ModelSpec) -> ModelSpec:
    """Return the member that a YAML file describes; what the file leaves open is as for the file itself.

    Raises:
        MissingFileError: no such file.
        RecipeError: an unknown key (the message names close ones) or a value of the wrong kind.
        ScoringError: the file names another file, which could name this one.
    """
    if not Path(member.model).is_file():
        raise MissingFileError(f"There is no file {member.model!r}; expected a YAML file that names a model.")
    described = load_configuration(ModelSpec, Path(member.model))
    if described.model.endswith(SUFFIXES):
        raise ScoringError(f"{member.model} names {described.model}; a file of this kind names models, not files.")
    given = {key: getattr(described, key) for key in described.model_fields_set}
    return member.model_copy(update={"name": member.label, **given})
