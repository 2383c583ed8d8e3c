"""Two runs of one benchmark: paired differences, counts that add up, failed rows, runs that cannot be compared."""

import json
from pathlib import Path

import pytest

from basereward.benchmarks.protocol import DEFAULT_PROTOCOLS
from basereward.benchmarks.records import RowRecord
from basereward.benchmarks.registry import BENCHMARKS
from basereward.benchmarks.summary import summarize
from basereward.errors import DataError, MissingFileError
from basereward.evaluation.comparison import compare_runs, find_formula
from basereward.evaluation.result import ProtocolResult, Result, TrainingOverlap, UsedData
from basereward.evaluation.runs import EvaluationRun, read_evaluation
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import Rule, always, longer, run

BENCHMARK = "mm_rlhf_rewardbench"


def make_run(name, margins, rows_a_prompt=2, benchmark=BENCHMARK, protocol=None, sha256="a" * 64, limit=None):
    """A run whose rows have these margins (None: failed); ``protocol`` changes fields of the one that it names."""
    number = rows_a_prompt
    records = tuple(
        RowRecord(row, f"id{row // number}", "mcq", row // number, (None,), (0.0,), "image_missing", "gone")
        if margin is None
        else RowRecord(row, f"id{row // number}", "mcq", row // number, (float(margin),), (0.0,))
        for row, margin in enumerate(margins)
    )
    summary = summarize(benchmark, BENCHMARKS.get(BENCHMARK).protocol("official"), records)
    used = summary.protocol.model_copy(update=protocol or {})
    summary = summary.model_copy(update={"protocol": used})
    result = Result(
        benchmark=benchmark,
        scorer=name,
        n=len(records),
        items=len(records),
        responses=2 * len(records),
        data=UsedData(sha256=sha256, parts={}, limit=limit, part_of=None, dropped={}),
        protocols={used.key: ProtocolResult(model=summary, references={}, subsets={}, clean=None)},
        judgements=None,
        failures={},
        notes=[],
        contamination=TrainingOverlap(status="unknown"),
        settings={},
        identity=None,
        seeds={},
        versions={},
    )
    return EvaluationRun(Path(name), result, records)


def test_equal_runs_do_not_differ():
    own = make_run("a", [1, -1, 0, 2])
    found = compare_runs(own, own)
    assert found.changed == ()
    assert found.mcnemar_p == 1
    assert all(own[2:6] == (0, 0, 0, 1) for own in (*found.metrics.values(), *found.groups.values()))


def test_the_counts_are_those_of_the_rows():
    first = make_run("a", [1, 1, 1, -1, -1, 0, None, None, 1])
    second = make_run("b", [1, -1, 0, 1, -1, 0, None, 1, None])
    found = compare_runs(first, second)
    counts = found.counts
    assert counts[:4] == (1, 2, 1, 2)
    assert (counts.tied_first, counts.tied_second) == (1, 2)
    assert (counts.failed_first, counts.failed_second, counts.failed_both) == (1, 1, 1)
    assert sum(counts[:4]) == found.scored_by_both == 6
    assert sum(counts[:4]) + sum(counts[6:]) == found.n == 9
    assert [(row.row, row.first, row.second) for row in found.changed] == [
        (1, "correct", "wrong"),
        (2, "correct", "tie"),
        (3, "wrong", "correct"),
        (7, "failed", "correct"),
        (8, "correct", "failed"),
    ]


def test_metrics_are_over_the_rows_that_both_scored():
    first, second = make_run("a", [1, 1, 1, 1]), make_run("b", [1, -1, 1, None])
    found = compare_runs(first, second).metrics
    assert found["accuracy"][:3] == pytest.approx((1, 2 / 3, 1 / 3))
    assert found["accuracy"].n == 3
    # The second prompt has a row that one of them could not score, so it is in no Acc+ of either.
    assert (found["acc_plus"].n, found["acc_plus"].difference) == (1, 1.0)


def test_exchanging_the_runs_turns_the_signs():
    first, second = make_run("a", [1, -1] * 5 + [1] * 10), make_run("b", [-1, 1, 1, 1] * 5)
    there, back = compare_runs(first, second), compare_runs(second, first)
    for name, own in there.metrics.items():
        other = back.metrics[name]
        assert other.difference == pytest.approx(-own.difference)
        assert (other.low, other.high) == pytest.approx((-own.high, -own.low))
        assert other.p == own.p
    assert there.mcnemar_p == back.mcnemar_p
    assert there.counts.only_first == back.counts.only_second


def test_rows_of_one_prompt_are_not_taken_as_independent():
    margins, others = [1, 1, -1, -1] * 10, [-1] * 40
    shared, single = (
        compare_runs(make_run("a", margins, number), make_run("b", others, number)).metrics["accuracy"]
        for number in (2, 1)
    )
    assert shared.high - shared.low > 1.2 * (single.high - single.low)


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_every_metric_of_every_protocol_differs_by_what_the_results_differ(name, tmp_path):
    for variant in BENCHMARKS.get(name).protocols.names():
        runs = []
        for baseline in ("longer", "random"):
            folder = tmp_path / variant / baseline
            run(BASELINES.get(baseline), name, folder, variant, references=False)
            runs.append(read_evaluation(folder))
        found = compare_runs(*runs)
        models = [own.result.main.model for own in runs]
        for metric, own in found.metrics.items():
            expected = [model.metrics[metric] for model in models]
            assert (own.first, own.second) == pytest.approx([one.value for one in expected])
            assert own.difference == pytest.approx(expected[0].value - expected[1].value)
            assert own.n == expected[0].n
        assert set(found.groups) == {group for group, own in models[0].groups.items() if own.value is not None}
        assert json.loads(json.dumps(found.to_dict()))["counts"]["failed_both"] == 0


def judge_runs(name, folder):
    runs = []
    for judge in (Rule(longer, name="judge:longer"), Rule(always(0), name="judge:always")):
        run(judge, name, folder / judge.about.name, references=False)
        runs.append(read_evaluation(folder / judge.about.name))
    return runs


def test_judges_are_compared_in_both_orders(tmp_path):
    runs = judge_runs("mm_rlhf_rewardbench", tmp_path)
    accuracy = compare_runs(*runs).metrics["accuracy"]
    assert accuracy.first == runs[0].result.main.model.metrics["accuracy"].value
    # Who always names the first one is right in one of the two orders.
    assert accuracy.second == 0.5


@pytest.mark.parametrize("name", ["vl_rewardbench", "judgebench", "multimodal_rewardbench"])
def test_judges_are_compared_by_the_official_rule(name, tmp_path):
    runs = judge_runs(name, tmp_path)
    found = compare_runs(*runs)
    assert "judge " in found.protocol
    accuracies = [own.result.main.model.metrics["accuracy"].value for own in runs]
    assert found.metrics["accuracy"][:2] == pytest.approx(accuracies)


def test_the_categories_of_changed_rows_are_those_of_the_protocol(tmp_path):
    for baseline in ("longer", "shorter"):
        run(BASELINES.get(baseline), "vl_rewardbench", tmp_path / baseline, "r1_reward")
    found = compare_runs(*(read_evaluation(tmp_path / baseline) for baseline in ("longer", "shorter")))
    assert {row.id: row.group for row in found.changed} == {
        "wildvision-battle-901": "general",
        "RLAIF-V-902": "general",
    }


def test_runs_that_both_have_a_protocol_are_compared_under_that_of_the_first(tmp_path):
    for place, protocol in (("a", "r1_reward"), ("b", "official")):
        run(BASELINES.get("longer"), "vl_rewardbench", tmp_path / place, protocol)
    first, second = (read_evaluation(tmp_path / place) for place in "ab")
    assert compare_runs(first, second).protocol.startswith("r1_reward: ")
    assert compare_runs(second, first).protocol.startswith("official: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "f" * 64}, "data sha256: 'aaa.*' against 'fff"),
        ({"limit": 4}, "limit: None against 4"),
        ({"protocol": {"ties": "half"}}, "protocol: '.*; ties strict' against '.*; ties half'"),
        ({"protocol": {"name": "other"}}, "protocol: 'official: .*' against 'other: "),
        ({"benchmark": "rm_bench"}, "benchmark: 'mm_rlhf_rewardbench' against 'rm_bench'"),
    ],
)
def test_what_differs_is_named(changes, message):
    with pytest.raises(DataError, match=message):
        compare_runs(make_run("a", [1, 1]), make_run("b", [1, 1], **changes))


def test_other_rows_or_none_scored_by_both_are_refused():
    with pytest.raises(DataError, match="a has 2 rows and b 3, 1 of which"):
        compare_runs(make_run("a", [1, 1]), make_run("b", [1, 1, 1]))
    with pytest.raises(DataError, match="No row"):
        compare_runs(make_run("a", [1, None]), make_run("b", [None, 1]))


def test_a_protocol_that_is_gone_or_changed_is_refused():
    for changes, message in (({"name": "old"}, "old"), ({"text": "x"}, "Evaluate again")):
        own = make_run("a", [1, 1], protocol=changes)
        with pytest.raises(DataError, match=message):
            compare_runs(own, own)
    # Of a benchmark of the user.
    text = DEFAULT_PROTOCOLS.get("official").text
    own = make_run("a", [1], benchmark="mine", protocol={"text": text, "ties": "half"})
    assert find_formula("mine", own.result.main.model.protocol, "a").protocol == DEFAULT_PROTOCOLS.get("official")


@pytest.mark.parametrize(("kept", "message"), [(-1, "has 2 records, but result.json is of 3 rows"), (-9, "not JSON")])
def test_records_that_were_cut_off_are_refused(kept, message, tmp_path):
    run(BASELINES.get("longer"), "vl_rewardbench", tmp_path, limit=3, references=False)
    path = tmp_path / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) if kept == -1 else "".join(lines)[:kept])
    with pytest.raises(DataError, match=message):
        read_evaluation(tmp_path)


def test_a_protocol_that_only_a_file_knows_is_named():
    changes = {"name": "own", "text": "of mine"}
    runs = [make_run(name, [1, -1], benchmark="mine", protocol=changes) for name in "ab"]
    with pytest.raises(DataError, match=r"'own', a protocol of the file that brought mine.*entry points"):
        compare_runs(*runs)


def test_a_folder_without_a_benchmark_or_of_an_older_version_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="absent"):
        read_evaluation(tmp_path / "absent")
    with pytest.raises(DataError, match="eval MODEL --bench"):
        read_evaluation(tmp_path)
    old = {"benchmark": "rm_bench", "scorer": "x", "evaluations": {}, "n": 3}
    (tmp_path / "result.json").write_text(json.dumps(old))
    with pytest.raises(DataError, match=r"older version.*--overwrite.*--from-scores .*records.jsonl --bench rm_bench"):
        read_evaluation(tmp_path)
