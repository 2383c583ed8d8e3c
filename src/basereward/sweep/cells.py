"""The cells of a sweep: every combination of the grid with every seed, resolved and checked before any of them runs."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any

from basereward.configuration import set_key
from basereward.data.identity import Identity, WorkInput, flat_facts
from basereward.data.places import open_place
from basereward.errors import RecipeError
from basereward.sweep.recipe import SweepRecipe
from basereward.training.folder import LENGTH, decisive_places, may_change, run_identity, run_settings
from basereward.training.recipe import Recipe, parse_recipe

BASE = "base"
# Known by content in the identity of every cell, wherever it lies.
_PLACES = ("data.train", "model.backbone", "model.init_from")
_PLAIN = re.compile(r"[\w.+-]{1,40}", re.ASCII)
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One training run of a sweep.

    Args:
        name: of its folder: what differs from the base recipe, and the seed. It is the same in a larger grid.
        point: of the grid, as tables call it.
        values: of each axis, as the recipe has it.
        seed: of the run.
        recipe: resolved.
    """

    name: str
    point: str
    values: Mapping[str, Any]
    seed: int
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Grid:
    """A sweep that is resolved.

    Args:
        base: the recipe that the cells change.
        axes: the values of each key, as the recipe has them.
        cells: point by point, seeds in order.
        baseline: the point that others are compared with, None if the grid does not hold it.
    """

    sweep: SweepRecipe
    base: Recipe
    axes: Mapping[str, Sequence[Any]]
    cells: Sequence[SweepCell]
    baseline: str | None

    @property
    def points(self) -> list[str]:
        """The points in order."""
        return list(dict.fromkeys(cell.point for cell in self.cells))

    @property
    def places(self) -> list[str]:
        """What is measured on: files of pairs, then benchmarks; the first one decides."""
        measure = self.sweep.measure
        given = [*measure.data, *measure.bench]
        return given or list(self.base.data.validation)

    def cell(self, name: str) -> SweepCell:
        """Return a cell by its name.

        Raises:
            RecipeError: there is none.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise RecipeError(f"The sweep has no cell {name!r}; it has {', '.join(cell.name for cell in self.cells)}.")


def resolve(sweep: SweepRecipe) -> Grid:
    """Resolve every cell of a sweep.

    Raises:
        RecipeError: the base recipe or a cell is none (the message says which cell), two cells are the same run, or
            there is nothing to measure on.
    """
    content = _content(sweep)
    base = parse_recipe(content)
    cells: dict[str, SweepCell] = {}
    for values in product(*sweep.grid.values()):
        chosen = dict(zip(sweep.grid, values, strict=True))
        for seed in sweep.seeds:
            cell = _cell(content, base, chosen, seed, sweep.grid)
            if cell.recipe.run.push_to_hub:
                raise RecipeError("Every cell would push its model to run.push_to_hub; leave it out of a sweep.")
            if (other := cells.setdefault(cell.name, cell)) is not cell:
                raise RecipeError(f"The grid has the cell {other.name} twice; leave one of the equal values out.")
    _refuse_twins(list(cells.values()))
    axes = {
        key: [json.loads(text) for text in dict.fromkeys(json.dumps(cell.values[key]) for cell in cells.values())]
        for key in sweep.grid
    }
    grid = Grid(sweep, base, axes, list(cells.values()), _baseline(sweep, content, base, list(cells.values())))
    if not grid.places:
        raise RecipeError(
            "There is nothing to measure on: name files of pairs under measure.data, benchmarks under measure.bench, "
            "or pairs under data.validation of the recipe."
        )
    if len(set(grid.places)) < len(grid.places):
        raise RecipeError(f"A place is measured twice: {', '.join(grid.places)}.")
    if len({measured_name(place) for place in grid.places}) < len(grid.places):
        raise RecipeError(f"Two places would have one folder of results: {', '.join(grid.places)}; rename one of them.")
    return grid


def measured_name(place: str) -> str:
    """Return the folder of the evaluation on a place."""
    name = place.strip("/").replace("/", "-").replace(":", "-")
    return name if len(name) <= _LONGEST else f"{hashlib.sha256(name.encode()).hexdigest()[:16]}-{name[-60:]}"


def sweep_identity(grid: Grid) -> Identity:
    """Return what all cells of a sweep share: the base recipe, and what is measured. Grids and seeds may grow."""
    base, free = _flat(grid.base), _free(grid.base)
    shared = {key: value for key, value in base.items() if not _is_in(key, (*free, *_PLACES, "run.seed"))}
    measure = {"places": grid.places, "limit": grid.sweep.measure.limit}
    return Identity(task="sweep", settings={"base": shared, "measure": measure})


def cell_identity(grid: Grid, cell: SweepCell) -> Identity:
    """Return what decides the numbers of a cell: its run, and what it is measured on, all data by content."""
    return _identity(grid, run_identity(cell.recipe), _measured_inputs(grid))


def cell_identities(grid: Grid) -> Iterator[Identity]:
    """Yield ``cell_identity`` of each cell in order; what several cells read is read once."""
    known: dict[tuple[Any, ...], Identity] = {}
    measured = _measured_inputs(grid)
    for cell in grid.cells:
        recipe = cell.recipe
        key = (decisive_places(recipe), recipe.model.start, recipe.model.lora is None)
        if key not in known:
            known[key] = run_identity(recipe)
        yield _identity(grid, known[key].model_copy(update={"settings": run_settings(recipe)}), measured)


def _measured_inputs(grid: Grid) -> tuple[WorkInput, ...]:
    pairs = [place for place in grid.places if place not in grid.sweep.measure.bench]
    return tuple(open_place(place, "test").describe() for place in pairs)


def _identity(grid: Grid, run: Identity, measured: tuple[WorkInput, ...]) -> Identity:
    measure = grid.sweep.measure
    settings = {"recipe": run.settings, "measure": {"bench": measure.bench, "limit": measure.limit}}
    return Identity(task="sweep cell", inputs=(*run.inputs, *measured), weights=run.weights, settings=settings)


def cell_may_change(cell: SweepCell) -> tuple[str, ...]:
    """Return the facts in the identity of a cell that do not decide its numbers."""
    return tuple(f"recipe.{key}" for key in _free(cell.recipe))


def _free(recipe: Recipe) -> tuple[str, ...]:
    """Return what two cells may differ in and still have the same weights."""
    return tuple(key for key in may_change(recipe) if key not in LENGTH)


def _content(sweep: SweepRecipe) -> dict[str, Any]:
    if isinstance(sweep.recipe, str):
        raise RecipeError("The base recipe is a path; read the sweep with load_sweep.")
    content = deepcopy(sweep.recipe)
    for key, value in sweep.changes.items():
        set_key(content, key, deepcopy(value))
    return content


def _cell(content: Mapping[str, Any], base: Recipe, chosen: Mapping[str, Any], seed: int, grid: Mapping) -> SweepCell:
    own = deepcopy(dict(content))
    for key, value in {**chosen, "run.seed": seed}.items():
        set_key(own, key, deepcopy(value))
    # The name of a run decides nothing; that of the folder is made of what does.
    told = ", ".join(f"{key}={value}" for key, value in chosen.items())
    try:
        recipe = parse_recipe(own)
    except RecipeError as error:
        raise RecipeError(f"The cell {told} is no recipe. {error}") from None
    values = {key: _value(recipe, key) for key in grid}
    differs = {key: value for key, value in values.items() if value != _value(base, key)}
    # In the order of the keys, so that the order of the axes plays no part.
    words = [f"{key}={_word(differs[key])}" for key in sorted(differs)] or [BASE]
    name, title = ",".join([*words, f"seed={seed}"]), f"{recipe.name}: {', '.join(words)}"
    if len(name) > _LONGEST:
        name = f"{hashlib.sha256(name.encode()).hexdigest()[:16]},seed={seed}"
    return SweepCell(name, _label(values), values, seed, recipe.model_copy(update={"name": title}))


def _value(recipe: Recipe, key: str) -> Any:
    """Return what stands under a dotted key of a resolved recipe, as JSON has it; None where a section is not there."""
    found: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _word(value: Any) -> str:
    """Return a value as a part of a name of a folder: itself if it is short and plain, else a hash."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if _PLAIN.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:12]


