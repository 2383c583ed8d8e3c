"""Preference pairs -> one packed training batch, in the data loader's processes."""

from collections.abc import Sequence

from torch import Tensor

from basereward.data.schema import PartType, PreferencePair
from basereward.encoding.collate import PairIndex, collate, pair_tensors
from basereward.encoding.template import Template


class PreferenceCollator:
    """Encodes pairs and packs their groups into one row; compared responses are always in one micro-batch.

    Args:
        kinds: what every row must have, so that all ranks run the vision tower equally often.
    """

    def __init__(self, template: Template, kinds: Sequence[PartType] = ("image",)) -> None:
        self.template = template
        self.kinds = tuple(kinds)

    def __call__(self, pairs: Sequence[PreferencePair]) -> dict[str, Tensor]:
        """Return a ``GroupBatch`` with ``pairs``, ``margins`` and ``weights``."""
        encoded, index = [], []
        offset = 0
        for pair in pairs:
            groups, chosen, rejected = pair.comparison()
            encoded += [self.template.encode(group) for group in groups]
            index.append(PairIndex(offset + chosen, offset + rejected, pair.margin or 0.0))
            offset += sum(len(group.responses) for group in groups)
        return {**collate(encoded, self.template.vision, self.kinds), **pair_tensors(index)}
