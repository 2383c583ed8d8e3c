"""One training run, from a recipe to a run folder: load, measure, plan, train, save."""

import shlex
import signal
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from transformers import TrainerCallback, TrainingArguments

from basereward.data.io import write_json
from basereward.data.process import peak_resident_bytes
from basereward.errors import StoppedError, TrainingError
from basereward.models.backends import Choice
from basereward.models.card.file import write_card
from basereward.models.checkpoint import load_weights
from basereward.models.flops import measure_backbone
from basereward.models.guard import settle_backend
from basereward.models.reward_model import RewardModel
from basereward.training.callbacks import MetricsFile, ProgressBar, check_loggers
from basereward.training.card import card_of_run
from basereward.training.evaluation import ValidationPairs
from basereward.training.folder import FACTS, METRICS, MODEL, open_run, read_trained_by
from basereward.training.launch import (
    check_sharding,
    first_rank_first,
    launch_command,
    on_first_rank,
    process_group,
    rank,
    replica_ranks,
    world_size,
)
from basereward.training.options import check_algorithm
from basereward.training.parallel import shard_model
from basereward.training.plan import run_length, run_sampler, shared_facts
from basereward.training.prepare import (
    KnownPairs,
    RunData,
    known_pairs,
    prepare_data,
    prepare_model,
    prepare_record,
    prepare_template,
)
from basereward.training.profile import StepProfiler
from basereward.training.push import push_again, push_model, waits_for_push
from basereward.training.recipe import Recipe
from basereward.training.resume import CHECKPOINTS, STAGING, checkpoint_step, replace_folder
from basereward.training.sampler import BinPlan, PairSampler, check_cap, plan_bins
from basereward.training.trainer import RewardTrainer
from basereward.training.utilisation import utilisation_of


class TrainResult(NamedTuple):
    """Where the model lies and what the run was."""

    folder: Path
    model_folder: Path
    facts: dict[str, Any]


def train(
    recipe: Recipe, folder: Path, resume: bool = False, callbacks: list[TrainerCallback] | None = None
) -> TrainResult:
    """Train a reward model and write ``recipe.yaml``, ``metrics.jsonl``, ``checkpoints/``, ``model/``, ``train.json``.

    Args:
        recipe: the run.
        folder: the run folder.
        resume: go on from the last complete checkpoint; without it the folder must hold no run.
        callbacks: more callbacks of transformers.

    Raises:
        TrainingError: the folder already holds a run, or the run cannot go on honestly.
        WorkError: another process trains in the folder, or its checkpoint is of another recipe.
        StoppedError: SIGTERM or Ctrl-C ended the run; where it was is saved.

    A finished run that was to push its model and could not is pushed by ``resume``, without training.
    """
    check_loggers(recipe.run.report_to)
    check_sharding(recipe.hardware)
    check_algorithm(recipe.optimizer.algorithm)
    with process_group(recipe.hardware.use_cpu):
        if resume and on_first_rank(lambda: waits_for_push(recipe, folder)):
            # Others do not wait for it: an upload may take longer than a collective has.
            return TrainResult(folder, folder / MODEL, push_again(recipe, folder) if rank() == 0 else {})
        with open_run(recipe, folder, resume) as checkpoint:
            return _train(recipe, folder, checkpoint, callbacks or [])


