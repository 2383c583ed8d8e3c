"""Lays the raw files of a source out as its hub repository does: records from the fixtures, tiny images."""

import base64
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from basereward.data.files import DataFiles
from basereward.errors import RowError
from basereward.sources.registry import SOURCES

FIXTURES = Path(__file__).with_name("fixtures")
# Source -> the one whose files it reads.
SAME_FILES = {"ultra_hard": "ultra_all"}
# Source -> its images: by archive (".zip", ".tar", or "." for the folder itself), the members.
MEDIA = {
    "mmif": {".": ["images/cup.png", "images/jug.png"]},
    "omnialign_v_dpo": {
        "images.tar": [
            f"images/{name}.png" for name in ("chart", "creation", "diagram", "ins_follow", "knowledge", "poster")
        ]
    },
    "vlfeedback": {"merged_images.zip": ["merged_images/s-1.jpg", "merged_images/s-2.jpg"]},
    "mm_rlhf": {"short.zip": ["short/red.png"], ".": [f"video/walk/{number:03}.png" for number in range(3)]},
    "r1_reward_rl": {".": ["images/shape.png"]},
    "mmpr": {
        "images.zip": [
            "images/sets/red.png",
            "images/sets/blue.png",
            "images/video/walk/1.png",
            "images/video/walk/2.png",
        ]
    },
}


def picture(colour: str = "red", form: str = "PNG") -> bytes:
    """The bytes of a tiny image."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, form)
    return file.getvalue()


def lay_out(name: str, folder: Path) -> DataFiles:
    """Return the raw files of a source, written into ``folder``."""
    fixture = FIXTURES / SAME_FILES.get(name, name)
    for path in sorted(fixture.rglob("*")):
        target = folder / path.relative_to(fixture)
        if path.name.endswith(".parquet.jsonl"):
            records = [json.loads(line) for line in path.read_text().splitlines()]
            write_parquet(records, target.with_suffix(""))
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for archive, members in MEDIA.get(name, {}).items():
        put_media(folder, archive, members)
    if name == "mmpr":
        pack_mmpr(folder)
    return DataFiles(folder, SOURCES.get(name).repository)


def write_parquet(records: list[dict[str, Any]], path: Path) -> None:
    """Write records as Parquet, ``png:COLOUR`` and ``base64:COLOUR`` replaced by an image of that colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([_with_images(record) for record in records]), path)


def _with_images(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_images(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_images(item) for item in value]
    kind, _, colour = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "base64":
        return base64.b64encode(picture(colour)).decode()
    return picture(colour) if kind == "png" else value


def put_media(folder: Path, archive: str, members: list[str]) -> None:
    """Write images into the folder or into an archive there; the file's name decides its colour."""
    contents = {member: picture("blue" if "blue" in member else "red") for member in members}
    if archive == ".":
        for member, data in contents.items():
            (folder / member).parent.mkdir(parents=True, exist_ok=True)
            (folder / member).write_bytes(data)
    elif archive.endswith(".zip"):
        with zipfile.ZipFile(folder / archive, "w") as file:
            for member, data in contents.items():
                file.writestr(member, data)
    else:
        with tarfile.open(folder / archive, "w") as file:
            for member, data in contents.items():
                info = tarfile.TarInfo(f"./{member}")
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))


def pack_mmpr(folder: Path) -> None:
    """Put the annotations into their archive and cut the images into ``images.zip_aa`` and so on."""
    with zipfile.ZipFile(folder / "annotations.zip", "w") as file:
        for path in sorted((folder / "annotations").iterdir()):
            file.write(path, f"annotations/{path.name}")
    shutil.rmtree(folder / "annotations")
    data = (folder / "images.zip").read_bytes()
    (folder / "images.zip").unlink()
    third = len(data) // 3 + 1
    for number, part in enumerate("abc"):
        (folder / f"images.zip_a{part}").write_bytes(data[number * third : (number + 1) * third])


def parse_all(name: str, files: DataFiles) -> tuple[list[dict[str, Any]], list[str]]:
    """All canonical records of a source, and the reasons of the records that gave none."""
    source, kept, dropped = SOURCES.get(name), [], []
    for record in source.records(files):
        try:
            kept.extend(source.parse(record, files))
        except RowError as error:
            dropped.append(error.reason)
    return kept, dropped


@pytest.fixture
def multimodal(tmp_path) -> SimpleNamespace:
    """``lay_out(name)``: the raw files of a source in a fresh folder; ``parse_all(name, files)``; ``picture``."""

    def fresh(name: str) -> DataFiles:
        return lay_out(name, tmp_path / f"raw-{name}")

    return SimpleNamespace(lay_out=fresh, parse_all=parse_all, picture=picture, put_media=put_media)
