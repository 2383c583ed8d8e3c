"""Recipes of mixtures: which converted sets, how much of each, and in which order."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from basereward.configuration import Section, load_configuration
from basereward.sources.registry import SOURCES


class MixInput(Section):
    """One set of pairs; without anything else, all of it."""

    source: str | None = None
    """Name of a registered source, found in a folder of that name under ``--data-root``."""
    path: str | None = None
    """Instead of a source: a converted, curated or mixed folder, or a file of pairs."""
    cap: int | None = Field(default=None, ge=1)
    """Use at most so many of its rows, drawn at random."""
    weight: float = Field(default=1.0, gt=0)
    """Multiplies its (capped) rows: 0.5 takes half of them, 2 takes each twice and needs ``repeat``."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Its part of the mixture, instead of a weight."""

    @property
    def name(self) -> str:
        """The source, or the path as it is written."""
        return self.source or str(self.path)

    @model_validator(mode="after")
    def _one_place(self) -> "MixInput":
        if (self.source is None) == (self.path is None):
            raise ValueError("give either source or path")
        if self.share is not None and self.weight != 1:
            raise ValueError("give either share or weight")
        return self


class Ratio(Section):
    """Rows with images or videos to rows of text alone (paper D.8)."""

    multimodal: float = Field(ge=0)
    """Parts with images or videos."""
    text: float = Field(ge=0)
    """Parts of text alone."""


class MixRecipe(Section):
    """Everything about a mixture of training pairs."""

    name: str
    """Name of the folder that it is written to."""
    seed: int = Field(default=0, ge=0)
    """Seed of what is drawn, and of its order."""
    inputs: list[MixInput] = Field(min_length=1)
    """What is mixed."""
    ratio: Ratio | None = None
    """Multimodal to text; without it, as it comes."""
    size: int | None = Field(default=None, ge=1)
    """Rows of the mixture; without it, as many as the proportions allow."""
    repeat: bool = False
    """Take rows several times where too few are there; repeats are counted."""
    allow_shortfall: bool = False
    """Take what is there where too few are; otherwise that is an error."""
    order: Literal["shuffled", "blocks"] = "shuffled"
    """All rows shuffled, or one input after another."""

    @model_validator(mode="after")
    def _consistent(self) -> "MixRecipe":
        names = [given.name for given in self.inputs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"inputs name {', '.join(twice)} twice; each may stand once")
        shares = [given.share for given in self.inputs if given.share is not None]
        if shares and (len(shares) < len(self.inputs) or abs(sum(shares) - 1) > 1e-9):
            raise ValueError(f"shares are for all inputs or none and sum to 1; found {shares}")
        if shares and self.ratio:
            raise ValueError("give either ratio or shares; both say how much of each there is")
        if self.ratio and not self.ratio.multimodal + self.ratio.text:
            raise ValueError("a ratio of 0 to 0 leaves nothing")
        return self


def load_mix_recipe(path: Path, overrides: list[str] | None = None) -> MixRecipe:
    """Read the recipe of a mixture and apply ``key=value`` overrides.

    Raises:
        MissingFileError: no such file.
        RecipeError: unknown key (the message names close ones) or a value of the wrong kind.
        UnknownNameError: a source that is not registered.
    """
    recipe = load_configuration(MixRecipe, path, overrides, "data")
    for given in recipe.inputs:
        if given.source is not None:
            SOURCES.get(given.source)
    return recipe