def _train(recipe: Recipe, folder: Path, checkpoint: Path | None, callbacks: list[TrainerCallback]) -> TrainResult:
    start = time.perf_counter()
    template = prepare_template(recipe)
    # In front of the data, whose first reading may take hours: what is wrong with a model is known at once.
    model = prepare_model(recipe, template, is_empty=recipe.hardware.sharding == "fsdp2")
    with first_rank_first():
        data = prepare_data(recipe, template)
    steps, epochs = run_length(recipe, len(data.train.pairs))
    if checkpoint and checkpoint_step(checkpoint) > steps:
        raise TrainingError(f"{checkpoint} is behind the {steps} steps of the recipe; raise optimizer.max_steps.")
    profilers = _profilers(recipe, folder, steps)
    # The first rank writes the record, and tells.
    known = known_pairs(data.train, data.validation) if rank() == 0 else KnownPairs(b"", {})
    trained_by = read_trained_by(recipe, folder) if rank() == 0 else None
    model.data_record = prepare_record(recipe, model, data.train.fingerprint, known.packed, trained_by)
    size = measure_backbone(model.config)
    sampler = run_sampler(recipe, data.train.lengths, size.cost_model(), world_size())
    bins = plan_bins(sampler, recipe.optimizer.tokens_per_microbatch, epochs, data.reserved)
    sampler.place(rank(), bins.grad_accum)
    args = training_arguments(recipe, folder, sampler)
    backend = _place_model(model, recipe, args)
    trainer = RewardTrainer(
        model,
        args,
        data.train.shown,
        sampler,
        recipe.objective,
        validation=_validation(recipe, data, bins),
        kinds=data.kinds,
        callbacks=[MetricsFile(folder / METRICS), ProgressBar(), *profilers, *callbacks],
        bootstrap=recipe.bootstrap(model.heads),
        rates=recipe.optimizer.learning_rates,
        best=recipe.run.best,
        utilisation=utilisation_of(recipe, size, args.device, torch.bfloat16 if args.bf16 else torch.float32),
    )
    with trainer.stop.listening(), ExitStack() as ends:
        for own in profilers:
            ends.callback(own.close)
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.stop.stopped_by:
        _stop(trainer, folder)
    _save_model(trainer, folder, recipe, data, _take_best(trainer, folder))
    facts = {
        "steps": output.global_step,
        "train_loss": output.metrics["train_loss"],
        "pairs": len(data.train.pairs),
        **_told(recipe, data),
        "microbatches": bins.grad_accum,
        "balance": bins.balance,
        "ranks": world_size(),
        "peak_memory_bytes": peak_memory(args.device),
        "backend": backend.backend,
        "backend_reason": backend.reason,
        "seconds": time.perf_counter() - start,
    }
    facts |= _best_facts(recipe, trainer) | _data_facts(data, known)
    if trainer.is_world_process_zero():
        facts = _finish(recipe, folder, facts)
    return TrainResult(folder, folder / MODEL, facts)


def _best_facts(recipe: Recipe, trainer: RewardTrainer) -> dict[str, Any]:
    """Return which evaluation was the best and whether the run ended for want of a better one, if it keeps the best."""
    if recipe.run.best is None:
        return {}
    state = trainer.state
    best = {"step": state.best_global_step, recipe.run.best.metric: state.best_metric}
    return {"best": best, "ended_early": state.global_step < state.max_steps}


