"""``basereward data features``."""

from pathlib import Path

import typer

from basereward.cli.output import BACKEND_HELP, DEVICE_HELP, DTYPE_HELP, JSON_OPTION, default_out, print_json, progress


def write_pair_features(
    model: str = typer.Argument(metavar="MODEL", help="Reward model or bare backbone: a folder or a hub id."),
    inputs: list[str] = typer.Argument(metavar="INPUT", help="Files or folders of pairs, or hub ids."),
    out: Path | None = typer.Option(None, help="The .npz file; runs/features-MODEL.npz by default."),
    dimensions: int = typer.Option(256, min=0, help="Random directions that hidden states are projected on; 0: all."),
    seed: int = typer.Option(0, min=0, help="Seed of the projection."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write what a model sees of each chosen and rejected response, for label_noise; interrupted work goes on.

    Example: `basereward data features runs/demo/model data/rlaif_v --out features.npz`
    """
    from basereward.curation.inputs import find_place, read_input
    from basereward.data.storage import concatenate
    from basereward.scoring.features import write_features
    from basereward.scoring.folders import open_encoder

    file = out or Path(f"{default_out('features', model)}.npz")
    rows = concatenate([read_input(find_place(place)) for place in inputs])
    encoder = open_encoder(model, dtype, device, backend)
    with progress("features", len(rows)) as bar:
        done = write_features(encoder, rows, file, dimensions, seed, bar.move)
    if as_json:
        print_json({"model": model, "out": str(file), **done._asdict()})
        return
    print(f"{done.written} of {done.rows} rows, {done.dimensions} features of each response -> {file}")
    for reason, count in done.failed.items():
        print(f"without features: {reason} {count}, the first: {done.examples[reason]}")
