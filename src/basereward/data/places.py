"""Where pairs lie: a file, a folder of shards, one of ``save_to_disk`` or a hub data set, and which split of it."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import httpx2
from huggingface_hub import HfApi

from basereward.data.content import content_digests
from basereward.data.files import Raw
from basereward.data.identity import WorkInput
from basereward.data.io import FILES, RECORD_FORMS, read_records, record_form, record_stem
from basereward.data.manifest import FILE_NAME as MANIFEST
from basereward.data.manifest import Manifest, read_manifest
from basereward.data.parquet import batch_records
from basereward.data.work import PARTIAL
from basereward.errors import DataError, MissingFileError

FORMS = (
    f"{FILES}, a folder of .parquet or .jsonl shards, a save_to_disk folder, or a hub id owner/name; :SPLIT behind it "
    "names one"
)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SPLITS = ("train", "test", "validation", "val", "dev", "eval")
# What stands behind the split in the name of a shard: train_prefs-00000-of-00001.
_SHARD = re.compile(r"(.*?)[-_.]?(?:\d{4,}|\d+-of-\d+)(?:[-_.][0-9a-f]{8,})?")
_ROWS = 250
_HUB_SECONDS = 10


class Place(NamedTuple):
    """Records that lie somewhere: what messages call them, the folder of their images, and what tells their content.

    ``files`` hold them, or ``dataset`` does. ``manifest`` is that of the folder, if it has one.
    """

    name: str
    folder: Path
    key: str
    files: tuple[Path, ...] = ()
    dataset: datasets.Dataset | None = None
    manifest: Manifest | None = None

    def records(self) -> Iterator[Raw]:
        """Yield all records, images undecoded, holding a small part of them in memory."""
        if self.dataset is not None:
            yield from iterate_rows(self.dataset)
        for path in self.files:
            yield from read_records(path)

    def describe(self) -> WorkInput:
        """Return the place as an input of work: by its manifest, by the bytes of its files, or as the hub knows it."""
        if self.manifest:
            return WorkInput(name=self.name, sha256=self.manifest.sha256)
        digests = content_digests(self.files) or [self.key]
        whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        return WorkInput(name=self.name, sha256=whole)


def open_place(path: str | Path, split: str = "train") -> Place:
    """Find the records at a path or hub id.

    Args:
        path: one of ``FORMS``.
        split: which part of a folder with splits or of a hub data set to take where ``path`` names none: the one of
            this name, or the only one that begins with it (``train_prefs``). A single file is one split.

    Raises:
        MissingFileError: there is nothing.
        DataError: something else, no such split, or several.
    """
    base, named = _cut_split(str(path))
    place = Path(base).expanduser().absolute()
    if place.is_file() and record_form(place):
        if named:
            raise DataError(f"{base} is one file and has no split {named!r}; leave ':{named}' out.")
        return Place(f"{place.parent.name}/{record_stem(place)}", place.parent, _file_key([place]), (place,))
    if (place / "state.json").is_file():
        return _dataset_place(datasets.load_from_disk(str(place)), base, place)
    if (place / "dataset_dict.json").is_file():
        splits = datasets.load_from_disk(str(place))
        return _dataset_place(splits[_choose_split(list(splits), base, split, named)], base, place)
    if place.is_dir() and (found := _find_shards(place, split, named)):
        return found
    if place.exists():
        raise DataError(f"Cannot read {place}; expected {FORMS}.")
    if isinstance(path, str) and _HUB_ID.fullmatch(base) and place.suffix not in RECORD_FORMS:
        return _dataset_place(_load_hub(base, named or split), base, place)
    raise MissingFileError(f"{path} does not exist; expected {FORMS}.")


def iterate_rows(dataset: datasets.Dataset) -> Iterator[dict[str, Any]]:
    """Yield the rows in order, images undecoded, holding one batch in memory."""
    # The arrow format never decodes images, whatever the features of the dataset say.
    for table in dataset.with_format("arrow").iter(batch_size=_ROWS):
        yield from batch_records(table)


def _cut_split(path: str) -> tuple[str, str | None]:
    base, colon, split = path.rpartition(":")
    is_split = colon and base and re.fullmatch(r"\w[\w.-]*", split) and not Path(path).expanduser().exists()
    return (base, split) if is_split else (path, None)


def _file_key(paths: Sequence[Path]) -> str:
    # The time of change of the inode too: a file may be written anew at the same size and its other time set back.
    stats = [(str(path), path.stat()) for path in paths]
    return json.dumps([(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in stats])


def _dataset_place(dataset: datasets.Dataset, name: str, folder: Path) -> Place:
    return Place(name, folder, dataset._fingerprint, dataset=dataset)


def _load_hub(name: str, split: str) -> datasets.Dataset:
    _check_reachable(name)
    try:
        return datasets.load_dataset(name, split=split)
    except (FileNotFoundError, ConnectionError) as error:
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise MissingFileError(
            f"{name} is no local file and the hub gave no dataset ({cause}); expected {FORMS}."
        ) from error
    except ValueError as error:
        raise DataError(
            f"The hub dataset {name} with split {split!r} cannot be loaded: {error} Name a split: {name}:SPLIT."
        ) from error


def _check_reachable(name: str) -> None:
    """Ask the hub once: ``load_dataset`` asks a hub that is not there six times, in 23 seconds."""
    if (Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___")).is_dir():
        return
    try:
        HfApi().dataset_info(name, timeout=_HUB_SECONDS)
    except httpx2.ConnectError as error:
        raise MissingFileError(
            f"{name} is no local file and the hub cannot be reached ({error}); expected {FORMS}."
        ) from error
    except (OSError, httpx2.HTTPError):
        return  # load_dataset says what is wrong, and tries a hub that is slow again


def _find_shards(place: Path, split: str, named: str | None) -> Place | None:
    if manifest := read_manifest(place):
        files = tuple(place / shard.file for shard in manifest.shards)
        return Place(place.name, place, _file_key(files), files, manifest=manifest)
    # Lines beside Parquet are something else: metrics, annotations.
    shards = sorted(place.rglob("*.parquet")) or sorted(path for path in place.rglob("*.jsonl*") if record_form(path))
    folders = sorted({path.parent for path in shards})
    if unfinished := [folder for folder in folders if folder.name.endswith(PARTIAL)]:
        raise DataError(f"{unfinished[0]} is unfinished; call the command that makes it again.")
    if sets := [str(folder) for folder in folders if (folder / MANIFEST).is_file()]:
        raise DataError(f"{place} holds sets with manifests of their own; give them one by one: {', '.join(sets)}.")
    files = tuple(_choose_shards(shards, place, split, named))
    return Place(place.name, place, _file_key(files), files) if files else None


def _choose_shards(shards: Sequence[Path], place: Path, split: str, named: str | None) -> Sequence[Path]:
    splits = {path: _shard_split(path) for path in shards}
    if not any(_first_word(name) in _SPLITS for name in splits.values()) and not named:
        return shards
    wanted = _choose_split(sorted(set(splits.values())), str(place), split, named)
    chosen = [path for path in shards if splits[path] == wanted]
    if len(folders := sorted({str(path.parent) for path in chosen})) > 1:
        raise DataError(f"{place} has the split {wanted} in several folders; give one of them: {', '.join(folders)}.")
    return chosen


def _choose_split(splits: Sequence[str], place: str, split: str, named: str | None) -> str:
    wanted = named or split
    if wanted in splits:
        return wanted
    like = [] if named else [name for name in splits if _first_word(name) == split]
    if len(like) == 1:
        return like[0]
    found = ", ".join(splits) or "none"
    told = f"several splits for {split!r}" if like else f"no split {wanted!r}"
    raise DataError(
        f"{place} has {told}; found {found}. Name one behind a colon: {place}:{(like or [*splits, 'NAME'])[0]}."
    )


def _shard_split(path: Path) -> str:
    found = _SHARD.fullmatch(stem := record_stem(path))
    # Where the file is only numbered (0000.parquet), its folder is named after the split.
    return (found[1] or path.parent.name) if found else stem


def _first_word(split: str) -> str:
    return re.split(r"[-_.]", split)[0]
