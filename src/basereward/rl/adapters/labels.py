"""Prompts by id, for frameworks that hand on neither prompts nor images: the file that the policy's data came from.

A label is the id of a prompt, or a JSON object with ``id`` and, instead or beside, ``prompt``, ``images``, ``answer``.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from basereward.data.io import read_records
from basereward.errors import RewardError
from basereward.rl.adapters.rollout import Rollout, as_list

_FIELDS = ("prompt", "question", "problem", "images", "image", "answer", "options", "task")


class PromptTable:
    """Prompts with their images and right answers, by id.

    Args:
        source: a file of records with ``id``, ``prompt``, ``images`` and ``answer`` (JSON lines, JSON or Parquet), such
            records, or None for no table. Paths of images are relative to the file.

    Raises:
        MissingFileError: no such file.
        RewardError: a record has no id, or two have the same.
    """

    def __init__(self, source: str | Path | Iterable[Mapping[str, Any]] | None = None) -> None:
        self._folder = Path(source).parent if isinstance(source, (str, Path)) else Path()
        records = read_records(Path(source)) if isinstance(source, (str, Path)) else source or ()
        self._known: dict[str, Mapping[str, Any]] = {}
        for record in records:
            name = record.get("id")
            if name is None or str(name) in self._known:
                raise RewardError(f"Found the id {name!r} in the table of prompts; every record needs one of its own.")
            self._known[str(name)] = {key: record[key] for key in _FIELDS if record.get(key) is not None}

    def rollout(self, label: Any, response: str, is_truncated: bool | None = None) -> Rollout:
        """Return the rollout of a response to the prompt that a label names.

        Raises:
            RewardError: the table has no such id.
        """
        said = self._read(label)
        name = said.get("id")
        if name is not None and self._known and str(name) not in self._known:
            raise RewardError(f"The table of prompts has no id {name!r}; it has {len(self._known)} others.")
        known = {**self._known.get(str(name), {}), **{key: said[key] for key in _FIELDS if said.get(key) is not None}}
        prompt = next((known[key] for key in _FIELDS[:3] if key in known), "")
        images = [self._place(image) for image in as_list(known.get("images", known.get("image")))]
        more = (known.get("answer"), known.get("options"), is_truncated, known.get("task"))
        return Rollout(prompt, response, images, *more)

    def _read(self, label: Any) -> Mapping[str, Any]:
        if isinstance(label, str) and label.lstrip().startswith("{"):
            try:
                label = json.loads(label)
            except ValueError:
                # A right answer that begins with a brace, such as a set.
                return {"answer": label}
        if isinstance(label, Mapping):
            return label
        return {"id": label} if self._known else {"answer": label}

    def _place(self, image: Any) -> Any:
        """Return an image with its path resolved; what is longer than any path is an image in base64."""
        if isinstance(image, Mapping) and image.get("bytes") is None and image.get("path"):
            return {"bytes": None, "path": str(self._folder / image["path"])}
        is_path = isinstance(image, str) and len(image) < 256 and not image.startswith(("data:", "http"))
        return str(self._folder / image) if is_path else image


def require_prompt(row: Rollout, sees: bool, expects_images: bool | None) -> Rollout:
    """Return a rollout that a model can be asked about.

    Args:
        sees: whether images can change what the model says.
        expects_images: False where prompts may have none.

    Raises:
        RewardError: it has no prompt, or no image where the model looks for one.
    """
    if not row.prompt:
        raise RewardError("The label names no prompt; give the id of one, and prompts= with the file that holds it.")
    if sees and not row.images and expects_images is not False:
        raise RewardError(
            "A prompt has no image and the model looks at images, which this framework does not hand on. Give the id "
            "of the prompt in the label and prompts=, or expects_images=False."
        )
    return row
