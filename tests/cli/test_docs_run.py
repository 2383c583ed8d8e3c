"""README and docs: every command line runs on files that the demo leaves, or its kind says why it is not run here."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from basereward.data.storage import write_rows
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models import hub
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.head import HeadSettings
from tests.cli.conftest import call
from tests.cli.test_docs import LINES, ROOT, SMALL

# Pages whose own tests run all that can run without hours or a GPU.
ELSEWHERE = {
    "annotations.md": "tests/scoring/annotation/test_docs.py",
    "audit.md": "tests/evaluation/audit/test_docs.py",
    "calibration.md": "tests/cli/test_calibrate.py",
    "checkpoints.md": "tests/cli/test_card.py, tests/models/importing/test_docs.py",
    "ensembles.md": "tests/scoring/compose/test_docs.py",
    "heads-and-soups.md": "tests/models/merging/test_docs.py",
    "probe.md": "tests/cli/test_probe.py",
    "routing.md": "tests/scoring/compose/test_routing_docs.py",
    "shortcuts.md": "tests/training/test_docs.py",
    "sweeps.md": "tests/sweep/test_docs.py",
}
# Why a line is understood (``test_docs``) and not run: patterns of lines, in this order.
NOT_RUN = {
    "it serves until it is stopped": r"serve ",
    "a server or a judge answers": r".*(http://|judge:)",
    "it is timed, for minutes": r"speed ",
    "it trains for minutes": r"lab (?!backbone|world|prompts)|train recipes/(critic|grm|long)|rl (?!eval)",
    "a cluster runs it, or several GPUs": r".*--engine ray|train RECIPE hardware",
    "it is refused on pairs without what it looks for; the page has a test": r"calibrate |route ",
    "a policy was trained": r"report runs/(my-rl|rl-)",
    "an external program runs it": r"rl eval .*(--run|--results)",
    "weights of billions of parameters": r"train (?!.*--plan).*7b|train --model Qwen",
    "the hub gives the data": r"data (curate|contamination) .*(sets|vstar)|data convert (rlaif_v|mmpr)",
    "published pictures": r".*(puzzle|nlvr)",
    "scores, columns and benchmarks of the reader's own": r"eval --from|train RECIPE|.*mine.py|report runs/a-0",
}
# They train, or draw many plots.
SLOW = ("results.md", "reports.md", "benchmarks.md", "rl-monitors.md", "rl-training.md", "paradigms.md")
FIXTURES = ROOT / "tests" / "benchmarks" / "fixtures"
# What stands for a name, numbers that a test has no time for, and local copies of what the hub has.
INSTEAD = {
    "score MODEL pairs.jsonl": "score MODEL asked.jsonl",
    "eval MODEL --bench": "eval baseline:longer --bench",
    "eval MODEL --out": "eval baseline:longer --out",
    # Pictures are no part of the fixtures, and a model that sees them would find none.
    "runs/demo/model --bench": "baseline:longer --bench",
    "MODEL": "runs/demo/model",
    "DATA": str(FIXTURES),
    "--pairs 20000": "--pairs 12",
    "--pairs 2000": "--pairs 8",
    "--pairs 600": "--pairs 8",
    "--prompts 400": "--prompts 4",
    "--sample 1000": "--sample 2",
}
# Folders that pages make, each from data of its own.
MADE_ANEW = {"data mix": "data/basereward-mix", "data split": "data/split"}
SOURCES = (
    "rlaif_v",
    "mmpr",
    "mm_rlhf",
    "vlfeedback",
    "rlhf_v",
    "ultra_hard",
    "tulu3",
    "olmo2",
    "wildchat",
    "swe_arena",
)


def reason(line: str) -> str | None:
    """Why a line is not run here; None if it is."""
    elsewhere = [ELSEWHERE[name] for name, own in LINES if own == line and name in ELSEWHERE]
    if elsewhere:
        return elsewhere[0]
    return next((why for why, pattern in NOT_RUN.items() if re.match(pattern, line)), None)


RUN = [(page, line) for page, line in LINES if page.endswith(".md") and reason(line) is None]
# A line that several pages have runs once.
PAGES = {line: page for page, line in reversed(RUN)}


@pytest.fixture(scope="module")
def place(tiny, vl_backbone, tmp_path_factory) -> Iterator[Path]:
    """A working directory with what the demo leaves, in miniature, and files of the names that pages use."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)

        def refuse(*args, **kwargs):
            raise ConnectionError("no network")

        patch.setattr(hub, "snapshot_download", refuse)
        shutil.copytree(tiny.run, "runs/demo")
        for name in ("runs/demo/backbone", "runs/tiny-backbone"):
            Path(name).symlink_to(vl_backbone)
        (folder / "recipes").symlink_to(ROOT / "recipes")
        rows = list(draw_rows(8, 3))
        for name in ("demo/data/train", "demo/data/test", "world/train", "world/test"):
            Path(f"runs/{name}").parent.mkdir(parents=True, exist_ok=True)
            write_rows(rows, Path(f"runs/{name}.parquet"))
        texts = draw_rows(12, 5, WorldConfig(text_share=1))
        plain = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in texts]
        for name in ("pairs", "mine", "test", "other"):
            Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
        write_rows(rows, Path("pairs.parquet"))
        Path("shards").mkdir()
        write_rows(rows, Path("shards/0.parquet"))
        write_files(folder, vl_backbone)
        yield folder


