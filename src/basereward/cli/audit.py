"""``basereward audit``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.evaluate import (
    EVAL_MODEL_HELP,
    JUDGE_OPTION_HELP,
    JUDGE_PROMPT_HELP,
    open_subject,
)
from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    HUB_ROOT_OPTION,
    JSON_OPTION,
    console,
    default_out,
    print_json,
    print_next,
    progress,
)
from basereward.cli.reading import (
    A_OPTION,
    B_OPTION,
    CHOICE_OPTION,
    FORMAT_OPTION,
    MAP_OPTION,
    read_options,
    reading_words,
)

DATA_HELP = "File of pairs in any format, folder or hub id, with :SPLIT behind it."
BENCH_HELP = "Benchmark by name, or file.py:NAME, instead of --data."
PROBES_HELP = "Names of probes with commas between them; all by default."


def audit(
    model: str = typer.Argument(metavar="MODEL", help=EVAL_MODEL_HELP),
    data: str | None = typer.Option(None, "--data", help=DATA_HELP),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    bench: str | None = typer.Option(None, "--bench", help=BENCH_HELP),
    data_root: Path | None = HUB_ROOT_OPTION,
    out: Path | None = typer.Option(None, help="Result folder; runs/audit-MODEL by default."),
    probes: str = typer.Option("", help=PROBES_HELP),
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs of the file, items of the benchmark."),
    seed: int = typer.Option(0, help="Seed of whatever a probe draws."),
    must_pass: bool = typer.Option(False, "--must-pass", help="End with status 1 if a probe failed."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Delete the audit that the result folder holds."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    judge_prompt: str | None = typer.Option(None, help=JUDGE_PROMPT_HELP),
    judge_tokens: int | None = typer.Option(None, min=1, help="Longest answer of a judge, thoughts included; 2048."),
    judge_option: str | None = typer.Option(None, help=JUDGE_OPTION_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Probe what a model's scores depend on: images, prompts, neighbours, form, and texts that flatter it.

    An interrupted call goes on where it stopped.

    Example: `basereward audit runs/demo/model --data pairs.jsonl`
    """
    from basereward.evaluation.audit.probes import choose_probes
    from basereward.evaluation.audit.run import AuditOptions
    from basereward.evaluation.audit.run import audit as run
    from basereward.reporting.audit_page import write_audit_page

    if (data is None) == (bench is None):
        raise typer.BadParameter("give either --data or --bench.")
    if data_root is not None and bench is None:
        raise typer.BadParameter("--data-root goes with --bench.")
    names = tuple(name.strip() for name in probes.split(",") if name.strip())
    # What is misspelt is told before a model is loaded.
    choose_probes(names)
    place = out or default_out("audit", model)
    reading = read_options(format, map, choice, a, b)
    opened = _open_items(data, bench, data_root, limit, reading)
    judge = {"--judge-prompt": judge_prompt, "--judge-tokens": judge_tokens, "--judge-option": judge_option}
    # A certificate of scores from a cache would say nothing.
    asked = open_subject(model, judge, None, dtype, device, backend, cache=False)
    options = AuditOptions(names, seed, overwrite, {"dtype": dtype, "backend": backend})
    with progress("audit") as bar:
        found = run(asked, opened, place, options, bar.move)
    page = write_audit_page(place)
    if as_json:
        print_json({"out": str(place), "page": str(page), **found.model_dump(mode="json")})
    else:
        _print(found)
        print(f"{page}\n{place / 'result.json'}")
        _print_next(model, data, bench, reading)
    if not found.answered or (must_pass and found.failed):
        raise typer.Exit(1)


def _open_items(data: str | None, bench: str | None, data_root: Path | None, limit: int | None, reading: Any) -> Any:
    if data is not None:
        from basereward.evaluation.pairs import read_pairs

        return read_pairs(data, limit, options=reading)
    from basereward.benchmarks.plugins import open_benchmark
    from basereward.evaluation.opened import read_benchmark

    return read_benchmark(open_benchmark(str(bench)), data_root, limit=limit)


def _print_next(model: str, data: str | None, bench: str | None, reading: Any) -> None:
    """Print how a liking that probes found is removed; without pairs, or for a judge, how it ranks all the same."""
    from basereward.scoring.spec import is_judge

    if data is not None and not is_judge(model):
        print_next("calibrate", model, data, *reading_words(reading))
    else:
        print_next("eval", model, *(["--bench", bench] if bench else ["--data", data, *reading_words(reading)]))


def _print(found: Any) -> None:
    from basereward.reporting.audit_page import probe_table, summary_line
    from basereward.reporting.tables import to_rich

    console().print(to_rich(probe_table(found.probes), title=f"Audit of {found.scorer} on {found.benchmark}"))
    print(summary_line(found))
