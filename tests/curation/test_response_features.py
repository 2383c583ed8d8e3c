"""Features given in a file: each row has its own, or is counted as having none."""

import json

import numpy as np
import pytest

from basereward.configuration import parse_configuration
from basereward.curation.recipe import CurationRecipe
from basereward.curation.response_features import given_differences
from basereward.curation.run import curate
from basereward.data.storage import read_rows, write_rows
from basereward.errors import DataError, MissingFileError


def write_pairs(path, names, prompts=100):
    texts = {"chosen": "yes", "rejected": "no"}
    write_rows([{"id": name, "prompt": f"Q{place % prompts}?", **texts} for place, name in enumerate(names)], path)
    return path


def save(path, names, signs):
    """One feature: the sign of chosen minus rejected."""
    chosen = np.asarray(signs, dtype=np.float32).reshape(len(names), -1)
    np.savez(path, id=np.array(names), chosen=chosen, rejected=np.zeros_like(chosen))
    return path


def test_features_are_found_by_id(tmp_path):
    rows = read_rows(write_pairs(tmp_path / "rows.jsonl", ["a", "b", "c"]))
    given = given_differences(save(tmp_path / "f.npz", ["c", "b", "a"], [3, 2, 1]), rows, np.array([0, 2]))
    assert given.numbers.tolist() == [0, 2]
    assert given.differences.tolist() == [[1], [3]]
    assert given.without == {"absent": 0, "repeated_id": 0}


def test_rows_without_features_and_with_repeated_ids_are_counted(tmp_path):
    # "b" stands twice in the file, "c" twice among the rows, the second time in one that was dropped before.
    rows = read_rows(write_pairs(tmp_path / "rows.jsonl", ["a", "b", "c", "d", "c"]))
    given = given_differences(save(tmp_path / "f.npz", ["a", "b", "b", "c"], [1, 2, 3, 4]), rows, np.arange(4))
    assert (given.numbers.tolist(), given.differences.tolist()) == ([0], [[1]])
    assert given.without == {"absent": 1, "repeated_id": 2}


def test_other_files_are_refused(tmp_path):
    rows, numbers = read_rows(write_pairs(tmp_path / "rows.jsonl", ["a", "b"])), np.arange(2)
    with pytest.raises(MissingFileError, match="no file of features"):
        given_differences(tmp_path / "none.npz", rows, numbers)
    np.savez(tmp_path / "f.npz", id=np.array(["a"]), chosen=np.ones((1, 2)))
    with pytest.raises(DataError, match="lacks rejected"):
        given_differences(tmp_path / "f.npz", rows, numbers)
    np.savez(tmp_path / "f.npz", id=np.array(["a"]), chosen=np.ones((1, 2)), rejected=np.ones((1, 3)))
    with pytest.raises(DataError, match=r"shapes \(1,\), \(1, 2\), \(1, 3\)"):
        given_differences(tmp_path / "f.npz", rows, numbers)
    with pytest.raises(DataError, match="1 rows that are not finite"):
        given_differences(save(tmp_path / "f.npz", ["a", "b"], [1, np.nan]), rows, numbers)
    with pytest.raises(DataError, match="features of none of 2 rows"):
        given_differences(save(tmp_path / "f.npz", ["x"], [1]), rows, numbers)


def run_label_noise(tmp_path, names, signs, prompts=100, folds=5):
    """Curate 100 pairs; return the details of the step and the dropped ids."""
    pairs = write_pairs(tmp_path / "rows.jsonl", [f"row-{number}" for number in range(100)], prompts)
    step = {"step": "label_noise", "features": str(save(tmp_path / "f.npz", names, signs)), "folds": folds}
    recipe = parse_configuration(CurationRecipe, {"name": "test", "inputs": [str(pairs)], "steps": [step]})
    result = curate(recipe, tmp_path, tmp_path / "out")
    [file] = (tmp_path / "out").rglob("dropped.jsonl")
    return result["steps"][-1]["details"], {json.loads(line)["id"] for line in file.read_text().splitlines()}


def test_rows_without_features_stay(tmp_path):
    names = [f"row-{number}" for number in range(90)]
    details, dropped = run_label_noise(tmp_path, names, [-1 if number % 10 == 3 else 1 for number in range(90)])
    assert dropped == {f"row-{number}" for number in range(3, 90, 10)}
    assert details["kept_without_features"] == {"absent": 10, "repeated_id": 0}
    assert details["accuracy"]["given"] == pytest.approx(0.9)


def test_a_model_below_one_half_drops_nothing(tmp_path):
    # Two prompts that teach the opposite of each other: every pair is expected the other way round.
    names, signs = zip(*((f"row-{number}", (-1) ** number) for number in range(100)), strict=True)
    details, dropped = run_label_noise(tmp_path, names, signs, prompts=2, folds=2)
    assert details["accuracy"]["given"] == 0
    assert not dropped
