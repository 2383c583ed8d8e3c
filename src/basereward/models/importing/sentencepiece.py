"""SentencePiece models as tokenizers, from the bytes of ``tokenizer.model`` alone.

Source: ``sentencepiece_model.proto`` of google/sentencepiece for the numbers of fields and their defaults.
"""

import logging
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers
from tokenizers.models import BPE

from basereward.errors import CheckpointError

logger = logging.getLogger(__name__)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SPACE = "\u2581"
_BPE = 2


class VocabularyPiece(NamedTuple):
    """An entry of the vocabulary; its place is its id."""

    text: str
    score: float
    kind: int


class SentencePieceModel(NamedTuple):
    """What a model file says of its vocabulary and of how text is brought into it.

    Args:
        charsmap: compiled replacements of characters, empty for none.
        has_prefix: a space is put in front of every stretch of text.
        is_trimmed: spaces at the ends are left out, and several become one.
    """

    pieces: tuple[VocabularyPiece, ...]
    byte_fallback: bool
    charsmap: bytes
    has_prefix: bool
    is_trimmed: bool


def read_sentencepiece(content: bytes) -> SentencePieceModel:
    """Read a model file.

    Raises:
        CheckpointError: no such file, or a kind of model that is no BPE over pieces with marked spaces.
    """
    try:
        fields = list(_fields(content))
        pieces = tuple(_piece(value) for number, value in fields if number == 1 and isinstance(value, bytes))
        trainer, normalizer = (_message(fields, number) for number in (2, 3))
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise CheckpointError(f"tokenizer.model is no SentencePiece model: {error}.") from error
    if not pieces or trainer.get(3, 1) != _BPE:
        kind = trainer.get(3, 1)
        raise CheckpointError(
            f"tokenizer.model is of kind {kind!r} with {len(pieces)} pieces; expected BPE, kind {_BPE}."
        )
    if trainer.get(24, 0) or not normalizer.get(5, 1):
        raise CheckpointError("tokenizer.model marks spaces behind words, or not at all; expected in front of them.")
    charsmap = normalizer.get(2, b"")
    assert isinstance(charsmap, bytes)
    return SentencePieceModel(
        pieces, bool(trainer.get(35, 0)), charsmap, bool(normalizer.get(3, 1)), bool(normalizer.get(4, 1))
    )


def build_tokenizer(model: SentencePieceModel, added: Mapping[int, AddedToken]) -> Tokenizer:
    """Return the tokenizer of a model whose repository adds tokens: in new places, or instead of pieces.

    Args:
        added: tokens by id; those behind the vocabulary follow each other without a gap.

    Raises:
        CheckpointError: a token stands elsewhere, or twice.
    """
    names = [added[place].content if place in added else piece.text for place, piece in enumerate(model.pieces)]
    vocabulary = {name: place for place, name in enumerate(names)}
    if len(vocabulary) < len(names):
        twice = next(name for place, name in enumerate(names) if vocabulary[name] != place)
        raise CheckpointError(f"The tokenizer has the token {twice!r} twice.")
    unknown = next((names[place] for place, piece in enumerate(model.pieces) if piece.kind == UNKNOWN), None)
    core = Tokenizer(
        BPE(vocabulary, _merges(model), unk_token=unknown, fuse_unk=True, byte_fallback=model.byte_fallback)
    )
    core.normalizer = normalizers.Sequence(list(_normalizers(model)))
    core.decoder = decoders.Sequence(list(_decoders(model)))
    found = {place: own for place, own in enumerate(map(_own_token, model.pieces)) if own is not None} | dict(added)
    for place, token in sorted(found.items()):
        # Their names stand in the vocabulary already, or they get the next number.
        core.add_special_tokens([token]) if token.special else core.add_tokens([token])
        if (number := core.token_to_id(token.content)) != place:
            raise CheckpointError(f"The token {token.content!r} would get the id {number}, expected {place}.")
    return core


def _own_token(piece: VocabularyPiece) -> AddedToken | None:
    """Return a piece that stands for itself in any text, None for one that is put together."""
    if piece.kind not in (CONTROL, UNKNOWN, USER_DEFINED):
        return None
    return AddedToken(piece.text, normalized=False, special=piece.kind != USER_DEFINED)


def _merges(model: SentencePieceModel) -> list[tuple[str, str]]:
    """Return the pairs that become a piece, best piece first."""
    known = {piece.text for piece in model.pieces if piece.kind in (NORMAL, UNUSED)}
    found: list[tuple[float, tuple[str, str]]] = []
    scores: set[float] = set()
    odd = 0
    for piece in model.pieces:
        if piece.kind not in (NORMAL, UNUSED) or len(piece.text) < 2:
            continue
        halves = [(piece.text[:cut], piece.text[cut:]) for cut in range(1, len(piece.text))]
        pairs = [pair for pair in halves if known.issuperset(pair)]
        if piece.kind == UNUSED and pairs:
            raise CheckpointError(f"tokenizer.model has the unused piece {piece.text!r}, which others go through.")
        # SentencePiece takes the leftmost of equally good pieces, and may go through characters without a piece.
        odd += not pairs or piece.score in scores
        scores.add(piece.score)
        found += [(piece.score, pair) for pair in pairs]
    if odd or (model.has_prefix and any(piece.kind == USER_DEFINED for piece in model.pieces)):
        logger.warning("%d pieces of tokenizer.model go by rules of SentencePiece's own; rare ids may differ.", odd)
    return [pair for _, pair in sorted(found, key=lambda item: -item[0])]


def _normalizers(model: SentencePieceModel) -> Iterator[normalizers.Normalizer]:
    if model.charsmap:
        yield normalizers.Precompiled(model.charsmap)
    if model.is_trimmed:
        yield normalizers.Strip()
        yield normalizers.Replace(Regex(" {2,}"), " ")
    if model.has_prefix:
        yield normalizers.Prepend(SPACE)
    yield normalizers.Replace(" ", SPACE)


def _decoders(model: SentencePieceModel) -> Iterator[decoders.Decoder]:
    yield decoders.Replace(SPACE, " ")
    yield decoders.ByteFallback()
    yield decoders.Fuse()
    if model.has_prefix:
        yield decoders.Strip(" ", 1, 0)


def _piece(content: bytes) -> VocabularyPiece:
    values = dict(_fields(content))
    text, score = values[1], values.get(2, b"\0\0\0\0")
    assert isinstance(text, bytes)
    assert isinstance(score, bytes)
    kind = values.get(3, NORMAL)
    assert isinstance(kind, int)
    return VocabularyPiece(text.decode(), struct.unpack("<f", score)[0], kind)


def _message(fields: list[tuple[int, int | bytes]], number: int) -> dict[int, int | bytes]:
    found = [value for own, value in fields if own == number and isinstance(value, bytes)]
    return dict(_fields(found[-1])) if found else {}


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of every field of a message; those of fixed width as bytes."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield number, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"field {number} has the wire type {wire}")
        size = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            size, place = _varint(content, place)
        if place + size > len(content):
            raise ValueError(f"field {number} ends behind the file")
        yield number, content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
