"""Sweep files: a base recipe, the settings that are varied, the seeds, and what is measured of every model."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from basereward.configuration import Section, find_recipe, load_configuration, read_content
from basereward.errors import MissingFileError, RecipeError

# Axes that a sweep has a word of its own for, or that decide nothing.
_OWN_WORDS = {
    "run.seed": "give the seeds under seeds",
    "name": "cells get names of their own",
    "run.push_to_hub": "a sweep pushes no model; basereward train RUN --resume run.push_to_hub=OWNER/NAME pushes one",
    "data.validation": "cells are compared on the same pairs; name them under measure.data",
    "data.validation_sets": "cells are compared on the same pairs; name them under measure.data",
}


class Measure(Section):
    """What is measured of every trained model; the first place says which point is highest, the others stand beside."""

    data: list[str] = Field(default_factory=list)
    """Files of pairs; those under ``data.validation`` of the recipe if neither data nor bench is given."""
    bench: list[str] = Field(default_factory=list)
    """Benchmarks by name."""
    data_root: str | None = None
    """Folder of local copies of benchmarks; from the hub by default."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first pairs of each file, items of each benchmark."""
    metric: str | None = None
    """Metric of the first place that decides; the first one of its main protocol by default."""


class Launch(Section):
    """What one training run gets, and how a cluster is asked for it; it decides no number."""

    nodes: int = Field(default=1, ge=1)
    """Machines of one run."""
    processes: int = Field(default=1, ge=1)
    """Processes of one run on each machine, usually one for each GPU."""
    jobs: int | None = Field(default=None, ge=1)
    """Most cells at once on a cluster; as many as it has room for by default."""
    grace: int = Field(default=180, ge=1)
    """Seconds that a run has to write its checkpoint after SIGTERM."""
    slurm: dict[str, str | int] = Field(default_factory=dict)
    """Further options of sbatch: partition, account, time, ..."""
    setup: list[str] = Field(default_factory=list)
    """Lines of shell in front of every cell: modules, environments, variables."""

    @field_validator("slurm")
    @classmethod
    def _options(cls, given: dict[str, str | int]) -> dict[str, str | int]:
        taken = {"array", "nodes", "ntasks-per-node", "requeue", "signal", "output", "error", "job-name", "chdir"}
        for name, value in given.items():
            if name in taken:
                raise ValueError(f"the script sets --{name} itself; leave it out")
            if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or "\n" in str(value):
                raise ValueError(f"{name!r} is no long option of sbatch on one line")
        return given


class SweepRecipe(Section):
    """Everything about a sweep."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """What pages and jobs call it."""
    recipe: str | dict[str, Any]
    """The base recipe: a file, beside this one or from where the command is called, or its content."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys of the base recipe with other values, for all cells."""
    grid: dict[str, list[Any]] = Field(min_length=1)
    """For each dotted key of the recipe its values; every combination is a point of the grid."""
    seeds: list[int] = Field(default=[0], min_length=1)
    """Seeds of every point: ``run.seed``."""
    baseline: dict[str, Any] = Field(default_factory=dict)
    """The point that others are compared with; the values of the base recipe by default."""
    measure: Measure = Measure()
    """What is measured."""
    launch: Launch = Launch()
    """How cells run."""

    @model_validator(mode="before")
    @classmethod
    def _dotted(cls, content: Any) -> Any:
        # Sections may be nested, as overrides on the command line write them; the later spelling of a key counts.
        if not isinstance(content, dict) or not isinstance(content.get("grid"), dict):
            return content
        grid = _dotted_keys(content["grid"], {})
        own = {key: content[key] for key in ("changes", "baseline") if isinstance(content.get(key), dict)}
        return {**content, "grid": grid, **{key: _dotted_keys(given, grid) for key, given in own.items()}}

    @model_validator(mode="after")
    def _axes(self) -> "SweepRecipe":
        for key, values in self.grid.items():
            if key in _OWN_WORDS:
                raise ValueError(f"grid has {key}: {_OWN_WORDS[key]}")
            if not values:
                raise ValueError(f"grid has no values for {key}")
        for key in self.grid:
            if outer := [
                other for other in (*self.grid, *self.changes) if key != other and key.startswith(f"{other}.")
            ]:
                raise ValueError(f"{key} stands inside {outer[0]}, which would overwrite it; vary one of them")
        if unknown := [key for key in self.baseline if key not in self.grid]:
            raise ValueError(f"baseline names {unknown[0]}, which the grid does not vary")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"the seeds {self.seeds} have one twice, which says nothing of the spread")
        return self


def load_sweep(path: str | Path, overrides: list[str] | None = None) -> SweepRecipe:
    """Read a sweep file, apply ``key=value`` overrides, and put the content of its base recipe into it.

    Raises:
        MissingFileError: no such file, or no such base recipe.
        RecipeError: unknown key (the message names close ones), a value of the wrong kind, or two base recipes.
    """
    file = find_recipe(path, "sweeps")
    sweep = load_configuration(SweepRecipe, file, overrides, "sweeps")
    if isinstance(sweep.recipe, dict):
        return sweep
    return sweep.model_copy(update={"recipe": read_content(_find_base(sweep.recipe, file.parent))})


def _dotted_keys(sections: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what stands in sections under dotted keys; the value of a known key may be a section itself."""
    found: dict[str, Any] = {}
    for key, value in sections.items():
        is_section = isinstance(value, dict) and value and f"{prefix}{key}" not in known
        found |= _dotted_keys(value, known, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return found


def _find_base(name: str, folder: Path) -> Path:
    given = Path(name).expanduser()
    found = {place.resolve(): place for place in (folder / given, given) if place.exists()}
    if not found:
        try:
            return find_recipe(given)
        except MissingFileError as error:
            raise RecipeError(
                f"recipe: there is no {given}, neither beside the sweep ({folder}) nor from here. {error}"
            ) from None
    if len(found) > 1:
        raise RecipeError(f"recipe: {given} may be any of {', '.join(map(str, found))}; give the whole path.")
    [place] = found.values()
    return place / "recipe.yaml" if place.is_dir() else place
