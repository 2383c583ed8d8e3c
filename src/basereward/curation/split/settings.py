"""What a split is asked for: how large its parts are, what ties rows together, and the seed of the draw."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from basereward.configuration import Section
from basereward.errors import RecipeError

# The held-out parts in the order in which they are drawn, and the part that gets all other rows.
HELD_OUT, REST = ("test", "validation", "sample"), "train"
# Columns that name what a row belongs to, as sets call them; ids count within their source.
GROUP_COLUMNS = ("id", "group", "group_id", "prompt_id", "question_id")

LikeImages = Literal["hash", "copies", "pixels"]
Prompts = Literal["text", "shown"]
SampleOver = Literal["pairs", "sets"]


class SplitSettings(Section):
    """Everything about a split but the rows.

    A part of less than 1 is a share of the usable rows, a whole number is a number of pairs; 0 leaves a part out.
    """

    test: float = Field(default=0, ge=0, allow_inf_nan=False)
    """The test set."""
    validation: float = Field(default=0, ge=0, allow_inf_nan=False)
    """The validation set."""
    sample: int = Field(default=0, ge=0)
    """Pairs of a further small set, to be looked at while training, or to weigh the members of an ensemble by."""
    sample_over: SampleOver = "pairs"
    """Pairs of the sample are drawn from all pairs alike, or as many from each set (``source``) as it has."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the draw."""
    like_images: LikeImages = "hash"
    """Images are one if their perceptual hashes are near, if they are copies of each other too, or by pixels alone."""
    prompts: Prompts = "text"
    """Prompts are one if their texts are, whatever they show; or only together with an image."""
    groups: tuple[str, ...] = GROUP_COLUMNS
    """Columns that name what a row belongs to."""
    tolerance: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """By what part of its size a held-out set may be larger or smaller than asked for."""

    @field_validator("test", "validation")
    @classmethod
    def _share_or_number(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("expected a share below 1 or a whole number of pairs")
        return value

    @model_validator(mode="after")
    def _something(self) -> "SplitSettings":
        if not any(getattr(self, part) for part in HELD_OUT):
            raise ValueError(f"nothing is held out; give one of {', '.join(HELD_OUT)}")
        return self

    def wanted(self, rows: int) -> dict[str, int]:
        """Return the number of pairs of each held-out part that is asked for.

        Raises:
            RecipeError: a part comes to no pair, or nothing would be left to train on.
        """
        asked = {part: getattr(self, part) for part in HELD_OUT if getattr(self, part)}
        found = {part: round(value * rows) if value < 1 else int(value) for part, value in asked.items()}
        for part, count in found.items():
            if not count:
                raise RecipeError(f"{part} {asked[part]:g} of {rows} usable pairs is none; give a larger share.")
        if sum(found.values()) >= rows:
            told = ", ".join(f"{part} {count:,}" for part, count in found.items())
            raise RecipeError(f"{told} of {rows:,} usable pairs leave nothing to train on; ask for less.")
        return found
