"""``basereward speed serve``, ``rewards``, ``paradigms`` and ``leaks``: models at work."""

from pathlib import Path

import typer

from basereward.cli.output import JSON_OPTION, console, print_json, progress
from basereward.cli.speed.figures import print_figures
from basereward.cli.speed.options import (
    DEVICE,
    DTYPE,
    NO_IMAGE,
    PRESET,
    PROMPT,
    RESPONSE,
    THREADS,
    speed,
)


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
    print_figures("serving", figures)


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
    print_figures("rewards", figures)


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
