"""The paper's Table 11 in miniature: one policy under rule, model, tournament and hybrid rewards.

Source: paper, appendix C and Table 11.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, get_args

from basereward.data.io import read_json, read_records
from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion, Score, Scored, Verdict
from basereward.data.schema import Response, ResponseGroup, response_id
from basereward.lab.demo import demo_recipe
from basereward.lab.descriptions import grade, read_facts
from basereward.lab.prompts import write_prompts
from basereward.lab.questions import KINDS
from basereward.lab.rows import drawn_pairs, held_out_rewards, made_backbone, open_row, trained_model
from basereward.lab.start import StartSettings, write_start
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import ODD_SHARES, QUICK_KINDS, WorldConfig, draw_pairs, draw_prompts
from basereward.lab.written import is_written
from basereward.models.reward_model import RewardModel
from basereward.rl.held_out import Answer, answer_prompts, write_answers
from basereward.rl.prompts import load_prompts
from basereward.rl.recipe import RlRecipe, parse_rl_recipe
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import Scheme
from basereward.rl.run import ANSWERS, train_policy
from basereward.rl.run_facts import FACTS, RlFacts
from basereward.scoring.interface import Scorer, checked_scores
from basereward.scoring.local import LocalScorer

OPEN_KIND = "describe1"
WORLD_KINDS = (*QUICK_KINDS, OPEN_KIND)
START = "start"
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
# Prompts of the policy are of other seeds than the pairs of its reward model, held-out ones of others again.
PROMPT_SEED, HELD_OUT_SEED = 500_009, 1_000_003
HELD_OUT_PAIRS = 500
COLUMNS = (
    Column("matchable", "matchable"),
    Column("open", "open-ended"),
    Column("off_list", "off-list answers"),
    Column("reward_accuracy", "its reward model"),
    Column("reward_share", "time in rewards"),
    Column("minutes", "minutes", is_share=False),
)
CLAIMS = (
    Claim("Rule rewards help matchable tasks", "rule", START, "matchable"),
    Claim("Rule rewards hurt open-ended tasks", START, "rule", "open"),
    Claim("Hybrid rewards help matchable tasks", "hybrid", START, "matchable"),
    Claim("Hybrid rewards help open-ended tasks", "hybrid", START, "open"),
    Claim("Hybrid rewards beat rules on open-ended tasks", "hybrid", "rule", "open"),
    Claim("Hybrid rewards beat rules on matchable tasks", "hybrid", "rule", "matchable"),
    Claim("Hybrid rewards beat the model's alone on matchable tasks", "hybrid", "model", "matchable"),
    Claim("The model's rewards beat the tournament's on open-ended tasks", "model", "tournament", "open"),
    Claim("A tournament spends more of the time on rewards than the model", "tournament", "model", "reward_share"),
)
NOTES = (
    "Reinforcement learning here brings out what the policy already sees; it does not teach it seeing: the policy "
    "first learned to answer, then to answer carelessly.",
    "An eighth of the prompts asks for a description, of which one of many good ones is given as the right answer; "
    "the paper's prompts are all matchable, and its open-ended tasks are other benchmarks.",
    "The tournament's judge is made from differences of the same reward model's rewards, so that its row differs from "
    "the model's in the form of the reward alone; the paper's judge is R1-Reward, another model.",
    "Its reward model: accuracy on held-out pairs, a quarter of which have an answer of another kind or a broken one.",
    "Matchable: share of greedy answers that are right. Open-ended: mean share of the attributes that a description "
    "gets right. Off-list: answers that no answer to the question looks like.",
)


class DifferenceJudge:
    """A judge that prefers what a scorer gives the higher reward.

    Args:
        scorer: asked about both responses of a question at once.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.about = About(f"difference:{scorer.about.name}", scorer.about.sees_images, scorer.about.identity)

    def compare(self, questions: Sequence[JudgeQuestion]) -> list[Judged]:
        """Return a verdict for each question: the response of the highest reward, a tie if that is not one."""
        groups = [
            ResponseGroup(
                str(place),
                one.prompt,
                tuple(Response(response_id(str(place), own), own) for own in one.responses),
                images=one.images,
                videos=one.videos,
            )
            for place, one in enumerate(questions)
        ]
        return [self._verdict(own) for own in checked_scores(self._scorer, groups)]

    def _verdict(self, scored: Sequence[Scored]) -> Judged:
        if failure := next((one for one in scored if isinstance(one, Failure)), None):
            return failure
        values = [one.value for one in scored if isinstance(one, Score)]
        best = max(values)
        return Verdict(values.index(best) if values.count(best) == 1 else "tie", "")


class Sizes(NamedTuple):
    """How large the runs of the table are.

    Args:
        pairs: on which the reward model is trained.
        reward_steps: of the reward model, 48 pairs each.
        start: how the policy learns before its rewards.
        policy_steps: of GRPO, 16 prompts with 8 rollouts each.
        prompts: on which the policy is trained.
        held_out: prompts on which it is measured.
    """

    pairs: int = 20_000
    reward_steps: int = 1_200
    start: StartSettings = StartSettings()
    policy_steps: int = 80
    prompts: int = 4_000
    held_out: int = 700


