"""What ``basereward data annotate`` and ``distill`` have in common: options of the judge, the work, its end."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from basereward.cli.output import DEVICE_HELP, DTYPE_HELP, print_json, print_next, progress

if TYPE_CHECKING:
    from basereward.data.arrangement import ReadOptions
    from basereward.data.manifest import Manifest
    from basereward.scoring.annotation.task import AnnotationTask
    from basereward.scoring.interface import Judge

OUT_HELP = "Folder of shards with a manifest; interrupted work goes on. data/PAIRS-WHAT by default."
PAIRS: Any = typer.Argument(metavar="PAIRS", help="File or folder of pairs in any format, or hub id.")
JUDGE: Any = typer.Option(
    ..., "--judge", help="judge:http://HOST:PORT/v1#MODEL, judge:FOLDER, or a YAML file of either."
)
TOKENS: Any = typer.Option(None, "--judge-tokens", min=1, help="Longest answer, thoughts included.")
OPTION: Any = typer.Option(None, "--judge-option", help="NAME=VALUE,... of a judge, as for eval.")
PRICE: Any = typer.Option(
    None, "--price", metavar="IN OUT", help="Price of a million tokens of prompts, and of answers: the cost is counted."
)
LIMIT: Any = typer.Option(None, min=1, help="Only the first rows.")
IMAGES: Any = typer.Option("bytes", help="Bytes inside the shards, or paths relative to the folder.")
OUT: Any = typer.Option(None, "--out", help=OUT_HELP)
DTYPE: Any = typer.Option(None, help=DTYPE_HELP)
DEVICE: Any = typer.Option(None, help=DEVICE_HELP)


def write(
    judge: "Judge",
    task: "AnnotationTask",
    pairs: str,
    out: Path | None,
    read: "ReadOptions",
    limit: int | None,
    images: Any,
    price: tuple[float, float] | None,
    as_json: bool,
) -> None:
    """Run a task with progress, and print what came of it."""
    from basereward.data.arrangement import ReadOptions
    from basereward.data.io import record_stem
    from basereward.scoring.annotation.asking import Price
    from basereward.scoring.annotation.run import AnnotationOptions, annotate, explain

    if price is not None and min(price) < 0:
        raise typer.BadParameter(f"--price is two numbers that are not negative; found {price[0]:g} {price[1]:g}.")
    options = AnnotationOptions(
        read=None if read == ReadOptions() else read, limit=limit, images=images, price=price and Price(*price)
    )
    place = out or Path("data") / f"{record_stem(Path(pairs))}-{task.wrote}"
    with progress(task.wrote) as bar:
        manifest: Manifest = annotate(judge, task, pairs, place, options, bar.move)
    if as_json:
        print_json({"folder": str(place), "manifest": manifest.sha256, **manifest.model_dump(mode="json")})
        return
    for line in explain(manifest):
        print(line)
    print(f"folder    {place}  (manifest {manifest.sha256[:12]})")
    print_next("data", "show", place)