def _label(values: Mapping[str, Any]) -> str:
    """Return a point as tables call it, each key by its last part where that tells it apart."""
    last = [key.rpartition(".")[2] for key in values]
    shown = {key: short if last.count(short) == 1 else key for key, short in zip(values, last, strict=True)}
    return ", ".join(f"{shown[key]} {_text(value)}" for key, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, dict):
        return " ".join(f"{key}:{_text(own)}" for key, own in value.items() if own is not None)
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_twins(cells: Sequence[SweepCell]) -> None:
    """Refuse cells that would train the same weights, whose spread would be that of nothing."""
    seen: dict[str, SweepCell] = {}
    for cell in cells:
        free = _free(cell.recipe)
        facts = {key: value for key, value in _flat(cell.recipe).items() if not _is_in(key, free)}
        key = json.dumps(facts, sort_keys=True)
        if (other := seen.setdefault(key, cell)) is not cell:
            raise RecipeError(
                f"The cells {other.name} and {cell.name} train the same weights: what they differ in decides nothing."
            )


def _baseline(sweep: SweepRecipe, content: Mapping[str, Any], base: Recipe, cells: Sequence[SweepCell]) -> str | None:
    chosen = {key: sweep.baseline.get(key, _value(base, key)) for key in sweep.grid}
    try:
        point = _cell(content, base, chosen, sweep.seeds[0], sweep.grid).point
    except RecipeError:
        point = None
    if point in {cell.point for cell in cells}:
        return point
    if sweep.baseline:
        raise RecipeError(f"The baseline {sweep.baseline} is no point of the grid.")
    return None


def _flat(recipe: Recipe) -> dict[str, Any]:
    return flat_facts(recipe.model_dump(mode="json"))


def _is_in(key: str, sections: Sequence[str]) -> bool:
    return any(key == own or key.startswith(f"{own}.") for own in sections)