def plan_table(sizes: Sizes = Sizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        return _run(row, seed, folder, sizes)

    return TablePlan(
        name="table11",
        source="appendix C, Table 11",
        rows=(START, *SCHEMES),
        columns=COLUMNS,
        claims=CLAIMS,
        notes=NOTES,
        settings={**sizes._asdict(), "start": sizes.start._asdict()},
        run=run,
    )


def _run(row: str, seed: int, folder: Path, sizes: Sizes) -> Mapping[str, float]:
    config = WorldConfig(kinds=WORLD_KINDS)
    policy = folder / "start" / "policy"
    if not is_written(policy):
        write_start(folder / "start", seed, config, sizes.start)
    prompts, held_out = folder / "prompts.parquet", folder / "held-out.parquet"
    if not held_out.is_file():
        write_prompts(draw_prompts(sizes.prompts, seed + PROMPT_SEED, config), prompts)
        write_prompts(draw_prompts(sizes.held_out, seed + HELD_OUT_SEED, config), held_out)
    if row == START:
        answers = answer_prompts(policy, load_prompts([str(held_out)]), 12, "cpu")
        write_answers(answers, folder / f"{START}-{ANSWERS}")
        return measure_answers(answers)
    recipe = policy_recipe(row, policy, prompts, held_out, sizes.policy_steps, seed)
    out = folder / row
    scorer = None if row == "rule" else LocalScorer(reward_model(seed, folder, sizes), "reward")
    asked = DifferenceJudge(scorer) if scorer and row == "tournament" else scorer
    function = RewardFunction(asked, recipe.reward.scheme, recipe.reward.options)
    facts = trained_policy(recipe, out, function)
    answers = [Answer.model_validate(line) for line in read_records(out / ANSWERS)]
    known = {} if scorer is None else {"reward_accuracy": _accuracy(scorer, seed)}
    timed = {"reward_share": facts.reward_share or 0.0, "minutes": facts.seconds / 60}
    return {**measure_answers(answers), **known, **timed}


def trained_policy(recipe: RlRecipe, folder: Path, function: RewardFunction) -> RlFacts:
    """Return the facts of a run, trained if it was not before; a run that was killed goes on."""
    # A run that is finished is not asked to go on: the table may have ended behind it.
    if not (folder / FACTS).is_file():
        train_policy(recipe, folder, resume=True, function=function)
    return RlFacts.model_validate(read_json(folder / FACTS))


def reward_model(seed: int, folder: Path, sizes: Sizes, rejected: str = "varied") -> RewardModel:
    """Return the reward model of a seed, trained once for all rows.

    Args:
        folder: of the seed.
        rejected: which wrong answers its pairs have, by ``world.ODD_SHARES``.
    """
    suffix = "" if rejected == "varied" else f"-{rejected}"
    world = WorldConfig(kinds=WORLD_KINDS, odd_share=ODD_SHARES.get(rejected))
    data = drawn_pairs(folder / f"pairs{suffix}.parquet", sizes.pairs, seed, world)
    backbone = made_backbone(folder / "reward-backbone", "qwen2_5_vl", seed)
    recipe = demo_recipe("reward", backbone, data, None, sizes.reward_steps, seed, sizes.pairs)
    return open_row(trained_model(recipe, folder / f"reward{suffix}"))


def _accuracy(scorer: Scorer, seed: int) -> float:
    """Return how often a scorer prefers the right answer on held-out pairs, odd answers among them."""
    config = WorldConfig(kinds=WORLD_KINDS, odd_share=ODD_SHARES.get("varied"))
    rewards = held_out_rewards(scorer, list(draw_pairs(HELD_OUT_PAIRS, seed + HELD_OUT_SEED, config)))
    return float((rewards.chosen > rewards.rejected).mean())


def policy_recipe(scheme: str, policy: Path, prompts: Path, held_out: Path, steps: int, seed: int) -> RlRecipe:
    """Return the recipe of a row: GRPO with 16 prompts of 8 rollouts a step and a learning rate that falls to 0."""
    return parse_rl_recipe(
        {
            "name": scheme,
            "policy": {"model": str(policy)},
            "data": {"prompts": [str(prompts)], "held_out": [str(held_out)]},
            "reward": {"scheme": scheme, "model": None if scheme == "rule" else "reward/model"},
            "grpo": {
                "batch": 128,
                "max_steps": steps,
                "learning_rate": 2e-4,
                "schedule": "linear",
                "warmup_steps": 5,
                "max_completion_length": 12,
            },
            "hardware": {
                "precision": "fp32",
                "checkpointing": False,
                "rollouts_per_device": 128,
                "use_cpu": True,
            },
            "run": {"seed": seed, "save_every": 20},
        }
    )


def measure_answers(answers: Sequence[Answer]) -> dict[str, float]:
    """Return the share of right answers, the mean grade of descriptions, and the share of off-list answers."""
    kinds = [answer.source.rpartition("/")[2] for answer in answers]
    matched = [answer.strict for answer, kind in zip(answers, kinds, strict=True) if kind != OPEN_KIND]
    graded = [grade(one.response, one.answer) for one, kind in zip(answers, kinds, strict=True) if kind == OPEN_KIND]
    odd = [not is_listed(answer.response, kind) for answer, kind in zip(answers, kinds, strict=True)]
    return {"matchable": fmean(matched), "open": fmean(graded), "off_list": fmean(odd)}


def is_listed(response: str, kind: str) -> bool:
    """Return whether a response is an answer of this kind, right or wrong."""
    if listed := KINDS.get(kind).answers:
        return response in listed
    try:
        read_facts(response)
    except ValueError:
        return False
    return True
