"""Splits on disk: nothing is shared between parts, by brute force; seeds, order, writers and interruptions."""

import io
import json
import re
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from basereward.curation.inputs import find_place
from basereward.curation.split import run as module
from basereward.curation.split.plan import plan_split
from basereward.curation.split.run import find_sets, split
from basereward.curation.split.settings import SplitSettings
from basereward.data.io import read_json
from basereward.data.manifest import read_manifest
from basereward.data.storage import read_rows, write_rows
from basereward.errors import DataError, MissingFileError, RecipeError, WorkError
from basereward.speed.synthetic import picture

PICTURES = 12


def encoded(number: int, form: str, factor: float = 1, **options) -> dict:
    image = picture(number, 96)
    buffer = io.BytesIO()
    image.resize((int(96 * factor), int(96 * factor))).save(buffer, form, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def shown_row(number: int, prompt: str, shown: int, image: dict, **extra) -> dict:
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    return {
        "id": f"shown-{number}",
        "source": "s",
        "images": [image],
        "prompt": [{"role": "user", "content": content}],
        "chosen": f"Yes, {number}.",
        "rejected": f"No, {number}.",
        "picture": shown,
        **extra,
    }


def text_row(number: int, prompt, **extra) -> dict:
    answers = {"chosen": f"Yes, {number}.", "rejected": f"No, {number}."}
    return {"id": f"told-{number}", "source": "t", "prompt": prompt, **answers, **extra}


def planted() -> list[dict]:
    """Rows tied by every kind of link, in chains, and rows that nothing ties."""
    rows = []
    for number in range(PICTURES):
        rows.append(shown_row(4 * number, f"Question {number} about it?", number, encoded(number, "PNG")))
        # The same picture in other files, under prompts of their own.
        rows.append(shown_row(4 * number + 1, f"Another {number}?", number, encoded(number, "JPEG", quality=60)))
        rows.append(shown_row(4 * number + 2, f"A third {number}?", number, encoded(number, "PNG", 0.5)))
    for number in range(0, PICTURES, 4):
        # The prompt of another picture: two pictures are one component, and so are all rows that show them.
        other = 100 + number
        rows.append(shown_row(4 * number + 3, f"question {number}  ABOUT it", other, encoded(other, "PNG")))
        # A text row with the group of a row that shows the second picture.
        rows.append(
            shown_row(1000 + number, f"Grouped {number}?", other, encoded(other, "WEBP"), prompt_id=f"g{number}")
        )
        rows.append(text_row(2000 + number, f"Only told {number}.", prompt_id=f"g{number}"))
        system = {"role": "system", "content": "Be brief."}
        rows.append(text_row(3000 + number, [system, {"role": "user", "content": f"Only told {number}"}]))
    return rows + [text_row(4000 + number, f"Free {number}?") for number in range(80)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """The planted rows in a file; do not change it."""
    path = tmp_path_factory.mktemp("planted") / "pairs.parquet"
    write_rows(planted(), path)
    return path


def settings(**given) -> SplitSettings:
    return SplitSettings(**{"test": 0.2, "validation": 15, "sample": 10, **given})


def said(messages) -> str:
    texts = [part["text"] or "" for message in messages for part in message["content"] if message["role"] == "user"]
    return " ".join(re.findall(r"\w+", " ".join(texts).lower()))


def traits(folder) -> set:
    """Return what no other part may have: pixels, pictures, prompts, groups."""
    found = set()
    for row in read_rows(folder):
        extra = json.loads(row["extra_json"] or "{}")
        found |= {("prompt", said(row["prompt"])), ("id", row["id"])}
        found |= {(name, value) for name, value in extra.items() if name in ("picture", "prompt_id")}
        for image in row["images"]:
            opened = Image.open(io.BytesIO(image["bytes"])).convert("RGB")
            found.add(("pixels", opened.size, opened.tobytes()))
    return found


def ids(out) -> dict:
    return {folder.name: set(read_rows(folder)["id"]) for folder in sorted(out.iterdir())}


def test_parts_share_nothing_and_lose_nothing(pairs, tmp_path):
    manifests = split([find_place(str(pairs))], settings(), tmp_path / "out")
    found = ids(tmp_path / "out")
    assert {part: len(own) for part, own in found.items()} == {
        part: manifest.rows for part, manifest in manifests.items()
    }
    rows = planted()
    assert [len(found[part]) for part in ("test", "validation", "sample")] == [round(0.2 * len(rows)), 15, 10]
    assert set().union(*found.values()) == {row["id"] for row in rows}
    shared = [traits(tmp_path / "out" / part) for part in found]
    assert not any(left & right for left, right in combinations(shared, 2))
    assert read_manifest(tmp_path / "out" / "test", verify=True) == manifests["test"]
    step = manifests["train"].steps[0]
    assert {name: link["largest"] for name, link in step["links"].items()} == {
        "equal pair": 1,
        "prompt": 2,
        "image": 1,
        "like image": 3,
        "id": 1,
        "prompt_id": 2,
    }
    # Both pictures of a chain with their seven rows, three rows of each other picture, and what nothing ties.
    assert step["components"]["largest"][:2] == [7, 7]
    assert step["components"]["count"] == PICTURES + 80
    assert (step["seed"], step["part"], manifests["test"].steps[0]["part"]) == (0, "train", "test")


def test_the_order_of_rows_and_files_changes_nothing_and_the_seed_does(pairs, tmp_path):
    rows = planted()
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    write_rows(shuffled[:50], tmp_path / "a.parquet")
    write_rows(shuffled[50:], tmp_path / "b.parquet")
    two = [find_place(str(tmp_path / name)) for name in ("b.parquet", "a.parquet")]
    split([find_place(str(pairs))], settings(), tmp_path / "one")
    split(two, settings(), tmp_path / "two")
    split(two, settings(seed=1), tmp_path / "other")
    assert ids(tmp_path / "one") == ids(tmp_path / "two")
    assert ids(tmp_path / "one")["test"] != ids(tmp_path / "other")["test"]


def test_a_part_does_not_depend_on_the_parts_after_it(pairs):
    rows = read_rows(pairs)
    alone = plan_split(rows, SplitSettings(test=0.2))
    beside = plan_split(rows, settings())
    assert alone.parts["test"].tolist() == beside.parts["test"].tolist()


def test_copies_are_compared_and_pixels_suffice_where_asked(pairs):
    rows = read_rows(pairs)
    told = {kind: plan_split(rows, settings(like_images=kind)).facts for kind in ("hash", "copies", "pixels")}
    assert told["copies"]["components"] == told["hash"]["components"]
    # Without a look at what is shown, a picture in another size or quality is another one.
    assert told["pixels"]["components"]["count"] > told["hash"]["components"]["count"] + 2 * PICTURES - 7
    assert "like image" not in told["pixels"]["links"]


def test_drawings_of_one_template_are_tied_by_hash_and_told_apart_as_copies(tmp_path):
    rows = []
    for number in range(12):
        image = picture(7, 96)
        image.paste("white", (8 * (number % 4), 30 * (number // 4), 8 * (number % 4) + 8, 30 * (number // 4) + 10))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        rows.append(shown_row(number, f"Where is it, {number}?", number, {"bytes": buffer.getvalue(), "path": None}))
    write_rows(rows, tmp_path / "drawn.parquet")
    stored = read_rows(tmp_path / "drawn.parquet")
    with pytest.raises(
        DataError, match=r"test cannot have 3 pairs: .*'like image' alone ties 12 \(--like-images copies"
    ):
        plan_split(stored, SplitSettings(test=3))
    assert len(plan_split(stored, SplitSettings(test=3, like_images="copies")).parts["test"]) == 3


def test_one_prompt_of_all_rows_is_refused_unless_only_what_is_shown_counts(tmp_path):
    write_rows([shown_row(n, "Describe it.", n, encoded(n, "PNG")) for n in range(20)], tmp_path / "asked.parquet")
    rows = read_rows(tmp_path / "asked.parquet")
    with pytest.raises(DataError, match=r"0 come closest.*'prompt' alone ties 20 \(with --like-prompts shown"):
        plan_split(rows, SplitSettings(test=0.2))
    plan = plan_split(rows, SplitSettings(test=0.2, prompts="shown"))
    assert [len(own) for own in plan.parts.values()] == [4, 16]


def test_a_component_larger_than_a_part_stays_in_training_and_is_told(tmp_path):
    rows = [text_row(n, "The same?") for n in range(30)] + [text_row(n, f"Own {n}?") for n in range(30, 60)]
    write_rows(rows, tmp_path / "rows.jsonl")
    plan = plan_split(read_rows(tmp_path / "rows.jsonl"), SplitSettings(test=6))
    assert len(plan.parts["test"]) == 6
    assert set(range(30)) <= set(plan.parts["train"].tolist())
    [warning] = plan.facts["warnings"]
    assert "1 components are larger than test (30 pairs)" in warning


def test_equal_pairs_without_a_word_of_prompt_stay_together(tmp_path):
    rows = [{**text_row(n % 10, "?!"), "id": str(n)} for n in range(40)]
    for row in rows[::2]:
        row["prompt"] = " "
    write_rows(rows, tmp_path / "rows.jsonl")
    plan = plan_split(read_rows(tmp_path / "rows.jsonl"), SplitSettings(test=0.2))
    held = {n % 10 for n in plan.parts["test"].tolist()}
    assert not held & {n % 10 for n in plan.parts["train"].tolist()}


def test_groups_are_the_columns_that_are_named(tmp_path):
    rows = [text_row(n, f"Own {n}?", topic=n // 5, group="all", prompt_id=None) for n in range(40)]
    rows[3]["topic"] = str(1)
    write_rows(rows, tmp_path / "rows.jsonl")
    stored = read_rows(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match=r"'group' alone ties 40 \(--group names other columns"):
        plan_split(stored, SplitSettings(test=0.2))
    plan = plan_split(stored, SplitSettings(test=0.25, groups=("topic",)))
    # The number 1 and the text "1" are one topic.
    assert plan.facts["components"]["largest"] == [6, 5, 5, 5, 5]
    assert plan_split(stored, SplitSettings(test=0.25, groups=())).facts["components"]["count"] == 40


def test_a_named_column_that_no_row_has_is_an_error(tmp_path):
    write_rows([text_row(n, f"Own {n}?", topic=n // 2) for n in range(8)], tmp_path / "rows.jsonl")
    stored = read_rows(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="No row has a value in the extra column topik"):
        plan_split(stored, SplitSettings(test=2, groups=("topic", "topik")))


def test_whole_numbers_are_one_name_however_they_are_written(tmp_path):
    names = [1, 1.0, "1", "x 1", None, " "]
    write_rows([text_row(n, f"Own {n}?", topic=name) for n, name in enumerate(names)], tmp_path / "rows.jsonl")
    facts = plan_split(read_rows(tmp_path / "rows.jsonl"), SplitSettings(test=1, groups=("topic",))).facts
    assert facts["components"]["largest"] == [3, 1, 1, 1]


def test_ids_count_within_their_source_and_groups_over_all(tmp_path):
    first = [{**text_row(n, f"Own {n}?"), "id": str(n), "source": "a"} for n in range(10)]
    second = [{**text_row(n, f"Else {n}?"), "id": str(n), "source": "b"} for n in range(10)]
    write_rows([*first, *second], tmp_path / "rows.jsonl")
    facts = plan_split(read_rows(tmp_path / "rows.jsonl"), SplitSettings(test=4)).facts
    assert facts["components"]["count"] == 20
    for row in (*first, *second):
        row["prompt_id"] = row["id"]
    write_rows([*first, *second], tmp_path / "grouped.jsonl")
    facts = plan_split(read_rows(tmp_path / "grouped.jsonl"), SplitSettings(test=4)).facts
    assert facts["components"]["count"] == 10


def test_unusable_rows_are_counted_and_listed(tmp_path):
    rows = [text_row(n, f"Own {n}?") for n in range(10)] + [{**text_row(10, "Why?"), "rejected": "Yes, 10."}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifests = split([find_place(str(path))], SplitSettings(test=2), tmp_path / "out")
    assert [manifests[part].rows for part in ("test", "train")] == [2, 8]
    assert manifests["train"].drops["total"] == 1
    assert manifests["train"].steps[0]["unusable"] == {"equal_responses": 1}
    [line] = (tmp_path / "out" / "train" / "dropped.jsonl").read_text().splitlines()
    assert json.loads(line) == {"id": "told-10", "step": "validate", "reason": "equal_responses"}


def test_a_finished_split_is_left_alone_and_another_one_refused(pairs, tmp_path, monkeypatch):
    first = split([find_place(str(pairs))], settings(), tmp_path / "out")
    with pytest.raises(WorkError, match=r"another split .*seed 0, not 1"):
        split([find_place(str(pairs))], settings(seed=1), tmp_path / "out")
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(pairs.read_bytes())
    monkeypatch.setattr(module, "read_input", lambda *_: pytest.fail("split twice"))
    assert split([find_place(str(moved))], settings(), tmp_path / "out") == first
    write_rows(planted()[1:], moved)
    with pytest.raises(WorkError, match=r"another split .*inputs\.0"):
        split([find_place(str(moved))], settings(), tmp_path / "out")


def test_a_second_writer_is_refused(pairs, tmp_path):
    refused = []

    def start_another(*_):
        with pytest.raises(WorkError, match="being written by process") as caught:
            split([find_place(str(pairs))], settings(seed=1), tmp_path / "out")
        refused.append(caught)

    split([find_place(str(pairs))], settings(), tmp_path / "out", on_progress=start_another)
    assert refused


def test_an_interrupted_split_goes_on_with_equal_work_alone(pairs, tmp_path):
    out = tmp_path / "out"

    def stop(task, done, total):
        if task == "train" and done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        split([find_place(str(pairs))], settings(), out, on_progress=stop)
    assert not out.exists()
    written = read_json(tmp_path / "out.partial" / "test" / "manifest.json")
    with pytest.raises(WorkError, match="seed 0, not 1"):
        split([find_place(str(pairs))], settings(seed=1), out)
    tasks = set()
    manifests = split([find_place(str(pairs))], settings(), out, on_progress=lambda task, *_: tasks.add(task))
    assert "test" not in tasks
    assert "train" in tasks
    assert read_json(out / "test" / "manifest.json") == written
    whole = split([find_place(str(pairs))], settings(), tmp_path / "whole")
    assert {part: one.shards for part, one in manifests.items()} == {part: one.shards for part, one in whole.items()}


def test_a_split_that_cannot_be_leaves_nothing(pairs, tmp_path):
    for bad in (settings(sample=10_000), settings(test=0.001, validation=0, sample=0)):
        with pytest.raises(RecipeError, match=r"leave nothing to train on|is none"):
            split([find_place(str(pairs))], bad, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        split([find_place(str(pairs))], settings(), tmp_path / "full")


@pytest.mark.parametrize("given", [{}, {"test": -1}, {"test": 1.5}, {"test": float("nan")}, {"sample": 0.5}])
def test_sizes_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="validation error"):
        SplitSettings(**given)


def test_inputs_are_those_of_mixtures(pairs, toy, raw, tmp_path):
    recipe = tmp_path / "mix.yaml"
    recipe.write_text(f"name: m\ninputs: [{{path: {pairs}}}]\n")
    assert [one.place for one in find_sets([str(recipe)], tmp_path)] == [str(pairs)]
    recipe.write_text(f"name: m\nsize: 20\ninputs: [{{path: {pairs}, cap: 30}}]\n")
    with pytest.raises(DataError, match=r"draws rows \(cap, size\).*data mix"):
        find_sets([str(recipe)], tmp_path)
    with pytest.raises(DataError, match="are one set"):
        find_sets([str(pairs), str(pairs)], tmp_path)
    with pytest.raises(MissingFileError, match="basereward data convert rlaif_v"):
        find_sets(["rlaif_v"], tmp_path)


def test_images_may_stay_in_files(tmp_path):
    rows = []
    for number in range(12):
        picture(number, 64).save(tmp_path / f"{number}.png")
        rows.append(shown_row(number, f"What is {number}?", number, f"{number}.png"))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    split([find_place(str(path))], SplitSettings(test=3), tmp_path / "out", images="paths")
    for part in ("test", "train"):
        for row in read_rows(tmp_path / "out" / part):
            assert Image.open(row["images"][0]["path"]).size == (64, 64)
