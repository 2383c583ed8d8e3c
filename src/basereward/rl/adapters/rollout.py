"""Rollouts as frameworks give them, one by one, put together into groups of one prompt: by the rules for any record."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.digests import image_key
from basereward.data.formats.group import parse_group
from basereward.errors import RewardError, RowError
from basereward.rl.rewards import Rollouts

_IMAGE_PARTS = ("image", "image_url", "input_image")
_NAMES = ("image", "image_url", "url", "path", "bytes")


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response of a policy with what was asked.

    Args:
        prompt: a text or messages; image parts may carry their images.
        response: a text or messages.
        images: the images of the prompt's image parts, one or a list; None if the parts carry them, or there are none.
        answer: the right answer, or a list of right ones; None if there is none.
        options: the texts of the options A, B, ...
        is_truncated: whether the limit of tokens cut the response off; None if that is not known.
        task: what kind of prompt it is, for a model that routes by it.
    """

    prompt: Any
    response: Any
    images: Any = None
    answer: Any = None
    options: Any = None
    is_truncated: bool | None = None
    task: str | None = None


class ShownPrompt(NamedTuple):
    """A prompt whose image parts carry nothing, and its images in order."""

    prompt: Any
    images: tuple[Any, ...]


def shown_images(row: Rollout) -> ShownPrompt:
    """Return the prompt of a rollout and the images that it shows, from its parts or from beside it.

    Raises:
        RewardError: some parts carry an image and others do not, or there are other images beside the prompt.
    """
    prompt = row.prompt if isinstance(row.prompt, str) else list(row.prompt)
    beside = as_list(row.images)
    if isinstance(prompt, str):
        return ShownPrompt(prompt, tuple(beside))
    lifted = [_lift(message) for message in prompt]
    carried = [image for _, images in lifted for image in images]
    named = [image for image in carried if image is not None]
    if named and (len(named) < len(carried) or len(beside) not in (0, len(named))):
        raise RewardError(
            f"A prompt has {len(carried)} image parts, {len(named)} of which carry an image, and {len(beside)} images "
            "beside it; expected as many everywhere."
        )
    return ShownPrompt([message for message, _ in lifted], tuple(named or beside))


def rollout_key(row: Rollout) -> str:
    """Return what rollouts of one group have in common: a hash of prompt, images, right answer, options and task.

    Raises:
        RewardError: as ``shown_images``.
    """
    prompt, images = shown_images(row)
    content = [prompt, list(map(image_key, images)), _plain(row.answer), _plain(row.options), row.task]
    return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def group_lengths(keys: Sequence[str], size: int | None = None) -> list[int]:
    """Return the lengths of the groups that rollouts with these keys make: runs of equal keys, of at most ``size``."""
    lengths = []
    for _, run in groupby(keys):
        rest = len(list(run))
        while size and rest > size:
            lengths.append(size)
            rest -= size
        lengths.append(rest)
    return lengths


def make_rollouts(rows: Sequence[Rollout], name: str) -> Rollouts:
    """Return the group of rollouts with one prompt.

    Raises:
        RewardError: they cannot be read, or prompt and images do not fit together.
    """
    prompt, images = shown_images(rows[0])
    # The images go round the reader, which would encode decoded ones as PNG.
    places = [{"bytes": None, "path": str(place)} for place in range(len(images))]
    responses = [row.response if isinstance(row.response, str) else list(row.response) for row in rows]
    try:
        record = {"prompt": prompt, "responses": responses, "images": places, "task": rows[0].task}
        group = parse_group(record, name, Path())
    except RowError as error:
        raise RewardError(f"Rollouts of {name} cannot be read ({error.reason}): {error}") from error
    return Rollouts(
        replace(group, images=images),
        read_answer(rows[0].answer),
        tuple(map(str, as_list(rows[0].options))),
        () if any(row.is_truncated is None for row in rows) else tuple(bool(row.is_truncated) for row in rows),
    )


def read_answer(answer: Any) -> str | tuple[str, ...] | None:
    """Return a right answer as text, several as texts, None for none."""
    if answer is None or isinstance(answer, str):
        return answer
    if isinstance(answer, (bool, int, float)):
        return str(answer)
    return tuple(map(str, answer))


def as_list(value: Any) -> list[Any]:
    """Return what stands in a column that holds one, several or none."""
    if value is None:
        return []
    is_one = isinstance(value, (str, bytes, Path, Mapping)) or not hasattr(value, "__len__")
    return [value] if is_one else list(value)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else [str(entry) for entry in as_list(value)]


def _lift(message: Any) -> tuple[Any, list[Any]]:
    """Return a message whose image parts carry nothing, and what they carried, None for nothing."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if content is None or isinstance(content, str):
        return message, []
    parts, carried = [], []
    for part in content:
        if isinstance(part, Mapping) and part.get("type") in _IMAGE_PARTS:
            image = next((part[key] for key in _NAMES if part.get(key) is not None), None)
            # OpenAI's form has the address in a mapping of its own.
            carried.append(image["url"] if isinstance(image, Mapping) and "url" in image else image)
            parts.append({"type": "image"})
        else:
            parts.append(part)
    return {**message, "content": parts}, carried
