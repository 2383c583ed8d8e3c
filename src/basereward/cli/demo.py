"""``basereward demo``."""

from pathlib import Path

import typer

from basereward.cli.output import JSON_OPTION, print_json, print_next, say


def demo(
    out: Path = typer.Option(Path("runs/demo"), help="Run folder."),
    steps: int = typer.Option(600, min=1, help="Optimiser steps of 48 pairs."),
    seed: int = typer.Option(0, help="Seed of the world, the weights and the order of data."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Draw a world, train a tiny multimodal reward model on it, evaluate it, and write a page about it.

    Example: `basereward demo --out runs/demo`
    """
    from basereward.lab.demo import run_demo

    result = run_demo(out, steps, seed, say)
    if as_json:
        print_json(result)
        return
    print(f"accuracy              {result['accuracy']:.3f}  ({result['pairs']} held-out pairs)")
    print(f"image-blind accuracy  {result['image_blind_accuracy']:.3f}")
    print(f"seconds               {result['seconds']:.0f}")
    print(f"page                  {out / 'report.html'}")
    print_next("score", out / "model", out / "data" / "test.parquet")
    print_next("eval", out / "model", "--data", out / "data" / "test.parquet")
