"""Every protocol equals an independent reference on random score tables: ties, missing rows, repeated ids."""

import importlib.util
from pathlib import Path
from random import Random

import pytest

from basereward.benchmarks.records import RowRecord
from basereward.benchmarks.registry import BENCHMARKS
from basereward.benchmarks.summary import summarize

TABLES = 1000
_spec = importlib.util.spec_from_file_location("references", Path(__file__).with_name("references.py"))
references = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(references)

VL = ["wildvision-battle", "RLAIF-V", "RLHF-V", "hallucination_pair", "mathverse", "mmmu_pro", "svit", "jailbreak"]
REWARDBENCH = [word for text in references.COUNTS.values() for word in text.split()[::2]]
TASKS = ["correctness", "preference", "knowledge", "math", "coding", "bias", "vqa"]
SUBSETS = {
    "multimodal_rewardbench2": ["t2i/wise", "t2i/evalmuse", "edit/hq-edit", "interleaved/mmmg", "reasoning/blink"],
    "rmhackbench": ["P1/PlotQA", "P1/DocVQA", "T1/DocVQA", "T2/VQA-v2", "C1/VQA-v2", "C2/PlotQA"],
    "mr2bench": ["image-4", "image-8", "video-4"],
    "omni_rewardbench": ["text_to_text", "text_image_to_text"],
}
JUDGE = ["mmlu-pro-law", "mmlu-pro-math", "livebench-reasoning", "livebench-math", "livecodebench"]


def shape_of(benchmark, random):
    """``(id, subset, correct, rejected)`` of a random row: how many responses there are on each side."""
    number = random.randrange(12)
    if benchmark == "vl_rewardbench":
        prefix = random.choice(VL)
        return f"{prefix}-{number}", prefix.split("_")[0].split("-")[0], 1, 1
    if benchmark == "mm_rlhf_rewardbench":
        return f"{number}_x", random.choice(["mcq", "long", "short", "safety", "video"]), 1, 1
    if benchmark == "rm_bench":
        return str(number), random.choice(["chat", "code", "math", "safety-refuse", "safety-response"]), 3, 3
    if benchmark == "rewardbench":
        return str(number), random.choice([*REWARDBENCH, *references.PRIOR]), 1, 1
    if benchmark == "rewardbench2":
        subset = random.choice(["Factuality", "Precise IF", "Math", "Safety", "Focus"])
        return str(number), subset, 1, 3
    if benchmark == "judgebench":
        return str(number), random.choice(JUDGE), 1, 1
    if benchmark in SUBSETS:
        several = benchmark == "mr2bench"
        sides = (random.randint(1, 3), random.randint(1, 4)) if several else (1, 1)
        return str(number), random.choice(SUBSETS[benchmark]), *sides
    return str(number), random.choice(TASKS), 1, 1


