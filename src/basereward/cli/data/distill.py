"""``basereward data distill``."""

from pathlib import Path
from typing import Literal

import typer

from basereward.cli.data.asking import DEVICE, DTYPE, IMAGES, JUDGE, LIMIT, OPTION, OUT, PAIRS, PRICE, TOKENS, write
from basereward.cli.output import JSON_OPTION
from basereward.cli.reading import A_OPTION, B_OPTION, CHOICE_OPTION, FORMAT_OPTION, MAP_OPTION, read_options


def distill_pairs(
    pairs: str = PAIRS,
    out: Path | None = OUT,
    judge: str = JUDGE,
    judge_prompt: str | None = typer.Option(
        None, "--judge-prompt", help="How the judge is asked, as for eval: a name, a file or PROJECT=FILE."
    ),
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
    """Replace the labels of pairs by a judge's preference in both orders, with a weight for how sure it is.

    The label plays no part; how often the judge agrees with it is counted.

    Example: `basereward data distill pairs.jsonl --judge judge:http://127.0.0.1:8000/v1#m --price 2.5 10`
    """
    from basereward.scoring.annotation.preferences import PreferenceTask
    from basereward.scoring.judges.options import parse_options
    from basereward.scoring.spec import open_judge

    read = read_options(format, map, choice, a, b)
    opened = open_judge(judge, judge_prompt, judge_tokens, parse_options(judge_option), dtype, device)
    write(opened, PreferenceTask(), pairs, out, read, limit, images, price, as_json)
