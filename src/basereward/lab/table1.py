"""The paper's Table 1 in miniature: every paradigm on the same pairs, from a backbone that answers already.

Source: paper, section 3.1 and Table 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.io import read_json
from basereward.data.outcomes import Failure, Judged, JudgeQuestion
from basereward.data.storage import write_rows
from basereward.errors import DataError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.result import Result
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.lab.questions import KINDS
from basereward.lab.reasons import reason_texts, with_reasons
from basereward.lab.start import write_seeing
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import QUICK_KINDS, WorldConfig, draw_rows, world_texts
from basereward.lab.written import is_written
from basereward.rl.recipe import JudgeRlRecipe, parse_judge_recipe
from basereward.rl.run import train_judge
from basereward.rl.run_facts import FACTS as RL_FACTS
from basereward.scoring.interface import Judge, Scorer
from basereward.scoring.spec import open_judge, open_scorer
from basereward.training.folder import FACTS
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

SKILLS = QUICK_KINDS
ABSENT = "count"
HELD_OUT_SEED = 1_000_003
PAIRS_PER_STEP = 24
CORRUPTED_SHARE = 0.3
NAIVE, CRITIC, GRM, LONGCOT = "naive", "critic", "grm", "longcot"
UNTRAINED, AFTER_RL = "grm-untrained", "longcot-rl"
CORRUPTED, NAIVE_ABSENT, GRM_ABSENT = "critic-corrupted", "naive-absent", "grm-absent"
ROWS = (NAIVE, CRITIC, UNTRAINED, GRM, LONGCOT, AFTER_RL, CORRUPTED, NAIVE_ABSENT, GRM_ABSENT)
OBJECTIVES: Mapping[str, dict[str, Any]] = {
    NAIVE: {"kind": "bradley_terry"},
    CRITIC: {"kind": "critic", "request": "short", "max_tokens": 48},
    GRM: {"kind": "grm"},
    LONGCOT: {"kind": "longcot", "max_tokens": 80},
    CORRUPTED: {"kind": "critic", "request": "short", "max_tokens": 48},
    NAIVE_ABSENT: {"kind": "bradley_terry"},
    GRM_ABSENT: {"kind": "grm"},
}
COLUMNS = (
    Column("all", "all"),
    *(Column(kind, f"{KINDS.get(kind).axis}: {kind.rstrip('1')}") for kind in SKILLS),
    Column("consistency", "same in both orders"),
    Column("minutes", "minutes of training", is_share=False),
)
CLAIMS = (
    Claim("Training makes a judge of a model that can answer", GRM, UNTRAINED, "all"),
    Claim("Reinforcement learning improves the LongCoT-GRM", AFTER_RL, LONGCOT, "all"),
    Claim("A poor critic is a bottleneck", CRITIC, CORRUPTED, "all"),
    Claim("The Naive-RM is better than the Critic-RM", NAIVE, CRITIC, "all"),
    Claim("The Naive-RM is better than the GRM", NAIVE, GRM, "all"),
    Claim("A GRM knows more of a skill that its pairs lack than a Naive-RM", GRM_ABSENT, NAIVE_ABSENT, ABSENT),
    Claim("Pairs of that skill help the Naive-RM", NAIVE, NAIVE_ABSENT, ABSENT),
    Claim("With pairs of that skill the Naive-RM is better at it than the GRM", NAIVE, GRM, ABSENT),
)
NOTES = (
    "Every row starts from the same backbone, which first learned to answer the world's questions, as the paper's rows "
    "start from a pretrained MLLM; from random weights judges and critics stay at chance.",
    "Critiques and thoughts are written from the world's truth; the paper's are GPT-4o's. In critic-corrupted 30 % of "
    "the critiques take the rejected response for the truth: the words are learned from these, the rewards behind true "
    "ones.",
    "All rows are trained on the same pairs, 300 steps of 24; the LongCoT-GRM passes over them again until step 500.",
    "A judge is asked in both orders, each counts half; a critic is scored on its own greedy critiques.",
    f"In the rows called absent no pair of the skill {ABSENT!r} is trained on; the backbone has learned to answer it.",
    "The GRM without training is read from the probabilities of 1 and 2, since it writes neither. It is at chance here "
    "by construction: its backbone has never seen a verdict.",
)


class MoreLikely:
    """A judge that prefers the response whose name it finds more likely, whatever it writes.

    Args:
        judge: gives probabilities.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.about = judge.about

    def compare(self, questions: Sequence[JudgeQuestion]) -> list[Judged]:
        """Return a verdict for each question, in order."""
        return [self._read(judged) for judged in self._judge.compare(questions)]

    def _read(self, judged: Judged) -> Judged:
        if isinstance(judged, Failure) or judged.probabilities is None:
            return judged
        best = max(judged.probabilities)
        is_tie = judged.probabilities.count(best) > 1
        return replace(judged, choice="tie" if is_tie else judged.probabilities.index(best))


