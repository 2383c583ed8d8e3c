"""``basereward speed``: backends side by side on this machine."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, console, print_json, progress

speed = typer.Typer(help="Time the backends side by side on this machine.", no_args_is_help=True)
PRESET = typer.Option("tiny", help="Shape of the backbone, with random weights: tiny, 3b or 7b.")
PROMPT = typer.Option(1200, min=1, help="Tokens of a prompt, its image included.")
RESPONSE = typer.Option(200, min=1, help="Mean tokens of a response.")
JITTER = typer.Option(0.3, min=0.0, max=1.0, help="Responses vary by this share around the mean.")
GROUPS = typer.Option(2, min=1, help="Images in a batch, or without images prompts.")
BACKENDS = typer.Option("plain,plain_unpadded,split", help="Backends to compare, by comma.")
REPEATS = typer.Option(5, min=1, help="Interleaved rounds.")
THREADS = typer.Option(1, min=1, help="CPU threads.")
DEVICE = typer.Option("cpu", help="cpu or cuda.")
DTYPE = typer.Option("float32", help="float32 or bfloat16.")
NO_IMAGE = typer.Option(False, "--text-only", help="Prompts without an image.")


@speed.command()
def train(
    preset: str = PRESET,
    prompt: int = PROMPT,
    response: int = RESPONSE,
    jitter: float = JITTER,
    group: int = typer.Option(2, min=2, help="Responses of a prompt."),
    groups: int = GROUPS,
    prompts_per_image: int = typer.Option(1, min=1, help="Prompts that ask about each image."),
    pairs: str = typer.Option("first", help="Compare the first two responses of a prompt, or all with each other."),
    backends: str = BACKENDS,
    repeats: int = REPEATS,
    threads: int = THREADS,
    device: str = DEVICE,
    dtype: str = DTYPE,
    text_only: bool = NO_IMAGE,
    checkpointing: bool = typer.Option(False, "--checkpointing", help="Recompute activations."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Forward, loss and backward of preference pairs.

    Example: `basereward speed train --prompt 1200 --response 200 --repeats 5 --json`
    """
    if pairs not in ("first", "all"):
        raise typer.BadParameter(f"found {pairs!r}, expected first or all", param_hint="--pairs")
    if text_only and prompts_per_image > 1:
        raise typer.BadParameter("prompts without an image share none", param_hint="--prompts-per-image")
    options = {
        "prompt": prompt,
        "response": response,
        "jitter": jitter,
        "group": group,
        "groups": groups,
        "with_image": not text_only,
        "prompts_per_image": prompts_per_image,
        "pairs": pairs,
    }
    settings = {"preset": preset, "repeats": repeats, "device": device, "checkpointing": checkpointing}
    _measure("train", options, backends, dtype, threads, settings, as_json)


