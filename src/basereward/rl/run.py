"""One run of reinforcement learning, from a recipe to a run folder: prompts, rewards, GRPO, held-out answers."""

import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, TrainerCallback, set_seed

from basereward.configuration import dump_configuration
from basereward.data.identity import Identity
from basereward.data.io import write_json
from basereward.data.places import open_place
from basereward.encoding.template import Template
from basereward.errors import DataError, StoppedError
from basereward.models.hub import load_complete, quiet_loading
from basereward.models.inputs import load_template
from basereward.rl.adapters.trl import trl_reward
from basereward.rl.grpo import PolicyTrainer, make_trainer
from basereward.rl.held_out import write_answers
from basereward.rl.judge_function import JudgeReward
from basereward.rl.judge_task import JudgeTask
from basereward.rl.monitors import MONITORS, RewardMonitor
from basereward.rl.prompts import PolicyPrompts
from basereward.rl.recipe import AnyRlRecipe, JudgeRlRecipe, RlRecipe
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rollout_log import RolloutLog
from basereward.rl.run_facts import FACTS, HeldOut, RlFacts
from basereward.rl.tasks import PolicyTask, RlTask, image_limits
from basereward.rl.trl_monitor import MonitorCallback
from basereward.rl.watching import WatchedRollouts
from basereward.training.callbacks import MetricsFile, ProgressBar, check_loggers
from basereward.training.folder import METRICS, MODEL, RunClaim, hold_run, start_identity
from basereward.training.launch import first_rank_first, launch_command, process_group, rank, world_size
from basereward.training.resume import STAGING, replace_folder

ANSWERS = "held_out.jsonl"
# What a resumed run may change: how fast it computes, what it writes, and how long it goes on.
MAY_CHANGE = (
    "name",
    "data.held_out",
    "data.strict",
    "grpo.epochs",
    "grpo.max_steps",
    "hardware.checkpointing",
    "hardware.rollouts_per_device",
    "hardware.use_cpu",
    "hardware.vllm",
    "run.log_every",
    "run.show_every",
    "run.save_every",
    "run.keep",
    "run.report_to",
)


class RlResult(NamedTuple):
    """Where the policy lies and what the run was."""

    folder: Path
    policy: Path
    facts: RlFacts


def train_policy(
    recipe: RlRecipe,
    folder: Path,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    function: RewardFunction | None = None,
) -> RlResult:
    """Train a policy with GRPO and write ``recipe.yaml``, ``metrics.jsonl``, ``checkpoints/``, ``model/``, ``rl.json``.

    Args:
        recipe: the run.
        folder: the run folder.
        resume: go on from the last complete checkpoint; without it the folder must hold no run.
        callbacks: more callbacks of transformers.
        function: what rewards, in place of the one that the recipe names.

    Raises:
        TrainingError: the folder already holds a run, or the run cannot go on honestly.
        WorkError: another process trains in the folder, or its checkpoint is of another recipe.
        RewardError: rewards would say nothing about the answers.
        StoppedError: SIGTERM or Ctrl-C ended the run; where it was is saved.
    """
    return _run(recipe, lambda: PolicyTask(recipe, function), folder, resume, callbacks)


def train_judge(
    recipe: JudgeRlRecipe,
    folder: Path,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    function: JudgeReward | None = None,
) -> RlResult:
    """Train a judge with GRPO and write what ``train_policy`` writes; its ``model/`` says how it is asked.

    Args:
        recipe: the run.
        folder: the run folder.
        resume: as for ``train_policy``.
        callbacks: more callbacks of transformers.
        function: what rewards, in place of the one that the recipe describes.

    Raises:
        BaseRewardError: as ``train_policy``.
    """
    return _run(recipe, lambda: JudgeTask(recipe, function), folder, resume, callbacks)


def _run(
    recipe: AnyRlRecipe,
    open_task: Callable[[], RlTask],
    folder: Path,
    resume: bool,
    callbacks: Sequence[TrainerCallback],
) -> RlResult:
    check_loggers(recipe.run.report_to)
    with process_group(recipe.hardware.use_cpu):
        task = open_task()
        claim = RunClaim(
            lambda: _identity(task),
            MAY_CHANGE,
            dump_configuration(recipe),
            lambda facts: run_steps(recipe, facts["prompts"]),
            FACTS,
            "grpo.max_steps",
        )
        with hold_run(claim, folder, resume) as checkpoint:
            return _train(task, folder, checkpoint, callbacks)


