"""The drop-list, the summary and its hash, the curation step, and what mixtures keep of it."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from basereward.benchmarks.items import build_items, items_fingerprint
from basereward.benchmarks.registry import BENCHMARKS
from basereward.configuration import parse_configuration
from basereward.curation.contamination.index import build_index, item_key
from basereward.curation.contamination.ledger import check
from basereward.curation.contamination.match import Matches
from basereward.curation.contamination.summary import summarise
from basereward.curation.mix import mix
from basereward.curation.mix_recipe import MixRecipe
from basereward.curation.recipe import CurationRecipe
from basereward.curation.run import curate
from basereward.data.manifest import read_manifest
from basereward.data.overlap import CONTAMINATING, EXPLANATIONS, KINDS, OverlapSummary, merge_summaries
from basereward.data.record import merged_contamination
from basereward.data.storage import read_rows, write_rows
from basereward.errors import DataError
from tests.curation.contamination.conftest import item_row, pair

REAL = Path(__file__).parents[4] / "shared" / "data"
BENCH = [
    item_row("a", "Which of the boats carries the red sail and two lanterns?", "The first.", "None."),
    item_row("b", "Why does the old bridge over the river close at night?", "For ships.", "For fun."),
    item_row("b", "Why does the old bridge over the river close at night?", "For repairs.", "For fun."),
    item_row("c", "What do the birds on the roof eat?", "Seeds.", "Tiles."),
]
PAIRS = [
    pair("Unrelated?", "A.", "B.", id="p0"),
    pair(BENCH[0].prompt[0].text, "The first.", "B.", id="p1", source="leak"),
    pair(BENCH[1].prompt[0].text, "A.", "B.", id="p2"),
    pair(BENCH[0].prompt[0].text, "A.", "B.", id="p3"),
    pair("Empty?", "", "B.", id="p4"),
]


class Fake:
    """A benchmark of given rows."""

    def load(self, data_root=None):
        return build_items("fake", BENCH)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(BENCHMARKS, "_entries", {"fake": Fake(), "vl_rewardbench": BENCHMARKS.get("vl_rewardbench")})


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in PAIRS))
    return path


def test_the_drop_list_names_exactly_the_contaminated_rows(pairs, tmp_path):
    done = check(pairs, ["fake"], tmp_path / "drops.jsonl")
    lines = [json.loads(line) for line in done.drop_list.read_text().splitlines()]
    assert lines == [
        {"row": 1, "id": "p1", "source": "leak", "kind": "same_pair", **where([0], ["a"])},
        {"row": 2, "id": "p2", "source": lines[1]["source"], "kind": "same_question", **where([1, 2], ["b", "b"])},
        {"row": 3, "id": "p3", "source": lines[1]["source"], "kind": "same_question", **where([0], ["a"])},
    ]
    assert done.drops == 3
    only = check(pairs, ["fake"], tmp_path / "pairs-only.jsonl", kinds=["same_pair"])
    assert [json.loads(line)["row"] for line in only.drop_list.read_text().splitlines()] == [1]


def where(rows, ids):
    return {"benchmark": "fake", "benchmark_rows": rows, "benchmark_ids": ids}


def test_the_summary_counts_pairs_and_rows_by_their_strongest_kind(pairs, tmp_path):
    done = check(pairs, ["fake"], tmp_path / "drops.jsonl")
    stored = OverlapSummary.from_dict(json.loads(done.summary_file.read_text()))
    assert stored == done.summary
    items = build_items("fake", BENCH)
    own = stored.benchmarks["fake"]
    assert (stored.pairs, own.items, own.rows, own.unreadable) == (4, 3, 4, 0)
    assert own.items_sha256 == items_fingerprint(items)
    assert own.found == {"same_pair": 1, "same_question": 2}
    assert own.found_rows == {"same_pair": 1, "same_question": 2}
    assert [(one.item, one.rows, one.kind) for one in own.known] == [
        (item_key(items[0]), (0,), "same_pair"),
        (item_key(items[1]), (1, 2), "same_question"),
    ]


def test_the_hash_of_a_summary_is_that_of_its_content(pairs, tmp_path):
    first = check(pairs, ["fake"], tmp_path / "one.jsonl").summary
    again = check(pairs, ["fake"], tmp_path / "two.jsonl", workers=2).summary
    assert first.sha256 == again.sha256
    assert first.model_copy(update={"pairs": 5}).sha256 != first.sha256
    changed = first.to_dict() | {"pairs": 5}
    with pytest.raises(DataError, match="was changed"):
        OverlapSummary.from_dict(changed)
    with pytest.raises(DataError, match="none of this version"):
        OverlapSummary.from_dict({"pairs": 5})


def test_the_step_drops_and_the_manifest_states_what_stayed(pairs, tmp_path):
    recipe = {"name": "test", "inputs": [str(pairs)]}
    step = {"step": "contamination", "benchmarks": ["fake"]}
    folders = {}
    for name, kinds in {"all": list(CONTAMINATING), "some": ["same_pair"], "none": []}.items():
        chosen = parse_configuration(CurationRecipe, {**recipe, "steps": [{**step, "drop": kinds}]})
        done = curate(chosen, tmp_path, tmp_path / name)
        [one] = done["inputs"].values()
        folders[name] = Path(one["folder"])
    assert [read_rows(folder)["id"][:] for folder in folders.values()] == [
        ["p0"],
        ["p0", "p2", "p3"],
        ["p0", "p1", "p2", "p3"],
    ]
    summaries = {
        name: OverlapSummary.from_dict(read_manifest(folder).contamination) for name, folder in folders.items()
    }
    known = {name: [one.kind for one in own.benchmarks["fake"].known] for name, own in summaries.items()}
    assert known == {
        "all": [],
        "some": ["same_question", "same_question"],
        "none": ["same_pair", "same_question"],
    }
    assert summaries["all"].dropped == CONTAMINATING
    assert all(own.benchmarks["fake"].found == {"same_pair": 1, "same_question": 2} for own in summaries.values())

    inputs = [{"path": str(folders[name])} for name in ("all", "some")]
    mixed = mix(parse_configuration(MixRecipe, {"name": "mix", "inputs": inputs}), tmp_path, tmp_path / "mixed")
    merged = OverlapSummary.from_dict(mixed.contamination)
    assert merged == merge_summaries([summaries["all"], summaries["some"]])
    assert [one.kind for one in merged.benchmarks["fake"].known] == ["same_question", "same_question"]


def test_the_folders_of_one_curation_count_its_pairs_once(pairs, tmp_path):
    other = tmp_path / "other.parquet"
    write_rows([pair("Who wrote it?", "Nobody.", "All of them.", id="q0")], other)
    recipe = {"name": "test", "inputs": [str(pairs), str(other)]}
    step = {"step": "contamination", "benchmarks": ["fake"], "drop": []}
    done = curate(parse_configuration(CurationRecipe, {**recipe, "steps": [step]}), tmp_path, tmp_path / "out")
    manifests = [read_manifest(Path(one["folder"])) for one in done["inputs"].values()]
    merged = merged_contamination(manifests)
    assert merged == manifests[0].contamination
    assert merged["pairs"] == 5
    assert merged_contamination([*manifests, None]) is None
    again = manifests[0].model_copy(update={"inputs": manifests[0].inputs[:1]})
    assert merged_contamination([*manifests, again])["pairs"] == 10


def summary_of(known=(), sha="0" * 64, **changes):
    matches = Matches(np.arange(len(known)), np.array(known, dtype=np.int64), np.zeros(len(known), np.int8))
    summary = summarise(matches, build_index({"fake": build_items("fake", BENCH)}), 10, ())
    own = summary.benchmarks["fake"].model_copy(update={"items_sha256": sha})
    return summary.model_copy(update={"benchmarks": {"fake": own}, **changes})


def test_merged_summaries_know_what_any_of_them_knows():
    merged = merge_summaries([summary_of([0]), summary_of([0, 2])])
    assert merged.pairs == 20
    own = merged.benchmarks["fake"]
    assert own.found == {"same_pair": 3}
    assert [one.rows for one in own.known] == [(0,), (3,)]


def test_what_one_of_them_does_not_know_no_one_knows():
    assert merge_summaries([summary_of(), None]) is None
    assert merge_summaries([]) is None
    assert merge_summaries([summary_of(), summary_of(method={})]) is None
    assert merge_summaries([summary_of(), summary_of(sha="1" * 64)]).benchmarks == {}


def test_every_kind_is_explained():
    assert list(EXPLANATIONS) == list(KINDS)


@pytest.mark.skipif(not (REAL / "vl_rewardbench").is_dir(), reason="the real benchmark is not on this machine")
def test_the_real_benchmark_is_found_in_itself_and_nothing_else_is(tmp_path):
    records = [json.loads(line) for line in (REAL / "vl_rewardbench" / "data.jsonl").read_text().splitlines()]
    generator = random.Random(0)
    shuffled = generator.sample(records, len(records))
    write_rows([pair(one["prompt"], one["chosen"], one["rejected"]) for one in shuffled], tmp_path / "leaked.parquet")
    done = check(tmp_path / "leaked.parquet", ["vl_rewardbench"], tmp_path / "drops.jsonl", REAL)
    own = done.summary.benchmarks["vl_rewardbench"]
    # The images are not there, so short answers are not told from those about other images.
    assert own.unreadable == own.items
    assert own.found["same_pair"] + own.found["same_question_other_image"] == len(records) == own.rows
    assert own.found["same_pair"] > 900
    named = [pair(one["prompt"], "A.", "B.", original_id=one["id"]) for one in shuffled]
    write_rows(named, tmp_path / "named.parquet")
    found = check(tmp_path / "named.parquet", ["vl_rewardbench"], tmp_path / "named.jsonl", REAL).summary
    assert found.benchmarks["vl_rewardbench"].found == {"provenance": len(records)}
    write_rows([pair(f"Is {n} prime?", "Yes.", "No.") for n in range(100)], tmp_path / "clean.parquet")
    clean = check(tmp_path / "clean.parquet", ["vl_rewardbench"], tmp_path / "clean.jsonl", REAL)
    assert (clean.drops, clean.summary.benchmarks["vl_rewardbench"].found) == (0, {})
