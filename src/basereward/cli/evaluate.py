"""``basereward eval``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    HUB_ROOT_OPTION,
    JSON_OPTION,
    MODEL_HELP,
    console,
    default_out,
    print_json,
    print_next,
    progress,
    say,
)
from basereward.cli.reading import A_OPTION, B_OPTION, CHOICE_OPTION, FORMAT_OPTION, MAP_OPTION, read_options

DATA_HELP = "File of pairs in any format, folder or hub id, each with :SPLIT behind it; may be repeated."
BENCH_HELP = "Benchmark by name, or file.py:NAME; may be repeated."
PROTOCOL_HELP = "Protocol that leads; its official one by default. Those that read the same files stand beside it."
EVAL_MODEL_HELP = f"{MODEL_HELP} A judge is judge:http://HOST:PORT/v1#MODEL or judge:FOLDER."
JUDGE_PROMPT_HELP = (
    "How a judge is asked: verdict_line, answer_tag, brackets, sentence, think or digit, by default as it was trained "
    "here, else verdict_line; FILE, a prompt of yours; r1_reward=FILE or llava_critic=FILE, the file of that project."
)
JUDGE_OPTION_HELP = (
    "NAME=VALUE,... of a judge: max_completion_tokens, temperature, seed, samples; timeout, attempts, concurrency of a "
    "server; batch_tokens of a model in this process."
)
SAMPLES_HELP = "How often a judge is asked each question; 1."
SCORES_HELP = "File of scores made elsewhere, instead of MODEL; for one --bench."
PARTIAL_HELP = "Take --from-scores of some rows alone; all numbers, those of baselines too, are of these rows."
RESUME_HELP = "Go on from what the result folders hold, finished or not; failed rows are asked again."


class Target(NamedTuple):
    """What is evaluated into a folder; it is opened when its turn comes."""

    folder: Path
    open: Callable[[], Any]


def evaluate(
    model: str | None = typer.Argument(None, metavar="MODEL", help=EVAL_MODEL_HELP),
    data: list[str] = typer.Option([], "--data", help=DATA_HELP),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    bench: list[str] = typer.Option([], "--bench", help=BENCH_HELP),
    data_root: Path | None = HUB_ROOT_OPTION,
    protocol: str | None = typer.Option(None, help=PROTOCOL_HELP),
    ties: str | None = typer.Option(None, help="strict, half or greater_or_equal; the protocol's by default."),
    from_scores: Path | None = typer.Option(None, help=SCORES_HELP),
    partial: bool = typer.Option(False, "--partial", help=PARTIAL_HELP),
    out: Path | None = typer.Option(None, help="Result folder; runs/eval-MODEL by default."),
    references: bool = typer.Option(True, help="Also evaluate trivial baselines and the image-blind model."),
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs of each file, items of a benchmark."),
    strict: bool = typer.Option(False, "--strict", help="Fail on the first bad row of --data instead of counting it."),
    resume: bool = typer.Option(False, "--resume", help=RESUME_HELP),
    overwrite: bool = typer.Option(False, "--overwrite", help="Delete what the result folders hold."),
    cache: bool = typer.Option(True, help="Use scores and verdicts that an earlier call computed, and keep new ones."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    judge_prompt: str | None = typer.Option(None, help=JUDGE_PROMPT_HELP),
    judge_tokens: int | None = typer.Option(None, min=1, help="Longest answer of a judge, thoughts included; 2048."),
    judge_option: str | None = typer.Option(None, help=JUDGE_OPTION_HELP),
    judge_samples: int | None = typer.Option(None, min=1, help=SAMPLES_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure accuracy on benchmarks or on your own pairs, with intervals, beside trivial baselines.

    Example: `basereward eval runs/demo/model --data pairs.jsonl`

    Example: `basereward eval runs/demo/model --bench vl_rewardbench --protocol r1_reward`
    """
    from basereward.evaluation.runner import EvaluationOptions

    _check(model, data, bench, from_scores, partial)
    _check_bench_options({"--data-root": data_root, "--protocol": protocol, "--ties": ties}, bench)
    root = out or default_out("eval", model or Path(from_scores or "").with_suffix(""))
    reading = read_options(format, map, choice, a, b)
    places = _data_places(root, data, limit, strict, reading) | _bench_places(
        root, bench, data_root, protocol, ties, limit
    )
    judge = {"--judge-prompt": judge_prompt, "--judge-tokens": judge_tokens, "--judge-option": judge_option}
    asked = from_scores or open_subject(model or "", judge, judge_samples, dtype, device, backend, cache)
    rule: Any = ties
    settings = {"dtype": dtype, "backend": backend}
    options = EvaluationOptions(rule, references, judge_samples or 1, resume, overwrite, partial, settings)
    results = _evaluate(asked, places, options)
    for note in dict.fromkeys(note for result in results.values() for note in result.notes):
        say(f"note: {note}")
    if as_json:
        _print_json(model or str(from_scores), places, results, is_alone=len(bench) == 1 and not data)
    else:
        _print_tables(places, results)
    if any(result.main.model.coverage == 0 for result in results.values()):
        raise typer.Exit(1)


