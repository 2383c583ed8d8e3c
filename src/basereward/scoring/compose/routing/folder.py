"""The folder of a trained router: its file, and a spec that uses it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from basereward.data.io import replacing
from basereward.errors import ScoringError
from basereward.scoring.compose.files import read_spec
from basereward.scoring.compose.routing.model import TrainedRouter, save_router
from basereward.scoring.compose.specs import AnySpec, ComposedSpec, EnsembleSpec, RouterOptions, RouterSpec
from basereward.scoring.model_spec import ModelSpec

ROUTER, SPEC = "router.json", "router.yaml"


class Experts(NamedTuple):
    """The members of a file of several, and how much of their weights is held at once."""

    members: list[AnySpec]
    memory_gib: float | None


def read_experts(named: ModelSpec) -> Experts:
    """Return the members of a YAML file of an ensemble or a router.

    Raises:
        ScoringError: it is a file of one model, or names fewer than two.
        BaseRewardError: as ``read_spec``.
    """
    found = read_spec(named)
    if not isinstance(found, ComposedSpec) or len(found.members) < 2:
        raise ScoringError(f"{named.model} has no members to choose between; expected a YAML file with two or more.")
    options = found.ensemble if isinstance(found, EnsembleSpec) else found.router
    return Experts(list(found.members), options.memory_gib)


def check_folder(out: Path, overwrite: bool) -> None:
    """Check, before anything is scored, that a router may be written.

    Raises:
        ScoringError: the folder holds one already, and ``overwrite`` is not given.
    """
    if (out / ROUTER).exists() and not overwrite:
        raise ScoringError(f"{out / ROUTER} exists; choose another folder or give --overwrite.")


def write_folder(out: Path, router: TrainedRouter, experts: Experts) -> list[Path]:
    """Write ``router.json`` and ``router.yaml``, and return them."""
    out.mkdir(parents=True, exist_ok=True)
    save_router(router, out / ROUTER)
    options = RouterOptions(by="trained", file=str(out / ROUTER), memory_gib=experts.memory_gib)
    spec = RouterSpec(members=_named(experts.members), router=options)
    with replacing(out / SPEC) as temporary:
        text = yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
        temporary.write_text(text, encoding="utf-8")
    return [out / ROUTER, out / SPEC]


def _named(members: Sequence[AnySpec]) -> list[AnySpec]:
    """Return members under the names that they were trained under, whatever a reader would call them."""
    return [member.model_copy(update={"name": member.label}) for member in members]
