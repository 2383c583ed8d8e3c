"""``basereward calibrate``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
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

PAIRS_HELP = "File of pairs in any format, folder or hub id; not what the model was trained on."
MAPS_HELP = (
    "bias, and one of zscore, temperature and isotonic, with commas between them; by default biases and a temperature "
    "or isotonic scale are chosen."
)
ALPHA_HELP = "Most new pairs that are called wrongly; margins too small for that are not called."
OUT_HELP = (
    "File, .json; a MODEL that uses it (.yaml) and its page stand beside it. runs/calibrate-MODEL/calibration.json by "
    "default."
)
MAPS = ("zscore", "temperature", "isotonic", "bias")


def calibrate(
    model: str = typer.Argument(metavar="MODEL", help=MODEL_HELP),
    pairs: str = typer.Argument(metavar="PAIRS", help=PAIRS_HELP),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    maps: str | None = typer.Option(None, metavar="NAME,...", help=MAPS_HELP),
    alpha: float = typer.Option(0.1, min=0.001, max=0.5, help=ALPHA_HELP),
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file."),
    cache: bool = typer.Option(True, help="Use scores that an earlier call computed, and keep new ones."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Remove what rewards follow beside quality, and put them on a scale; refuse where there is nothing to remove.

    Example: `basereward calibrate runs/demo/model pairs.jsonl --out calibration.json`

    Example: `basereward calibrate runs/demo/model pairs.jsonl --out zscore.json --maps zscore`
    """
    from basereward.errors import WorkError
    from basereward.scoring.cache import cached
    from basereward.scoring.calibration.run import calibrate as run
    from basereward.scoring.compose.files import write_spec
    from basereward.scoring.model_spec import ModelSpec
    from basereward.scoring.spec import open_scorer

    asked: Any = _asked(maps)
    file = out or default_out("calibrate", model) / "calibration.json"
    if file.suffix != ".json":
        raise typer.BadParameter(f"--out is a file that ends in .json; found {file}.")
    spec = file.with_suffix(".yaml")
    if spec.exists() and not overwrite:
        raise WorkError(f"{spec} is there already; choose another --out, or give --overwrite.")
    reading = read_options(format, map, choice, a, b)
    scorer = open_scorer(model, dtype, device, backend)
    with progress("calibrate") as bar:
        found = run(cached(scorer) if cache else scorer, pairs, file, asked, alpha, reading, limit, overwrite, bar.move)
    write_spec(spec, ModelSpec(model=model, calibrated=str(file), dtype=dtype))
    files = [str(file), str(spec), *_write_page(found, file)]
    if as_json:
        print_json({"files": files, **found.model_dump(mode="json")})
        return
    _print(found)
    print("\n".join(files))
    print_next("serve", spec)


def _asked(maps: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in maps.split(",")) if maps else ()
    if unknown := [name for name in names if name not in MAPS]:
        raise typer.BadParameter(f"--maps takes {', '.join(MAPS)}; found {unknown[0]!r}.")
    return names


def _write_page(found: Any, out: Path) -> list[str]:
    """Write the page beside the file; without matplotlib there is none."""
    from basereward.errors import MissingExtraError
    from basereward.reporting.calibration_page import build_calibration_page
    from basereward.reporting.reports import write_document

    try:
        return [str(path) for path in write_document(build_calibration_page(found), out.with_suffix(""), ("html",))]
    except MissingExtraError as error:
        say(f"note: no page is written. {error}")
        return []


def _print(found: Any) -> None:
    from basereward.reporting.calibration_page import calibration_lines, candidate_table, gain_table
    from basereward.reporting.tables import to_rich

    screen = console()
    if found.candidates:
        screen.print(to_rich(candidate_table(found), title=f"Calibration of {found.model.name}"))
    screen.print(to_rich(gain_table(found)))
    print("\n".join(calibration_lines(found)))
