"""MMPR v1.2: pairs about images, from the correctness of answers and from answers continued without the image.

Hub: ``OpenGVLab/MMPR-v1.2`` (MIT; no revision is pinned): ``meta.json``, ``annotations.zip`` (148 JSONL files) and
``images.zip_aa`` to ``_ac``, all read where they are. The paper has 2M pairs (kept). ``meta.json`` gives each set its
``root``, ``annotation`` and ``repeat_time``: below 1 the set is subsampled to that share, above 1 it is repeated
``int(repeat_time)`` times, as the authors' script does; here the subsample is the same every time.

A record has ``question``, ``chosen``, ``rejected`` and ``image``, which may be a path, a list of paths or missing; then
it is about a ``video`` or plain text. A single image without ``<image>`` stands in front; several must be marked in the
question. The script replaces what it cannot open by another row: here such rows are dropped and counted. Pairs per
question are many, some negatives share their beginning with the chosen answer, and the sources include training sets of
common benchmarks.

Source: MPO (arXiv 2411.10442), ``internvl_chat/internvl/train/internvl_chat_dpo.py``.
"""

import json
import posixpath
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.records import PLACE, Turn, pair_record
from basereward.data.media import find_file, find_frames, find_image
from basereward.data.source import Source
from basereward.errors import DataError, MissingFileError, RowError

COLUMNS = ("question", "chosen", "rejected")
META = ("root", "annotation", "repeat_time")
FRAMES = 32
_FOLDER = "MMPR-v1.2/"
# Fields that no raw record has: the set of meta.json that it comes from, and the folder of its images.
SUBSET, ROOT = "@subset", "@root"


def records(files: DataFiles) -> Iterator[Raw]:
    """Yield the records of all sets as often as ``meta.json`` says.

    Raises:
        MissingFileError: a file is not there.
        DataError: ``meta.json`` or a line of an annotation file is not in the documented layout.
    """
    [path] = files.find("meta.json")
    try:
        sets = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    for name, meta in sets.items():
        expect_columns(meta, META, f"The set {name} of {path}")
        yield from _set_records(name, meta, files)


def _set_records(name: str, meta: Mapping[str, Any], files: DataFiles) -> Iterator[Raw]:
    lines = read_lines(meta["annotation"].removeprefix(_FOLDER), files)
    root = meta["root"].removeprefix(_FOLDER)
    for number, turn in repeated(name, len(lines), float(meta["repeat_time"])):
        place = f"{name}-{number}" + (f"-{turn}" if turn else "")
        try:
            record = json.loads(lines[number])
        except ValueError as error:
            raise DataError(f"{meta['annotation']}, line {number}: not JSON ({error}).") from error
        record.update({PLACE: place, SUBSET: name, ROOT: root})
        yield record


def read_lines(name: str, files: DataFiles) -> list[bytes]:
    """Return the lines of an annotation file, extracted or in its archive.

    Raises:
        MissingFileError: it is not there.
    """
    found = find_file(files, name)
    if found is None:
        place, command = files.folder, files.repository.command(files.folder)
        raise MissingFileError(f"There is no {name} in {place}, nor in an archive there. Bring it: {command}")
    content = Path(found).read_bytes() if isinstance(found, str) else found["bytes"]
    return [line for line in content.split(b"\n") if line.strip()]


def repeated(name: str, rows: int, times: float) -> Iterator[tuple[int, int]]:
    """Yield which rows to take, and the how manieth time: ``int(rows * times)`` of them, or all ``int(times)`` times.

    Raises:
        DataError: ``times`` is not positive.
    """
    if not times > 0:
        raise DataError(f"The set {name} has repeat_time {times}; expected a positive number.")
    if times < 1:
        chosen = sorted(random.Random(name).sample(range(rows), int(rows * times)))
        yield from ((number, 0) for number in chosen)
        return
    yield from ((number, turn) for turn in range(int(times)) for number in range(rows))


def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pair of a record."""
    expect_columns(record, COLUMNS, record[PLACE])
    names = _paths(record.get("image"), record[ROOT])
    videos = _paths(record.get("video"), record[ROOT]) if not names else []
    yield pair_record(
        SOURCE.name,
        record[PLACE],
        [Turn("user", record["question"])],
        record["chosen"],
        record["rejected"],
        images=[find_image(files, name) for name in names],
        videos=[_video(name, files) for name in videos],
        extra={"subset": record[SUBSET], "image_path": names or None, "video_path": videos or None},
    )


def _paths(value: Any, root: str) -> list[str]:
    names = [value] if isinstance(value, str) and value else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RowError("malformed", f"Expected a path or a list of paths, found {str(value)[:100]!r}.")
    return [posixpath.join(root, name) for name in names]


def _video(name: str, files: DataFiles) -> dict[str, Any]:
    if find_file(files, name) is not None:
        raise RowError("video", f"{name} is a film; expected a folder of its frames.")
    return {"frames": find_frames(files, name, FRAMES), "fps": None}


SOURCE = Source(
    name="mmpr",
    title="MMPR v1.2: reasoning and perception, by correctness",
    repository=HubRepository("OpenGVLab/MMPR-v1.2", "MIT"),
    modality="image",
    verdict="kept",
    remark="Very many pairs for one question; its sources include training sets of common benchmarks.",
    records=records,
    parse=parse,
    paper_name="MMPR v1.2",
    paper_size=2_000_000,
)
