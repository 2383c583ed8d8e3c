"""Near duplicates of real sets, where they lie beside the project, against brute force; ``-s`` prints the counts."""

import io
from pathlib import Path

import numpy as np
import pytest

from basereward.curation.duplicates import near_duplicates
from basereward.curation.fingerprints.features import compute_features, pair_texts
from basereward.data.images import load_image
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images
from basereward.data.storage import read_rows, write_rows
from basereward.data.validation import parse_row

DATA = Path(__file__).parents[3] / "shared" / "data"
COPIES = 200
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real data in {DATA}"),
]


def found_in(path: Path) -> list[int]:
    rows = read_rows(path)
    features = compute_features(rows)
    return sorted(near_duplicates(features, np.flatnonzero(features.reason == 0), rows).rows.tolist())


def repeated_in(path: Path) -> list[int]:
    """Return the rows whose decoded pixels and texts an earlier row has."""
    seen, repeats = set(), []
    for number, row in enumerate(iterate_rows(read_rows(path))):
        pair = parse_row(row, number)
        content = (*(load_image(image).tobytes() for image in pair.images), *pair_texts(pair))
        if hash(content) in seen:
            repeats.append(number)
        seen.add(hash(content))
    return repeats


def encoded_again(row: dict, form: int) -> dict:
    """Return a copy of a stored row with its images as JPEG, smaller or larger."""
    images = []
    for image in map(load_image, row_images(row)):
        size = [max(8, round(side * (1, 0.5, 2)[form])) for side in image.size]
        buffer = io.BytesIO()
        image.resize(size).save(buffer, "JPEG", quality=(60, 85, 75)[form])
        images.append({"bytes": buffer.getvalue(), "path": None})
    return {**row, "id": f"{row['id']}-copy", "images": images}


@pytest.mark.parametrize("name", ["puzzlevqa", "nlvr"])
def test_only_true_duplicates_are_lost_and_copies_are_found(name, tmp_path):
    path = DATA / name / "train.jsonl"
    repeats, found = repeated_in(path), found_in(path)
    print(f"{name}: {len(read_rows(path))} rows, equal pixels and texts {len(repeats)}, dropped {len(found)}")
    assert found == repeats
    stored = read_rows(path)
    left = np.setdiff1d(np.arange(len(stored)), repeats)
    chosen = np.random.default_rng(0).permutation(left)[:COPIES]
    rows = [
        {key: value for key, value in row.items() if key != "read_error"} for row in iterate_rows(stored.select(chosen))
    ]
    copies = [encoded_again(row, place % 3) for place, row in enumerate(rows)]
    write_rows([*rows, *copies], tmp_path / "copies.parquet")
    share = len(set(found_in(tmp_path / "copies.parquet")) & set(range(COPIES, 2 * COPIES))) / COPIES
    print(f"{name}: re-encoded copies found {share:.3f}")
    assert share >= 0.95
