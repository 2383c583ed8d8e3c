"""Computes groups with a reward model in this process: packed rows, results in order, failures typed."""

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from basereward.data.outcomes import SPREAD, About, Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.encoding.collate import GroupBatch, collate, move_batch
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.packing import fill_rows
from basereward.encoding.template import Template
from basereward.errors import RowError, TemplateError
from basereward.models.checkpoint import reward_facts
from basereward.models.reward_model import ROW_TOKENS, RewardModel
from basereward.scoring.interface import failure_of, finite
from basereward.scoring.weights import Weights, run_facts

# Rows' worth of encoded groups, pixels included, that are held in memory to pack rows from.
ROWS_AT_ONCE = 4
# The part of a score that counts the characters of the answer which the chat template leaves out.
REMOVED = "removed_characters"
# Why a response has no score whose partner in a comparison has none.
PARTNER = "failed_partner"
Result = TypeVar("Result")
# Places of responses in their group, and their encoding or why there is none.
EncodedPart = tuple[tuple[int, ...], EncodedGroup | Failure]
_log = logging.getLogger(__name__)
_NOT_FINITE = Failure("not_finite", "A hidden state is not finite; the weights or the precision are broken.")


class Piece(NamedTuple):
    """A part of a group that fits a row: which group, which of its responses, and their encoding."""

    group: int
    responses: tuple[int, ...]
    encoded: EncodedGroup


class Refused(NamedTuple):
    """Responses of a group that cannot be turned into tokens, and why."""

    group: int
    responses: tuple[int, ...]
    failure: Failure


class PackedRow(NamedTuple):
    """Pieces that are computed together, and their tensors, not yet on the device."""

    pieces: tuple[Piece, ...]
    batch: GroupBatch


