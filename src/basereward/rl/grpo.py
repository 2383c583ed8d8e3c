"""GRPO on TRL, with the images attached; the only module that imports it."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from basereward.encoding.template import Template
from basereward.errors import MissingExtraError, RewardError, TrainingError
from basereward.models.adapters import import_peft
from basereward.models.hub import load_complete
from basereward.rl.prompts import PolicyPrompts
from basereward.rl.recipe import AnyRlRecipe, StableRecipe
from basereward.rl.stable import clip_log_ratios, find_outliers
from basereward.training.checkpoints import AtomicCheckpoints, check_one_device
from basereward.training.launch import world_size
from basereward.training.resume import CHECKPOINTS
from basereward.training.stop import StopOnSignal

try:
    from trl import GRPOConfig, GRPOTrainer
except ImportError as error:
    raise MissingExtraError("GRPO needs TRL; install it with: pip install 'basereward[rl]'.") from error

# Of one that starts as its reference; rounding of a bf16 forward pass stays below.
_START_KL = 0.05


class PolicyTrainer(AtomicCheckpoints, GRPOTrainer):
    """``GRPOTrainer`` whose checkpoints are complete or absent, that a signal ends, and that times its rewards.

    Args:
        stop: asked after every step.
        arguments: as ``GRPOTrainer``.
    """

    def __init__(self, stop: StopOnSignal, callbacks: Sequence[TrainerCallback], **arguments: Any) -> None:
        self.stop = stop
        self.has_adapters = arguments.get("peft_config") is not None
        super().__init__(callbacks=[stop, *callbacks], **arguments)
        check_one_device(self.args, "rl")
        for printer in (PrinterCallback, ProgressCallback):
            self.remove_callback(printer)

    def create_model_card(self, *arguments: Any, **named: Any) -> None:
        """Write none beside checkpoints: TRL's asks the hub."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load all weights of a checkpoint, which are stored under the names of the hub.

        Trainer's own way takes them for the names in memory, and goes on from the start with no more than a warning.

        Raises:
            CheckpointError: a weight is missing.
        """
        own: Any = model or self.model
        if self.has_adapters:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        own.load_state_dict(load_complete(type(own), resume_from_checkpoint, torch.float32).state_dict())

    def _calculate_rewards(self, *arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        rewards = super()._calculate_rewards(*arguments, **named)
        self._tell("reward_seconds", time.perf_counter() - start)
        return rewards

    def _tell(self, name: str, value: float) -> None:
        model: Any = self.model
        self._metrics["train" if model.training else "eval"][name].append(value)


class StableTrainer(PolicyTrainer):
    """A ``PolicyTrainer`` with R1-Reward's stabilisers: log-ratios are clipped, outlying advantages are 0.

    It changes what TRL's own loss is computed from, not the loss; where nothing is clipped or left out, both are equal.
    ``ratio_clipped`` and ``advantage_filtered`` in the log are the shares that were.

    Args:
        stable: how far a ratio and an advantage may go.
        arguments: as ``PolicyTrainer``.

    Source: R1-Reward (arXiv 2505.02835), section 3, StableReinforce.
    """

    def __init__(self, stable: StableRecipe, **arguments: Any) -> None:
        self.stable = stable
        # What a loss is being computed from; None outside of one, where log-probabilities are taken as they are.
        self._losing: dict[str, Any] | None = None
        super().__init__(**arguments)

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.stable.advantage_sigmas is None:
            return scored
        every = self.accelerator.gather(scored["advantages"])
        is_left_out = find_outliers(scored["advantages"], every, self.stable.advantage_sigmas)
        share = find_outliers(every, every, self.stable.advantage_sigmas).float().mean()
        self._tell("advantage_filtered", share.item())
        return {**scored, "advantages": scored["advantages"].masked_fill(is_left_out, 0.0)}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        # Rollouts serve several passes, so what is changed for one of them is changed in a copy.
        self._losing = dict(inputs)
        try:
            return super()._compute_loss(model, self._losing)
        finally:
            self._losing = None

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
        policy, *others = super()._get_per_token_logps_and_entropies(*arguments, **named)
        losing, bound = self._losing, self.stable.log_ratio
        # On the policy that sampled, TRL keeps no older probabilities: the ratio is 1.
        if losing is None or bound is None or losing.get("old_per_token_logps") is None:
            return (policy, *others)
        clipped = clip_log_ratios(policy, losing["old_per_token_logps"], bound, losing.get("ref_per_token_logps"))
        losing["ref_per_token_logps"] = clipped.reference
        mask = losing["completion_mask"]
        share = ((clipped.policy != policy) * mask).sum() / mask.sum().clamp(min=1)
        self._tell("ratio_clipped", self.accelerator.gather(share.detach()).mean().item())
        return (clipped.policy, *others)


class StartsAsItsReference(TrainerCallback):
    """Refuses a run whose KL divergence is not 0 before the first step: the reference is another model."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Look at the first line.

        Raises:
            RewardError: the divergence is not 0.
        """
        kl = (logs or {}).get("kl")
        if state.global_step == 1 and kl is not None and abs(kl) > _START_KL:
            raise RewardError(
                f"The KL divergence from the start is {kl:.3g} at step 1, where policy and reference are one model. "
                "The reference was loaded from other weights: save the policy, and name that folder as policy.model."
            )


def grpo_arguments(recipe: AnyRlRecipe, folder: Path, ranks: int) -> GRPOConfig:
    """Return TRL's arguments of a recipe.

    Raises:
        TrainingError: a step cannot be cut into equal parts for the ranks.
    """
    grpo, hardware, run = recipe.grpo, recipe.hardware, recipe.run
    step = grpo.rollouts // grpo.minibatches
    per_rank = min(hardware.rollouts_per_device, max(1, step // ranks))
    if step % (per_rank * ranks):
        raise TrainingError(
            f"A step of {step} rollouts is no multiple of {ranks} ranks x {per_rank} rollouts at once; change "
            "hardware.rollouts_per_device or grpo.batch."
        )
    accumulated = step // (per_rank * ranks)
    vllm: dict[str, Any] = {}
    if hardware.vllm:
        vllm = {
            "use_vllm": True,
            "vllm_mode": hardware.vllm.mode,
            "vllm_server_base_url": hardware.vllm.server,
            "vllm_gpu_memory_utilization": hardware.vllm.memory,
        }
    return GRPOConfig(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=per_rank,
        gradient_accumulation_steps=accumulated,
        steps_per_generation=accumulated * grpo.minibatches,
        num_generations=grpo.generations,
        num_train_epochs=grpo.epochs,
        max_steps=grpo.max_steps or -1,
        learning_rate=grpo.learning_rate,
        lr_scheduler_type=grpo.schedule,
        warmup_steps=grpo.warmup_steps,
        weight_decay=grpo.weight_decay,
        max_grad_norm=grpo.max_grad_norm,
        beta=grpo.beta,
        temperature=grpo.temperature,
        max_completion_length=grpo.max_completion_length,
        scale_rewards=grpo.scale_rewards,
        loss_type=grpo.loss,
        num_iterations=grpo.iterations,
        mask_truncated_completions=grpo.mask_truncated,
        # Its own default casts without a word.
        bf16=hardware.precision == "bf16",
        gradient_checkpointing=hardware.checkpointing,
        use_cpu=hardware.use_cpu,
        logging_steps=run.log_every,
        save_strategy="steps" if run.save_every else "no",
        save_steps=run.save_every or 500,
        save_total_limit=run.keep,
        seed=run.seed,
        data_seed=run.seed,
        report_to=run.report_to or "none",
        run_name=recipe.name,
        disable_tqdm=True,
        **vllm,
    )


def policy_data(prompts: PolicyPrompts) -> datasets.Dataset:
    """Return prompts as TRL takes them; images are decoded when a batch is drawn."""

    def decode(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [prompts.read(dict(zip(batch, values, strict=True))) for values in zip(*batch.values(), strict=True)]
        return {key: [row[key] for row in rows] for key in rows[0]}

    return prompts.rows.with_transform(decode)


def make_trainer(
    recipe: AnyRlRecipe,
    folder: Path,
    model: Any,
    template: Template,
    prompts: PolicyPrompts,
    reward: Callable[..., Any],
    callbacks: Sequence[TrainerCallback],
) -> PolicyTrainer:
    """Return the trainer of a run.

    Args:
        model: the policy, loaded from the folder that its configuration names.
        template: of the same folder, with the recipe's limits of images.
        reward: as ``trl_reward``.

    Raises:
        TrainingError: as ``grpo_arguments``.
        MissingExtraError: adapters are wanted, and peft is not installed.
    """
    adapters = None
    if lora := recipe.policy.lora:
        adapters = import_peft().LoraConfig(**lora.options(), target_modules=lora.targets or "all-linear")
    watched = [StartsAsItsReference(), *callbacks] if recipe.grpo.beta else list(callbacks)
    kind: Any = partial(StableTrainer, recipe.grpo.stable) if recipe.grpo.stable else PolicyTrainer
    trainer: PolicyTrainer = kind(
        stop=StopOnSignal(),
        callbacks=watched,
        model=model,
        reward_funcs=[reward],
        args=grpo_arguments(recipe, folder, world_size()),
        train_dataset=policy_data(prompts),
        processing_class=template.processor if template.vision else template.tokenizer,
        peft_config=adapters,
    )
    return trainer
