"""Reward models in this process: rows of tokens, in which a prompt stands once for everyone who asks it."""

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np

from basereward.data.digests import media_key
from basereward.data.outcomes import Scored
from basereward.data.schema import ResponseGroup
from basereward.encoding.memory import PromptMemory
from basereward.encoding.merging import merge_groups
from basereward.encoding.template import EncodedGroup, Template
from basereward.scoring.local import LocalScorer, Piece, Refused, split_group
from basereward.serving.engines import ComputedBatch, Outcome, Prepared, Unit
from basereward.serving.settings import ServeSettings


class RowEngine:
    """Encodes in any thread, and merges and packs what is computed together.

    Args:
        scorer: the model; its template remembers texts and images from here on.
        settings: sizes of rows and memory, and the longest sequence.
    """

    def __init__(self, scorer: LocalScorer, settings: ServeSettings) -> None:
        self.scorer = scorer
        # Read before the length is limited: the limit refuses, and changes no score that the identity speaks of.
        self.about = scorer.about
        template = scorer.model.template
        self.template: Template | None = template
        longest = settings.limits.max_tokens
        template.max_length = min(template.max_length or longest, longest)
        template.memory = PromptMemory(settings.text_cache_bytes, settings.image_cache_bytes)
        scorer.row_tokens = settings.row_tokens

    @property
    def cap(self) -> int:
        """The tokens of a row."""
        return self.scorer.row_tokens

    def size(self, item: ResponseGroup) -> int:
        """Return the number of responses."""
        return len(item.responses)

    def prepare(self, item: ResponseGroup) -> Prepared:
        """Encode a group."""
        units: list[Unit] = []
        known: dict[int, Outcome] = {}
        prompt = _prompt_key(item)
        for outcome in self.scorer.encode(item):
            if isinstance(outcome, Refused):
                known.update(dict.fromkeys(outcome.responses, outcome.failure))
            else:
                encoded = outcome.encoded
                units.append(Unit(outcome.responses, outcome, encoded.tokens, sum(encoded.answer_lengths), prompt))
        return Prepared(units, known)

    def compute(self, units: Sequence[Unit]) -> ComputedBatch:
        """Merge units with one prompt, pack rows and compute them."""
        together: dict[Hashable, list[int]] = {}
        for number, unit in enumerate(units):
            together.setdefault(unit.prompt, []).append(number)
        pieces: list[Piece] = []
        owners: list[list[tuple[int, int]]] = []
        for members, merged in self._merge(units, together.values()):
            owner = [(number, place) for number in members for place in range(len(units[number].places))]
            pieces += split_group(len(owners), range(len(owner)), merged, self.cap)
            owners.append(owner)
        found: dict[tuple[int, int], Scored] = {}
        for row in self.scorer.rows(pieces):
            for piece, scores in zip(row.pieces, self.scorer.compute(row), strict=True):
                found.update(
                    (owners[piece.group][at], score) for at, score in zip(piece.responses, scores, strict=True)
                )
        outcomes: list[list[Outcome]] = [
            [found[number, place] for place in range(len(unit.places))] for number, unit in enumerate(units)
        ]
        return ComputedBatch(outcomes, sum(piece.encoded.tokens for piece in pieces))

    def _merge(self, units: Sequence[Unit], together: Iterable[list[int]]) -> Iterator[tuple[list[int], EncodedGroup]]:
        """Yield the numbers of units that are computed as one group, and that group."""
        vision = self.scorer.model.template.vision
        for members in together:
            encoded = [units[number].content.encoded for number in members]
            merged = merge_groups(encoded) if len(members) > 1 else encoded[0]
            # A template may write one prompt differently before different responses; then images come after what is
            # shared, where they have no place.
            if vision and any(np.isin(own, vision.pad_ids).any() for own in merged.suffixes):
                yield from (([number], own) for number, own in zip(members, encoded, strict=True))
            else:
                yield members, merged


def _prompt_key(group: ResponseGroup) -> Hashable:
    """Return what is equal for groups with the same prompt, images and videos."""
    return group.prompt, media_key(group.images, group.videos)
