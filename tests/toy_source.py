"""A toy source whose raw records hold everything that a conversion has to count."""

import json

import pytest
from PIL import Image

from basereward.data.files import DataFiles, HubRepository, expect_columns
from basereward.data.io import read_records
from basereward.data.source import Source
from basereward.errors import RowError

REPOSITORY = HubRepository("someone/toy", "CC0-1.0")


def parse_toy(record, files):
    """One pair, several, or none, as the record says."""
    expect_columns(record, ("q", "good", "bad"), record.get("id", "a record"))
    for number, bad in enumerate(record["bad"]):
        if bad == "TIE":
            raise RowError("tie", "Both are rated 3.")
        images = [str(files.folder / name) for name in record.get("images", [])]
        parts = [{"type": "image"}] * len(images) + [{"type": "text", "text": record["q"]}]
        pair = {"prompt": [{"role": "user", "content": parts}], "chosen": record["good"], "rejected": bad}
        yield {**pair, "images": images, "number": number}


@pytest.fixture
def toy():
    """A source that reads ``raw.jsonl``."""
    return Source(
        name="toy",
        title="Toy",
        repository=REPOSITORY,
        modality="image",
        verdict="not in the paper",
        remark="Invented.",
        records=lambda files: read_records(files.find("raw.jsonl")[0]),
        parse=parse_toy,
    )


@pytest.fixture
def raw(tmp_path):
    """``raw(records)``: the files of the toy source, with a good image ``a.png`` and a broken one ``b.png``."""

    def write(records, folder=tmp_path / "raw"):
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(folder / "a.png")
        (folder / "b.png").write_bytes(b"no image")
        (folder / "raw.jsonl").write_text("\n".join(map(json.dumps, records)))
        return DataFiles(folder, REPOSITORY)

    return write


@pytest.fixture
def mixed_records():
    """``mixed_records(count)``: one, two or three pairs a record, some with images, some bad in different ways."""

    def make(count=30):
        records = []
        for number in range(count):
            record = {"q": f"q{number}", "good": "yes", "bad": [f"no{i}" for i in range(1 + number % 3)]}
            if number % 4 == 1:
                record["images"] = ["a.png"]
            if number % 7 == 3:
                record["images"] = ["b.png" if number % 2 else "none.png"]
            if number % 7 == 5:
                record["bad"].append("yes")
            if number % 11 == 8:
                record["bad"] = ["TIE"]
            records.append(record)
        return records

    return make
