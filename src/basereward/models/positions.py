"""How many tokens a backbone can place, so that what is longer fails before anything is allocated for it."""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig

from basereward.errors import CheckpointError


def position_limit(config: PreTrainedConfig) -> int | None:
    """Return the longest sequence that a backbone places by itself, None if its configuration does not say.

    Two kinds of rotary embedding change their frequencies when the longest sequence of a *batch* passes the original
    context: with them a reward would depend on what else is scored. Their limit is that context, below which they stand
    still. Others scale once for all; yarn's configurations often give the length before scaling.

    Raises:
        CheckpointError: frequencies that depend on the batch and positions that are not the number of tokens.
    """
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    if limit is None:
        return None
    limits = [limit]
    for rope in _ropes(getattr(text, "rope_parameters", None) or {}):
        kind, original = rope.get("rope_type", "default"), rope.get("original_max_position_embeddings") or limit
        if kind in ("dynamic", "longrope") and "mrope_section" in rope:
            raise CheckpointError(f"Rotary embeddings of kind {kind!r} on three axes depend on the batch; refused.")
        if kind == "longrope":
            return original
        if kind == "dynamic":
            return limit
        if kind == "yarn":
            limits.append(int(original * rope.get("factor", 1)))
    return max(limits)


def _ropes(parameters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the rotary parameters of the model, or of each kind of its layers."""
    nested = [own for own in parameters.values() if isinstance(own, Mapping)]
    yield from nested or [parameters]
