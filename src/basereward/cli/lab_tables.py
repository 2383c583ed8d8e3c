"""The commands of ``basereward lab`` that make the paper's tables in miniature."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, console, print_json, say

tables = typer.Typer()


@tables.command()
def table1(
    out: Path = typer.Option(Path("runs/lab/table1"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 20 minutes each on one core."),
    seeing_steps: int = typer.Option(800, min=1, help="Steps of the backbone that answers, from which all rows start."),
    steps: int = typer.Option(300, min=1, help="Optimiser steps of every paradigm."),
    longcot_steps: int = typer.Option(500, min=1, help="Those of the LongCoT-GRM, on the same pairs."),
    rl_steps: int = typer.Option(40, min=1, help="Steps of reinforcement learning of the LongCoT-GRM."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train every paradigm on the same pairs: the paper's Table 1 in miniature.

    Example: `basereward lab table1 --seeds 1`
    """
    from basereward.lab.table1 import ParadigmSizes, plan_table

    _make_table(plan_table(ParadigmSizes(seeing_steps, steps, longcot_steps, rl_steps)), out, seeds, as_json)


@tables.command()
def table7(
    out: Path = typer.Option(Path("runs/lab/table7"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 6 minutes each on one core."),
    steps: int = typer.Option(250, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Combine reward models of two backbones and a text model: the paper's Table 7 in miniature.

    Example: `basereward lab table7 --seeds 1`
    """
    from basereward.lab.table7 import ArmSizes, plan_table

    _make_table(plan_table(ArmSizes(steps)), out, seeds, as_json)


@tables.command()
def figure2(
    out: Path = typer.Option(Path("runs/lab/figure2"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 3 minutes each on one core."),
    steps: int = typer.Option(100, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train vision-language and text backbones for questions without images: Figure 2 and Table 14 in miniature.

    Example: `basereward lab figure2 --seeds 1`
    """
    from basereward.lab.figure2 import plan_figure
    from basereward.lab.table7 import ArmSizes

    _make_table(plan_figure(ArmSizes(steps)), out, seeds, as_json)


@tables.command()
def grouping(
    out: Path = typer.Option(Path("runs/lab/grouping"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 4 minutes each on one core."),
    steps: int = typer.Option(600, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Draw pairs alone, by prompt or by image: what it costs in accuracy and saves in time, at equally many pairs.

    Example: `basereward lab grouping --seeds 1`
    """
    from basereward.lab.grouping import GroupingSizes, plan_grouping

    _make_table(plan_grouping(GroupingSizes(steps)), out, seeds, as_json)


@tables.command()
def frozen(
    out: Path = typer.Option(Path("runs/lab/frozen"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about half a minute each on one core."),
    steps: int = typer.Option(60, min=1, help="Optimiser steps of full training."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Compare heads on frozen features with full training of the same heads: does a probe rank as training does?

    Example: `basereward lab frozen --seeds 3`
    """
    from basereward.data.io import write_json
    from basereward.lab.frozen import FrozenSizes, plan_frozen, table_agreement
    from basereward.lab.tables import read_table

    _make_table(plan_frozen(FrozenSizes(steps)), out, seeds, as_json)
    agreement = table_agreement(read_table(out))
    write_json(out / "agreement.json", agreement._asdict())
    for line in agreement.lines():
        say(line)


@tables.command()
def table11(
    out: Path = typer.Option(Path("runs/lab/table11"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 12 minutes each on one core."),
    reward_steps: int = typer.Option(1200, min=1, help="Optimiser steps of the reward model."),
    policy_steps: int = typer.Option(80, min=1, help="Steps of GRPO."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train one policy under rule, model, hybrid and tournament rewards: the paper's Table 11 in miniature.

    Example: `basereward lab table11 --seeds 1`
    """
    from basereward.lab.table11 import Sizes, plan_table

    _make_table(plan_table(Sizes(reward_steps=reward_steps, policy_steps=policy_steps)), out, seeds, as_json)


@tables.command()
def shortcut(
    out: Path = typer.Option(Path("runs/lab/shortcut"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 10 minutes each on one core."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Plant a shortcut in the text of training pairs, and train against it with weights and image swaps.

    Example: `basereward lab shortcut --seeds 1`
    """
    from basereward.lab.shortcut import plan_shortcut

    _make_table(plan_shortcut(), out, seeds, as_json)


@tables.command()
def alarms(
    out: Path = typer.Option(Path("runs/lab/alarms"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(1, min=1, help="Number of seeds; about 20 minutes each on one core."),
    steps: int = typer.Option(150, min=1, help="Steps of GRPO in each run."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Watch honest runs, a policy that hacks lengths, and one that hacks a reward model, with the monitors.

    Example: `basereward lab alarms`
    """
    from basereward.lab.alarms import plan_alarms

    _make_table(plan_alarms(steps=steps), out, seeds, as_json)


@tables.command("length-bias")
def length_bias(
    out: Path = typer.Option(Path("runs/lab/length-bias"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(1000, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train on standard and on length-biased pairs, as they are and resampled: the paper's Table 12 in miniature.

    Example: `basereward lab length-bias --seeds 1`
    """
    from basereward.lab.length_bias import LengthSizes, plan_length_bias

    _make_table(plan_length_bias(LengthSizes(steps)), out, seeds, as_json)


@tables.command()
def table2(
    out: Path = typer.Option(Path("runs/lab/table2"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(400, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train reward heads of one to five layers and all activations: the paper's Table 2 in miniature.

    Example: `basereward lab table2 --seeds 1`
    """
    from basereward.lab.table2 import HeadSizes, plan_table

    _make_table(plan_table(HeadSizes(steps)), out, seeds, as_json)


@tables.command()
def figure1(
    out: Path = typer.Option(Path("runs/lab/figure1"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(400, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train with the zero-coefficient regulariser and length normalisation: Figure 1 and Table 13 in miniature.

    Example: `basereward lab figure1 --seeds 1`
    """
    from basereward.lab.figure1 import RegularizerSizes, plan_figure

    _make_table(plan_figure(RegularizerSizes(steps)), out, seeds, as_json)


@tables.command()
def table5(
    out: Path = typer.Option(Path("runs/lab/table5"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(300, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train on one axis of the world, test on all: the paper's Tables 5 and 8 in miniature.

    Example: `basereward lab table5 --seeds 1`
    """
    from basereward.lab.table5 import SourceSizes, plan_table

    _make_table(plan_table(SourceSizes(steps)), out, seeds, as_json)


@tables.command()
def table6(
    out: Path = typer.Option(Path("runs/lab/table6"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(400, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train four families of backbones in two sizes: the paper's Table 6 in miniature.

    Example: `basereward lab table6 --seeds 1`
    """
    from basereward.lab.table6 import BackboneSizes, plan_table

    _make_table(plan_table(BackboneSizes(steps)), out, seeds, as_json)


@tables.command()
def table15(
    out: Path = typer.Option(Path("runs/lab/table15"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds; about 11 minutes each on one core."),
    image_pairs: int = typer.Option(12_000, min=48, help="Pairs with images in every row, passed over once."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Add text pairs to pairs with images: the paper's Tables 15 and 16 in miniature.

    Example: `basereward lab table15 --seeds 1`
    """
    from basereward.lab.table15 import RatioSizes, plan_table

    _make_table(plan_table(RatioSizes(image_pairs)), out, seeds, as_json)


@tables.command()
def severity(
    out: Path = typer.Option(Path("runs/lab/severity"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(600, min=1, help="Optimiser steps of the reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Score descriptions with more and more errors: the paper's D.9.2 in miniature.

    Example: `basereward lab severity --seeds 1`
    """
    from basereward.lab.severity import SeveritySizes, plan_severity

    _make_table(plan_severity(SeveritySizes(steps)), out, seeds, as_json)


@tables.command()
def objectives(
    out: Path = typer.Option(Path("runs/lab/objectives"), help="Result folder; what is done there is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds."),
    steps: int = typer.Option(600, min=1, help="Optimiser steps of every reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train every objective on the same rankings, and on wrong labels: which fall behind Bradley-Terry?

    Example: `basereward lab objectives --seeds 1`
    """
    from basereward.lab.objectives import ObjectiveSizes, plan_objectives

    _make_table(plan_objectives(ObjectiveSizes(steps)), out, seeds, as_json)


@tables.command("all")
def make_every(
    out: Path = typer.Option(Path("runs/lab"), help="Folder of the tables' folders; what is done is not done again."),
    seeds: int = typer.Option(3, min=1, help="Number of seeds of every table."),
    minutes: float | None = typer.Option(
        None, min=0, help="Begin no row after so many minutes; without end if not given."
    ),
    only: list[str] | None = typer.Option(None, help="A table to make; may be given again. All of them if not given."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make all tables within a time, the first seed of each before the second, and one page of what there is.

    Example: `basereward lab all --minutes 60`
    """
    from basereward.lab.catalog import TABLES, make_all, outcomes_table, read_tables, tables_page
    from basereward.reporting.plots import require_matplotlib
    from basereward.reporting.reports import write_document
    from basereward.reporting.tables import to_rich

    require_matplotlib()
    plans = {name: TABLES.get(name)() for name in only or TABLES.names()}
    stopped = make_all(plans, out, seeds, minutes, say)
    found = read_tables(out)
    files = write_document(tables_page(found, stopped), out / "lab", ("html", "markdown"))
    if as_json:
        print_json({name: table.model_dump(mode="json") for name, table in found.items()})
    else:
        console().print(to_rich(outcomes_table(found), title="findings at this scale"))
        print("\n".join(map(str, files)))
    if stopped.failed:
        raise typer.Exit(1)


def _make_table(plan: Any, out: Path, seeds: int, as_json: bool) -> None:
    """Make a table and its page, and print it."""
    from basereward.lab.tables import findings_table, make_table, shown_table, table_page
    from basereward.reporting.plots import require_matplotlib
    from basereward.reporting.reports import write_document
    from basereward.reporting.tables import to_rich

    require_matplotlib()
    table = make_table(plan, out, range(seeds), say)
    files = write_document(table_page(table), out / "table", ("html", "markdown"))
    if as_json:
        print_json(table.model_dump(mode="json"))
        return
    console().print(to_rich(shown_table(table), title=f"{plan.name}, {seeds} seeds"))
    console().print(to_rich(findings_table(table)))
    print("\n".join(map(str, files)))