def random_table(benchmark, random, protocol="official"):
    """Records of 1 to 60 rows; scores are small integers, so that ties are common; some rows failed."""
    can_tie = (benchmark, protocol) == ("omni_rewardbench", "with_ties")
    shapes = [shape_of(benchmark, random) for _ in range(random.randint(1, 60))]
    if benchmark == "rewardbench2":
        # The ids of Ties are keys of its formula; numbers may lack their other half.
        for number in range(random.randrange(8)):
            shapes += [(f"ref:{number}", "Ties", 1, 3)] * (random.random() < 0.9)
            shapes += [(f"tied:{number}", "Ties", random.randint(1, 4), 3)] * (random.random() < 0.9)
    records = []
    for row, (name, subset, correct, rejected) in enumerate(shapes):
        sides = [tuple(float(random.randrange(4)) for _ in range(count)) for count in (correct, rejected)]
        failed = random.random() < 0.1
        if failed:
            sides[0] = (None,) * correct
        tied = can_tie and random.random() < 0.3
        records.append(RowRecord(row, name, subset, row // 2, *sides, "missing_score" if failed else None, tied=tied))
    random.shuffle(records)
    return records


def expected_of(benchmark, protocol, rows, failed_ids):
    """Metrics and groups of the reference."""
    if benchmark == "vl_rewardbench":
        return references.vl_rewardbench(rows, protocol)
    if benchmark == "mm_rlhf_rewardbench":
        return references.mm_rlhf_rewardbench(rows, failed_ids)
    if benchmark == "rm_bench" and protocol == "pooled":
        metrics = references.rm_levels(references.rm_matrix(rows)) if rows else {}
        return metrics, references.rm_bench(rows)[1]
    if benchmark == "rewardbench":
        kept = rows if protocol == "prior_sets" else [row for row in rows if row["subset"] not in references.PRIOR]
        return references.rewardbench(kept, protocol == "prior_sets")
    if (benchmark, protocol) == ("omni_rewardbench", "with_ties"):
        return references.omni_with_ties(rows)
    if benchmark in ("multimodal_rewardbench2", "rmhackbench", "omni_rewardbench"):
        return references.by_prefix(rows)
    if benchmark == "videorewardbench":
        return references.multimodal_rewardbench(rows)
    return getattr(references, benchmark)(rows)


CASES = [
    ("vl_rewardbench", "official"),
    ("vl_rewardbench", "r1_reward"),
    ("vl_rewardbench", "unifiedreward"),
    ("mm_rlhf_rewardbench", "official"),
    ("rm_bench", "official"),
    ("rm_bench", "pooled"),
    ("rewardbench", "official"),
    ("rewardbench", "prior_sets"),
    ("multimodal_rewardbench", "official"),
    ("rewardbench2", "official"),
    ("judgebench", "official"),
    ("videorewardbench", "official"),
    ("multimodal_rewardbench2", "official"),
    ("rmhackbench", "official"),
    ("mr2bench", "official"),
    ("omni_rewardbench", "official"),
    ("omni_rewardbench", "with_ties"),
]


@pytest.mark.parametrize(("benchmark", "protocol"), CASES)
def test_metrics_equal_the_reference(benchmark, protocol, monkeypatch):
    chosen = BENCHMARKS.get(benchmark).protocol(protocol)
    random = Random(f"{benchmark} {protocol}")
    for _ in range(TABLES // 5 if benchmark in SUBSETS else TABLES):
        records = random_table(benchmark, random, protocol)
        scored = [record for record in records if record.failure is None]
        rows = [
            {name: getattr(record, name) for name in ("id", "subset", "correct", "rejected", "tied", "row")}
            for record in scored
        ]
        failed_ids = {record.id for record in records if record.failure is not None}
        # Official scripts read rows in the order of the file.
        rows.sort(key=lambda row: row["row"])
        metrics, groups = expected_of(benchmark, protocol, rows, failed_ids)
        found = summarize(benchmark, chosen, records)
        assert (found.n, found.failed) == (len(records), len(records) - len(rows))
        by_name = {name.partition("[")[0]: metric.value for name, metric in found.metrics.items()}
        assert {name: by_name[name] for name in metrics} == pytest.approx(metrics)
        shown = {name: group.value for name, group in found.groups.items()}
        assert shown == pytest.approx({name: value for name, value in groups.items() if value is not None})
        for metric in found.metrics.values():
            if metric.value is not None:
                assert metric.low - 1e-9 <= metric.high + 1e-9


@pytest.mark.parametrize(("benchmark", "protocol"), CASES)
def test_the_order_of_the_records_changes_nothing(benchmark, protocol, monkeypatch):
    chosen, random = BENCHMARKS.get(benchmark).protocol(protocol), Random(1)
    records = random_table(benchmark, random, protocol)
    shuffled = records.copy()
    random.shuffle(shuffled)
    assert summarize(benchmark, chosen, records) == summarize(benchmark, chosen, shuffled)


@pytest.mark.parametrize("benchmark", ["multimodal_rewardbench2", "rmhackbench", "omni_rewardbench"])
def test_an_accuracy_without_all_groups_says_so(benchmark):
    chosen, subsets = BENCHMARKS.get(benchmark).protocol("official"), SUBSETS[benchmark]
    records = [RowRecord(row, str(row), subset, row, (1.0,), (0.0,)) for row, subset in enumerate(subsets)]
    assert summarize(benchmark, chosen, records).notes == ()
    [note] = summarize(benchmark, chosen, records[:1]).notes
    assert note.startswith(f"accuracy is over {subsets[0].partition('/')[0]} alone; that of the benchmark is over ")
