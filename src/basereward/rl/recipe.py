"""Recipes of reinforcement learning: YAML files that say everything about a run of GRPO."""

from math import log
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from basereward.configuration import Section, load_configuration, parse_configuration
from basereward.data.arrangement import ReadOptions
from basereward.data.judging.prompts import make_prompt
from basereward.models.adapters import LoraSettings
from basereward.rl.options import RewardOptions
from basereward.rl.rewards import Scheme
from basereward.training.recipe import SavingRecipe


class PolicyRecipe(Section):
    """What is trained."""

    model: str
    """Folder or hub id of a model that generates text."""
    min_pixels: int | None = None
    """Smallest image, in pixels; the processor's own limit if not given."""
    max_pixels: int | None = None
    """Largest image, in pixels."""
    lora: LoraSettings | None = None
    """Train adapters instead of all weights."""


class PromptRecipe(Section):
    """What it is asked."""

    prompts: list[str] = Field(min_length=1)
    """Files of prompts, folders or hub ids, each with ``:SPLIT`` behind it if one is meant."""
    held_out: list[str] = Field(default_factory=list)
    """Prompts on which the policy is evaluated with the matcher, before and after."""
    answer: str = "answer"
    """Column of the right answer."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first prompts of each place."""
    strict: bool = False
    """Fail on the first prompt that cannot be used instead of dropping and counting it."""


class RewardRecipe(Section):
    """What its answers are worth."""

    scheme: Scheme = "model"
    """rule, model, hybrid or tournament (paper, appendix C.0.1)."""
    model: str | None = None
    """A spec: a checkpoint, a hub id, the address of a server, baseline:longer, judge:...; rule needs none."""
    options: RewardOptions = RewardOptions()
    """What counts as a match, and how rewards are squashed and added up."""


class StableRecipe(Section):
    """R1-Reward's stabilisers (StableReinforce, arXiv 2505.02835)."""

    log_ratio: float | None = Field(default=log(1000), gt=0)
    """Largest log of the ratio of new to old probabilities, on either side (its code: ln 1000); null for none."""
    advantage_sigmas: float | None = Field(default=3.0, gt=0)
    """Advantages further from the step's mean, in standard deviations of all its rollouts, are 0; null keeps them."""


class GrpoRecipe(Section):
    """GRPO and its schedule; what the paper leaves open is a choice here."""

    batch: int = Field(default=256, ge=1)
    """Size of one batch of rollouts (paper, appendix C.0.1)."""
    batch_counts: Literal["rollouts", "prompts"] = "rollouts"
    """Whether the batch counts rollouts or prompts; the paper does not say."""
    generations: int = Field(default=8, ge=2)
    """Rollouts of a prompt (paper, appendix C.0.1)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the prompts (paper, appendix C.0.1)."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many steps, whatever the epochs."""
    learning_rate: float = Field(default=1e-6, gt=0)
    """Peak learning rate; the paper does not say."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "constant_with_warmup"
    """Decay of the learning rate."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps with a rising learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient norm limit."""
    beta: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the start; the paper does not say."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the sampling."""
    max_completion_length: int = Field(default=1024, ge=1)
    """Longest response, in tokens; the paper does not say."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """By which standard deviation advantages are divided."""
    loss: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = "grpo"
    """How token losses are averaged; grpo is the mean over each response's own tokens."""
    iterations: int = Field(default=1, ge=1)
    """Optimiser passes over the rollouts of one batch."""
    minibatches: int = Field(default=1, ge=1)
    """Optimiser steps of one such pass, each over a part of the batch; from the second on the policy is a newer one."""
    mask_truncated: bool = False
    """Leave responses that reached the limit out of the loss."""
    stable: StableRecipe | None = None
    """Bound ratios and advantages; plain GRPO without it."""

    @property
    def rollouts(self) -> int:
        """Rollouts of one step."""
        return self.batch * (self.generations if self.batch_counts == "prompts" else 1)

    @model_validator(mode="after")
    def _whole_groups(self) -> "GrpoRecipe":
        if self.rollouts % self.generations:
            raise ValueError(f"a batch of {self.rollouts} rollouts is no multiple of {self.generations} generations")
        if self.rollouts % self.minibatches:
            raise ValueError(f"a batch of {self.rollouts} rollouts cannot be cut into {self.minibatches} minibatches")
        return self


class VllmRecipe(Section):
    """Generation by vLLM through TRL."""

    mode: Literal["colocate", "server"] = "colocate"
    """In the processes that train, or in a server of its own."""
    server: str | None = None
    """Address of the server."""
    memory: float = Field(default=0.3, gt=0, le=1)
    """Share of a GPU's memory for a colocated engine."""


