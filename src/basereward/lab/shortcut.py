"""A shortcut in the text of the training pairs, and what weights by a text-only proxy and image swaps do against it.

The world, the seeds and the pass mark stand in ``docs/shortcuts.md``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from basereward.data.io import read_json, write_json
from basereward.data.pairs import pair_row
from basereward.data.schema import Messages, PreferencePair, messages_from_text
from basereward.data.storage import write_rows
from basereward.errors import DataError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.lab.start import write_seeing
from basereward.lab.table1 import HELD_OUT_SEED, read_accuracies
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import FILLER, WorldConfig, draw_pairs
from basereward.lab.written import is_written
from basereward.models.reward_model import RewardModel
from basereward.scoring.blind import BlindScorer
from basereward.scoring.files import score_file
from basereward.scoring.local import LocalScorer
from basereward.training.folder import FACTS, MODEL
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

CEILING, PLAIN, HALF = "no shortcut", "shortcut", "half of the loss"
REWEIGHTED, SWAPPED, BOTH = "reweighted", "image swaps", "both"
ROWS = (CEILING, PLAIN, HALF, REWEIGHTED, SWAPPED, BOTH)
CUE = FILLER
# Those that are learned first: an arm is trained in a minute, and what differs between arms is the cue.
WORLD = WorldConfig(kinds=("color1", "size1", "count"))
# Of the backbone from which the rows of all seeds start, as runs of one recipe start from one pretrained model.
START_SEED = 7


class Cues(NamedTuple):
    """How often the cue stands before the chosen and before the rejected response."""

    chosen: float
    rejected: float


# What the cue says of the label in training: much, or nothing at the same mean frequency.
PLANTED, NEUTRAL = Cues(0.9, 0.1), Cues(0.5, 0.5)
TESTS: Mapping[str, Cues] = {"as trained": PLANTED, "absent": Cues(0.0, 0.0), "reversed": Cues(0.1, 0.9)}
OUT, ACCURACIES = "reversed", "accuracies.json"
OBJECTIVES: Mapping[str, dict[str, Any]] = {
    CEILING: {},
    PLAIN: {},
    REWEIGHTED: {"shortcut": {}},
    SWAPPED: {"image_swap": {}},
    BOTH: {"shortcut": {}, "image_swap": {}},
}
COLUMNS = (
    Column("as trained", "cue as in training"),
    Column("absent", "cue absent"),
    Column(OUT, "cue reversed"),
    Column("recovered", "loss recovered"),
    Column("minutes", "minutes of training", is_share=False),
)
CLAIMS = (
    Claim("The shortcut costs accuracy where it is reversed", CEILING, PLAIN, OUT),
    Claim("Reweighting recovers more than half of that", REWEIGHTED, HALF, OUT),
    Claim("Image swaps recover more than half of that", SWAPPED, HALF, OUT),
    Claim("Both recover more than half of that", BOTH, HALF, OUT),
)
NOTES = (
    "This is no table of the paper: section 3 of the paper trains on its pairs as they are.",
    f"The cue is {CUE.strip()!r} before a response: before {PLANTED.chosen:.0%} of the chosen and "
    f"{PLANTED.rejected:.0%} of the rejected ones; without the shortcut before half of either.",
    "All rows start from the same backbone, which first learned to answer the world's questions, half of the time "
    "behind the cue.",
    "The proxies are two blind models, each trained on one half of the same pairs and asked about the other.",
)


class ShortcutSizes(NamedTuple):
    """How large the runs are.

    Args:
        seeing_steps: of the backbone's answers, 48 each.
        steps: of every row.
        proxy_steps: of each of the two proxies.
        pairs: to train on.
        pairs_per_step: of every run.
        held_out: pairs of each test.
    """

    seeing_steps: int = 800
    steps: int = 150
    proxy_steps: int = 60
    pairs: int = 3_600
    pairs_per_step: int = 24
    held_out: int = 500


def plan_shortcut(sizes: ShortcutSizes = ShortcutSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        return _run(row, seed, folder, sizes)

    return TablePlan(
        name="shortcut",
        source="shortcuts in the text",
        rows=ROWS,
        columns=COLUMNS,
        claims=CLAIMS,
        notes=NOTES,
        settings={**sizes._asdict(), "start_seed": START_SEED, "cues": [PLANTED, NEUTRAL]},
        run=run,
    )


def plant(pairs: Iterable[PreferencePair], cues: Cues) -> Iterator[PreferencePair]:
    """Yield pairs with the cue before some responses; the draw of a pair depends on its id alone."""
    for pair in pairs:
        drawn = Random(f"{pair.id}/cue")
        chosen, rejected = (drawn.random() < share for share in cues)
        yield replace(pair, chosen=_cued(pair.chosen, chosen), rejected=_cued(pair.rejected, rejected))


def _cued(answer: Messages, is_cued: bool) -> Messages:
    return messages_from_text(CUE + answer[0].text, "assistant") if is_cued else answer


def _run(row: str, seed: int, folder: Path, sizes: ShortcutSizes) -> Mapping[str, float]:
    if row == HALF:
        plain, ceiling = _ends(folder)
        return {OUT: (plain + ceiling) / 2, "recovered": 0.5}
    data = training_files(row, seed, folder, sizes)
    recipe = shortcut_recipe(row, _start(folder, sizes), data, OBJECTIVES[row], sizes.steps, seed, sizes)
    run = folder / row.replace(" ", "-")
    minutes = _train(recipe, run)
    scorer = LocalScorer(RewardModel.from_pretrained(run / MODEL, device="cpu"), row)
    values = {name: _accuracy(scorer, name, seed, run, sizes) for name in TESTS}
    write_json(run / ACCURACIES, values)
    if row not in (PLAIN, CEILING):
        values["recovered"] = recovered_share(values[OUT], *_ends(folder))
    return {**values, "minutes": minutes}


def recovered_share(value: float, plain: float, ceiling: float) -> float:
    """Return ``(value - plain) / (ceiling - plain)``.

    Raises:
        DataError: the shortcut costs nothing, so that there is nothing to recover.
    """
    if ceiling <= plain:
        raise DataError(f"The shortcut costs nothing: {plain:.3f} with it, {ceiling:.3f} without.")
    return (value - plain) / (ceiling - plain)


def _ends(folder: Path) -> tuple[float, float]:
    """Return the accuracy with the cue reversed of the plain row and of the ceiling."""
    plain, ceiling = (read_json(folder / name.replace(" ", "-") / ACCURACIES)[OUT] for name in (PLAIN, CEILING))
    return plain, ceiling


def _start(folder: Path, sizes: ShortcutSizes) -> Path:
    """Return the backbone from which all rows of all seeds start, which lies beside the folders of the seeds."""
    start = folder.parent / "start"
    if not is_written(start / "seeing"):
        # It knows the cue too: a phrase that is new to it blocks learning for hundreds of steps, whatever it goes with.
        write_seeing(start, START_SEED, WorldConfig(), sizes.seeing_steps, filler_share=0.5)
    return start / "seeing"


def training_files(row: str, seed: int, folder: Path, sizes: ShortcutSizes) -> list[Path]:
    """Return the training files of a row, made once for a seed: the pairs in two halves, scored by proxies if needed.

    All rows show the same scenes and ask the same questions.
    """
    if row == CEILING:
        return _halves("neutral", NEUTRAL, seed, folder, sizes)
    halves = _halves("planted", PLANTED, seed, folder, sizes)
    return halves if "shortcut" not in OBJECTIVES[row] else _scored(halves, seed, folder, sizes)


def _halves(name: str, cues: Cues, seed: int, folder: Path, sizes: ShortcutSizes) -> list[Path]:
    paths = [folder / f"{name}-{half}.parquet" for half in range(2)]
    if not all(path.is_file() for path in paths):
        pairs = list(plant(draw_pairs(sizes.pairs, seed, WORLD), cues))
        for half, path in enumerate(paths):
            write_rows(map(pair_row, pairs[half::2]), path)
    return paths


def _scored(halves: list[Path], seed: int, folder: Path, sizes: ShortcutSizes) -> list[Path]:
    """Return the halves with the scores of a blind model that was trained on the other half."""
    scored = [path.with_name(f"{path.stem}-scored.parquet") for path in halves]
    for half, (source, target) in enumerate(zip(halves, scored, strict=True)):
        if target.is_file():
            continue
        run, other, blind = folder / f"proxy-{half}", [halves[1 - half]], {"blind": True}
        _train(shortcut_recipe("proxy", _start(folder, sizes), other, blind, sizes.proxy_steps, seed, sizes), run)
        proxy = BlindScorer(LocalScorer(RewardModel.from_pretrained(run / MODEL, device="cpu"), f"proxy-{half}"))
        score_file(proxy, source, target)
    return scored


def _train(recipe: Recipe, folder: Path) -> float:
    """Train unless it is done, and return the minutes."""
    done = folder / FACTS
    if not done.is_file():
        train(recipe, folder, resume=True)
    return read_json(done)["seconds"] / 60


def shortcut_recipe(
    name: str,
    backbone: Path,
    data: list[Path],
    objective: Mapping[str, Any],
    steps: int,
    seed: int,
    sizes: ShortcutSizes,
) -> Recipe:
    """Return the recipe of a row or a proxy: that of Table 1 in miniature, but for its objective and pairs a step."""
    each = sum(pq.read_metadata(path).num_rows for path in data) // sizes.pairs_per_step
    return parse_recipe(
        {
            "name": name,
            # What it sees it has learned; the tower is half of the work.
            "model": {"backbone": str(backbone), "freeze_vision": True},
            "data": {"train": [str(path) for path in data]},
            "objective": {"kind": "bradley_terry", **objective},
            "optimizer": {
                "learning_rate": 5e-4,
                "pairs_per_step": sizes.pairs_per_step,
                "epochs": -(-steps // each),
                "max_steps": steps,
                "warmup_share": 0.06,
                "weight_decay": 0.01,
            },
            "hardware": {"precision": "fp32", "workers": 1, "use_cpu": True},
            "run": {"seed": seed, "log_every": 20, "save_every": 200},
        }
    )


def _accuracy(scorer: LocalScorer, test: str, seed: int, run: Path, sizes: ShortcutSizes) -> float:
    path = run.parent / f"test-{test.replace(' ', '-')}.parquet"
    if not path.is_file():
        pairs = draw_pairs(sizes.held_out, seed + HELD_OUT_SEED, WORLD)
        write_rows(map(pair_row, plant(pairs, TESTS[test])), path)
    options = EvaluationOptions(references=False, overwrite=True)
    return read_accuracies(evaluate(scorer, read_pairs(path), run / path.stem, options))["all"]