@speed.command()
def score(
    preset: str = PRESET,
    prompt: int = PROMPT,
    response: int = RESPONSE,
    jitter: float = JITTER,
    group: int = typer.Option(8, min=1, help="Responses of a prompt."),
    groups: int = typer.Option(1, min=1, help="Prompts in a batch."),
    backends: str = BACKENDS,
    repeats: int = REPEATS,
    threads: int = THREADS,
    device: str = DEVICE,
    dtype: str = DTYPE,
    text_only: bool = NO_IMAGE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Forward of groups of responses.

    Example: `basereward speed score --group 8 --prompt 1200 --response 200 --json`
    """
    options = {
        "prompt": prompt,
        "response": response,
        "jitter": jitter,
        "group": group,
        "groups": groups,
        "with_image": not text_only,
    }
    settings = {"preset": preset, "repeats": repeats, "device": device}
    _measure("score", options, backends, dtype, threads, settings, as_json)


@speed.command()
def loader(
    workers: str = typer.Option("0,1,2", help="Numbers of processes, by comma."),
    image_side: int = typer.Option(896, min=56, help="Side of the square images, in pixels."),
    images: int = typer.Option(64, min=2, help="Images to load with each number."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Decode and process images, beside what one GPU of a 7B run takes.

    Example: `basereward speed loader --workers 0,1,2,4`
    """
    from dataclasses import asdict

    from basereward.speed.loader import measure_loader

    try:
        counts = [int(count) for count in workers.split(",")]
    except ValueError:
        raise typer.BadParameter(f"found {workers!r}, expected numbers by comma", param_hint="--workers") from None
    report = measure_loader(counts, image_side, images)
    if as_json:
        print_json(asdict(report))
        return
    for timing in report.results:
        print(f"{timing.workers} workers  {timing.images_per_second:.1f} images/s")
    print(f"one H100 training a 7B at 45 % of its peak takes {report.needed_images_per_second:.1f} images/s")


@speed.command()
def start(
    model: Path = typer.Argument(metavar="MODEL", help="Folder of a tiny backbone that trains."),
    pairs: int = typer.Option(1_000_000, min=1000, help="Synthetic pairs of about 1 kB."),
    images: int = typer.Option(0, min=0, help="Instead: pairs with an image of about 30 kB each."),
    keep: Path | None = typer.Option(None, help="Folder that keeps the pairs for another call."),
    repeat: bool = typer.Option(False, "--repeat-lengths", help="Measure 1,000 texts, which come again, not all."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Start training twice, on many pairs and on few, up to the first step: what each start reads and takes.

    Example: `basereward speed start runs/demo/backbone --pairs 1000000 --json`
    """
    from basereward.cli.output import say
    from basereward.speed.start import measure_start

    report = measure_start(str(model), images or pairs, images > 0, keep, repeat and not images, say)
    if as_json:
        print_json(report.to_dict())
        return
    timings = {"first": report.first, "second": report.second, "second of few": report.second_of_few}
    for name, timing in timings.items():
        if timing is None:
            continue
        used = f"{timing.cpu_seconds:8.1f} s of CPU {timing.peak_bytes / 1e6:8,.0f} MB"
        print(f"{name:14} {used}  {timing.read_bytes / 1e6:9,.0f} MB read")
    for name, value in report.above.items():
        print(f"{name:22} {value:10.4g}")


@speed.command()
def curation(
    pairs: int = typer.Option(100_000, min=100, help="Synthetic pairs of about 1 kB."),
    items: int = typer.Option(20_000, min=1, help="Benchmark items to look for among their prompts."),
    images: int = typer.Option(0, min=0, help="Instead: pairs with a small image each."),
    workers: int = typer.Option(2, min=1, help="Processes that read rows and hash texts and images."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Curate synthetic pairs: validity, duplicates and contamination, with copies planted to be found.

    Example: `basereward speed curation --pairs 1000000 --workers 2 --json`
    """
    from basereward.cli.output import say
    from basereward.speed.curation import measure_images, measure_pairs

    report = measure_images(images, workers, say) if images else measure_pairs(pairs, items, workers, say)
    if as_json:
        print_json(report.to_dict())
        return
    for part, seconds in report.seconds.items():
        print(f"{part:17} {seconds:8.1f} s")
    rate = report.rows / report.total_seconds
    print(
        f"{report.rows:,} pairs in {report.total_seconds:.1f} s: {rate:,.0f} a second, {report.peak_bytes / 1e9:.2f} GB"
    )
    print("found of what was planted: " + ", ".join(f"{kind} {share:.3f}" for kind, share in report.recall.items()))
    print(f"precision {report.precision:.4f}")


@speed.command()
def serve(
    model: str = typer.Argument(metavar="MODEL", help="Checkpoint folder of a Qwen2.5-VL, such as the demo's."),
    parts: str = typer.Option(
        "load,overhead,sharing,capacity,leaving,shutdown", help="What to measure, by comma; empty for nothing."
    ),
    requests: int = typer.Option(10_000, min=10, help="Group requests of the load."),
    concurrency: int = typer.Option(64, min=1, help="Requests at once."),
    repeats: int = typer.Option(3, min=1, help="Rounds of what is compared."),
    soak_minutes: float = typer.Option(0.0, min=0.0, help="Also keep a server busy so long, and watch its memory."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Serve a model and measure it over loopback, beside the same model in this process; bars and whether they are met.

    CPU seconds are those of the server's process, one thread on both sides.

    Example: `basereward speed serve runs/demo/model --json`

    Example: `basereward speed serve runs/demo/model --parts "" --soak-minutes 10`
    """
    from basereward.cli.output import say
    from basereward.speed.serving import TrafficPlan, measure_serving
    from basereward.speed.soak import measure_soak

    named = [name.strip() for name in parts.split(",") if name.strip()]
    figures = measure_serving(model, named, TrafficPlan(requests, concurrency, repeats), say)
    if soak_minutes:
        figures += measure_soak(model, soak_minutes, concurrency, say)
    if as_json:
        print_json({"model": model, "figures": [figure.to_dict() for figure in figures]})
        return
    _print_figures("serving", figures)


@speed.command()
def rewards(
    model: str = typer.Argument(metavar="MODEL", help="Checkpoint folder of a Qwen2.5-VL, such as the demo's."),
    repeats: int = typer.Option(3, min=1, help="Rounds."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Time the reward function of TRL on groups of eight beside one response a call, in CPU seconds of one thread.

    Example: `basereward speed rewards runs/demo/model --json`
    """
    from basereward.cli.output import say
    from basereward.speed.rewards import measure_rewards

    figures = measure_rewards(model, repeats, say)
    if as_json:
        print_json({"model": model, "figures": [figure.to_dict() for figure in figures]})
        return
    _print_figures("rewards", figures)


@speed.command()
def paradigms(
    preset: str = PRESET,
    prompt: int = PROMPT,
    response: int = RESPONSE,
    jitter: float = typer.Option(0.0, min=0.0, max=1.0, help="Responses vary by this share around the mean."),
    group: int = typer.Option(8, min=2, help="Responses of the prompt; a judge is asked about all ordered pairs."),
    critique: int = typer.Option(100, min=1, help="Tokens of a critique."),
    thought: int = typer.Option(200, min=0, help="Tokens of a thought, in front of the verdict."),
    verdict: int = typer.Option(2, min=1, help="Tokens of a verdict: a digit and its end."),
    asking: int = typer.Option(32, min=0, help="Tokens of what a critic or judge is asked beside the texts."),
    batch_tokens: int = typer.Option(32768, min=1, help="Tokens that are held at once while something is written."),
    repeats: int = typer.Option(3, min=0, help="Interleaved rounds; 0 only counts operations, of any preset."),
    threads: int = THREADS,
    device: str = DEVICE,
    dtype: str = DTYPE,
    text_only: bool = NO_IMAGE,
    models: Path | None = typer.Option(None, help="Seed's folder of lab table1: also evaluate its models, reworded."),
    limit: int | None = typer.Option(None, min=1, help="Evaluate on the first held-out pairs only."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Rewards of a group from a Naive-RM, a Critic-RM, a GRM and a LongCoT-GRM on one backbone.

    Weights are random, and every answer is written to its full length.

    Example: `basereward speed paradigms --repeats 3 --json`

    Example: `basereward speed paradigms --preset 7b --repeats 0`

    Example: `basereward speed paradigms --repeats 0 --models runs/table1/seed-0 --limit 200`
    """
    import torch

    from basereward.cli.output import say
    from basereward.cli.paradigms import print_paradigms
    from basereward.scoring.devices import parse_device, parse_dtype
    from basereward.speed.paradigm_plan import ParadigmLengths
    from basereward.speed.paradigm_quality import measure_quality
    from basereward.speed.paradigms import measure_paradigms

    parse_device(device)
    torch.set_num_threads(threads)
    lengths = ParadigmLengths(
        prompt=prompt,
        response=response,
        jitter=jitter,
        group=group,
        with_image=not text_only,
        asking=asking,
        critique=critique,
        thought=thought,
        verdict=verdict,
        batch_tokens=batch_tokens,
    )
    with progress("rounds", repeats) as bar:
        report = measure_paradigms(preset, lengths, repeats, device, parse_dtype(dtype) or torch.float32, bar.move)
    if models:
        report = report.model_copy(update={"quality": measure_quality(models, limit, device, dtype, say)})
    print_paradigms(report, as_json)


def _print_figures(title: str, figures: Any) -> None:
    from basereward.reporting.tables import Table, to_rich

    rows: list[tuple[str, ...]] = []
    for figure in figures:
        low_high = "" if figure.spread is None else f"{figure.spread[0]:,.4g} to {figure.spread[1]:,.4g}"
        bars = (("at most", figure.most), ("at least", figure.least))
        bar = " and ".join(f"{word} {value:g}" for word, value in bars if value is not None)
        met = {True: "met", False: "MISSED", None: ""}[figure.is_met]
        rows.append((figure.part, figure.what, f"{figure.value:,.4g}", low_high, bar, met))
    console().print(to_rich(Table(("part", "what", "found", "low to high", "bar", ""), rows), title=title))


@speed.command()
def leaks(
    items: int = typer.Option(60, min=1, help="Benchmark items of each kind: with a picture, without, and short ones."),
    controls: int = typer.Option(400, min=1, help="Pairs that leak nothing."),
    pictures: Path | None = typer.Option(None, help="Folder of pictures to use; drawn ones by default."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Plant benchmark items among training pairs in many ways, and count what the search for contamination finds.

    Example: `basereward speed leaks --items 60 --controls 400`
    """
    from basereward.cli.output import say
    from basereward.reporting.tables import Table, to_rich
    from basereward.speed.leaks import BAR, CONTROLS, measure_leaks

    report = measure_leaks(items, controls, pictures, say)
    if as_json:
        print_json(report.to_dict())
        return
    rows = []
    for mode in report.modes:
        bar = "no alarm" if mode.name == CONTROLS else f"{BAR}" if mode.has_bar else "-"
        kinds = ", ".join(f"{kind} {count}" for kind, count in mode.kinds.items())
        rows.append((mode.name, str(mode.planted), str(mode.found), f"{mode.share:.3f}", bar, kinds))
    header = ("leak", "planted", "found", "share", "bar", "strongest match with the item")
    console().print(to_rich(Table(header, rows), title=f"{items} items of each kind, pictures: {report.pictures}"))


def _measure(
    mode: Any,
    options: dict[str, Any],
    backends: str,
    dtype: str,
    threads: int,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Run and print: ``options`` are those of ``Workload``, ``settings`` those of ``measure_speed``."""
    import torch

    from basereward.scoring.devices import parse_device, parse_dtype
    from basereward.speed.measure import measure_speed
    from basereward.speed.workloads import Workload

    parse_device(settings["device"])
    precision: Any = parse_dtype(dtype)
    torch.set_num_threads(threads)
    names = [name.strip() for name in backends.split(",")]
    with progress("rounds", settings["repeats"]) as bar:
        report = measure_speed(
            mode, workload=Workload(**options), backends=names, dtype=precision, on_round=bar.move, **settings
        )
    if as_json:
        print_json(report.to_dict())
        return
    _print_table(report)


def _print_table(report: Any) -> None:
    from basereward.reporting.tables import Table, to_rich

    unit = "pairs/s" if report.mode == "train" else "responses/s"
    seconds = "device s" if report.device.startswith("cuda") else "CPU s"
    header: tuple[str, ...] = ("backend", unit, seconds, "low to high", "vs plain", "vs unpadded", "work vs unpadded")
    header += ("of peak", "MFU", "peak MiB")
    rows: list[tuple[str, ...]] = [
        (
            result.backend,
            f"{result.pairs_per_second if report.mode == 'train' else result.responses_per_second:.2f}",
            f"{result.cpu_seconds.median:.2f}",
            f"{result.cpu_seconds.low:.2f} to {result.cpu_seconds.high:.2f}",
            _times(result.cpu_ratio_to_plain),
            _times(result.cpu_ratio_to_plain_unpadded),
            _times(result.flop_ratio_to_plain_unpadded),
            f"{result.peak_fraction:.0%}",
            "-" if result.mfu is None else f"{result.mfu:.0%}",
            "-" if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 2**20:,.0f}",
        )
        for result in report.results
    ]
    work = report.workload
    lengths = f"prompt {work.prompt}, response {work.response}"
    title = f"{report.mode}, {report.preset}, {lengths}, {report.device}, threads {report.threads}"
    console().print(to_rich(Table(header, rows), title=title))


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"
