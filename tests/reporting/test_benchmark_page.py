"""The pages of benchmarks: what stands on them, several benchmarks, comparisons, Markdown and LaTeX."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from basereward.benchmarks.benchmark import Benchmark
from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.published.tables import comparable_rows
from basereward.benchmarks.registry import BENCHMARKS
from basereward.errors import DataError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.result import Result
from basereward.evaluation.runner import evaluate as evaluate_opened
from basereward.reporting.benchmark_tables import metric_table, model_table
from basereward.reporting.comparison_page import build_comparison_report
from basereward.reporting.html import render
from basereward.reporting.reports import compare_folders, read_models, write_report
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import Rule, longer, run


def evaluate(folder: Path, name: str, baseline: str = "longer", **options: Any) -> Path:
    """Evaluate a baseline on the fixture of a benchmark."""
    run(BASELINES.get(baseline), name, folder / name, **options)
    return folder / name


def result_of(folder: Path) -> Result:
    return Result.model_validate_json((folder / "result.json").read_text())


def change(folder: Path, result: Result) -> None:
    (folder / "result.json").write_text(result.model_dump_json())


def items_of(page: str) -> list[dict[str, Any]]:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)["items"]


def headings(page: str) -> list[str]:
    return re.findall("<h2>(.*)</h2>", page)


def test_the_page_of_a_benchmark_has_every_part(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "mm_rlhf_rewardbench")
    [path] = write_report(folder)
    page = path.read_text(encoding="utf-8")
    assert path == folder / "report.html"
    assert headings(page)[:3] == ["Metrics beside trivial scorers", "Published numbers", "By group"]
    assert headings(page)[-4:] == ["Margins", "Reliability", "Rows", "Also in result.json"]
    for text in ("acc_plus", "100.00 %", "baseline:shorter", "Acc+: ids with every pair right", "coverage", "(n = 3)"):
        assert text in page
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    found = {item["row"]: item for item in items_of(page)}
    for record in records:
        answers = found[record["row"]]["answers"]
        assert [answer[2] for answer in answers] == [[score] for score in (*record["correct"], *record["rejected"])]
        assert found[record["row"]]["outcome"] == record["outcome"]


def test_wrong_rows_and_small_margins_come_first(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "rm_bench")
    items = items_of(write_report(folder)[0].read_text(encoding="utf-8"))
    keys = [(item["outcome"] == "correct", abs(item["margin"])) for item in items]
    assert len(items) == 3
    assert keys == sorted(keys)
    assert len(items[0]["answers"]) == 6


def test_published_numbers_stand_below_the_run_with_source_and_flag(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "mm_rlhf_rewardbench")
    published = model_table({"this run": result_of(folder).main.model})
    assert (published.models, published.published) == (1, len(published.table.rows) - 1)
    assert published.table.rows[0][:2] == ("this run", "100.00 %")
    rows = {row[0]: row for row in published.table.rows}
    own = dict(zip(published.table.header, rows["BaseReward (Qwen 2.5 VL)"], strict=True))
    assert (own["accuracy"], own["published in"]) == ("91.76 %", "paper-3")
    # 95.74 is no share of 42 pairs.
    assert own["mcq"].startswith("95.74 %")
    mark = own["mcq"].removeprefix("95.74 %")
    assert [note for note in published.notes if note.startswith(f"{mark} ")] == [
        f"{mark} No k/42 prints as 95.74; the nearest is 40/42."
    ]
    assert any(note.startswith("paper-3: ") for note in published.notes)
    first = [float(row[1].split()[0]) for row in published.table.rows[1:] if row[1] != "-"]
    assert first == sorted(first, reverse=True)


def test_rows_that_are_ablations_can_be_hidden(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "mm_rlhf_rewardbench")
    published = model_table({"this run": result_of(folder).main.model})
    rows = published.table.rows
    assert not {"paper-3", "paper-9", "paper-10"} & {rows[place][-1] for place in published.ablations}
    shown = {rows[place][0] for place in range(len(rows)) if place not in published.ablations}
    assert {"this run", "BaseReward (Qwen 2.5 VL)"} <= shown
    page = write_report(folder)[0].read_text(encoding="utf-8")
    assert page.count('<tr class="ablation">') == len(published.ablations)
    label = f"show {len(published.ablations)} published rows that are ablations"
    assert (label in page) == bool(published.ablations)


def test_a_row_with_a_number_of_a_benchmark_table_is_no_ablation() -> None:
    rows = comparable_rows("vl_rewardbench", "r1_reward")
    kinds = {name: {cell.is_ablation for cell in cells.values()} for name, cells in rows.items()}
    assert {True} in kinds.values()
    assert {False} in kinds.values()


def test_nothing_is_compared_with_another_protocol(tmp_path: Path) -> None:
    model = result_of(evaluate(tmp_path, "mm_rlhf_rewardbench")).main.model
    other = model.protocol.model_copy(update={"name": "other"})
    for changed in ({"benchmark": "mine"}, {"protocol": other}):
        assert model_table({"this run": model.model_copy(update=changed)}).published == 0


def test_our_mean_of_orders_of_a_judge_is_compared_with_nothing(tmp_path: Path) -> None:
    run(Rule(longer), "judgebench", tmp_path)
    found = {key: model_table({"x": own.model}).published for key, own in result_of(tmp_path).protocols.items()}
    assert found == {"official/both_orders": 5, "official/single_game": 5, "official/mean_of_orders": 0}
    page = write_report(tmp_path)[0].read_text(encoding="utf-8")
    assert headings(page)[:2] == ["Metrics beside trivial scorers", "Published numbers"]
    assert "Under official/mean_of_orders" in headings(page)
    assert "Published numbers under official/mean_of_orders" not in headings(page)


def test_a_run_without_texts_or_references_is_reported(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "judgebench", references=False)
    (folder / "items.jsonl").unlink()
    page = write_report(folder)[0].read_text(encoding="utf-8")
    assert "Rows" not in headings(page)
    assert "By group" in headings(page)


def test_texts_of_a_benchmark_are_never_markup(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "judgebench")
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>$\\frac$"
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"prompt": attack, "id": attack, "subset": attack, "correct": [attack]}
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = result_of(folder)
    groups = result.main.model.groups
    groups[attack] = next(iter(groups.values()))
    change(folder, result.model_copy(update={"scorer": attack, "notes": [attack], "failures": {attack: 1}}))
    page = write_report(folder)[0].read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert items_of(page)[0]["prompt"] == attack


def test_several_evaluations_get_an_overview_and_a_page_each(tmp_path: Path) -> None:
    for name in ("rm_bench", "judgebench"):
        evaluate(tmp_path / "run", name)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"prompt": "Why?", "chosen": "Because it is.", "rejected": "No."}) + "\n")
    evaluate_opened(BASELINES.get("longer"), read_pairs(pairs), tmp_path / "run" / "pairs")
    files = write_report(tmp_path / "run")
    assert files[0] == tmp_path / "run" / "report.html"
    page = files[0].read_text(encoding="utf-8")
    assert headings(page) == ["Benchmarks", "Named averages"]
    links = set(re.findall('href="(.*?)"', page))
    assert links == {f"{name}/report.html" for name in ("rm_bench", "judgebench", "pairs")}
    assert all((tmp_path / "run" / link).is_file() for link in links)
    assert (
        "RewardBench and RM-Bench. It is not computed; it needs overall of rewardbench under official; overall" in page
    )
    assert "overall of rm_bench under official (found overall[chat+math+safety])" in page
    assert "different scorers" not in page


def complete(folder: Path) -> None:
    """Change a result as if no group were missing from the fixture."""
    result = result_of(folder)
    for own in result.protocols.values():
        for named in (own.model.metrics, own.model.definitions):
            named |= {name.partition("[")[0]: value for name, value in named.items()}  # type: ignore[operator]
    change(folder, result)


def test_a_named_average_states_its_definition_and_n(tmp_path: Path) -> None:
    for name in ("rm_bench", "rewardbench"):
        complete(evaluate(tmp_path / "run", name))
    page = write_report(tmp_path / "run")[0].read_text(encoding="utf-8")
    assert "pure-text: Pure Text Avg of Tables 5 to 7: the mean of RewardBench and RM-Bench (n = 3 + 3)" in page


def test_a_part_of_a_benchmark_and_other_scorers_are_told_apart(tmp_path: Path) -> None:
    folder = evaluate(tmp_path / "a run", "vl_rewardbench", limit=2)
    evaluate(tmp_path / "a run", "judgebench", "shorter")
    overview, *pages = write_report(tmp_path / "a run", formats=("markdown",))
    assert "different scorers: baseline:shorter, baseline:longer" in overview.read_text(encoding="utf-8")
    assert "ties strict: only the first 2 items" in overview.read_text(encoding="utf-8")
    assert "| this run, only the first 2 items |" in (folder / "report.md").read_text(encoding="utf-8")
    assert "- only the first 2 items\n" in (folder / "report.md").read_text(encoding="utf-8")
    assert all("only the first" not in page.read_text() for page in pages if "judgebench" in str(page))


def test_two_folders_of_one_benchmark_are_not_mixed_up(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", "judgebench").rename(tmp_path / "run" / "other")
    evaluate(tmp_path / "run", "judgebench", "shorter")
    with pytest.raises(DataError, match=r"judgebench and .*other both hold judgebench"):
        write_report(tmp_path / "run")
    with pytest.raises(DataError, match="both hold judgebench"):
        compare_folders(tmp_path / "run", tmp_path / "run")


def test_two_runs_are_compared_on_what_they_share(tmp_path: Path) -> None:
    for baseline, names in (("longer", ("rm_bench", "judgebench")), ("shorter", ("judgebench", "vl_rewardbench"))):
        for name in names:
            evaluate(tmp_path / baseline, name, baseline)
    compared, left_out = compare_folders(tmp_path / "longer", tmp_path / "shorter")
    assert [own.comparison.benchmark for own in compared] == ["judgebench"]
    assert left_out == ["rm_bench", "vl_rewardbench"]
    page = render(build_comparison_report(compared, left_out))
    assert headings(page) == [*("Not compared", "judgebench: metrics", "judgebench: rows", "Rows that changed")]
    assert "Only one of the runs has rm_bench, vl_rewardbench." in page
    changed = compared[0].comparison.changed
    items = items_of(page)
    assert {item["row"] for item in items} == {row.row for row in changed}
    assert all(len(answer[2]) == 2 for item in items for answer in item["answers"])
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="share no benchmark"):
        compare_folders(tmp_path / "longer", tmp_path / "none")
    with pytest.raises(DataError, match="benchmark: 'rm_bench' against 'vl_rewardbench'"):
        compare_folders(tmp_path / "longer" / "rm_bench", tmp_path / "shorter" / "vl_rewardbench")


def test_markdown_and_latex_hold_the_same_cells_as_the_page(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "mm_rlhf_rewardbench")
    page, markdown, latex = (
        path.read_text(encoding="utf-8")
        for path in write_report(folder, tmp_path / "out", ("html", "markdown", "latex"))
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.md", "report.tex"]
    for row in metric_table(result_of(folder).main).rows:
        assert f"| {' | '.join(row)} |" in markdown
        assert " & ".join(row).replace("%", r"\%").replace("_", r"\_") in latex
        assert all(cell in page for cell in row)
    for text in ("95.74 %", "No k/42 prints as 95.74"):
        assert text in markdown
        assert text in page
    assert re.search(r"95\.74 \\%\\textsuperscript\{\d+\}", latex)
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == latex.count(r"\bottomrule")
    assert latex.count("{") == latex.count("}")


def test_models_are_rows_of_one_table_for_each_benchmark_and_protocol(tmp_path: Path) -> None:
    for baseline in ("longer", "shorter", "random"):
        for name in ("rm_bench", "rewardbench", "vl_rewardbench"):
            complete(evaluate(tmp_path / baseline, name, baseline))
    document = read_models([tmp_path / baseline for baseline in ("longer", "shorter", "random")])
    titles = [own.title for own in document.sections]
    assert titles[0] == "Models"
    assert set(titles[1:]) == {
        f"{name}, {protocol}"
        for name in ("rm_bench", "rewardbench", "vl_rewardbench")
        for protocol in BENCHMARKS.get(name).protocols.names()
        if protocol != "prior_sets"
    }
    averages = document.sections[0].table
    assert averages is not None
    assert [row[0] for row in averages.rows] == [f"baseline:{name}" for name in ("longer", "shorter", "random")]
    assert set(averages.header) >= {"vl_rewardbench macro", "rewardbench overall", "rm_bench overall", "pure-text"}
    # Nobody has the other benchmarks.
    assert not {"mean4", "mm_rlhf_rewardbench accuracy"} & set(averages.header)
    [official] = [own for own in document.sections if own.title == "vl_rewardbench, official"]
    assert official.table is not None
    assert official.leads == 3
    own = official.table.rows[:3]
    assert {row[0] for row in own} == {f"baseline:{name}" for name in ("longer", "shorter", "random")}
    first = [float(row[1].split()[0]) for row in own]
    assert first == sorted(first, reverse=True)
    header = official.table.header
    assert set(header) >= {"accuracy", "macro", "general", "hallucination", "reasoning", "published in"}
    published = {row[0]: dict(zip(header, row, strict=True)) for row in official.table.rows[3:]}
    assert published["GPT-4o (2024-08-06)"]["macro"].startswith("62.4")
    for baseline in ("longer", "shorter", "random"):
        model = result_of(tmp_path / baseline / "vl_rewardbench").main.model
        [row] = [row for row in own if row[0] == f"baseline:{baseline}"]
        assert row[1] == f"{100 * (model.metrics['accuracy'].value or 0):.2f} %"


def test_models_of_one_name_are_called_by_their_folders_and_other_data_are_told(tmp_path: Path) -> None:
    for place, limit in (("a", None), ("b", None), ("c", 2)):
        evaluate(tmp_path / place, "judgebench", limit=limit)
    document = read_models([tmp_path / place for place in "abc"])
    table = document.sections[1].table
    assert table is not None
    names = {row[0].removeprefix(f"{tmp_path}/").split(",")[0] for row in table.rows[:3]}
    assert names == {"a", "b", "c"}
    assert sum("only the first 2 items, data " in row[0] for row in table.rows) == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none hold no evaluation"):
        read_models([tmp_path / "a", tmp_path / "none"])


def test_changed_rows_are_filtered_by_category_outcome_and_the_longer_response(tmp_path: Path) -> None:
    for baseline in ("longer", "shorter"):
        evaluate(tmp_path / baseline, "vl_rewardbench", baseline)
    page = render(build_comparison_report(*compare_folders(tmp_path / "longer", tmp_path / "shorter")))
    found = {item["id"]: (item["source"], item["outcome"], item["kind"]) for item in items_of(page)}
    # The longer response of the first is rejected: who prefers the shorter is right.
    assert found == {
        "wildvision-battle-901": ("general", "first wrong, second correct", "rejected is longer"),
        "RLAIF-V-902": ("hallucination", "first correct, second wrong", "correct is longer"),
    }


def test_a_metric_without_a_value_is_a_dash(tmp_path: Path) -> None:
    folder = evaluate(tmp_path, "judgebench")
    result = result_of(folder)
    result.main.model.metrics["accuracy"] = Metric(value=None, n=0, low=None, high=None)
    assert metric_table(result.main).rows[0][:3] == ("accuracy", "-", "-")


def test_a_benchmark_of_a_file_is_reported(tmp_path: Path) -> None:
    known = BENCHMARKS.get("judgebench")
    mine = Benchmark("mine", "Mine", known.parts, known.read)
    run(BASELINES.get("longer"), mine, tmp_path / "mine")
    assert "mine" in write_report(tmp_path / "mine")[0].read_text(encoding="utf-8")
