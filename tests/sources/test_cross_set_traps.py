"""Traps that lie between sets, or between a set and its curation: repeats, conflicts, caps and revisions."""

import json
from pathlib import Path

import pytest
from PIL import Image

from basereward.configuration import parse_configuration
from basereward.curation.recipe import CurationRecipe
from basereward.curation.run import curate
from basereward.data.storage import read_rows, write_rows
from basereward.sources.convert import convert
from basereward.sources.registry import SOURCES

REASONING = "The bars rise from left to right, and the last of them reaches nine"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Files read into Arrow are cached in the folder of the test."""
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def curated(tmp_path):
    """``curated(step, **sets)``: the ids that a step keeps of each set, and what it counts."""

    def run(*steps, **sets):
        for name, rows in sets.items():
            write_rows(rows, tmp_path / f"{name}.parquet")
        inputs = [str(tmp_path / f"{name}.parquet") for name in sets]
        recipe = parse_configuration(CurationRecipe, {"name": "t", "inputs": inputs, "steps": list(steps)})
        done = curate(recipe, tmp_path, tmp_path / "out")
        kept = {
            Path(path).stem: read_rows(one["folder"])["id"][:] for path, one in done["inputs"].items() if one["kept"]
        }
        return kept, {reason: lost for step in done["steps"] for reason, lost in step["dropped"].items()}

    return run


def asked(identity, colour, chosen, rejected, question="How many?", **more):
    """A pair about a picture, which its colour decides."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    prompt = [{"role": "user", "content": content}]
    images = [Image.new("RGB", (8, 8), colour)]
    return {"id": identity, "images": images, "prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def test_many_pairs_of_one_image_and_question_are_capped_and_other_images_are_not(curated):
    rows = [asked(f"r{n}", "red", f"It is {n}.", "None.") for n in range(6)] + [asked("b", "blue", "Two.", "None.")]
    kept, counts = curated({"step": "prompt_cap", "cap": 2}, mmpr=rows)
    assert counts["prompt_cap"] == 4
    assert len(kept["mmpr"]) == 3
    assert "b" in kept["mmpr"]


def test_a_negative_that_continues_the_beginning_of_its_chosen_answer_is_a_pair(curated):
    rows = [asked("p", "red", f"{REASONING} points.", f"{REASONING} apples, so far as can be told without looking.")]
    kept, counts = curated({"step": "exact_duplicates"}, {"step": "near_duplicates"}, {"step": "conflicts"}, mmpr=rows)
    assert kept == {"mmpr": ["p"]}
    assert not any(counts.values())


def test_pairs_that_a_mixture_holds_of_another_set_are_counted_in_the_later_one(curated):
    own = {"prompt": "Name a fruit.", "chosen": "An apple.", "rejected": "A stone."}
    other = {"prompt": "Name a bird.", "chosen": "A crow.", "rejected": "A stone."}
    steps = ({"step": "exact_duplicates"}, {"step": "conflicts"})
    kept, counts = curated(
        *steps,
        ultra_hard=[{**own, "id": "u-0"}, {**other, "id": "u-1"}],
        olmo2=[
            {**own, "id": "o-0", "prompt": "name a fruit"},
            {**other, "id": "o-1", "chosen": "A stone.", "rejected": "A crow."},
        ],
    )
    assert kept == {"ultra_hard": ["u-0"]}
    assert (counts["exact_duplicate"], counts["conflict"]) == (1, 2)


def test_posts_of_shp_are_capped_and_filtered_as_its_card_advises(multimodal, curated, tmp_path):
    files = multimodal.lay_out("shp")
    path = next(files.folder.glob("*/train.json"))
    record = json.loads(path.read_text().splitlines()[0])
    for other in files.folder.glob("*/train.json"):
        other.unlink()
    scores = [(40 + n, 10, 1) for n in range(7)] + [(11, 10, 1)]
    lines = [
        {**record, "human_ref_A": f"Comment {n}.", "score_A": a, "score_B": b, "labels": label}
        for n, (a, b, label) in enumerate(scores)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    convert(SOURCES.get("shp"), files, tmp_path / "shp")
    steps = [{"step": "score_ratio", "minimum": 2}, {"step": "prompt_cap", "cap": 5}]
    recipe = parse_configuration(CurationRecipe, {"name": "t", "inputs": ["shp"], "steps": steps})
    done = curate(recipe, tmp_path, tmp_path / "out")
    assert [step["dropped"] for step in done["steps"][1:]] == [{"score_ratio": 1}, {"prompt_cap": 2}]
    assert done["kept"] == 5


@pytest.mark.parametrize("image", [None, "", []])
def test_mmpr_records_without_an_image_are_text(image, multimodal):
    files = multimodal.lay_out("mmpr")
    source = SOURCES.get("mmpr")
    record = {**next(iter(source.records(files))), "image": image, "question": "How many?"}
    [pair] = source.parse(record, files)
    assert pair["images"] == []
    assert pair["prompt"] == [{"role": "user", "content": [{"type": "text", "text": "How many?"}]}]


def test_mmpr_places_no_marks_where_several_images_have_none(multimodal):
    files = multimodal.lay_out("mmpr")
    source = SOURCES.get("mmpr")
    first = next(iter(source.records(files)))
    [single] = source.parse({**first, "question": "How many?"}, files)
    assert [part["type"] for part in single["prompt"][0]["content"]] == ["image", "text"]
    names = [first["image"]] * 2 if isinstance(first["image"], str) else first["image"] * 2
    with pytest.raises(ValueError, match="marks 0 images and the record has 2"):
        list(source.parse({**first, "image": names, "question": "How many?"}, files))


def test_ultrafeedback_is_the_revision_that_corrected_its_scores():
    for name in ("ultra_all", "ultra_hard"):
        assert SOURCES.get(name).repository.revision == "40b436560ca83a8dba36114c22ab3c66e43f6d5e"


def test_sets_that_look_like_others_are_not_them():
    ids = {name: SOURCES.get(name).repository.id for name in SOURCES.names()}
    assert ids["tulu3"] == "allenai/tulu-3-IF-augmented-on-policy-70b"
    assert ids["olmo2"] == "allenai/olmo-2-0425-1b-preference-mix"
    assert "craigwu/vstar_bench" not in ids.values()
