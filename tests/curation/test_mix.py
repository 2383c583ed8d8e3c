"""Mixtures on disk: the counts of the plan, seeded and shuffled over all inputs, with the hashes of what they hold."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from basereward.configuration import parse_configuration
from basereward.curation.mix import count_inputs, mix
from basereward.curation.mix_recipe import MixRecipe
from basereward.data import shards
from basereward.data.manifest import read_manifest
from basereward.data.pairs import load_pairs
from basereward.data.storage import read_rows
from basereward.errors import DataError, MissingFileError, WorkError
from basereward.sources.convert import ConvertOptions, convert


@pytest.fixture(autouse=True)
def small_shards(tmp_path, monkeypatch):
    """Shards of 16 rows, and a cache of our own."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 16)
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(toy, raw, tmp_path):
    """Converted sources: ``seen`` (40 pairs with an image), ``told`` (30 of text)."""
    sources = {name: replace(toy, name=name) for name in ("seen", "told")}
    for name, count, images in (("seen", 40, ["a.png"]), ("told", 30, [])):
        records = [{"q": f"{name} {number}", "good": "yes", "bad": ["no"], "images": images} for number in range(count)]
        convert(sources[name], raw(records, tmp_path / f"raw-{name}"), tmp_path / "data" / name)
    return tmp_path / "data"


def make_recipe(*inputs, **more):
    return parse_configuration(MixRecipe, {"name": "m", "inputs": list(inputs), **more})


BOTH = ({"source": "seen"}, {"source": "told"})


def ids(folder):
    return read_rows(folder)["id"]


def test_a_mixture_is_what_its_plan_says(root, tmp_path):
    recipe = make_recipe({"source": "seen", "cap": 20}, {"source": "told", "weight": 0.5}, seed=1)
    manifest = mix(recipe, root, tmp_path / "m")
    plan = count_inputs(recipe, root)
    assert [count.taken for count in plan] == [(20, 0), (0, 15)]
    assert load_pairs([tmp_path / "m"]).pairs.sources() == {"seen": 20, "told": 15}
    assert (manifest.kind, manifest.rows, manifest.multimodal) == ("mixed", 35, 20)
    assert [shard.rows for shard in manifest.shards] == [16, 16, 3]
    assert len(set(ids(tmp_path / "m"))) == 35
    assert [count["taken"] for count in manifest.steps[0]["counts"]] == [
        {"multimodal": 20, "text": 0},
        {"multimodal": 0, "text": 15},
    ]


def test_the_manifest_holds_the_hashes_and_headers_of_the_inputs(root, tmp_path):
    manifest = mix(make_recipe(*BOTH), root, tmp_path / "m")
    assert {one.name: one.sha256 for one in manifest.inputs} == {
        name: read_manifest(root / name).sha256 for name in ("seen", "told")
    }
    assert [source.name for source in manifest.sources] == ["seen", "told"]
    assert read_manifest(tmp_path / "m", verify=True) == manifest


def test_rows_are_shuffled_over_all_inputs(root, tmp_path):
    mix(make_recipe(*BOTH), root, tmp_path / "m")
    sources = read_rows(tmp_path / "m")["source"]
    assert Counter(sources) == {"seen": 40, "told": 30}
    assert 15 < Counter(sources[:35])["seen"] < 26
    mix(make_recipe(*BOTH, order="blocks"), root, tmp_path / "blocks")
    assert read_rows(tmp_path / "blocks")["source"] == ["seen"] * 40 + ["told"] * 30
    assert sorted(ids(tmp_path / "blocks")) == sorted(ids(tmp_path / "m"))


def test_the_seed_decides_everything(root, tmp_path):
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    for (name, folder), seed in zip(folders.items(), (0, 0, 1), strict=True):
        mix(make_recipe({"source": "seen", "cap": 20}, {"source": "told"}, seed=seed), root, folder)
        assert name
    assert ids(folders["a"]) == ids(folders["b"])
    assert read_manifest(folders["a"]).sha256 == read_manifest(folders["b"]).sha256
    assert set(ids(folders["a"])) != set(ids(folders["c"]))


def test_repeats_are_counted_and_even(root, tmp_path):
    manifest = mix(make_recipe({"source": "told", "weight": 2.5}, repeat=True), root, tmp_path / "m")
    (count,) = manifest.steps[0]["counts"]
    assert (count["requested"]["text"], count["repeated"]) == (75, 45)
    assert set(Counter(ids(tmp_path / "m")).values()) == {2, 3}


def test_a_ratio_holds_on_disk(root, tmp_path):
    manifest = mix(make_recipe(*BOTH, ratio={"multimodal": 1, "text": 0.5}, size=45), root, tmp_path / "m")
    assert (manifest.rows, manifest.multimodal) == (45, 30)
    assert load_pairs([tmp_path / "m"]).pairs.sources() == {"seen": 30, "told": 15}


def test_too_few_rows_write_nothing(root, tmp_path):
    with pytest.raises(DataError, match="more rows than there are"):
        mix(make_recipe(*BOTH, size=71), root, tmp_path / "m")
    assert not list(tmp_path.glob("m*"))