def run_steps(recipe: AnyRlRecipe, prompts: int) -> int:
    """Return the steps of a run over so many prompts; the last of an epoch that are no whole batch are left out."""
    grpo = recipe.grpo
    batches = grpo.epochs * (prompts * grpo.generations // grpo.rollouts)
    return grpo.max_steps or batches * grpo.iterations * grpo.minibatches


def _train(task: RlTask, folder: Path, checkpoint: Path | None, callbacks: Sequence[TrainerCallback]) -> RlResult:
    recipe, function, begun = task.recipe, task.function, time.perf_counter()
    with first_rank_first():
        prompts, held_out = task.load(), task.load_held_out()
    if not run_steps(recipe, len(prompts.rows)):
        raise DataError(
            f"{len(prompts.rows)} prompts are less than one batch of {recipe.grpo.rollouts} rollouts, "
            f"{recipe.grpo.generations} each; give more prompts, or a smaller grpo.batch."
        )
    template = load_template(recipe.policy.model, image_limits(recipe))
    # The adapters of LoRA are drawn from it.
    set_seed(recipe.run.seed)
    auto = AutoModelForImageTextToText if template.vision else AutoModelForCausalLM
    model = load_complete(auto, recipe.policy.model, torch.float32)
    shown, seen = RolloutLog(folder, recipe.run.show_every), _watch(task, template)
    function.observers += [shown.observe, seen]
    reward = trl_reward(function, name=f"basereward_{task.scheme}", answer="answer", expects_images=prompts.has_images)
    monitor = MonitorCallback(RewardMonitor(folder / MONITORS if rank() == 0 else None), seen.take)
    watched = [MetricsFile(folder / METRICS), ProgressBar(), shown, monitor, *callbacks]
    trainer = make_trainer(recipe, folder, model, template, prompts, reward, watched)
    with trainer.stop.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.stop.stopped_by:
        _stop(trainer, folder)
    trained = time.perf_counter() - begun
    _save(trainer, template, folder, task)
    start = end = None
    if held_out is not None and rank() == 0:
        start = _evaluate(task, recipe.policy.model, held_out, folder / f"start-{ANSWERS}")
        end = _evaluate(task, str(folder / MODEL), held_out, folder / ANSWERS)
    facts = RlFacts(
        steps=trainer.state.global_step,
        prompts=len(prompts.rows),
        drops=prompts.ledger.to_dict(),
        held_out_drops=held_out.ledger.to_dict() if held_out else None,
        scheme=task.scheme,
        reward=_told(function),
        start=start,
        end=end,
        ranks=world_size(),
        seconds=trained,
        reward_share=_reward_share(trainer.state.log_history),
    )
    if rank() == 0:
        write_json(folder / FACTS, facts.model_dump(mode="json"))
    return RlResult(folder, folder / MODEL, facts)


def _watch(task: RlTask, template: Template) -> WatchedRollouts:
    """Return what keeps rollouts for the monitors, with lengths in tokens."""
    tokenizer = template.tokenizer

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    options = task.watching
    return WatchedRollouts(options.offset, options.scale, count, options.has_model)


def _identity(task: RlTask) -> Identity:
    """Return what decides the weights: data and start by content, settings, and rewards."""
    start = start_identity(task.recipe.policy.model, has_adapters=True)
    return Identity(
        task="rl",
        inputs=tuple(open_place(place).describe() for place in task.places),
        weights={**start, "reward": _told(task.function)},
        settings=task.settings(),
    )


def _told(function: RewardFunction) -> str | None:
    if function.scorer is None:
        return None
    about = function.scorer.about
    return f"{about.name} {about.identity}"


def _save(trainer: PolicyTrainer, template: Template, folder: Path, task: RlTask) -> None:
    """Write the policy as a folder that loads like the one it began with; adapters are added into the weights."""
    if not trainer.args.should_save:
        return
    staged = folder / STAGING / MODEL
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    with quiet_loading():
        (model.merge_and_unload() if trainer.has_adapters else model).save_pretrained(staged)
    template.processor.save_pretrained(staged)
    task.finish(staged, template)
    replace_folder(staged, folder / MODEL)


def _evaluate(task: RlTask, policy: str, held_out: PolicyPrompts, out: Path) -> HeldOut:
    with tqdm(desc="held out", total=len(held_out.rows), file=sys.stderr, unit="prompt") as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        answers = task.answer(policy, held_out, show)
    write_answers(answers, out)
    return task.summarize(answers)


def _reward_share(history: Sequence[dict[str, Any]]) -> float | None:
    logged = [line for line in history if "reward_seconds" in line and line.get("step_time")]
    total = sum(line["step_time"] for line in logged)
    return sum(line["reward_seconds"] for line in logged) / total if total else None


def _stop(trainer: PolicyTrainer, folder: Path) -> NoReturn:
    number, step, steps = trainer.stop.stopped_by, trainer.state.global_step, trainer.state.max_steps
    name, place = signal.Signals(number).name, shlex.quote(str(folder))
    command = f"{launch_command()} rl {place} --out {place} --resume"
    raise StoppedError(number, f"{name} ended the run after step {step} of {steps}, which is saved. Go on: {command}")