def _finish(recipe: Recipe, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the facts of a run, which is finished by that, and push its model if that is asked for."""
    write_json(folder / FACTS, facts)
    return push_model(recipe, folder) if recipe.run.push_to_hub else facts


def _profilers(recipe: Recipe, folder: Path, steps: int) -> list[StepProfiler]:
    """Return what traces the steps that the recipe names, if it does, of a run of so many."""
    if recipe.run.profile_steps is None:
        return []
    recipe.run.profile_steps.check(steps)
    return [StepProfiler(recipe.run.profile_steps, folder)]


def _place_model(model: RewardModel, recipe: Recipe, args: TrainingArguments) -> Choice:
    """Bring a model to the device of this rank, whole or this rank's part of it, and settle how it is computed."""
    if recipe.hardware.sharding == "fsdp2":
        shard_model(model, args.device, args.bf16, replica_ranks(recipe.hardware, world_size()))
    return settle_backend(model.to(args.device), recipe.model.backend, torch.bfloat16 if args.bf16 else None)


def _take_best(trainer: RewardTrainer, folder: Path) -> int:
    """Load the weights of the best evaluation, if the run keeps them, and return the step of those that are there."""
    last, best = trainer.state.global_step, trainer.state.best_global_step
    if not trainer.best or not best or best == last:
        return last
    load_weights(trainer.model, folder / CHECKPOINTS / f"checkpoint-{best}")
    return best


def _data_facts(data: RunData, known: KnownPairs) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if data.train.swaps:
        facts["image_swaps"] = data.train.swaps.counts.model_dump(mode="json")
    for name, own in data.validation.items():
        found = {"validation_pairs": len(own.pairs), "validation_drops": own.drops}
        found |= {"validation_pairs_in_training": known.validated.get(name, 0)}
        facts |= {"validation_sets": facts.get("validation_sets", {}) | {name: found}} if name else found
    return facts


def _validation(recipe: Recipe, data: RunData, bins: BinPlan) -> dict[str, ValidationPairs]:
    """Return the validation pairs of each set, in batches no larger than those of training."""
    cap = recipe.optimizer.tokens_per_microbatch
    sets = {}
    for name, own in data.validation.items():
        tokens = own.lengths.tokens()
        if cap:
            check_cap(max(tokens), cap, data.reserved)
        sets[name] = ValidationPairs(own.pairs, tokens, cap - data.reserved if cap else bins.largest)
    return sets


def _told(recipe: Recipe, data: RunData) -> dict[str, Any]:
    """Return what the training pairs were read as and lost; on the first rank, which writes it, what they share."""
    shared = shared_facts(recipe, data.train.lengths, data.train.pairs) if rank() == 0 else None
    told = {"read_as": data.train.read_as, "drops": data.train.drops}
    return told | ({"shared": asdict(shared)} if shared else {})


def _stop(trainer: RewardTrainer, folder: Path) -> NoReturn:
    number, step, steps = trainer.stop.stopped_by, trainer.state.global_step, trainer.state.max_steps
    name, place = signal.Signals(number).name, shlex.quote(str(folder))
    command = f"{launch_command()} train {place} --out {place} --resume"
    raise StoppedError(number, f"{name} ended the run after step {step} of {steps}, which is saved. Go on: {command}")


def _save_model(trainer: RewardTrainer, folder: Path, recipe: Recipe, data: RunData, steps: int) -> None:
    """Write the model under a temporary name, and rename it: a killed run leaves the former model or none."""
    staged = folder / STAGING / MODEL
    trainer.save_reward_model(staged, getattr(torch, recipe.run.save_dtype))

    def publish() -> None:
        write_card(staged, card_of_run(recipe, len(data.train.pairs), steps, data.train.drops))
        replace_folder(staged, folder / MODEL)

    on_first_rank(publish)


def peak_memory(device: torch.device) -> int:
    """Return the most memory that this process has held: of the GPU, or resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_resident_bytes()


def training_arguments(recipe: Recipe, folder: Path, sampler: PairSampler) -> TrainingArguments:
    """Translate a recipe for ``transformers.Trainer``."""
    optimizer, hardware, run = recipe.optimizer, recipe.hardware, recipe.run
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        run_name=recipe.name,
        num_train_epochs=optimizer.epochs,
        max_steps=optimizer.max_steps or -1,
        gradient_accumulation_steps=sampler.grad_accum,
        per_device_train_batch_size=max(1, optimizer.pairs_per_step // (sampler.grad_accum * sampler.dp_size)),
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type=optimizer.schedule,
        lr_scheduler_kwargs=optimizer.schedule_options(run_length(recipe, len(sampler.lengths)).steps),
        optim=optimizer.library_name,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        adam_epsilon=optimizer.epsilon,
        warmup_steps=optimizer.warmup_share,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        bf16=hardware.precision == "bf16",
        use_cpu=hardware.use_cpu or not torch.cuda.is_available(),
        dataloader_num_workers=hardware.workers,
        dataloader_prefetch_factor=4 if hardware.workers else None,
        dataloader_persistent_workers=hardware.workers > 0,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=run.seed,
        logging_steps=run.log_every,
        logging_first_step=True,
        # The default writes 0.0 for a loss that is NaN.
        logging_nan_inf_filter=False,
        eval_strategy="steps" if run.eval_every and recipe.data.validates else "no",
        eval_steps=run.eval_every,
        save_strategy="steps" if run.save_every else "no",
        save_steps=run.save_every or 1,
        save_total_limit=run.keep,
        report_to=run.report_to or "none",
        remove_unused_columns=False,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
