"""``basereward probe``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    JSON_OPTION,
    console,
    default_out,
    print_json,
    print_next,
    say,
)

PAIRS_HELP = "Most pairs of each set that heads learn from, drawn at random; all by default."
OUT_HELP = "Result folder; features in it are not computed again. runs/probe-MODEL by default."


def probe(
    model: str = typer.Argument(metavar="MODEL", help="Reward model or bare backbone: a folder or a hub id."),
    data: list[str] = typer.Argument(metavar="DATA", help="Sets of pairs; each trains heads of its own."),
    held_out: list[str] = typer.Option(..., "--eval", help="Sets of pairs that measure every head."),
    head: list[str] = typer.Option(["2:silu"], "--head", help="Shapes of heads, LAYERS:ACTIVATION."),
    zero_coefficient: list[float] = typer.Option([0.0], min=0.0, help="Coefficients of the regulariser."),
    seeds: int = typer.Option(3, min=1, help="Heads of each kind."),
    pairs: int | None = typer.Option(None, min=1, help=PAIRS_HELP),
    epochs: int = typer.Option(20, min=1, help="Passes of a head over its pairs."),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train heads on features of a frozen backbone: shapes, regularisers and the use of data sets, in seconds each.

    What they rank says nothing of what training the backbone would learn.

    Example: `basereward probe runs/tiny-backbone a.parquet b.parquet --eval test.parquet --head 1:none --head 2:silu`
    """
    from basereward.evaluation.frozen.fit import FitSettings
    from basereward.evaluation.frozen.run import ProbePlan, run_probe
    from basereward.reporting.plots import require_matplotlib
    from basereward.reporting.probe_page import build_probe_report, probe_table
    from basereward.reporting.reports import write_document
    from basereward.reporting.tables import to_rich
    from basereward.scoring.folders import open_encoder

    require_matplotlib()
    shapes = [_shape(text) for text in head]
    fit = FitSettings(limit=pairs, epochs=epochs)
    plan = ProbePlan(data, held_out, shapes, zero_coefficient, range(seeds), fit)
    encoder = open_encoder(model, dtype, device, backend)
    place = out or default_out("probe", model)
    result = run_probe(encoder, plan, place, say, str(encoder.model.device))
    files = write_document(build_probe_report(result), place / "probe", ("html", "markdown"))
    if as_json:
        print_json({**result.model_dump(mode="json"), "files": [str(path) for path in files]})
        return
    console().print(to_rich(probe_table(result), title=f"{result.model}, frozen"))
    print("\n".join(map(str, files)))
    best = max(result.heads, key=lambda own: own.measured[0].mean)
    shape = [f"model.head.layers={best.head.layers}", f"model.head.activation={best.head.activation}"]
    shape += [f"objective.zero_coefficient={best.zero_coefficient:g}"] if best.zero_coefficient else []
    print_next("train", *shape, "--model", model, "--data", best.train)


def _shape(text: str) -> Any:
    """Return the shape that LAYERS:ACTIVATION names.

    Raises:
        RecipeError: no such activation, or too many layers.
    """
    from basereward.configuration import parse_configuration
    from basereward.models.head import HeadSettings

    layers, _, activation = text.partition(":")
    return parse_configuration(HeadSettings, {"layers": layers, **({"activation": activation} if activation else {})})
