"""What a training run says in the model card: its recipe without places, what it started from, and what it took."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from pydantic import JsonValue

from basereward.errors import DataError
from basereward.models.card.facts import CardFacts, CardRun, former_card_facts
from basereward.models.card.file import split_card
from basereward.models.card.page import place_name
from basereward.training.recipe import Recipe

_CARD = "README.md"
_log = logging.getLogger(__name__)


def card_of_run(recipe: Recipe, pairs: int, steps: int, drops: Mapping[str, Any]) -> CardFacts:
    """Return what ``card.yaml`` says of a model that a recipe trained.

    Args:
        drops: the ledger of the dropped pairs as a dictionary.
    """
    start = recipe.model.start
    settings: Any = _without_places(recipe.model_dump(mode="json"))
    # A model that is trained on started from what its own start did.
    before = former_card_facts(Path(start)) if recipe.model.init_from and Path(start).is_dir() else CardFacts()
    return CardFacts(
        backbone=before.backbone or place_name(start),
        backbone_licence=before.backbone_licence or stated_licence(start),
        run=CardRun(recipe=settings, pairs=pairs, steps=steps, dropped=_dropped(drops)),
    )


def stated_licence(place: str) -> str | None:
    """Return the licence that a model's own card states, None if that is not here, states none or cannot be read."""
    path = Path(place) / _CARD
    if not Path(place).is_dir():
        name, _, revision = place.partition("@")
        found = try_to_load_from_cache(name, _CARD, revision=revision or None)
        path = Path(found) if isinstance(found, str) else path
    if not path.is_file():
        return None
    try:
        head = split_card(path.read_text(encoding="utf-8", errors="replace"), path).metadata
    except DataError as error:
        # The card of others, read when a model is trained: it decides nothing, and must not cost the model.
        _log.warning("The licence of %s is not known: %s", place, error)
        return None
    licence = head.get("license_name") or head.get("license")
    names = licence if isinstance(licence, list) else [licence]
    return ", ".join(str(name) for name in names if name) or None


def _without_places(value: Any) -> JsonValue:
    """Return settings in which a whole path is the name at its end: where it lies says nothing to others."""
    if isinstance(value, Mapping):
        return {name: _without_places(own) for name, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(own) for own in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def _dropped(drops: Mapping[str, Any]) -> int:
    return sum(reason["count"] for reason in drops.get("reasons", {}).values())
