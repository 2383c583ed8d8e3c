"""What a result says of the training data: overlap, the clean subset computed by hand, and what is not known."""

import json

import pytest

from basereward.benchmarks.items import build_items, items_fingerprint, text_row
from basereward.benchmarks.plugins import open_benchmark
from basereward.curation.contamination.index import item_key
from basereward.data.outcomes import About, Score
from basereward.data.overlap import BenchmarkOverlap, KnownItem, OverlapSummary
from basereward.data.record import DataRecord, TrainedOn
from basereward.evaluation.contamination import contamination_line
from basereward.evaluation.opened import Opened
from basereward.evaluation.runner import evaluate
from basereward.scoring.cache import CachedScorer
from basereward.scoring.store import KeyValueStore
from tests.evaluation.conftest import run

# Rows 0 to 4; rows 1 and 2 share a prompt. Longer responses win, so rows 0, 2 and 3 are right.
ROWS = [
    text_row("a", "s", "Question a?", ["long answer"], ["short"]),
    text_row("b", "s", "Question b?", ["no"], ["long answer"]),
    text_row("b", "s", "Question b?", ["longest answer"], ["no"]),
    text_row("c", "t", "Question c?", ["long answer"], ["short"]),
    text_row("d", "t", "Question d?", ["no"], ["long answer"]),
]
ITEMS = build_items("b", ROWS)


class Trained:
    """A scorer that says what it was trained on."""

    def __init__(self, record):
        self.about = About("trained", sees_images=True, identity={"weights": "0"}, data_record=record)

    def score(self, groups):
        return [[Score(float(len(response.text))) for response in group.responses] for group in groups]


def summary_of(known, items=ITEMS, name="b"):
    own = BenchmarkOverlap(
        items_sha256=items_fingerprint(items),
        items=len(items),
        rows=sum(len(item.rows) for item in items),
        unreadable=0,
        found={},
        found_rows={},
        known=tuple(KnownItem(item=item_key(items[place]), rows=(0,), kind=kind) for place, kind in known.items()),
    )
    return OverlapSummary(pairs=10, dropped=(), method={}, benchmarks={name: own})


def record_of(summary):
    inputs = (TrainedOn(name="mix", manifest_sha256=None, sources=None),)
    return DataRecord(fingerprint="f", inputs=inputs, contamination=summary.to_dict() if summary else None)


@pytest.fixture
def describe(tmp_path):
    """``describe(record, items)``: the result of a scorer with this record of its training data."""

    def make(record, items=ITEMS, benchmark="b"):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return evaluate(Trained(record), Opened(benchmark, items), folder)

    return make


def test_the_clean_subset_is_computed_on_the_other_rows(describe):
    summary = summary_of({1: "same_pair", 3: "near_question"})
    result = describe(record_of(summary))
    found, clean = result.contamination, result.main.clean
    assert (found.status, found.reason) == ("overlap", None)
    assert found.rows == {"same_pair": 2, "near_question": 1}
    assert found.summary_sha256 == summary.sha256
    # Rows 0 and 3 are left, both right; of all five rows three are.
    assert clean.n == 2
    assert clean.metrics["accuracy"].value == 1
    assert clean.groups["t"].n == 1
    assert result.main.model.metrics["accuracy"].value == pytest.approx(3 / 5)
    line = contamination_line(found, result.main)
    assert line == "contamination overlap: 2 x same_pair; 1 x near_question; accuracy on the 2 other rows 100.00 %"


def test_a_clean_model_is_called_so_only_for_the_same_items(describe):
    record = record_of(summary_of({}))
    clean = describe(record)
    assert (clean.contamination.status, clean.contamination.rows, clean.main.clean) == ("clean", {}, None)
    assert contamination_line(clean.contamination, clean.main) == "contamination clean"
    limited = describe(record, ITEMS[:2]).contamination
    assert limited.status == "unknown"
    assert "other items" in limited.reason


def test_known_items_are_found_again_in_another_order_and_number(describe):
    record = record_of(summary_of({1: "same_pair"}))
    found = describe(record, ITEMS[1::-1]).contamination
    assert (found.status, found.rows) == ("overlap", {"same_pair": 2})
    assert "other items" in found.reason


def test_without_a_clean_row_there_is_no_clean_result(describe):
    found = describe(record_of(summary_of(dict.fromkeys(range(len(ITEMS)), "same_question"))))
    assert (found.contamination.status, found.main.clean) == ("overlap", None)


@pytest.mark.parametrize(
    ("record", "benchmark", "reason"),
    [
        (None, "b", "Nothing says"),
        (record_of(None), "b", "Not all of the training data (mix)"),
        (record_of(summary_of({})), "other", "not checked against other"),
    ],
)
def test_what_is_unknown_is_not_called_clean(describe, record, benchmark, reason):
    result = describe(record, benchmark=benchmark)
    found = result.contamination
    assert (found.status, found.rows, result.main.clean) == ("unknown", {}, None)
    assert reason in found.reason


def test_results_say_it_through_the_cache_too(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from basereward.data.files import HubRepository\n"
        "from basereward.benchmarks.items import text_row\n"
        "from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart\n"
        "def read(opened):\n"
        "    yield text_row('1', 's', 'Why?', ['Because.'], ['No.'])\n"
        "    yield text_row('2', 's', 'Why not?', ['No.'], ['Because.'])\n"
        "MINE = Benchmark('mine', 'Mine', {'test': BenchmarkPart('mine', HubRepository('me/mine', 'MIT'))}, read)\n"
    )
    (tmp_path / "mine").mkdir()
    items = open_benchmark(f"{path}:MINE").load(tmp_path)
    scorer = Trained(record_of(summary_of({1: "provenance"}, items, "mine")))
    scorers = {"plain": scorer, "cached": CachedScorer(scorer, KeyValueStore(tmp_path / "s.sqlite"))}
    for name, one in scorers.items():
        run(one, f"{path}:MINE", tmp_path / name, root=tmp_path)
        result = json.loads((tmp_path / name / "result.json").read_text())
        assert result["contamination"]["rows"] == {"provenance": 1}
        found = result["protocols"]["official"]
        assert found["clean"]["metrics"]["accuracy"]["value"] == 1
        assert found["model"]["metrics"]["accuracy"]["value"] == 0.5