class ParadigmSizes(NamedTuple):
    """How large the runs of the table are.

    Args:
        seeing_steps: of the backbone's answers, 48 each.
        steps: of 24 pairs, the same ones for all, each once; a judge learns both orders of each.
        longcot_steps: of the LongCoT-GRM, which passes over the same pairs again: its verdicts come last.
        rl_steps: of the reinforcement learning of the LongCoT-GRM.
        held_out: pairs on which all are measured.
    """

    seeing_steps: int = 800
    steps: int = 300
    longcot_steps: int = 500
    rl_steps: int = 40
    held_out: int = 700

    @property
    def pairs(self) -> int:
        """Pairs that every paradigm is trained on, each once."""
        return self.steps * PAIRS_PER_STEP


def plan_table(sizes: ParadigmSizes = ParadigmSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        return _run(row, seed, folder, sizes)

    return TablePlan(
        name="table1",
        source="Table 1",
        rows=ROWS,
        columns=COLUMNS,
        claims=CLAIMS,
        notes=NOTES,
        settings=sizes._asdict(),
        run=run,
    )


def _run(row: str, seed: int, folder: Path, sizes: ParadigmSizes) -> Mapping[str, float]:
    seeing = folder / "start" / "seeing"
    if not is_written(seeing):
        write_seeing(folder / "start", seed, WorldConfig(kinds=SKILLS), sizes.seeing_steps, _texts())
    test = folder / "test.parquet"
    if not test.is_file():
        write_rows(draw_rows(sizes.held_out, seed + HELD_OUT_SEED, WorldConfig(kinds=SKILLS)), test)
    if row == UNTRAINED:
        judge = open_judge(f"judge:{seeing}", "digit", dtype="float32", device="cpu")
        return measure(MoreLikely(judge), test, folder / row)
    model, minutes = _trained(row, seed, folder, sizes)
    is_judge = row not in (NAIVE, CRITIC, CORRUPTED, NAIVE_ABSENT)
    subject: Judge | Scorer = (
        open_judge(f"judge:{model}", dtype="float32", device="cpu")
        if is_judge
        else open_scorer(str(model), dtype="float32", device="cpu")
    )
    return {**measure(subject, test, folder / row / "evaluation"), "minutes": minutes}


def _trained(row: str, seed: int, folder: Path, sizes: ParadigmSizes) -> tuple[Path, float]:
    """Return the model of a row and the minutes of its training."""
    data = _pairs(row, seed, folder, sizes)
    if row == AFTER_RL:
        start, minutes = _trained(LONGCOT, seed, folder, sizes)
        done = folder / row / RL_FACTS
        if not done.is_file():
            train_judge(rl_recipe(start, data, sizes.rl_steps, seed), folder / row, resume=True)
        return folder / row / "model", minutes + read_json(done)["seconds"] / 60
    steps = sizes.longcot_steps if row == LONGCOT else sizes.steps
    recipe = paradigm_recipe(row, folder / "start" / "seeing", data, steps, seed)
    # A run that is finished is not asked to go on: the table may have ended behind it.
    done = folder / row / FACTS
    if not done.is_file():
        train(recipe, folder / row, resume=True)
    return folder / row / "model", read_json(done)["seconds"] / 60


def _pairs(row: str, seed: int, folder: Path, sizes: ParadigmSizes) -> Path:
    """Return the training pairs of a row; all rows show the same scenes but for the skill that is absent."""
    is_absent = row in (NAIVE_ABSENT, GRM_ABSENT)
    share = CORRUPTED_SHARE if row == CORRUPTED else 0.0
    path = folder / f"{'absent' if is_absent else 'corrupted' if share else 'train'}.parquet"
    if not path.is_file():
        rows = draw_rows(sizes.pairs, seed, WorldConfig(kinds=SKILLS))
        write_rows(with_reasons(_without(rows, ABSENT) if is_absent else rows, seed, share), path)
    return path


def _without(rows: Iterator[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["kind"] != kind)


def paradigm_recipe(row: str, backbone: Path, data: Path, steps: int, seed: int) -> Recipe:
    """Return the recipe of a row: 24 pairs a step, the same optimiser for all."""
    # Of the corrupted critiques a pair is two records, one for the words and one for the rewards.
    pairs = PAIRS_PER_STEP * (2 if row == CORRUPTED else 1)
    return parse_recipe(
        {
            "name": row,
            "model": {"backbone": str(backbone)},
            "data": {"train": [str(data)]},
            "objective": OBJECTIVES[row],
            "optimizer": {
                "learning_rate": 5e-4,
                "pairs_per_step": pairs,
                # Thoughts need more steps, and where a skill is absent, the others are passed over again.
                "epochs": 2,
                "max_steps": steps,
                "warmup_share": 0.06,
                "weight_decay": 0.01,
            },
            "hardware": {"precision": "fp32", "workers": 1, "use_cpu": True},
            "run": {"seed": seed, "log_every": 20, "save_every": 200},
        }
    )


def rl_recipe(start: Path, data: Path, steps: int, seed: int) -> JudgeRlRecipe:
    """Return the recipe of the LongCoT-GRM's reinforcement learning: 16 questions with 8 answers a step."""
    return parse_judge_recipe(
        {
            "task": "judge",
            "name": AFTER_RL,
            "policy": {"model": str(start)},
            "data": {"pairs": [str(data)]},
            "grpo": {
                "batch": 128,
                "minibatches": 2,
                "max_steps": steps,
                "learning_rate": 1e-4,
                "schedule": "linear",
                "warmup_steps": 5,
                "max_completion_length": OBJECTIVES[LONGCOT]["max_tokens"],
                "stable": {},
            },
            "hardware": {"precision": "fp32", "checkpointing": False, "rollouts_per_device": 64, "use_cpu": True},
            "run": {"seed": seed, "save_every": 20},
        }
    )


def measure(subject: Judge | Scorer, test: Path, folder: Path) -> dict[str, float]:
    """Return accuracy on held-out pairs, that of each skill, and how consistent a judge is, in one evaluation.

    Raises:
        DataError: nothing could be asked.
    """
    options = EvaluationOptions(references=False, overwrite=True)
    return read_accuracies(evaluate(subject, read_pairs(test), folder, options))


def read_accuracies(result: Result) -> dict[str, float]:
    """Return the numbers of the table from an evaluation.

    Raises:
        DataError: the evaluation has no accuracy.
    """
    summary = result.main.model
    overall = summary.metrics["accuracy"].value
    if overall is None:
        raise DataError(f"No pair could be asked about: {result.failures}.")
    skills = {name.rpartition("/")[2]: metric.value for name, metric in result.main.subsets.items()}
    values = {"all": overall, **{name: value for name, value in skills.items() if value is not None}}
    if (same := summary.metrics.get("order_consistency")) and same.value is not None:
        values["consistency"] = same.value
    return values


def _texts() -> list[str]:
    return [*world_texts(), *reason_texts()]