def test_files_without_a_manifest_are_mixed_and_their_unreadable_rows_counted(root, tmp_path):
    rows = [{"prompt": f"{number}?", "chosen": "yes", "rejected": "no"} for number in range(4)]
    rows.append({"prompt": 3, "chosen": "yes", "rejected": "no"})
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = make_recipe({"source": "seen", "cap": 3}, {"path": str(tmp_path / "mine.jsonl")})
    assert [count.available for count in count_inputs(recipe, root)] == [(40, 0), (0, 4)]
    manifest = mix(recipe, root, tmp_path / "m")
    assert (manifest.rows, manifest.drops["total"]) == (7, 1)
    assert manifest.inputs[1].sha256 is not None


def test_a_mixture_can_be_mixed_again(root, tmp_path):
    first = mix(make_recipe(*BOTH), root, tmp_path / "first")
    second = mix(make_recipe({"path": str(tmp_path / "first"), "cap": 14}), root, tmp_path / "second")
    assert (second.rows, second.multimodal) == (14, 8)
    assert second.inputs[0].sha256 == first.sha256
    assert second.sources == first.sources


def test_images_are_embedded_or_stay_where_they_are(toy, raw, root, tmp_path):
    files = raw([{"q": str(number), "good": "yes", "bad": ["no"], "images": ["a.png"]} for number in range(3)])
    convert(toy, files, tmp_path / "paths", ConvertOptions(images="paths"))
    recipe = make_recipe({"path": str(tmp_path / "paths")})
    mix(recipe, root, tmp_path / "deep" / "m", images="paths")
    assert load_pairs([tmp_path / "deep" / "m"]).ledger.total == 0
    mix(recipe, root, tmp_path / "m")
    (files.folder / "a.png").unlink()
    assert load_pairs([tmp_path / "m"]).ledger.total == 0
    stored = pq.read_table(tmp_path / "deep" / "m" / "shard-00000.parquet")["images"].to_pylist()
    assert stored == [[{"bytes": None, "path": "../../raw/a.png"}]] * 3


def test_a_finished_mixture_is_left_alone_and_another_one_refused(root, tmp_path, monkeypatch):
    first = mix(make_recipe(*BOTH), root, tmp_path / "m")
    with pytest.raises(DataError, match=r"another mixture or other inputs \(recipe.seed 0, not 1\)"):
        mix(make_recipe(*BOTH, seed=1), root, tmp_path / "m")
    monkeypatch.setattr("basereward.curation.mix.read_input", lambda *_: pytest.fail("mixed twice"))
    assert mix(make_recipe(*BOTH), root, tmp_path / "m") == first


def test_a_second_writer_of_a_mixture_is_refused(root, tmp_path):
    refused = []

    def start_another(row):
        with pytest.raises(WorkError, match="being written by process") as caught:
            mix(make_recipe(*BOTH, seed=1), root, tmp_path / "m")
        refused.append(caught)

    mix(make_recipe(*BOTH), root, tmp_path / "m", on_progress=start_another)
    assert refused
    mix(make_recipe(*BOTH), root, tmp_path / "again")
    assert (tmp_path / "m" / "manifest.json").read_text() == (tmp_path / "again" / "manifest.json").read_text()
    assert sorted(path.name for path in tmp_path.glob("*m*")) == ["m"]


def test_an_interrupted_mixture_looks_like_none_and_leaves_nothing_of_itself(root, tmp_path):
    def stop(row):
        if row == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mix(make_recipe(*BOTH), root, tmp_path / "m", on_progress=stop)
    assert not (tmp_path / "m").exists()
    manifest = mix(make_recipe({"source": "told", "cap": 5}), root, tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["manifest.json", "shard-00000.parquet"]
    assert manifest.rows == len(read_rows(tmp_path / "m")) == 5


def test_a_source_that_is_not_converted_names_the_command(root, tmp_path):
    with pytest.raises(MissingFileError, match=rf"basereward data convert absent --out {root / 'absent'}"):
        count_inputs(make_recipe({"source": "absent"}), root)
    (root / "absent.partial").mkdir()
    with pytest.raises(MissingFileError, match=r"stopped in .*absent.partial"):
        mix(make_recipe({"source": "absent"}), root, tmp_path / "m")


def test_a_set_that_is_named_twice_is_an_error(root, tmp_path):
    recipe = make_recipe({"source": "seen"}, {"path": str(root / "seen")})
    with pytest.raises(DataError, match="are one set"):
        count_inputs(recipe, root)


def test_prompts_are_not_mixed(toy, raw, root, tmp_path):
    parse = lambda record, files: [{"prompt": "1 + 1?", "answer": "2"}]  # noqa: E731
    convert(replace(toy, kind="prompts", parse=parse), raw([{}]), root / "toy")
    with pytest.raises(DataError, match="holds prompts, expected pairs"):
        mix(make_recipe({"path": str(root / "toy")}), root, tmp_path / "m")


def test_rows_of_different_inputs_are_drawn_independently(root, tmp_path):
    mix(make_recipe({"source": "seen", "cap": 10}, {"source": "told"}), root, tmp_path / "a")
    mix(make_recipe({"source": "told"}, {"source": "seen", "cap": 10}), root, tmp_path / "b")
    drawn = [{name for name in ids(tmp_path / one) if name.startswith("seen")} for one in "ab"]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 10
    assert not np.array_equal(ids(tmp_path / "a"), ids(tmp_path / "b"))
