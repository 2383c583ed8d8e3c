"""Token by token behind trees: a prompt and its images pass the model once, and its cache is copied for every row."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.trainer_utils import unwrap_peft_model

from basereward.encoding.openings import Openings
from basereward.models.attention import SPLIT, VARLEN
from basereward.models.backends import layer_kinds
from basereward.models.sampling import GREEDY, Sampling, choose, content_digests, draw_uniform

# Finished rows leave the batch when so few are left of it: to move the cache costs about as much as one more token.
_LEAVE_BELOW = 0.5


class Row(NamedTuple):
    """One answer to be written: behind which opening of which tree, and the number of the sample."""

    tree: int
    opening: int
    sample: int


class Written(NamedTuple):
    """The tokens of an answer, without the one that ended it.

    ``watched`` are log probabilities (nats) of the watched tokens at every place, that of the end included, as the
    model gives them, whatever the temperature. Of an answer that is not finite some logits were NaN or infinite, so
    that its tokens mean nothing.
    """

    ids: list[int]
    is_cut_off: bool
    watched: Float[np.ndarray, "place watched"]
    is_finite: bool = True


@dataclass(slots=True)
class _Rows:
    """The rows that are still written, and what each of them needs to go on.

    ``mask`` has the columns of prefix, suffix and all tokens to come, of which ``read`` are in the cache; it is False
    on padding. ``following`` is the position of the first new token, ``places`` says where a row stands among all that
    were begun.
    """

    cache: Any
    mask: Bool[Tensor, "row column"]
    read: int
    following: Int[Tensor, " row"]
    places: Int[Tensor, " row"]
    is_padded: bool

    def keep(self, chosen: Int[Tensor, " kept"]) -> None:
        """Keep some rows, in the order given, possibly several times."""
        self.cache.reorder_cache(chosen)
        self.mask, self.following, self.places = self.mask[chosen], self.following[chosen], self.places[chosen]


class _Padded(NamedTuple):
    """Sequences that end in one column."""

    ids: Int[Tensor, "row token"]
    mask: Bool[Tensor, "row token"]

    @property
    def is_padded(self) -> bool:
        return not bool(self.mask.all())


class Decoder:
    """Continues trees with a backbone and its vocabulary head.

    In fp32 an answer does not depend on what else is in its batch, but for ties within rounding.

    Args:
        backbone: an ``AutoModel`` backbone.
        lm_head: from hidden states to logits.
        axes: rotary position axes of the family.
        ends: the tokens of which any ends an answer.
        pad: stands where nothing is read.
    """

    def __init__(self, backbone: Any, lm_head: Any, axes: int, ends: Sequence[int], pad: int) -> None:
        self.backbone = backbone
        self.lm_head = lm_head
        self.axes = axes
        self.ends = tuple(ends)
        self.pad = pad
        # Full attention masks a pad out exactly. A window counts it as a token, and a recurrent state passes through
        # it: other layers get rows of one length, whose cache has no pad in it.
        self.takes_padding = layer_kinds(backbone.config) == {"full_attention"}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    @torch.inference_mode()
    def decode(
        self,
        trees: Sequence[Openings],
        max_tokens: int,
        sampling: Sampling = GREEDY,
        watched: Sequence[int] = (),
        rows_at_once: int | None = None,
    ) -> dict[Row, Written]:
        """Return the answers to all openings of trees, whose prefixes pass the model together.

        Args:
            trees: of models that take no padding, one.
            max_tokens: the longest answer.
            watched: the tokens whose probabilities are wanted.
            rows_at_once: how many answers are written together; all by default.
        """
        assert self.takes_padding or len(trees) == 1
        draws = _draws(trees, sampling, max_tokens)
        found: dict[Row, Written] = {}
        with _readable_caches(self.backbone):
            cache, mask = self._read_prefixes(trees)
            parts = list(self._parts(trees, list(draws), rows_at_once))
            for number, part in enumerate(parts):
                own = cache if number + 1 == len(parts) else _copied(cache)
                begun = self._begin(own, mask, trees, part, max_tokens)
                uniform = None
                if sampling.temperature:
                    uniform = torch.from_numpy(np.stack([draws[row] for row in part])).to(self.device)
                found.update(zip(part, self._write(*begun, max_tokens, sampling, uniform, watched), strict=True))
        return found

    def _parts(self, trees: Sequence[Openings], rows: list[Row], most: int | None) -> Iterator[list[Row]]:
        """Yield rows that are written together."""

        def length(row: Row) -> int:
            return len(trees[row.tree].suffixes[row.opening])

        alike = [rows] if self.takes_padding else [list(own) for _, own in groupby(sorted(rows, key=length), length)]
        for own in alike:
            room = most or len(own)
            yield from (own[start : start + room] for start in range(0, len(own), room))

    def _read_prefixes(self, trees: Sequence[Openings]) -> tuple[Any, Bool[Tensor, "tree token"]]:
        """Return the cache of all prefixes, images in it, and where it is not padding."""
        prefixes = self._padded([tree.prefix for tree in trees])
        width = prefixes.ids.shape[1]
        positions = torch.zeros(self.axes, len(trees), width, dtype=torch.long)
        for row, tree in enumerate(trees):
            positions[:, row, width - len(tree.prefix) :] = torch.from_numpy(tree.positions.prefix)
        images = [tree.images.tensors for tree in trees if tree.images is not None]
        # The model gives features to pad tokens in the order of the rows, whatever their kind.
        joined = {key: torch.cat([own[key] for own in images if key in own]) for own in images for key in own}
        output = self.backbone(
            input_ids=prefixes.ids,
            attention_mask=prefixes.mask if prefixes.is_padded else None,
            position_ids=self._positions(positions.to(self.device)),
            use_cache=True,
            **{key: value.to(self.device) for key, value in joined.items()},
        )
        return output.past_key_values, prefixes.mask

    def _begin(
        self,
        cache: Any,
        prefix_mask: Bool[Tensor, "tree token"],
        trees: Sequence[Openings],
        part: Sequence[Row],
        max_tokens: int,
    ) -> tuple[_Rows, Float[Tensor, "row token"]]:
        """Read the suffixes of rows; return the rows and the logits of their first tokens.

        Samples of one opening are still one row here, and become several behind it.
        """
        openings = list(dict.fromkeys((row.tree, row.opening) for row in part))
        suffixes = [trees[tree].suffixes[opening] for tree, opening in openings]
        owners = self._integers([tree for tree, _ in openings])
        lengths = self._integers([len(suffix) for suffix in suffixes])
        following = self._integers([trees[tree].positions.following for tree, _ in openings])
        padded = self._padded(suffixes)
        new = torch.ones(len(openings), max_tokens, dtype=torch.bool, device=self.device)
        mask = torch.cat([prefix_mask[owners], padded.mask, new], dim=1)
        rows = _Rows(cache, mask, prefix_mask.shape[1], following + lengths, owners, not bool(mask.all()))
        cache.reorder_cache(owners)
        # Suffixes end in one column, and each goes on where its own prefix ends, in the places of its tokens alone.
        steps = torch.arange(padded.ids.shape[1], device=self.device) - (padded.ids.shape[1] - lengths)[:, None]
        positions = following[:, None] + steps.clamp(min=0)
        logits = self._step(rows, padded.ids, positions)
        own = self._integers([openings.index((row.tree, row.opening)) for row in part])
        rows.keep(own)
        rows.places = torch.arange(len(part), device=self.device)
        return rows, logits[own]

    def _write(
        self,
        rows: _Rows,
        logits: Float[Tensor, "row token"],
        max_tokens: int,
        sampling: Sampling,
        uniform: Float[Tensor, "row place"] | None,
        watched: Sequence[int],
    ) -> list[Written]:
        count = len(logits)
        ids = torch.full((count, max_tokens), self.pad, device=self.device)
        seen = torch.zeros(count, max_tokens, len(watched), device=self.device)
        ends, tokens = self._integers(self.ends), self._integers(watched)
        is_done = torch.zeros(count, dtype=torch.bool, device=self.device)
        is_finite = torch.ones(count, dtype=torch.bool, device=self.device)
        for place in range(max_tokens):
            # NaN is the largest of anything; minus infinity is a word that is ruled out.
            is_finite[rows.places] &= is_done | logits.amax(-1).isfinite()
            chosen = choose(logits, sampling, None if uniform is None else uniform[rows.places, place])
            ids[rows.places, place] = chosen
            if watched:
                seen[rows.places, place] = logits.log_softmax(-1)[:, tokens]
            is_done |= torch.isin(chosen, ends)
            left = int((~is_done).sum())
            if not left or place + 1 == max_tokens:
                break
            if left <= _LEAVE_BELOW * len(chosen):
                kept = (~is_done).nonzero()[:, 0]
                rows.keep(kept)
                chosen, is_done = chosen[kept], is_done[kept]
            logits = self._step(rows, chosen[:, None], (rows.following + place)[:, None])
        told = zip(ids.tolist(), seen.cpu().numpy(), is_finite.tolist(), strict=True)
        return [self._cut(own, values)._replace(is_finite=finite) for own, values, finite in told]

    def _step(
        self, rows: _Rows, ids: Int[Tensor, "row token"], positions: Int[Tensor, "row token"]
    ) -> Float[Tensor, "row vocabulary"]:
        """Read tokens behind the cache and return the fp32 logits behind the last of them."""
        rows.read += ids.shape[1]
        output = self.backbone(
            input_ids=ids,
            attention_mask=rows.mask[:, : rows.read] if rows.is_padded else None,
            position_ids=self._positions(positions.expand(self.axes, -1, -1)),
            past_key_values=rows.cache,
            use_cache=True,
        )
        return self.lm_head(output.last_hidden_state[:, -1]).float()

    def _cut(self, ids: list[int], watched: Float[np.ndarray, "place watched"]) -> Written:
        """Return the answer up to its end, behind which a row that has not left its batch goes on."""
        end = next((place for place, token in enumerate(ids) if token in self.ends), None)
        return Written(ids[:end], end is None, watched[: len(ids) if end is None else end + 1])

    def _padded(self, sequences: Sequence[Int[np.ndarray, " _"]]) -> _Padded:
        # On the left: a pad between a prompt and its answer would be read as part of the text.
        def pad(rows: list[Tensor], filling: int) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(rows, True, filling, padding_side="left").to(self.device)

        rows = [torch.from_numpy(own) for own in sequences]
        return _Padded(pad(rows, self.pad), pad([torch.ones(len(own), dtype=torch.bool) for own in rows], False))

    def _positions(self, positions: Int[Tensor, "axis row token"]) -> Tensor:
        return positions if self.axes > 1 else positions[0]

    def _integers(self, values: Sequence[int]) -> Int[Tensor, " value"]:
        return torch.tensor(values, dtype=torch.long, device=self.device)


def _draws(trees: Sequence[Openings], sampling: Sampling, count: int) -> dict[Row, Float[np.ndarray, " place"]]:
    """Return all rows, each with the draws of its tokens; a greedy one has none."""
    draws: dict[Row, Float[np.ndarray, " place"]] = {}
    for number, tree in enumerate(trees):
        contents = content_digests(tree) if sampling.temperature else [b""] * len(tree.suffixes)
        for opening, content in enumerate(contents):
            first = tree.firsts[opening] if tree.firsts else 0
            for sample in range(sampling.samples):
                size = count if sampling.temperature else 0
                draws[Row(number, opening, sample)] = draw_uniform(content, first + sample, sampling.seed, size)
    return draws


def _copied(cache: Any) -> Any:
    """Return a cache that can be reordered and continued without changing the first, whose tensors it may share."""
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in copied.layers:
        # Layers with recurrent states keep them in dictionaries, by number.
        for name, value in vars(layer).items():
            if isinstance(value, dict):
                setattr(layer, name, dict(value))
    return copied


@contextmanager
def _readable_caches(backbone: Any) -> Iterator[None]:
    """Give a backbone that shares prompts within a row the attention that reads a cache, and its own one back."""
    bare = unwrap_peft_model(backbone)
    text = bare.config.get_text_config()
    own = text._attn_implementation
    if own not in (SPLIT, VARLEN):
        yield
        return
    nested = hasattr(bare.config, "vision_config")

    def use(name: str) -> None:
        bare.set_attn_implementation({"text_config": name} if nested else name)

    use("sdpa")
    try:
        yield
    finally:
        use(own)
