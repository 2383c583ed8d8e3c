"""``basereward data annotate``."""

from pathlib import Path
from typing import Literal

import typer

from basereward.cli.data.asking import DEVICE, DTYPE, IMAGES, JUDGE, LIMIT, OPTION, OUT, PAIRS, PRICE, TOKENS, write
from basereward.cli.output import JSON_OPTION
from basereward.cli.reading import A_OPTION, B_OPTION, CHOICE_OPTION, FORMAT_OPTION, MAP_OPTION, read_options

PROMPT_HELP = (
    "How the judge is asked. Thoughts: think (default), answer_tag, verdict_line, brackets, sentence, a prompt file, "
    "r1_reward=FILE or llava_critic=FILE. Critiques: score (default), right_wrong, none, a prompt file or mm_rlhf=FILE."
)


def annotate_pairs(
    pairs: str = PAIRS,
    out: Path | None = OUT,
    judge: str = JUDGE,
    kind: Literal["critiques", "thoughts"] = typer.Option(
        ..., "--kind", help="Critiques of both responses, or thoughts before a verdict in both orders."
    ),
    judge_prompt: str | None = typer.Option(None, "--judge-prompt", help=PROMPT_HELP),
    judge_tokens: int | None = TOKENS,
    judge_option: str | None = OPTION,
    price: tuple[float, float] | None = PRICE,
    format: str | None = FORMAT_OPTION,
    map: list[str] = MAP_OPTION,
    choice: str | None = CHOICE_OPTION,
    a: str | None = A_OPTION,
    b: str | None = B_OPTION,
    limit: int | None = LIMIT,
    images: Literal["bytes", "paths"] = IMAGES,
    dtype: str | None = DTYPE,
    device: str | None = DEVICE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask a judge for critiques or thoughts on pairs; those against the label are dropped and counted.

    The judge never learns the label. Every answer is kept when it comes, so that the same call goes on after a kill.

    Example: `basereward data annotate pairs.jsonl --kind thoughts --judge judge:http://127.0.0.1:8000/v1#m`

    Example: `basereward data annotate pairs.jsonl --kind critiques --judge judge.yaml --price 2.5 10`
    """
    from basereward.data.judging.prompts import make_prompt
    from basereward.data.judging.ratings import make_critic_prompt
    from basereward.scoring.annotation.critiques import CritiqueTask
    from basereward.scoring.annotation.task import AnnotationTask
    from basereward.scoring.annotation.thoughts import ThoughtTask
    from basereward.scoring.judges.opening import asked_prompt, open_judge
    from basereward.scoring.judges.options import parse_options

    read = read_options(format, map, choice, a, b)
    options = parse_options(judge_option)
    given = asked_prompt(judge, judge_prompt, judge_tokens, options)
    task: AnnotationTask
    if kind == "critiques":
        critic = make_critic_prompt(given.name, given.max_tokens)
        task, asked = CritiqueTask(critic), critic.prompt
    else:
        asked = make_prompt(given.name or "think", given.max_tokens)
        task = ThoughtTask(asked)
    opened = open_judge(judge, asked, options=options, dtype=dtype, device=device)
    write(opened, task, pairs, out, read, limit, images, price, as_json)
