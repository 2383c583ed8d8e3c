"""What a training run says in the model card: its recipe without places, what it started from, and what it took."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from pydantic import JsonValue

from basereward.models.card.facts import CardFacts, CardRun, read_card_facts
from basereward.models.card.file import split_card
from basereward.models.card.page import place_name
from basereward.training.recipe import Recipe

_CARD = "README.md"


def card_of_run(recipe: Recipe, pairs: int, steps: int, drops: Mapping[str, Any]) -> CardFacts:
    """Return what ``card.yaml`` says of a model that a recipe trained.

    Args:
        drops: the ledger of the dropped pairs as a dictionary.
    """
    start = recipe.model.start
    settings: Any = _without_places(recipe.model_dump(mode="json"))
    # A model that is trained on started from what its own start did.
    before = read_card_facts(Path(start)) if recipe.model.init_from and Path(start).is_dir() else CardFacts()
    return CardFacts(
        backbone=before.backbone or place_name(start),
        backbone_licence=before.backbone_licence or stated_licence(start),
        run=CardRun(recipe=settings, pairs=pairs, steps=steps, dropped=_dropped(drops)),
    )


def stated_licence(place: str) -> str | None:
    """Return the licence that a model's own card states, None if the card is not on this machine or states none."""
    path = Path(place) / _CARD
    if not Path(place).is_dir():
        name, _, revision = place.partition("@")
        found = try_to_load_from_cache(name, _CARD, revision=revision or None)
        path = Path(found) if isinstance(found, str) else path
    if not path.is_file():
        return None
    head = split_card(path.read_text(encoding="utf-8", errors="replace"), path).metadata
    licence = head.get("license_name") or head.get("license")
    return str(licence) if licence else None


def _without_places(value: Any) -> JsonValue:
    """Return settings in which a whole path is the name at its end: where it lies says nothing to others."""
    if isinstance(value, Mapping):
        return {name: _without_places(own) for name, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(own) for own in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def _dropped(drops: Mapping[str, Any]) -> int:
    return sum(reason["count"] for reason in drops.get("reasons", {}).values())