def _evaluate(asked: Any, places: dict[str, Target], options: Any) -> dict[str, Any]:
    from basereward.evaluation.runner import evaluate as run

    results = {}
    for name, place in places.items():
        with progress(place.folder.name) as bar:
            results[name] = run(asked, place.open(), place.folder, options, bar.move)
    return results


def _check(model: str | None, data: list[str], bench: list[str], from_scores: Path | None, partial: bool) -> None:
    if not data and not bench:
        raise typer.BadParameter("give --bench or --data, or both.")
    if (model is None) == (from_scores is None):
        raise typer.BadParameter("give either MODEL or --from-scores.")
    if from_scores is not None and (data or len(bench) != 1):
        raise typer.BadParameter("--from-scores goes with exactly one --bench.")
    if partial and from_scores is None:
        raise typer.BadParameter("--partial goes with --from-scores.")


def _check_bench_options(given: dict[str, Any], bench: list[str]) -> None:
    unused = [name for name, value in given.items() if value is not None]
    if unused and not bench:
        raise typer.BadParameter(f"{', '.join(unused)} goes with --bench; --data has one protocol, and ties are wrong.")


def _bench_places(
    root: Path, bench: list[str], data_root: Path | None, protocol: str | None, ties: str | None, limit: int | None
) -> dict[str, Target]:
    """Return where benchmarks are evaluated; what is misspelt is found before a model is loaded."""
    from basereward.benchmarks.formulas import check_ties
    from basereward.benchmarks.plugins import open_benchmark
    from basereward.evaluation.opened import read_benchmark

    if ties is not None:
        check_ties(ties)
    benchmarks = {spec: open_benchmark(spec) for spec in dict.fromkeys(bench)}
    for own in benchmarks.values():
        own.protocol(protocol)
    return {
        spec: Target(root / own.name, lambda own=own: read_benchmark(own, data_root, protocol, limit))  # type: ignore[misc]
        for spec, own in benchmarks.items()
    }


def _data_places(root: Path, data: list[str], limit: int | None, strict: bool, reading: Any) -> dict[str, Target]:
    """Return a folder of its own for each data set; equal names are numbered."""
    from basereward.benchmarks.pairs import benchmark_name

    def read(path: str) -> Any:
        from basereward.evaluation.pairs import read_pairs

        return read_pairs(path, limit, strict, reading)

    places: dict[str, Target] = {}
    names: list[str] = []
    for path in dict.fromkeys(data):
        name = benchmark_name(path).replace("/", "-")
        taken = names.count(name)
        names.append(name)
        folder = root / (f"{name}-{taken + 1}" if taken else name)
        places[path] = Target(folder, lambda path=path: read(path))  # type: ignore[misc]
    return places


def open_subject(
    model: str,
    judge: dict[str, Any],
    samples: int | None,
    dtype: str | None,
    device: str | None,
    backend: str,
    cache: bool,
) -> Any:
    """Return the scorer or the judge that a spec names.

    Args:
        judge: the options of a judge by their names; a scorer has none.
        samples: how often a judge is asked each question.
        cache: whether it answers from what an earlier call computed.
    """
    from basereward.scoring.cache import cached, cached_judge
    from basereward.scoring.spec import is_judge, open_judge, open_scorer

    if is_judge(model):
        from basereward.scoring.judges.options import parse_options

        prompt, tokens, options = judge.values()
        opened = open_judge(model, prompt, tokens, parse_options(options), dtype, device)
        # The cache knows one verdict of a question; samples are several.
        return cached_judge(opened) if cache and samples in (None, 1) else opened
    if unused := [name for name, value in {**judge, "--judge-samples": samples}.items() if value is not None]:
        raise typer.BadParameter(f"{', '.join(unused)} go with a judge, judge:...")
    scorer = open_scorer(model, dtype, device, backend)
    return cached(scorer) if cache else scorer


def _print_json(model: str, places: Mapping[str, Target], results: Mapping[str, Any], is_alone: bool) -> None:
    """Print one benchmark's summary as it is; several results under their names."""
    summaries = {name: result.main.model.model_dump(mode="json") for name, result in results.items()}
    if is_alone:
        print_json(next(iter(summaries.values())))
        return
    for name, result in results.items():
        # A benchmark has no row that may be dropped.
        summaries[name] |= {} if result.data.parts else {"scorer": result.scorer, "dropped": result.data.dropped}
    folders = {name: str(place.folder) for name, place in places.items()}
    print_json({"model": model, "folders": folders, "results": summaries})


def _print_tables(places: Mapping[str, Target], results: Mapping[str, Any]) -> None:
    from basereward.reporting.benchmark_tables import footnotes, group_table, metric_table
    from basereward.reporting.tables import to_rich

    screen = console()
    for name, result in results.items():
        for own in result.protocols.values():
            used = own.model.protocol
            screen.print(to_rich(metric_table(own), title=f"{name}: {result.scorer}, {used.key}"))
            if own is not result.main:
                print(f"protocol {used.line}")
                continue
            if len(own.model.groups) > 1:
                screen.print(to_rich(group_table(own), title=f"{name} by group"))
            print("\n".join(footnotes(result)))
    for place in places.values():
        print(f"{place.folder / 'result.json'}")
    print_next("report", *(place.folder for place in places.values()))
