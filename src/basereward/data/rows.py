"""Single rows in the Arrow layout: canonical records packed into it, their images, and batches of bounded size."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets

from basereward.data.images import image_bytes, pack_images, pack_videos
from basereward.data.io import plain_value
from basereward.data.messages import parse_messages
from basereward.data.schema import PAIR_KEYS
from basereward.errors import RowError

STORED_KEYS = (*PAIR_KEYS, "extra_json", "read_error")
_BATCH_ROWS = 1000
_BATCH_BYTES = 64 * 2**20
_ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


def pair_features(decode: bool = False) -> datasets.Features:
    """Return the Arrow types of a canonical pair; ``decode`` says whether ``datasets`` opens the images."""
    text, number = datasets.Value("string"), datasets.Value("float64")
    images = datasets.List(datasets.Image(decode=decode))
    messages = datasets.List({"role": text, "content": datasets.List({"type": text, "text": text})})
    return datasets.Features(
        {
            "id": text,
            "source": text,
            "images": images,
            "videos": datasets.List({"frames": images, "fps": number}),
            "prompt": messages,
            "chosen": messages,
            "rejected": messages,
            "scores": datasets.List(number),
            "margin": number,
            "extra_json": text,
        }
    )


def stored_features(decode: bool = False) -> datasets.Features:
    """Return the Arrow types of a stored row: those of a pair, and why the row is none."""
    text = datasets.Value("string")
    return datasets.Features({**pair_features(decode), "read_error": {"reason": text, "message": text}})


def refused_row(record: Mapping[str, Any], id: str, source: str, error: RowError) -> dict[str, Any]:
    """Return the stored row of a record that could not be read: its id and source, and why."""
    names = {"id": str(record.get("id") or id), "source": str(record.get("source") or source)}
    return {**dict.fromkeys(STORED_KEYS), **names, "read_error": {"reason": error.reason, "message": str(error)}}


def pack_row(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a canonical record in the stored layout, image paths resolved against ``folder``.

    What makes it none stands under ``read_error``; where a stored row has one already, that one stays.
    """
    packed: dict[str, Any] = {**dict.fromkeys(STORED_KEYS), "read_error": row.get("read_error")}
    for key in ("id", "source"):
        packed[key] = None if row.get(key) is None else str(row[key])
    try:
        for key, role in _ROLES.items():
            packed[key] = [message.to_dict() for message in parse_messages(row.get(key), role)]
        packed.update(
            images=pack_images(row.get("images"), folder),
            videos=pack_videos(row.get("videos"), folder),
            scores=_pack_numbers("scores", row.get("scores") or []),
            margin=None if row.get("margin") is None else _pack_numbers("margin", [row["margin"]])[0],
            extra_json=pack_extra(row),
        )
    except RowError as error:
        packed["read_error"] = packed["read_error"] or {"reason": error.reason, "message": str(error)}
    return packed


def pack_extra(row: Mapping[str, Any], known: Iterable[str] = STORED_KEYS) -> str | None:
    """Return the columns of a record besides the known ones as one JSON object, or None without any.

    Raises:
        RowError: ``malformed`` for a value that JSON does not hold.
    """
    extra = read_extra(row.get("extra_json"))
    extra.update({key: value for key, value in row.items() if key not in known and value is not None})
    try:
        return json.dumps(extra, default=plain_value, ensure_ascii=False) if extra else None
    except (TypeError, ValueError) as error:
        types = ", ".join(f"{name}: {type(value).__name__}" for name, value in extra.items())
        raise RowError("malformed", f"Extra columns are kept as JSON, but {error} in ({types}); remove it.") from error


def read_extra(text: str | None) -> dict[str, Any]:
    """Return the extra columns that stand in ``extra_json``.

    Raises:
        RowError: ``malformed`` if they are no JSON object.
    """
    try:
        extra = json.loads(text or "{}")
    except (TypeError, ValueError) as error:
        raise RowError("malformed", f"The column extra_json holds no JSON ({error}); expected an object.") from error
    if not isinstance(extra, dict):
        raise RowError("malformed", f"The column extra_json holds {type(extra).__name__}, expected a JSON object.")
    return extra


def row_images(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the stored images of a row, frames of its videos included."""
    return [*(row["images"] or ()), *(frame for video in row["videos"] or () for frame in video["frames"])]


def map_images(row: Mapping[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return the images and videos of a row with each image and frame changed."""
    videos = [{**video, "frames": [change(frame) for frame in video["frames"]]} for video in row["videos"]]
    return {"images": [change(image) for image in row["images"]], "videos": videos}


def embed_images(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with the bytes of every image in it, and of its path the name alone.

    Raises:
        RowError: ``image_missing``.
    """

    def embed(image: dict[str, Any]) -> dict[str, Any]:
        return {"bytes": image_bytes(image), "path": image["path"] and Path(image["path"]).name}

    return {**row, **map_images(row, embed)}


def batch_rows(rows: Iterable[dict[str, Any]], most: int = _BATCH_ROWS) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows in lists of ``most`` at most, and of bounded bytes of images."""
    batch: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += sum(len(image["bytes"] or b"") for image in row_images(row))
        if len(batch) == most or held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _pack_numbers(name: str, values: Any) -> list[float]:
    try:
        numbers = [float(value) for value in values]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("not finite")
        return numbers
    except (TypeError, ValueError) as error:
        raise RowError("malformed", f"Expected finite numbers under {name!r}, found {values!r}.") from error
