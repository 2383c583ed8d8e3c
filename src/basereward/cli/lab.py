"""``basereward lab``: a procedural world and tiny backbones to try everything on."""

from pathlib import Path

import typer

from basereward.cli.lab_tables import tables

lab = typer.Typer(help="Make a procedural world and tiny backbones to try everything on.", no_args_is_help=True)
lab.add_typer(tables)


@lab.command()
def world(
    out: Path = typer.Argument(metavar="OUT", help="Target, .jsonl or .parquet."),
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
) -> None:
    """Draw preference pairs whose truth is known.

    Example: `basereward lab world runs/world.parquet --pairs 20000`
    """
    from basereward.data.storage import write_rows
    from basereward.lab.reasons import with_reasons
    from basereward.lab.world import ODD_SHARES, WorldConfig, draw_rows

    config = WorldConfig(
        text_share=text_share,
        padded_share=padded_share,
        length_bias=length_bias,
        label_noise=label_noise,
        odd_share=ODD_SHARES.get("listed" if reasons else rejected),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw_rows(pairs, seed, config)
    print(f"{write_rows(with_reasons(drawn, seed, corrupted) if reasons else drawn, out)} pairs -> {out}")


@lab.command()
def backbone(
    out: Path = typer.Argument(metavar="OUT", help="Target folder."),
    family: str = typer.Option("qwen2_5_vl", help="qwen2_vl, qwen2_5_vl, qwen3_vl, internvl, qwen2 or qwen3."),
    size: str = typer.Option("demo", help="demo or test."),
    seed: int = typer.Option(0, help="Seed of the weights."),
) -> None:
    """Write a tiny backbone with random weights that loads like a real one.

    Example: `basereward lab backbone runs/tiny`
    """
    from basereward.lab.backbone import write_backbone

    print(write_backbone(out, family, size, seed))  # type: ignore[arg-type]


@lab.command()
def prompts(
    out: Path = typer.Argument(metavar="OUT", help="Target, .parquet."),
    prompts: int = typer.Option(4_000, min=1, help="Prompts to draw."),
    seed: int = typer.Option(500_009, help="Seed; another than that of the pairs of the reward model."),
) -> None:
    """Draw prompts with right answers for reinforcement learning.

    Example: `basereward lab prompts runs/prompts.parquet --prompts 400`
    """
    from basereward.lab.prompts import write_prompts
    from basereward.lab.table11 import WORLD_KINDS
    from basereward.lab.world import WorldConfig, draw_prompts

    print(f"{write_prompts(draw_prompts(prompts, seed, WorldConfig(kinds=WORLD_KINDS)), out)} prompts -> {out}")


@lab.command()
def start(
    out: Path = typer.Argument(metavar="OUT", help="Target folder; the policy lies in OUT/policy."),
    steps: int = typer.Option(450, min=1, help="Steps of 48 right answers."),
    careless_steps: int = typer.Option(60, min=0, help="Steps of 48 careless answers after them."),
    seed: int = typer.Option(0, help="Seed of the weights and questions."),
) -> None:
    """Train a tiny policy that answers the world's questions, then carelessly: a start for reinforcement learning.

    Example: `basereward lab start runs/start`
    """
    from basereward.lab.start import StartSettings, write_start
    from basereward.lab.table11 import WORLD_KINDS
    from basereward.lab.world import WorldConfig

    print(write_start(out, seed, WorldConfig(kinds=WORLD_KINDS), StartSettings(steps, careless_steps)))


@lab.command()
def seeing(
    out: Path = typer.Argument(metavar="OUT", help="Target folder; the model lies in OUT/seeing."),
    steps: int = typer.Option(800, min=1, help="Steps of 48 right answers."),
    seed: int = typer.Option(0, help="Seed of the weights and questions."),
) -> None:
    """Train a tiny model that answers the world's questions: a start for critics and judges.

    Example: `basereward lab seeing runs/seeing`
    """
    from basereward.lab.reasons import reason_texts
    from basereward.lab.start import write_seeing
    from basereward.lab.world import WorldConfig, world_texts

    print(write_seeing(out, seed, WorldConfig(), steps, [*world_texts(), *reason_texts()]))
