"""The real files, where they lie beside the project: known counts, known baselines, and speed."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.benchmarks.registry import BENCHMARKS
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import run

DATA = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real data in {DATA}")
LARGE = """
import json, sys, time
from pathlib import Path
from basereward.benchmarks.plugins import open_benchmark
from basereward.data.outcomes import About, Score
from basereward.evaluation.opened import read_benchmark
from basereward.evaluation.runner import evaluate

class Instant:
    about = About("instant", sees_images=True)

    def score(self, groups):
        return [[Score(float(hash(response.text) % 97)) for response in group.responses] for group in groups]

start = time.process_time()
place = Path(sys.argv[2])
result = evaluate(Instant(), read_benchmark(open_benchmark(sys.argv[1]), place), place / "out")
# Not ru_maxrss, which on Linux starts from that of the process that launched this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0])
print(json.dumps({"n": result.n, "seconds": time.process_time() - start,
    "bytes": peak * 1024, "torch": "torch" in sys.modules}))
"""


def longer(name, folder, protocol=None, ties=None):
    """The result of ``prefer longer`` on a real benchmark."""
    return run(BASELINES.get("longer"), name, folder, protocol, root=DATA, ties=ties)


@real
@pytest.mark.parametrize(
    ("protocol", "counts"),
    [("official", (183, 749, 318)), ("r1_reward", (484, 448, 318)), ("unifiedreward", (631, 301, 318))],
)
def test_vl_rewardbench_has_three_partitions(protocol, counts, tmp_path):
    result = longer("vl_rewardbench", tmp_path, protocol)
    model = result.main.model
    assert {name: group.n for name, group in model.groups.items()} == dict(
        zip(("general", "hallucination", "reasoning"), counts, strict=True)
    )
    assert (model.n, model.ties, model.failed) == (1250, 11, 0)
    assert round(100 * model.metrics["accuracy"].value, 2) == 42.64
    assert round(100 * model.metrics["accuracy_ties_half"].value, 2) == 43.08


@real
def test_ties_as_half_is_also_a_policy(tmp_path):
    result = longer("vl_rewardbench", tmp_path, ties="half")
    assert round(100 * result.main.model.metrics["accuracy"].value, 2) == 43.08


@real
def test_rows_with_equal_ids_are_all_there():
    items = BENCHMARKS.get("vl_rewardbench").load(DATA)
    rows = [row for item in items for row in item.rows]
    assert (len(rows), len({row.row for row in rows}), len({row.id for row in rows})) == (1250, 1250, 1225)


@real
def test_mm_rlhf_rewardbench_gives_acc_and_acc_plus(tmp_path):
    result = longer("mm_rlhf_rewardbench", tmp_path)
    metrics = result.main.model.metrics
    assert round(100 * metrics["accuracy"].value, 2) == 71.76
    assert round(100 * metrics["acc_plus"].value, 2) == 47.83
    assert (metrics["accuracy"].n, metrics["acc_plus"].n) == (170, 46)
    assert {name: group.n for name, group in result.main.model.groups.items()} == {
        "mcq": 42,
        "long": 37,
        "short": 34,
        "safety": 32,
        "video": 25,
    }
    assert (result.items, result.responses) == (46, 170)


@real
def test_rm_bench_reads_the_domains_that_are_there(tmp_path):
    result = longer("rm_bench", tmp_path)
    model = result.main.model
    assert {name: group.n for name, group in model.groups.items()} == {"chat": 129, "code": 228, "safety": 441}
    assert model.metrics["overall[chat+code+safety]"].n == result.n == 798
    levels = [model.metrics[f"{level}[chat+code+safety]"].value for level in ("easy", "normal", "hard")]
    # Style makes the easy cells easy for length, and the hard ones hard.
    assert levels[0] > 0.8 > 0.5 > levels[1] > 0.2 > levels[2]
    first = result.main.references["baseline:first"].metrics["overall[chat+code+safety]"]
    assert first.low < 0.5 < first.high


@real
def test_the_llmbar_subsets_are_a_part_of_rewardbench(tmp_path):
    (tmp_path / "rewardbench").mkdir()
    rows = [json.loads(line) for line in (DATA / "llmbar" / "test.jsonl").read_text().split("\n") if line]
    for row in rows:
        row["subset"] = row.pop("source")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rewardbench" / "filtered.jsonl").write_text(text)
    result = run(BASELINES.get("longer"), "rewardbench", tmp_path / "out", root=tmp_path)
    assert {name: own.n for name, own in result.main.subsets.items()} == {
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
        "llmbar-adver-neighbor": 134,
        "llmbar-natural": 100,
    }
    # The weights of these five are their numbers of rows.
    metrics = result.main.model.metrics
    assert metrics["overall[Chat Hard]"].value == pytest.approx(metrics["accuracy"].value)
    assert result.main.model.groups["Chat Hard"].n == 419


def large_benchmark(folder):
    """A RewardBench of 5,000 invented rows with responses of ordinary length."""
    place = folder / "rewardbench"
    place.mkdir()
    subsets = ("alpacaeval-easy", "mt-bench-hard", "donotanswer", "math-prm", "hep-go")
    with (place / "filtered.jsonl").open("w") as file:
        for number in range(5000):
            row = {"id": number // 2, "prompt": f"Question {number}? " + "word " * 60, "subset": subsets[number % 5]}
            answers = {"chosen": f"Answer {number} " * 100, "rejected": f"No answer {number} " * 100}
            file.write(json.dumps({**row, **answers}) + "\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_five_thousand_items_take_seconds(tmp_path):
    large_benchmark(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", LARGE, "rewardbench", str(tmp_path)], capture_output=True, text=True, check=True
    )
    facts = json.loads(ended.stdout)
    assert facts["n"] == 5000
    assert facts["seconds"] < 20
    assert facts["bytes"] < 2**30
    assert not facts["torch"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_embedded_images_take_less_memory_than_they_are_large(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))
    count, size = 1600, 200_000
    schema = pa.schema([("id", "string"), ("query", "string"), ("response", pa.list_(pa.string()))])
    schema = schema.append(pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
    schema = schema.append(pa.field("human_ranking", pa.list_(pa.int64())))
    place = tmp_path / "vl_rewardbench" / "data"
    place.mkdir(parents=True)
    filler = bytes(size - 4)
    with pq.ParquetWriter(place / "test-0.parquet", schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, count, 100):
            rows = [
                {"id": f"a_{number}", "query": "?", "response": ["yes", "no"], "human_ranking": [0, 1]}
                | {"image": {"bytes": number.to_bytes(4, "big") + filler, "path": None}}
                for number in range(start, start + 100)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    ended = subprocess.run(
        [sys.executable, "-c", LARGE, "vl_rewardbench", str(tmp_path)], capture_output=True, text=True, check=True
    )
    facts = json.loads(ended.stdout)
    assert facts["n"] == count
    assert facts["bytes"] < count * size
    assert sum(path.is_file() for path in (tmp_path / "cache" / "images").rglob("*")) == count