class RlHardware(Section):
    """Where it runs; several processes are started with ``accelerate launch`` or ``torchrun``."""

    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast over fp32 weights."""
    checkpointing: bool = True
    """Recompute activations in the backward pass to save memory."""
    rollouts_per_device: int = Field(default=8, ge=1)
    """Rollouts of one forward and backward pass on one device."""
    use_cpu: bool = False
    """Do not use an accelerator."""
    vllm: VllmRecipe | None = None
    """Generate with vLLM."""


class RlRunRecipe(SavingRecipe):
    """Logging and checkpoints."""

    log_every: int = Field(default=1, ge=1)
    """Steps between log lines."""
    show_every: int = Field(default=10, ge=1)
    """Steps between groups that are kept for the page."""


class AnyRlRecipe(Section):
    """What all runs of reinforcement learning say of themselves, whatever is trained."""

    name: str
    """Name of the run folder."""
    policy: PolicyRecipe
    """What is trained."""
    grpo: GrpoRecipe = GrpoRecipe()
    """GRPO and its schedule."""
    hardware: RlHardware = RlHardware()
    """Where it runs."""
    run: RlRunRecipe = RlRunRecipe()
    """Logging and checkpoints."""


class RlRecipe(AnyRlRecipe):
    """Everything about a run that trains a policy with rewards for its answers."""

    task: Literal["policy"] = "policy"
    """Told from other recipes by this."""
    data: PromptRecipe
    """What it is asked."""
    reward: RewardRecipe = RewardRecipe()
    """What its answers are worth."""

    @model_validator(mode="after")
    def _has_model(self) -> "RlRecipe":
        if self.reward.scheme != "rule" and not self.reward.model:
            raise ValueError(f"the scheme {self.reward.scheme} needs reward.model: a checkpoint, a server, judge:...")
        return self


class PairRecipe(ReadOptions):
    """Which pairs a judge is asked about, and how their records are read that do not say it by themselves."""

    pairs: list[str] = Field(min_length=1)
    """Files of pairs, folders or hub ids, each with ``:SPLIT`` behind it if one is meant."""
    held_out: list[str] = Field(default_factory=list)
    """Pairs on which the judge is evaluated in both orders, before and after."""
    order: Literal["drawn", "both"] = "drawn"
    """Ask about each pair in one order, drawn by a hash of its id, or in both."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first pairs of each place."""
    strict: bool = False
    """Fail on the first bad pair instead of dropping and counting it."""
    prompt: str = "think"
    """How the judge is asked: a prompt by name whose answers are <think>...</think><answer>1</answer>."""


class JudgeRewardRecipe(Section):
    """What verdicts are worth: ``answer (1 + consistency_weight consistency) + format_weight format``."""

    format_weight: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Of an answer in form (R1-Reward)."""
    consistency_weight: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """How much of a right verdict is won or lost by thoughts that support or contradict it (R1-Reward)."""
    reader: str = "statements"
    """Who reads what thoughts support: ``statements``, by rules; a judge (``judge:...``), which is asked; ``none``."""
    patience: int = Field(default=3, gt=0)
    """Calls in a row without a single reward after which the run is stopped."""


class JudgeRlRecipe(AnyRlRecipe):
    """Everything about a run that trains a judge that thinks before its verdict, with rewards for both."""

    task: Literal["judge"] = "judge"
    """Told from other recipes by this."""
    data: PairRecipe
    """What it is asked about."""
    reward: JudgeRewardRecipe = JudgeRewardRecipe()
    """What its answers are worth."""

    @model_validator(mode="after")
    def _thinks(self) -> "JudgeRlRecipe":
        form = make_prompt(self.data.prompt).format.name
        if form != "think":
            raise ValueError(f"data.prompt {self.data.prompt!r} asks for the form {form}, and not for thoughts")
        return self


class _TaskName(Section):
    """What tells recipes apart."""

    model_config = ConfigDict(extra="ignore")

    task: Literal["policy", "judge"] = "policy"


def load_rl_recipe(path: str | Path, overrides: list[str] | None = None) -> RlRecipe | JudgeRlRecipe:
    """Read a recipe file, a run folder's or an installed one by name, and apply ``key.sub=value`` overrides.

    Raises:
        MissingFileError: no such file.
        RecipeError: unknown key (the message names close ones) or a value of the wrong kind.
    """
    if load_configuration(_TaskName, path, overrides, "rl").task == "judge":
        return load_configuration(JudgeRlRecipe, path, overrides, "rl")
    return load_configuration(RlRecipe, path, overrides, "rl")


def parse_rl_recipe(content: dict[str, Any]) -> RlRecipe:
    """Check a recipe's content.

    Raises:
        RecipeError: unknown key or a value of the wrong kind.
    """
    return parse_configuration(RlRecipe, content)


def parse_judge_recipe(content: dict[str, Any]) -> JudgeRlRecipe:
    """Check the content of a recipe that trains a judge.

    Raises:
        RecipeError: unknown key or a value of the wrong kind.
    """
    return parse_configuration(JudgeRlRecipe, content)