def write_files(folder: Path, backbone: Path) -> None:
    """Write what single pages name: columns of other names, rankings, rollouts, an ensemble, evaluations, sources."""
    named = {"question": "Q?", "better": "yes", "worse": "no"}
    asked = {"question": "Q?", "better_response": "yes", "worse_response": "no"}
    safe = {"prompt": "Q?", "response_0": "yes", "response_1": "no", "better_response_id": 0}
    ranked = {"prompt": "Q?", "responses": ["a", "bb", "ccc"], "scores": [1, 2, 3]}
    responses = [[f"{n}", "1", "longer", "2"] for n in range(3)]
    rollouts = [{"prompt": f"Q{n}?", "responses": own, "answer": str(n)} for n, own in enumerate(responses)]
    for name, rows in {"rows": [named], "asked": [asked], "rankings": [ranked], "rollouts": rollouts}.items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist([safe, {**safe, "better_response_id": 1}]), "safe.parquet")
    members = [f"{{model: baseline:{name}, name: {name}}}" for name in ("longer", "first")]
    Path("ensemble.yaml").write_text(f"members: [{', '.join(members)}]\nensemble: {{rule: vote}}\n")
    guide = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    Path("runs/noise.yaml").write_text(re.findall(r"<<END\n(.*?)^END$", guide, re.MULTILINE | re.DOTALL)[0])
    torch.manual_seed(0)
    save_reward_model(new_reward_model(str(backbone), HeadSettings(layers=1)), Path("runs/linear/model"))
    for name, target in {
        "runs/my-rl": "runs/demo",
        "runs/my-model": "runs/demo",
        "runs/critic-tiny": "runs/demo",
    }.items():
        Path(name).symlink_to(folder / target)
    Path("models").mkdir()
    Path("models/my-model").symlink_to(backbone)
    Path("benchmarks").symlink_to(FIXTURES)
    bench = ("--bench", "vl_rewardbench", "--data-root", FIXTURES, "--limit", 2, "--no-references")
    for name, model in {"eval-a": "longer", "eval-b": "shorter", "eval-c": "first"}.items():
        assert call("eval", f"baseline:{model}", *bench, "--out", f"runs/{name}") == 0
    for name, like in {"n": "eval-a", "o": "eval-c"}.items():
        shutil.copytree(f"runs/{like}", f"runs/{name}")
    assert call("data", "convert", "pairs.jsonl", "--out", "data/basereward-mix") == 0
    for name in SOURCES:
        shutil.copytree("data/basereward-mix", f"data/{name}")
    Path("data/curated").symlink_to(folder / "data")


def as_run(line: str) -> list[str]:
    """The words of a line on files that are here, with as few steps and rows as show that it runs."""
    for name, value in INSTEAD.items():
        line = line.replace(name, value)
    words = shlex.split(line)
    if words[0] == "eval" and "--out" not in words and "--bench" in words:
        words += ["--out", f"runs/eval-{sum(map(ord, line))}"]
    if words[0] == "train" and "--plan" not in words:
        words += SMALL
    if words[0] == "eval" and "--bench" in words:
        words += ["--limit", "2", "--no-references"]
    if "--bench" in words and "--data-root" not in words:
        words += ["--data-root", str(FIXTURES)]
    return words


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in dict.fromkeys(PAGES.values())],
)
def test_the_lines_of_a_page_run(page: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in [own for own, name in reversed(PAGES.items()) if name == page]:
        if (made := MADE_ANEW.get(" ".join(line.split()[:2]))) and "--plan" not in line:
            shutil.rmtree(made, ignore_errors=True)
        capsys.readouterr()
        code = call(*as_run(line))
        printed = capsys.readouterr()
        assert code == 0, f"{line}\n{printed.err}"


def test_every_reason_is_used() -> None:
    told = {reason(line) for _, line in LINES}
    assert told - {None} == {*ELSEWHERE.values(), *NOT_RUN}
    assert len(RUN) > 60
