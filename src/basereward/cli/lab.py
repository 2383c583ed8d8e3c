"""``basereward lab``: a procedural world and tiny backbones to try everything on."""

from pathlib import Path

import typer

from basereward.cli.lab_tables import tables
from basereward.cli.output import JSON_OPTION, print_json, print_next

lab = typer.Typer(help="Make a procedural world and tiny backbones to try everything on.", no_args_is_help=True)
lab.add_typer(tables)


FAMILY_HELP = (
    "qwen2_vl, qwen2_5_vl, qwen3_vl, qwen3_vl_moe, qwen3_5, qwen3_5_moe or internvl; without a tower qwen2, qwen3 or "
    "qwen3_5_text."
)
# Where world writes if nothing else is said.
WORLD = Path("runs/lab/world.parquet")


@lab.command()
def world(
    out: Path = typer.Option(WORLD, help="File of pairs, .jsonl or .parquet."),
    pairs: int = typer.Option(20_000, min=1, help="Pairs to draw."),
    seed: int = typer.Option(0, help="Seed."),
    text_share: float = typer.Option(0.0, help="Share of pairs without an image."),
    padded_share: float = typer.Option(0.0, help="Share of pairs in which one response is longer."),
    length_bias: float = typer.Option(0.5, help="Among those, share in which the chosen one is longer."),
    label_noise: float = typer.Option(0.0, help="Share of pairs with swapped labels."),
    rejected: str = typer.Option(
        "varied",
        help="listed: wrong answers of the question's own kind; varied: a quarter are of other kinds or broken.",
    ),
    reasons: bool = typer.Option(False, "--reasons", help="With critiques and thoughts; rejected answers are listed."),
    corrupted: float = typer.Option(0.0, min=0.0, max=1.0, help="Of the critiques, share that is wrong."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Draw preference pairs whose truth is known.

    Example: `basereward lab world --out runs/world.parquet --pairs 20000`
    """
    from basereward.data.storage import write_rows
    from basereward.data.work import open_work
    from basereward.lab.reasons import with_reasons
    from basereward.lab.world import ODD_SHARES, WorldConfig, draw_rows

    if corrupted and not reasons:
        raise typer.BadParameter("--corrupted goes with --reasons: it is a share of the critiques.")
    odd_share = ODD_SHARES.get(rejected)
    config = WorldConfig(
        text_share=text_share,
        padded_share=padded_share,
        length_bias=length_bias,
        label_noise=label_noise,
        odd_share=ODD_SHARES.get("listed") if reasons else odd_share,
    )
    drawn = draw_rows(pairs, seed, config)
    with open_work(out):
        count = write_rows(with_reasons(drawn, seed, corrupted) if reasons else drawn, out)
    if as_json:
        print_json({"out": str(out), "pairs": count})
        return
    print(f"{count} pairs -> {out}")
    print_next("data", "show", out)


@lab.command()
def backbone(
    out: Path = typer.Option(Path("runs/lab/backbone"), help="Folder for the backbone."),
    family: str = typer.Option("qwen2_5_vl", help=FAMILY_HELP),
    size: str = typer.Option("demo", help="demo or test."),
    seed: int = typer.Option(0, help="Seed of the weights."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a tiny backbone with random weights that loads like a real one.

    Example: `basereward lab backbone --out runs/tiny-backbone`
    """
    from basereward.lab.backbone import write_backbone

    folder = write_backbone(out, family, size, seed)  # type: ignore[arg-type]
    if as_json:
        print_json({"backbone": str(folder)})
        return
    print(f"backbone {folder}")
    print_next("init", "--model", folder, "--data", WORLD, "--out", f"{folder.name}.yaml")


@lab.command()
def prompts(
    out: Path = typer.Option(Path("runs/lab/prompts.parquet"), help="File of prompts, .parquet."),
    prompts: int = typer.Option(4_000, min=1, help="Prompts to draw."),
    seed: int = typer.Option(500_009, help="Seed; another than that of the pairs of the reward model."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Draw prompts with right answers for reinforcement learning.

    Example: `basereward lab prompts --out runs/prompts.parquet --prompts 400`
    """
    from basereward.lab.prompts import write_prompts
    from basereward.lab.table11 import WORLD_KINDS
    from basereward.lab.world import WorldConfig, draw_prompts

    count = write_prompts(draw_prompts(prompts, seed, WorldConfig(kinds=WORLD_KINDS)), out)
    if as_json:
        print_json({"out": str(out), "prompts": count})
        return
    print(f"{count} prompts -> {out}")
    print_next("lab", "start")


@lab.command()
def start(
    out: Path = typer.Option(Path("runs/lab/start"), help="Folder; the policy lies in policy/ there."),
    steps: int = typer.Option(450, min=1, help="Steps of 48 right answers."),
    careless_steps: int = typer.Option(60, min=0, help="Steps of 48 careless answers after them."),
    seed: int = typer.Option(0, help="Seed of the weights and questions."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a tiny policy that answers the world's questions, then carelessly: a start for reinforcement learning.

    Example: `basereward lab start --out runs/start`
    """
    from basereward.lab.start import StartSettings, write_start
    from basereward.lab.table11 import WORLD_KINDS
    from basereward.lab.world import WorldConfig

    policy = write_start(out, seed, WorldConfig(kinds=WORLD_KINDS), StartSettings(steps, careless_steps))
    if as_json:
        print_json({"policy": str(policy)})
        return
    print(f"policy   {policy}")
    print_next("rl", "train", "tiny", f"policy.model={policy}")


@lab.command()
def seeing(
    out: Path = typer.Option(Path("runs/lab/seeing"), help="Folder; the model lies in seeing/ there."),
    steps: int = typer.Option(800, min=1, help="Steps of 48 right answers."),
    seed: int = typer.Option(0, help="Seed of the weights and questions."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a tiny model that answers the world's questions: a start for critics and judges.

    Example: `basereward lab seeing --out runs/seeing`
    """
    from basereward.lab.reasons import reason_texts
    from basereward.lab.start import write_seeing
    from basereward.lab.world import WorldConfig, world_texts

    model = write_seeing(out, seed, WorldConfig(), steps, [*world_texts(), *reason_texts()])
    if as_json:
        print_json({"model": str(model)})
        return
    print(f"model    {model}")
    print_next("train", "critic-tiny", "--model", model)
