"""`basereward audit`: what it prints and writes, and how it ends."""

import json
from pathlib import Path

import pytest

from basereward.evaluation.audit.result import AuditResult

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"


def test_a_trained_model_has_a_certificate(command, tiny):
    names = "batch,order,padding,image_blind"
    options = ("--out", "a", "--probes", names, "--limit", 9, "--json")
    ended = command("audit", tiny.model, "--data", tiny.pairs, *options)
    assert ended.code == 0
    found = {probe["name"]: probe for probe in ended.json["probes"]}
    assert {found[name]["status"] for name in ("batch", "order", "padding")} == {"pass"}
    assert found["image_blind"]["n"] == ended.json["n"] == 9
    assert ended.json["answers"] == 2 * 9 * 5
    written = json.loads(Path("a/result.json").read_text())
    assert written == {key: value for key, value in ended.json.items() if key not in ("out", "page")}
    assert AuditResult.model_validate_json(Path("a/result.json").read_text()).scorer == str(tiny.model)
    assert Path(ended.json["page"]).read_text().startswith("<!doctype html>")


def test_a_failed_probe_ends_a_strict_call_with_one(command, tiny):
    arguments = ("audit", "baseline:longer", "--data", tiny.pairs, "--probes", "verbosity,image_blind")
    ended = command(*arguments)
    assert ended.code == 0
    assert "2 probes: 1 fail, 1 not applicable; failed: verbosity." in ended.out
    assert Path("runs/audit-baseline-longer/index.html").is_file()
    assert command(*arguments, "--must-pass").code == 1
    assert "--overwrite" in command(*arguments).err
    assert command(*arguments, "--must-pass", "--overwrite").code == 1


def test_a_benchmark_is_audited_too(command):
    ended = command(
        "audit", "baseline:random", "--bench", "rm_bench", "--data-root", FIXTURES, "--probes", "length_gap", "--json"
    )
    assert (ended.code, ended.json["benchmark"]) == (0, "rm_bench")
    assert ended.json["data"]["parts"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "either --data or --bench"),
        (("--data", "a", "--bench", "b"), "either --data or --bench"),
        (("--data", "a", "--data-root", "b"), "--data-root goes with --bench"),
        (("--data", "a", "--probes", "jpg"), "Did you mean 'jpeg'"),
    ],
)
def test_what_cannot_be_meant_is_refused(command, arguments, expected):
    ended = command("audit", "baseline:longer", *arguments)
    assert ended.code in (1, 2)
    assert expected in ended.err
