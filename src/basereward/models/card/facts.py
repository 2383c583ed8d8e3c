"""What a model card says beside ``config.json`` and ``data.json``: ``card.yaml`` in the model folder.

No score depends on it: it is no file of the weights' identity, so that results can be added to a model that has them.
"""

import logging
from pathlib import Path

from pydantic import Field, JsonValue

from basereward.configuration import Section, dump_configuration, load_configuration
from basereward.data.io import replacing
from basereward.errors import BaseRewardError

FILE_NAME = "card.yaml"
_log = logging.getLogger(__name__)


class CardNumber(Section):
    """A number over n rows with its 95 % interval; null where nothing could be scored."""

    value: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=0)


class CardResult(Section):
    """The numbers of one evaluation of the model under one protocol."""

    benchmark: str
    protocol: str
    """Its name, and behind a slash that of the rule for a judge."""
    protocol_text: str
    """All of it in words, the rule for ties included."""
    metrics: dict[str, CardNumber]
    rows: int = Field(ge=1)
    failed: int = Field(ge=0)
    ties: int = Field(ge=0)
    hub_id: str | None
    """The data set that the rows came from; null for a file of pairs."""
    revision: str | None
    data_sha256: str
    contamination: str
    """Clean, overlap or unknown."""
    weights: str
    """SHA-256 of the files of the model that was evaluated."""


class CardRun(Section):
    """The training run: its recipe with the names of places instead of the places, and what it took."""

    recipe: dict[str, JsonValue]
    pairs: int
    steps: int
    dropped: int


class CardFacts(Section):
    """What ``card.yaml`` holds."""

    backbone: str | None = None
    """Hub id of the model that training started from, or the name of its folder."""
    backbone_licence: str | None = None
    """As its own card states it; null where it is not known."""
    run: CardRun | None = None
    results: tuple[CardResult, ...] = ()


def read_card_facts(folder: Path) -> CardFacts:
    """Return what a model folder says, nothing of one without the file.

    Raises:
        RecipeError: the file is not what this version writes.
    """
    path = folder / FILE_NAME
    return load_configuration(CardFacts, path) if path.is_file() else CardFacts()


def former_card_facts(folder: Path) -> CardFacts:
    """Return what the folder of a model says that another one is made of; a file of another version costs a warning.

    It decides no number, and what is made may have taken days.
    """
    try:
        return read_card_facts(folder)
    except BaseRewardError as error:
        reason = " ".join(str(error).split())
        _log.warning("%s is not read, and the new card says nothing of it: %s", folder / FILE_NAME, reason)
        return CardFacts()


def write_card_facts(facts: CardFacts, folder: Path) -> None:
    """Write ``card.yaml`` into a model folder, or delete it if there is nothing to say."""
    path = folder / FILE_NAME
    if facts == CardFacts():
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        temporary.write_text(dump_configuration(facts), encoding="utf-8")
