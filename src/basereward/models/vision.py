"""Features of images and videos: the tower runs once for each of a row, wherever it stands."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from jaxtyping import Int
from torch import Tensor, cat
from transformers.trainer_utils import unwrap_peft_model

from basereward.encoding.collate import VISION_KEYS, GroupBatch, take_images
from basereward.encoding.layout import TreeLayout


class _Kind(NamedTuple):
    """What passes through the tower in one call, and the rows of each item in its first tensor."""

    pooled: Any
    deep: Sequence[Any] | None
    rows: list[int]
    numbers: dict[int, int]


class RowFeatures:
    """What the vision tower makes of a row's images and videos, to be put where they stand.

    Args:
        kinds: of images and of videos.
    """

    def __init__(self, kinds: dict[str, _Kind]) -> None:
        self._kinds = kinds

    def of(self, items: Sequence[int]) -> dict[str, Any]:
        """Return the backbone's input for the images and videos of a row, in the order in which they stand.

        Args:
            items: their numbers in the row, possibly several times.
        """
        outputs = {}
        for name, kind in self._kinds.items():
            if own := [kind.numbers[item] for item in items if item in kind.numbers]:
                deep = None if kind.deep is None else [_pick(layer, own, kind.rows) for layer in kind.deep]
                outputs[name] = SimpleNamespace(
                    pooler_output=_pick(kind.pooled, own, kind.rows), deepstack_features=deep
                )
        return {"mm_encoder_outputs": outputs} if outputs else {}


def read_images(backbone: Any, batch: GroupBatch, layout: TreeLayout) -> RowFeatures:
    """Run the vision tower over every image and video of a row, each once."""
    if not layout.images:
        return RowFeatures({})
    tensors, rows = take_images(batch), batch["image_rows"]
    model = unwrap_peft_model(backbone)
    calls = {"image": ("get_image_features", 0), "video": ("get_video_features", 2)}
    kinds = {}
    for name, (method, first) in calls.items():
        if VISION_KEYS[first] in tensors:
            given = {key: tensors[key] for key in VISION_KEYS[first : first + 2] if key in tensors}
            output = getattr(model, method)(**given, return_dict=True)
            kinds[name] = _kind(output, rows[:, first])
    return RowFeatures(kinds)


def _kind(output: Any, rows: Int[Tensor, " item"]) -> _Kind:
    counts = rows.tolist()
    own = [item for item, count in enumerate(counts) if count]
    numbers = {item: number for number, item in enumerate(own)}
    deep = getattr(output, "deepstack_features", None)
    return _Kind(output.pooler_output, deep, [counts[item] for item in own], numbers)


def _pick(features: Any, own: list[int], rows: list[int]) -> Any:
    """Return the features of some items: of a sequence its entries, of a tensor the rows of each."""
    if isinstance(features, Tensor):
        pieces = features.split(rows)
        return cat([pieces[number] for number in own])
    return [features[number] for number in own]
