"""``basereward speed train``, ``score`` and ``vision``: backends and towers side by side."""

from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, console, print_json, progress
from basereward.cli.speed.figures import print_figures
from basereward.cli.speed.options import (
    BACKENDS,
    DEVICE,
    DTYPE,
    GROUPS,
    JITTER,
    NO_IMAGE,
    PRESET,
    PROMPT,
    REPEATS,
    RESPONSE,
    THREADS,
    speed,
)


@speed.command()
def train(
    preset: str = PRESET,
    prompt: int = PROMPT,
    response: int = RESPONSE,
    jitter: float = JITTER,
    group: int = typer.Option(2, min=2, help="Responses of a prompt."),
    groups: int = GROUPS,
    prompts_per_image: int = typer.Option(1, min=1, help="Prompts that ask about each image."),
    compare: str = typer.Option("first", help="Compare the first two responses of a prompt, or all with each other."),
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
    if compare not in ("first", "all"):
        raise typer.BadParameter(f"found {compare!r}, expected first or all", param_hint="--compare")
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
        "pairs": compare,
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
def vision(
    preset: str = PRESET,
    images: int = typer.Option(4, min=1, help="Images that pass the tower at once."),
    side: int = typer.Option(32, min=8, help="Tokens along a side of an image, about."),
    repeats: int = REPEATS,
    threads: int = THREADS,
    device: str = DEVICE,
    dtype: str = DTYPE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Vision tower with windows and images in batches, beside one call for every window of every image.

    Example: `basereward speed vision --images 4 --side 32 --repeats 5 --json`
    """
    import torch

    from basereward.scoring.devices import parse_device, parse_dtype
    from basereward.speed.vision import TowerPlan, measure_tower

    parse_device(device)
    torch.set_num_threads(threads)
    plan = TowerPlan(preset, images, side, repeats)
    with progress("rounds", 2 * repeats) as bar:
        figures = measure_tower(plan, device, parse_dtype(dtype) or torch.float32, bar.move)
    if as_json:
        print_json({**plan._asdict(), "figures": [figure.to_dict() for figure in figures]})
        return
    print_figures("vision tower", figures)


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
