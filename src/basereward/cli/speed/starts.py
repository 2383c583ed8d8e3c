"""``basereward speed loader``, ``start``, ``load`` and ``curation``: what comes before the first step."""

from pathlib import Path

import typer

from basereward.cli.output import JSON_OPTION, print_json
from basereward.cli.speed.figures import print_figures
from basereward.cli.speed.options import (
    speed,
)


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
def load(
    ranks: int = typer.Option(2, min=2, help="Processes of this machine that share the weights."),
    gib: float = typer.Option(1.2, min=0.5, help="Size of the model in fp32."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Load a sharded model of random weights on CPUs, and watch how far the memory of a rank grows.

    Example: `basereward speed load --ranks 2 --gib 1.2`
    """
    from basereward.cli.output import say
    from basereward.speed.loading import measure_loading

    figures = measure_loading(ranks, gib, say)
    if as_json:
        print_json({"ranks": ranks, "gib": gib, "figures": [figure.to_dict() for figure in figures]})
        return
    print_figures("loading", figures)


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
