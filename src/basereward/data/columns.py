"""Stored rows by their Arrow columns: what is said and shown, and which rows must be looked at one by one.

A million rows are checked in seconds this way, where parsing each of them takes minutes. The masks may only err towards
looking: every row that parsing would refuse or change is in them.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from basereward.data.formats.format import RATINGS, UNREAD
from basereward.data.schema import PART_TYPES, REQUIRED_KEYS

# What Python's ``str.strip`` strips. Arrow's own trimming knows another set of characters.
_SPACE = "".join(chr(code) for code in (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)))
_SPACE += "\u2028\u2029\u202f\u205f\u3000"
_ROLES = pa.array(["system", "user", "assistant"])
# Extra columns that the reader does not keep as they are.
_READ_EXTRAS = '"(?:' + "|".join((*UNREAD, *RATINGS, "system", "image")) + ')"'


class Spoken(NamedTuple):
    """One column of messages, row by row.

    Args:
        texts: what the messages say, a line each.
        images: image parts, shape (n,).
        videos: video parts, shape (n,).
        is_answer: whether it is one message, and by the assistant, shape (n,).
        is_odd: whether parsing would refuse or change something, shape (n,).
    """

    texts: pa.Array
    images: np.ndarray
    videos: np.ndarray
    is_answer: np.ndarray
    is_odd: np.ndarray


def read_spoken(messages: pa.Array) -> Spoken:
    """Return what a column of messages says and shows."""
    flat = pc.list_flatten(messages)
    content = pc.struct_field(flat, "content")
    parts = pc.list_flatten(content)
    kinds, texts = pc.struct_field(parts, "type"), pc.struct_field(parts, "text")
    is_text = _is_text(kinds)
    is_known = _mask(pc.is_in(kinds, pa.array(PART_TYPES[1:])))
    has_text = _mask(pc.is_valid(texts))
    odd_parts = ~np.where(_mask(is_text), has_text, is_known & ~has_text)
    roles = pc.struct_field(flat, "role")
    odd_messages = ~_mask(pc.is_in(roles, _ROLES)) | _mask(pc.is_null(content))
    joined = pc.binary_join(_relist(messages, message_texts(messages)), "\n")
    # Parts of each row: of its messages, the sum of their parts.
    counts = list_counts(messages)
    in_row = run_sums(list_counts(content), counts)
    images, videos = (run_sums(_mask(pc.is_in(kinds, pa.array([kind]))), in_row) for kind in PART_TYPES[1:])
    is_odd = (counts == 0) | (run_sums(odd_messages, counts) > 0) | (run_sums(odd_parts, in_row) > 0)
    is_answer = (counts == 1) & (run_sums(_mask(pc.is_in(roles, _ROLES[2:])), counts) == 1)
    return Spoken(joined, images, videos, is_answer, is_odd)


def message_texts(messages: pa.Array) -> pa.Array:
    """Return the text of every message of a column of message lists, in order: its text parts, joined."""
    content = pc.struct_field(pc.list_flatten(messages), "content")
    parts = pc.list_flatten(content)
    is_text = _is_text(pc.struct_field(parts, "type"))
    texts = pc.if_else(is_text, pc.fill_null(pc.struct_field(parts, "text"), ""), "")
    # Each level of lists is joined in one call; the flat values know nothing of null rows, so the lists are laid over
    # them anew.
    return pc.binary_join(_relist(content, texts), "")


def user_turns(prompts: pa.Array) -> tuple[np.ndarray, list[str]]:
    """Return the row of each user turn of a column of prompts, shape (turns,), and its text, in order."""
    is_user = pc.equal(pc.struct_field(pc.list_flatten(prompts), "role"), "user")
    places = np.repeat(np.arange(len(prompts)), list_counts(prompts))
    return places[_mask(is_user)], message_texts(prompts).filter(is_user).to_pylist()


def must_be_parsed(batch: pa.RecordBatch | pa.Table, sides: tuple[Spoken, ...] | None = None) -> np.ndarray:
    """Return which stored rows may be no pair, shape (n,): all that parsing would refuse are among them.

    Args:
        sides: ``read_spoken`` of ``REQUIRED_KEYS``, if it is known.
    """
    sides = sides or tuple(read_spoken(column(batch, name)) for name in REQUIRED_KEYS)
    trimmed = [pc.utf8_trim(side.texts, characters=_SPACE) for side in sides[1:]]
    mask = _mask(pc.is_valid(column(batch, "read_error"))) | _mask(pc.fill_null(pc.equal(*trimmed), True))
    for side, text in zip(sides[1:], trimmed, strict=True):
        # Of several messages each is trimmed by itself.
        mask |= _mask(pc.fill_null(pc.equal(text, ""), True)) | ~side.is_answer
    for name, kind in (("images", 1), ("videos", 2)):
        mask |= list_counts(column(batch, name)) != sum(side[kind] for side in sides)
    return mask | np.any([side.is_odd for side in sides], axis=0) | _has_odd_video(column(batch, "videos"))


def must_be_read(batch: pa.RecordBatch | pa.Table) -> np.ndarray:
    """Return which rows of a file in the stored layout are not canonical as they are, shape (n,).

    They have another spelling, no name, an image in a file of its own, a video, or a column that means something.
    """
    sides = [read_spoken(column(batch, name)) for name in REQUIRED_KEYS]
    mask = np.any([side.is_odd for side in sides], axis=0)
    for side in sides[1:]:
        mask |= ~side.is_answer
    images = column(batch, "images")
    mask |= list_counts(images) != sum(side.images for side in sides)
    mask |= (list_counts(column(batch, "videos")) > 0) | (sum(side.videos for side in sides) > 0)
    for name in ("id", "source"):
        mask |= _mask(pc.equal(pc.fill_null(column(batch, name), ""), ""))
    extra = pc.fill_null(column(batch, "extra_json"), "")
    mask |= _mask(pc.match_substring_regex(extra, _READ_EXTRAS))
    numbers = pc.list_flatten(column(batch, "scores"))
    finite = _mask(pc.fill_null(pc.is_finite(numbers), False))
    mask |= run_sums(~finite, list_counts(column(batch, "scores"))) > 0
    mask |= ~_mask(pc.fill_null(pc.is_finite(column(batch, "margin")), True))
    return mask | (run_sums(_without_bytes(images), list_counts(images)) > 0)


def column(batch: pa.RecordBatch | pa.Table, name: str) -> pa.Array:
    """Return a column as one array."""
    found = batch.column(name)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def list_counts(lists: pa.Array) -> np.ndarray:
    """Return the length of each list, shape (n,); 0 for a null."""
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)


def run_sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sum of each run of ``counts`` values, shape (n,), of values that stand one run after another."""
    # Differences of one running sum, which unlike ``np.add.reduceat`` gives 0 for an empty run.
    ends, total = np.cumsum(counts), np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return total[ends] - total[ends - counts]


def _is_text(kinds: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(kinds, "text"), False)


def _mask(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _relist(lists: pa.Array, values: pa.Array) -> pa.Array:
    """Return the values in lists of the same lengths; a null becomes an empty list."""
    offsets = np.concatenate([[0], np.cumsum(list_counts(lists))]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values)


def _has_odd_video(videos: pa.Array) -> np.ndarray:
    flat = pc.list_flatten(videos)
    fps = pc.fill_null(pc.struct_field(flat, "fps"), 1.0).to_numpy(zero_copy_only=False)
    is_odd = (list_counts(pc.struct_field(flat, "frames")) == 0) | ~(np.isfinite(fps) & (fps > 0))
    return run_sums(is_odd, list_counts(videos)) > 0


def _without_bytes(images: pa.Array) -> np.ndarray:
    # Not flattened where a row is null: that would copy the images.
    values, offsets = images.values, images.offsets.to_numpy()
    return _mask(pc.is_null(pc.struct_field(values[offsets[0] : offsets[-1]], "bytes")))
