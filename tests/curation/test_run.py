"""A curation as a whole: every row is kept or counted, in the folder of its input."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from basereward.configuration import parse_configuration
from basereward.curation.inputs import find_place
from basereward.curation.recipe import CurationRecipe, load_curation_recipe
from basereward.curation.run import curate
from basereward.data.manifest import read_manifest
from basereward.data.pairs import load_pairs
from basereward.data.storage import read_rows, write_rows
from basereward.errors import DataError, MissingFileError, RecipeError, WorkError
from basereward.sources.registry import SOURCES


def pair(number: int, **changes) -> dict:
    texts = {"prompt": f"Question {number}?", "chosen": f"Answer {number} is right.", "rejected": f"Not {number}."}
    return {"id": f"row-{number}", **texts, "scores": [5, 1], **changes}


@pytest.fixture
def inputs(tmp_path):
    first = [pair(number) for number in range(6)] + [pair(7, chosen=""), pair(8, scores=[3, 2])]
    second = [pair(2, id="again"), pair(4, id="swapped", chosen="Not 4.", rejected="Answer 4 is right."), pair(9)]
    paths = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for path, rows in zip(paths, (first, second), strict=True):
        write_rows(rows, path)
    return [str(path) for path in paths]


def recipe(inputs, *steps) -> CurationRecipe:
    return parse_configuration(CurationRecipe, {"name": "test", "inputs": inputs, "steps": list(steps)})


STEPS = ({"step": "exact_duplicates"}, {"step": "conflicts"}, {"step": "score_gap", "minimum": 2})


def test_every_row_is_kept_or_counted(inputs, tmp_path):
    out = tmp_path / "out"
    result = curate(recipe(inputs, *STEPS), tmp_path, out)
    assert result["rows"] == 11
    assert result["kept"] == 6
    counted = {reason: lost for step in result["steps"] for reason, lost in step["dropped"].items()}
    assert counted == {"empty_response": 1, "exact_duplicate": 1, "conflict": 2, "score_gap": 1}
    assert [(step["in"], step["out"]) for step in result["steps"]] == [(11, 10), (10, 9), (9, 7), (7, 6)]
    folders = [out / path.strip("/").replace("/", "-") for path in inputs]
    assert [read_rows(folder)["id"][:] for folder in folders] == [
        ["row-0", "row-1", "row-2", "row-3", "row-5"],
        ["row-9"],
    ]
    dropped = [json.loads(line) for folder in folders for line in (folder / "dropped.jsonl").read_text().splitlines()]
    assert {(line["id"], line["reason"]) for line in dropped} == {
        ("row-7", "empty_response"),
        ("again", "exact_duplicate"),
        ("row-4", "conflict"),
        ("swapped", "conflict"),
        ("row-8", "score_gap"),
    }


def test_the_manifest_says_what_was_done_to_its_input(inputs, tmp_path):
    out = tmp_path / "out"
    curate(recipe(inputs, *STEPS), tmp_path, out)
    manifest = read_manifest(out / inputs[1].strip("/").replace("/", "-"))
    assert manifest.kind == "curated"
    assert manifest.rows == 1
    assert [step["dropped"] for step in manifest.steps] == [
        {"empty_response": 0},
        {"exact_duplicate": 1},
        {"conflict": 1},
        {"score_gap": 0},
    ]
    assert [one.name for one in manifest.inputs] == inputs
    assert all(one.sha256 for one in manifest.inputs)


def test_the_same_curation_is_done_once_and_another_one_refused(inputs, tmp_path):
    out = tmp_path / "out"
    first = curate(recipe(inputs, *STEPS), tmp_path, out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert curate(recipe(inputs, *STEPS), tmp_path, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == stamps
    with pytest.raises(WorkError, match=r"holds another curation \(steps.score_gap.3"):
        curate(recipe(inputs, *STEPS[:-1]), tmp_path, out)


def test_a_second_curation_into_one_folder_is_refused(inputs, tmp_path):
    refused = []

    def start_another(task, done, total):
        with pytest.raises(WorkError, match="being written by process") as caught:
            curate(recipe(inputs, *STEPS[:2]), tmp_path, tmp_path / "out")
        refused.append(caught)

    result = curate(recipe(inputs, *STEPS), tmp_path, tmp_path / "out", on_progress=start_another)
    assert refused
    assert result["steps"] == curate(recipe(inputs, *STEPS), tmp_path, tmp_path / "again")["steps"]


def test_a_step_may_look_at_some_sources_alone(tmp_path):
    rows = [pair(number, source=source, scores=[3, 2]) for number, source in enumerate("ab" * 4)]
    write_rows(rows, tmp_path / "both.jsonl")
    steps = {"step": "score_gap", "minimum": 2, "sources": ["a"]}
    result = curate(recipe([str(tmp_path / "both.jsonl")], steps), tmp_path, tmp_path / "out")
    assert result["kept"] == 4


def test_a_step_for_a_source_that_no_row_has_is_an_error(inputs, tmp_path):
    step = {"step": "prompt_cap", "cap": 1, "sources": ["first", "frist"]}
    with pytest.raises(DataError, match="for the sources first, frist; found rows of"):
        curate(recipe(inputs, step), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dropped_rows_are_kept_aside_when_asked_for(tmp_path):
    question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where?"}]}]
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    shown = {"prompt": question, "images": ["red.png"]}
    lines = [pair(0, **shown), pair(1, **shown, scores=[3, 2]), pair(2, images=["lost.png"], prompt=question)]
    lines += [pair(3, chosen=""), pair(4, scores=["?"]), pair(5, scores=[3, 2], note="kept")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    chosen = recipe([str(tmp_path / "rows.jsonl")], {"step": "score_gap", "minimum": 2})
    [one] = curate(chosen, tmp_path, tmp_path / "out")["inputs"].values()
    place = Path(one["folder"]) / "dropped.parquet"
    assert not place.exists()
    curate(chosen, tmp_path, tmp_path / "out", keep_dropped=True)
    found = {row["id"]: row for row in pq.read_table(place).to_pylist()}
    listed = [json.loads(line) for line in place.with_suffix(".jsonl").read_text().splitlines()]
    assert [(row["id"], row["step"], row["reason"]) for row in found.values()] == [
        (line["id"], line["step"], line["reason"]) for line in listed
    ]
    reasons = {"row-1": "score_gap", "row-2": "image_missing", "row-3": "empty_response", "row-4": "malformed"}
    assert {name: row["reason"] for name, row in found.items()} == {**reasons, "row-5": "score_gap"}
    assert found["row-1"]["images"][0]["bytes"] == (tmp_path / "red.png").read_bytes()
    assert found["row-2"]["images"][0]["path"].endswith("lost.png")
    assert "finite numbers" in found["row-4"]["read_error"]["message"]
    assert json.loads(found["row-5"]["extra_json"]) == {"note": "kept"}
    assert len(read_rows(one["folder"])) == 1
    put_back = load_pairs([place])
    assert [put_back.pairs[number].id for number in range(len(put_back.pairs))] == ["row-1", "row-5"]


@pytest.mark.parametrize(("first", "second"), [("a.jsonl", "a.jsonl"), ("a.jsonl", "./a.jsonl")])
def test_a_set_that_is_named_twice_is_an_error(first, second, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows([pair(1)], tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="are one set"):
        curate(recipe([first, second], *STEPS), tmp_path, tmp_path / "out")


def test_inputs_that_would_share_a_folder_are_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for place in ("a/b.jsonl", "a-b.jsonl"):
        write_rows([pair(1)], tmp_path / place)
    with pytest.raises(DataError, match="one folder"):
        curate(recipe(["a/b.jsonl", "a-b.jsonl"], *STEPS), tmp_path, tmp_path / "out")


def test_a_folder_of_which_nothing_is_left_says_so(tmp_path):
    write_rows([pair(1)], tmp_path / "rows.jsonl")
    steps = {"step": "score_gap", "minimum": 9}
    [one] = curate(recipe([str(tmp_path / "rows.jsonl")], steps), tmp_path, tmp_path / "out")["inputs"].values()
    assert (one["rows"], one["kept"]) == (1, 0)
    for read in (find_place, read_rows):
        with pytest.raises(DataError, match="holds no r"):
            read(one["folder"])


def test_a_second_contamination_step_is_an_error():
    step = {"step": "contamination", "benchmarks": ["rewardbench"]}
    with pytest.raises(RecipeError, match="one contamination summary"):
        recipe(["x"], step, step)


def test_label_noise_reads_features_of_others(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    is_swapped = rng.random(300) < 0.1
    signs = np.where(is_swapped, -1.0, 1.0)[:, None]
    write_rows([pair(number) for number in range(300)], tmp_path / "rows.jsonl")
    features = {"chosen": signs + 0.05 * rng.normal(size=(300, 1)), "rejected": np.zeros((300, 1))}
    np.savez(tmp_path / "f.npz", id=np.array([f"row-{number}" for number in range(300)]), **features)
    step = {"step": "label_noise", "features": str(tmp_path / "f.npz")}
    out = tmp_path / "out"
    curate(recipe([str(tmp_path / "rows.jsonl")], step), tmp_path, out)
    [dropped] = out.rglob("dropped.jsonl")
    found = {json.loads(line)["id"] for line in dropped.read_text().splitlines()}
    assert found == {f"row-{number}" for number in np.flatnonzero(is_swapped)}


def test_label_noise_of_texts_finds_what_the_words_contradict(tmp_path):
    rows = [pair(number, chosen=f"helpful reply {number}", rejected=f"useless reply {number}") for number in range(200)]
    for row in rows[::20]:
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    write_rows(rows, tmp_path / "rows.jsonl")
    result = curate(recipe([str(tmp_path / "rows.jsonl")], {"step": "label_noise"}), tmp_path, tmp_path / "out")
    assert result["steps"][-1]["dropped"] == {"label_noise": 10}
    assert result["steps"][-1]["details"]["accuracy"]["words"] == pytest.approx(0.95)


def test_length_steps_use_characters(tmp_path):
    rows = [pair(number, chosen="x" * (9 if number % 10 else 3), rejected="y" * 6) for number in range(100)]
    write_rows(rows, tmp_path / "rows.jsonl")
    result = curate(recipe([str(tmp_path / "rows.jsonl")], {"step": "length_balance"}), tmp_path, tmp_path / "out")
    assert result["kept"] == 20


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"step": "exact_duplicate"}, "exact_duplicates"),
        ({"step": "score_gap"}, "minimum"),
        ({"step": "score_gap", "minimun": 2}, "minimun"),
        ({"step": "prompt_cap", "cap": 0}, "cap"),
    ],
)
def test_a_bad_step_is_named(step, message):
    with pytest.raises(RecipeError, match=message):
        recipe(["x"], step)


def test_a_source_that_is_not_converted_names_the_command(tmp_path):
    (tmp_path / "c.yaml").write_text("name: c\ninputs: [rlaif_v]\nsteps: [{step: conflicts}]\n")
    with pytest.raises(MissingFileError, match="basereward data convert rlaif_v"):
        curate(load_curation_recipe(tmp_path / "c.yaml"), tmp_path, tmp_path / "out")


def test_the_recipe_of_the_repository_names_known_sources():
    recipe = load_curation_recipe(Path(__file__).parents[2] / "recipes" / "curation" / "basereward-sets.yaml")
    assert set(recipe.inputs) <= set(SOURCES.names())