class LocalScorer:
    """Scores with a ``RewardModel``; a score does not depend on what else is in the row.

    Of a model that compares it depends on the other responses of its group, which is therefore never split, whatever it
    takes, and scored whole or not at all.

    ``score`` is three steps, of which each may run in a thread of its own: ``encode`` (tokenizer and images, in any
    number of threads), ``rows`` (which pieces share a row) and ``compute`` (the model, one call at a time).

    Args:
        model: the model, on its device.
        name: what result files call it.
        row_tokens: memory cap of one packed row; larger groups are split and rejoined.
        weights: the files that the model was loaded from; without them its scores have no identity.
    """

    def __init__(
        self, model: RewardModel, name: str, row_tokens: int = ROW_TOKENS, weights: Weights | None = None
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.row_tokens = row_tokens
        self.weights = weights
        self._has_told = False

    @cached_property
    def about(self) -> About:
        """The model and what it was trained on; without files it has no identity.

        Raises:
            ScoringError: a file of the model has changed since it was loaded.
        """
        # A backbone without a vision tower names none: the path is empty.
        sees_images = bool(self.model.family.vision_module)
        identity = None if self.weights is None else self._identity(self.weights)
        return About(self.name, sees_images, identity, self.model.data_record, compares=self.model.compares)

    def _identity(self, weights: Weights) -> dict[str, Any]:
        """Return everything that decides a score: weights, template, limits, precision and libraries."""
        facts = reward_facts(self.model)
        limits = {"max_length": facts.max_length, "image_backend": facts.image_backend, "pixels": facts.pixels}
        return {
            "weights": weights.digest(),
            "template": self.model.template.hash,
            **limits,
            "backend": self.model.backend,
            **run_facts(self.model.backbone),
        }

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a reward or a failure for each response of each group, in order."""
        return self._gather(groups, self.compute)

    def hidden_states(self, groups: Sequence[ResponseGroup]) -> list[list[np.ndarray | Failure]]:
        """Return the fp32 state that the head reads, or a failure, for each response of each group, in order."""
        return self._gather(groups, self.compute_states)

    def encode(self, group: ResponseGroup, number: int = 0) -> list[Piece | Refused]:
        """Return the pieces of a group under the cap of a row; what cannot be encoded is refused alone.

        Args:
            number: what its pieces call the group.
        """
        outcomes: list[Piece | Refused] = []
        found = list(encode_each(self.model.template, group))
        for places, encoded in whole_or_nothing(found) if self.model.compares else found:
            if isinstance(encoded, Failure):
                outcomes.append(Refused(number, places, encoded))
            else:
                cap = sys.maxsize if self.model.compares else self.row_tokens
                outcomes += split_group(number, places, encoded, cap)
        return outcomes

    def rows(self, pieces: Iterable[Piece]) -> Iterator[PackedRow]:
        """Yield rows filled up to the cap, pieces that begin alike together; a larger piece has a row of its own."""
        queued = list(pieces)
        for row in fill_rows([piece.encoded for piece in queued], self.row_tokens, self.model.backend != "plain"):
            yield _pack([queued[place] for place in row])

    @torch.inference_mode()
    def compute(self, row: PackedRow) -> list[list[Scored]]:
        """Return, for each piece of a row, a reward or a failure for each of its responses."""
        rewards = self.model(**self._on_device(row), each_head=True)
        removed = [count for piece in row.pieces for count in piece.encoded.removed_counts]
        if any(removed) and not self._has_told:
            _log.warning("The chat template leaves out text of answers with thoughts; scores count it as %s.", REMOVED)
            self._has_told = True
        told = [{REMOVED: float(count)} if count else {} for count in removed]
        values = (rewards if rewards.ndim == 1 else rewards.mean(-1)).tolist()
        parts = [{**own, **more} or None for own, more in zip(head_parts(rewards), told, strict=True)]
        scores = [finite(Score(value, parts=own)) for value, own in zip(values, parts, strict=True)]
        return _by_piece(row, scores)

    @torch.inference_mode()
    def compute_states(self, row: PackedRow) -> list[list[np.ndarray | Failure]]:
        """Return, for each piece of a row, the state that the head reads, or a failure, for each of its responses."""
        states = self.model.hidden_states(**self._on_device(row)).float().cpu().numpy()
        return _by_piece(row, [state if np.isfinite(state).all() else _NOT_FINITE for state in states])

    def _gather(
        self, groups: Sequence[ResponseGroup], compute: Callable[[PackedRow], list[list[Result | Failure]]]
    ) -> list[list[Result | Failure]]:
        """Return what ``compute`` gives for each response of each group."""
        found: dict[tuple[int, int], Result | Failure] = {}
        waiting: list[Piece] = []
        for number, group in enumerate(groups):
            for outcome in self.encode(group, number):
                if isinstance(outcome, Refused):
                    found.update(dict.fromkeys(((number, place) for place in outcome.responses), outcome.failure))
                else:
                    waiting.append(outcome)
            # Several rows' worth: enough to find pieces of similar length, few enough to hold their pixels.
            if sum(piece.encoded.tokens for piece in waiting) > ROWS_AT_ONCE * self.row_tokens:
                found |= self._fill(waiting, compute)
                waiting = []
        found |= self._fill(waiting, compute)
        return [[found[number, place] for place in range(len(group.responses))] for number, group in enumerate(groups)]

    def _fill(
        self, pieces: Sequence[Piece], compute: Callable[[PackedRow], list[list[Result | Failure]]]
    ) -> dict[tuple[int, int], Result | Failure]:
        """Return what ``compute`` gives by group and place."""
        return {
            (piece.group, place): result
            for row in self.rows(pieces)
            for piece, results in zip(row.pieces, compute(row), strict=True)
            for place, result in zip(piece.responses, results, strict=True)
        }

    def _on_device(self, row: PackedRow) -> GroupBatch:
        return move_batch(row.batch, self.model.device)


def head_parts(rewards: Float[Tensor, " response *head"]) -> list[dict[str, float]]:
    """Return the parts of each response's score that its heads give: their rewards, and the spread of these.

    The spread is the sample standard deviation over heads; a model with one head gives no parts.
    """
    if rewards.ndim == 1:
        return [{} for _ in rewards]
    spreads = rewards.double().std(-1).tolist()
    return [
        {**{f"head_{number}": reward for number, reward in enumerate(own)}, SPREAD: spread}
        for own, spread in zip(rewards.tolist(), spreads, strict=True)
    ]


def _pack(pieces: Sequence[Piece]) -> PackedRow:
    return PackedRow(tuple(pieces), collate([piece.encoded for piece in pieces]))


def _by_piece(row: PackedRow, results: Sequence[Result]) -> list[list[Result]]:
    """Cut the results of a row, which stand in the order of its responses, into those of each piece."""
    left = iter(results)
    return [[next(left) for _ in piece.responses] for piece in row.pieces]


def encode_each(template: Template, group: ResponseGroup) -> Iterator[EncodedPart]:
    """Yield places and encoding of a group; if it cannot be encoded whole, response by response."""
    everyone = tuple(range(len(group.responses)))
    try:
        yield everyone, template.encode(group)
    except (RowError, TemplateError) as error:
        failure = failure_of(error)
        if len(group.responses) == 1 or failure.reason.startswith("image_"):
            yield everyone, failure
            return
        for place in everyone:
            alone = dataclasses.replace(group, responses=(group.responses[place],))
            for _, outcome in encode_each(template, alone):
                yield (place,), outcome


def whole_or_nothing(found: Sequence[EncodedPart]) -> Iterator[EncodedPart]:
    """Yield what ``encode_each`` found of a group if it is one encoding; else only failures: each lost a partner."""
    if len(found) == 1:
        yield found[0]
        return
    lost = next((one.message for _, one in found if isinstance(one, Failure)), "they cannot be encoded together.")
    for places, one in found:
        if not isinstance(one, Failure):
            one = Failure(PARTNER, f"This model compares the responses to a prompt, and another one failed: {lost}")
        yield places, one


def split_group(number: int, places: Sequence[int], encoded: EncodedGroup, cap: int) -> list[Piece]:
    """Cut the responses of a group into pieces under the cap, each with the prompt; a piece has at least one."""
    pieces: list[Piece] = []
    members: list[int] = []
    tokens = len(encoded.prefix)
    for member, suffix in enumerate(encoded.suffixes):
        if members and tokens + len(suffix) > cap:
            pieces.append(_piece(number, places, encoded, members))
            members, tokens = [], len(encoded.prefix)
        members.append(member)
        tokens += len(suffix)
    return [*pieces, _piece(number, places, encoded, members)]


def _piece(number: int, places: Sequence[int], encoded: EncodedGroup, members: list[int]) -> Piece:
    return Piece(number, tuple(places[member] for member in members), encoded.take(members))
