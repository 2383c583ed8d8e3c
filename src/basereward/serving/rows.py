"""Reward models in this process: rows of tokens, in which a prompt stands once for everyone who asks it."""

from collections.abc import Iterator, Sequence

import numpy as np

from basereward.data.outcomes import Failure
from basereward.data.schema import ResponseGroup
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.keys import content_key
from basereward.encoding.memory import PromptMemory
from basereward.encoding.template import Template
from basereward.scoring.local import LocalScorer, Refused
from basereward.serving.engines import Beginning, ComputedBatch, Outcome, Prepared, Unit
from basereward.serving.settings import ServeSettings


class RowEngine:
    """Encodes in any thread, and packs what is computed together.

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
        # What is compared is computed in one row, however many responses a client sends.
        self._longest = max(longest, settings.row_tokens)

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
        for outcome in self.scorer.encode(item):
            if isinstance(outcome, Refused):
                known.update(dict.fromkeys(outcome.responses, outcome.failure))
            elif self.about.compares and outcome.encoded.tokens > self._longest:
                known.update(dict.fromkeys(outcome.responses, _long_group(outcome.encoded.tokens, self._longest)))
            else:
                encoded = outcome.encoded
                units.append(Unit(outcome.responses, outcome, encoded.tokens, tuple(_beginnings(encoded))))
        return Prepared(units, known)

    def compute(self, units: Sequence[Unit]) -> ComputedBatch:
        """Pack rows of units and compute them; what they begin with alike stands once in a row."""
        pieces = [unit.content._replace(group=number) for number, unit in enumerate(units)]
        outcomes: list[list[Outcome]] = [[] for _ in units]
        tokens = 0
        for row in self.scorer.rows(pieces):
            tokens += row.batch["input_ids"].numel()
            for piece, scores in zip(row.pieces, self.scorer.compute(row), strict=True):
                outcomes[piece.group] = list(scores)
        return ComputedBatch(outcomes, tokens)


def _long_group(tokens: int, longest: int) -> Failure:
    return Failure("long_group", f"A group to compare takes {tokens} tokens at once; this server takes {longest}.")


def _beginnings(encoded: EncodedGroup) -> Iterator[Beginning]:
    """Yield the prompt, and of one with images what ends with the last of these: other questions may follow."""
    whole = len(encoded.prefix) + len(encoded.suffixes[0])
    pads = np.flatnonzero(encoded.keys < 0)
    # The prefix may reach into the responses, which begin alike, and a prompt is never longer.
    for tokens in (min(whole - encoded.answer_lengths[0], len(encoded.prefix)), int(pads[-1]) + 1 if len(pads) else 0):
        if tokens:
            yield Beginning(content_key(encoded.keys[:tokens].tobytes()), tokens)
