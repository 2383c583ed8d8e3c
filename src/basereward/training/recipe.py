"""Recipes: YAML files that say everything about a run, read into frozen, checked configuration."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from basereward.configuration import Section, dump_configuration, load_configuration, parse_configuration
from basereward.data.arrangement import ReadOptions
from basereward.models.adapters import LoraSettings
from basereward.models.components import BACKBONE, Component
from basereward.models.facts import JudgeRole
from basereward.models.head import HeadSettings
from basereward.models.quantization import QuantizationSettings
from basereward.training.best import BestCheckpoint
from basereward.training.bootstrap import Bootstrap
from basereward.training.bundles import Grouping
from basereward.training.language import Critic, Grm, LongCot
from basereward.training.listwise import Listwise
from basereward.training.objectives import BradleyTerry
from basereward.training.options import OptimizerRecipe
from basereward.training.profile import ProfileSteps


def _kind(given: Any) -> str:
    # Recipes need not name the objective that the paper trains with.
    return given.get("kind", "bradley_terry") if isinstance(given, dict) else given.kind


# A further objective is one more member here.
AnyObjective = Annotated[
    Annotated[BradleyTerry, Tag("bradley_terry")]
    | Annotated[Listwise, Tag("listwise")]
    | Annotated[Critic, Tag("critic")]
    | Annotated[Grm, Tag("grm")]
    | Annotated[LongCot, Tag("longcot")],
    Discriminator(_kind),
]


class ModelRecipe(Section):
    """What is trained: a backbone under a new head, or a reward model on from where it is."""

    backbone: str | None = None
    """Folder or hub id of a backbone; reward models are refused here, because their head would be lost."""
    init_from: str | None = None
    """Folder or hub id of a reward model to train on from: its head and the record of its data are kept."""
    head: HeadSettings | None = None
    """Shape of the new head, and how many of them there are."""
    head_seed: int | None = None
    """Seed of the head and of its bootstrap, that of the run if not given; each further head has the next one."""
    freeze_backbone: bool = False
    """Train the head alone."""
    freeze_vision: bool = False
    """Keep the vision tower as it is, and its map to tokens."""
    freeze: list[Component] = Field(default_factory=list)
    """Parts to keep as they are: head, language, vision, projector."""
    lora: LoraSettings | None = None
    """Train adapters instead of the text model."""
    quantization: QuantizationSettings | None = None
    """Hold the text model below adapters in 4 bits (QLoRA)."""
    frozen_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of a backbone that stands still; weights that train are always fp32."""
    min_pixels: int | None = None
    """Smallest image, in pixels; the processor's own limit if not given."""
    max_pixels: int | None = None
    """Largest image, in pixels."""
    max_length: int | None = None
    """Longest prompt with one response, in tokens; longer pairs are dropped and counted, never cut."""
    image_backend: Literal["pil", "torchvision"] | None = None
    """Image processor backend; the processor's own choice if not given, and stored in the checkpoint."""
    backend: Literal["auto", "plain", "split"] = "auto"
    """How a batch is computed; auto computes each prompt once wherever that is exact."""
    checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    compile: bool = False
    """Compile the text model; the first steps take minutes longer."""

    @property
    def frozen(self) -> frozenset[Component]:
        """The parts that a key freezes, whichever it is; below adapters the whole backbone stands still anyway."""
        whole = BACKBONE if self.freeze_backbone else frozenset[Component]()
        tower = frozenset[Component]({"vision", "projector"} if self.freeze_vision else ())
        return frozenset(self.freeze) | whole | tower

    @property
    def start(self) -> str:
        """The folder or hub id that is loaded, whichever it is."""
        return self.init_from or self.backbone or ""

    @model_validator(mode="before")
    @classmethod
    def _default_head(cls, content: Any) -> Any:
        # A model to train on from brings its own; a resolved recipe states the one that a backbone gets.
        if isinstance(content, dict) and not content.get("init_from") and content.get("head") is None:
            return {**content, "head": {}}
        return content

    @model_validator(mode="after")
    def _one_start(self) -> "ModelRecipe":
        if (self.backbone is None) == (self.init_from is None):
            raise ValueError("name either a backbone or, under init_from, a reward model to train on from")
        if self.init_from and self.head:
            raise ValueError("init_from keeps the head of its model; leave model.head out")
        return self

    @model_validator(mode="after")
    def _frozen_weights_only(self) -> "ModelRecipe":
        if self.freeze_backbone and self.lora:
            raise ValueError("freeze_backbone trains the head alone; leave out lora")
        if self.frozen >= {"head", *BACKBONE}:
            raise ValueError("nothing trains; leave a part out of freeze")
        if self.lora and self.frozen & BACKBONE - ({"vision", "projector"} if self.freeze_vision else set()):
            raise ValueError("lora keeps the whole backbone as it is; freeze takes only the head beside it")
        if "head" in self.freeze and not self.init_from:
            raise ValueError("a new head that never trains ranks at random; freeze the head of an init_from model")
        if self.quantization and not self.lora:
            raise ValueError(
                "quantised weights cannot train, only adapters on them; set model.lora, or leave out model.quantization"
            )
        if self.frozen_dtype != "float32" and not (self.lora or self.frozen >= BACKBONE):
            raise ValueError(
                "frozen_dtype is for LoRA and freeze_backbone; weights that train must be float32 (at lr 3e-6 bf16 "
                "stands still)"
            )
        return self


class AssumedData(Section):
    """What ``--plan`` supposes about data that is not on this machine."""

    pairs: int
    """Number of pairs."""
    prompt_tokens: int = 1200
    """Mean prompt, with its images."""
    response_tokens: int = 200
    """Mean response."""
    image_tokens: int = 1024
    """Mean image tokens within the prompt."""


class DataRecipe(ReadOptions):
    """What it is trained on, and how records are read that do not say it by themselves."""

    train: list[str] = Field(min_length=1)
    """Files of pairs, folders or hub ids, each with ``:SPLIT`` behind it if one is meant."""
    validation: list[str] = Field(default_factory=list)
    """Pairs for evaluation during training."""
    validation_sets: dict[str, list[str]] = Field(default_factory=dict)
    """Further ones by name, whose metrics are called after them."""
    limit: int | None = None
    """Use only the first pairs of each training file."""
    group: Literal["pair", "prompt", "image"] = "pair"
    """Draw pairs one by one, or those of a prompt or of an image together, which computes what they share once."""
    pairs_per_prompt: int = Field(default=8, ge=1)
    """Most pairs of a prompt in a step, if pairs are drawn together."""
    pairs_per_image: int = Field(default=16, ge=1)
    """Most pairs of an image in a step, if they are drawn by image."""
    bootstrap: bool = False
    """Let each head learn from its own bootstrap of the training pairs: a pair counts Poisson(1) times."""
    strict: bool = False
    """Fail on the first bad row instead of dropping and counting it."""
    image_check: Literal["full", "header"] = "full"
    """Decode every image once before training, or read headers only."""
    assumed: AssumedData | None = None
    """Sizes for the plan when the data is not here."""

    @field_validator("train", "validation", mode="before")
    @classmethod
    def _one_place(cls, given: Any) -> Any:
        # One place is a list of one, as ``data.train=pairs.jsonl`` on the command line.
        return [given] if isinstance(given, str) else given

    @property
    def validates(self) -> bool:
        """Whether there are any validation pairs."""
        return bool(self.validation or self.validation_sets)

    @field_validator("validation_sets")
    @classmethod
    def _names_are_apart(cls, sets: dict[str, list[str]]) -> dict[str, list[str]]:
        # A metric is called eval_NAME_accuracy, beside those of critics and of data.validation.
        taken = {"own", "chosen", "rejected"}
        for name, places in sets.items():
            if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in taken:
                raise ValueError(f"found set {name!r}, expected a-z, 0-9 and _, and none of {', '.join(sorted(taken))}")
            if not places:
                raise ValueError(f"set {name!r} names no files")
        return sets

    @property
    def grouping(self) -> Grouping | None:
        """What pairs are drawn together by; None if they are drawn one by one."""
        if self.group == "pair":
            return None
        return Grouping(self.group, self.pairs_per_prompt, self.pairs_per_image)

    @model_validator(mode="after")
    def _images_hold_prompts(self) -> "DataRecipe":
        if self.group == "image" and self.pairs_per_image < self.pairs_per_prompt:
            raise ValueError(
                f"pairs_per_image {self.pairs_per_image} is less than pairs_per_prompt {self.pairs_per_prompt}, and "
                "all pairs of a prompt are of one image; raise it, or lower pairs_per_prompt"
            )
        return self


class AssumedHardware(Section):
    """What ``--plan`` supposes of each rank to tell hours; nothing of it is measured."""

    peak_tflops: float = Field(default=989.0, gt=0)
    """Dense bf16 rate of the device in 1e12 FLOPs a second: that of the H100 SXM's data sheet."""
    mfu: float = Field(default=0.35, gt=0, le=1)
    """Model FLOPs utilisation: share of the peak that goes into model FLOPs, over all of the run's time. Recomputed
    activations, communication and ranks that wait are what it leaves out."""


class HardwareRecipe(Section):
    """Where it runs."""

    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast over fp32 weights."""
    sharding: Literal["none", "fsdp2"] = "none"
    """Whether ranks hold all weights or a shard of them."""
    shard_size: int | None = None
    """Ranks of one sharded replica (HSDP); all ranks if not given."""
    workers: int = Field(default=2, ge=0)
    """Processes of each rank that decode and encode."""
    use_cpu: bool = False
    """Do not use an accelerator."""
    assumed: AssumedHardware | None = None
    """What the plan tells hours by; an H100 if not given, and nothing for runs in fp32 or on the CPU."""

    @property
    def planned(self) -> AssumedHardware | None:
        """What hours are told by; None where nothing is known of the device."""
        is_accelerated = self.precision == "bf16" and not self.use_cpu
        return self.assumed or (AssumedHardware() if is_accelerated else None)


class SavingRecipe(Section):
    """What any run says of its seed, its log and its checkpoints."""

    seed: int = 0
    """Seed of the weights that are drawn, of the order of data and of any sampling."""
    log_every: int = Field(default=10, ge=1)
    """Steps between log lines."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints."""
    keep: int = Field(default=2, ge=1)
    """Checkpoints to keep."""
    report_to: list[str] = Field(default_factory=list)
    """Loggers of transformers: tensorboard, wandb, mlflow, ..."""


class RunRecipe(SavingRecipe):
    """Logging, evaluation and checkpoints."""

    eval_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on the validation pairs."""
    best: BestCheckpoint | None = None
    """Keep the checkpoint of the best evaluation, and make the model of it."""
    save_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the final backbone; checkpoints to resume from are always fp32."""
    profile_steps: ProfileSteps | None = None
    """Write a trace of some steps into the run folder."""
    push_to_hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository of the hub, OWNER/NAME, that gets the model at the end; it is made if it is not there."""
    push_private: bool | None = None
    """Whether a new repository is private; the owner's default if not given."""

    @model_validator(mode="after")
    def _private_is_of_a_push(self) -> "RunRecipe":
        if self.push_private is not None and self.push_to_hub is None:
            raise ValueError("push_private is of a repository; name it under push_to_hub")
        return self


class Recipe(Section):
    """Everything about a training run."""

    name: str
    """Name of the run folder."""
    model: ModelRecipe
    """What is trained."""
    data: DataRecipe
    """What it is trained on."""
    objective: AnyObjective = BradleyTerry()
    """The loss, told by its ``kind``."""
    optimizer: OptimizerRecipe = OptimizerRecipe()
    """AdamW and its schedule."""
    hardware: HardwareRecipe = HardwareRecipe()
    """Where it runs."""
    run: RunRecipe = RunRecipe()
    """Logging, evaluation and checkpoints."""

    @model_validator(mode="after")
    def _model_fits(self) -> "Recipe":
        kind, model = self.objective.kind, self.model
        if self.objective.writes and model.lora:
            raise ValueError(f"objective {kind} trains whole models, whose vocabulary head learns too; leave out lora")
        if self.optimizer.algorithm != "adamw" and self.hardware.sharding == "fsdp2":
            raise ValueError(f"{self.optimizer.algorithm} cannot be sharded by fsdp2; use adamw, or sharding: none")
        if model.quantization and self.hardware.sharding == "fsdp2":
            raise ValueError(
                "model.quantization: fsdp2 does not shard 4-bit weights; use sharding: none, under which each rank "
                "holds all of them, or leave it out"
            )
        if model.lora and model.lora.dora and self.hardware.sharding == "fsdp2":
            raise ValueError("dora starts from the norms of all weights, which no rank of fsdp2 holds; leave one out")
        if self.run.best and not (self.run.eval_every and self.data.validates):
            raise ValueError("run.best compares evaluations; set run.eval_every and data.validation")
        if self.run.best:
            self.run.best.check_set(bool(self.data.validation), list(self.data.validation_sets))
        has_critiques = self.objective.kind == "critic" and self.hardware.sharding == "none"
        if self.run.best and self.run.best.metric == "own_accuracy" and not has_critiques:
            raise ValueError("run.best.metric: own_accuracy is of critics that are not sharded; compare by accuracy")
        self._heads_fit()
        if isinstance(self.objective, Listwise) and self.data.group == "pair":
            raise ValueError(
                "objective listwise ranks the responses of the pairs of a prompt, which data.group: pair draws one by "
                "one; set data.group to prompt or image"
            )
        if isinstance(self.objective.role, JudgeRole):
            if model.init_from:
                raise ValueError(f"objective {kind} has no reward head to keep; name the judge under model.backbone")
            if model.head != HeadSettings():
                raise ValueError(f"objective {kind} answers with words; leave out model.head")
        return self

    def _heads_fit(self) -> None:
        kind, model = self.objective.kind, self.model
        if self.objective.writes:
            asked = {
                "model.freeze_backbone": model.freeze_backbone,
                "model.freeze": bool({"head", "language"} & set(model.freeze)),
                "data.bootstrap": self.data.bootstrap,
                "data.group": self.data.group != "pair",
                "model.head.heads": model.head is not None and model.head.heads > 1,
            }
            if found := [name for name, is_set in asked.items() if is_set]:
                raise ValueError(f"objective {kind} trains one model that writes; leave out {', '.join(found)}")
        if model.head_seed is not None and model.init_from and not self.data.bootstrap:
            raise ValueError("init_from keeps the head of its model; leave model.head_seed out")

    @property
    def head_seed(self) -> int:
        """The seed of the first head and of its bootstrap."""
        return self.run.seed if self.model.head_seed is None else self.model.head_seed

    def bootstrap(self, heads: int) -> Bootstrap | None:
        """Return what pairs count for so many heads; None if they all count the same."""
        return Bootstrap(self.head_seed, heads) if self.data.bootstrap else None


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file, a run folder's or an installed one by name, and apply ``key.sub=value`` overrides.

    Raises:
        MissingFileError: no such file.
        RecipeError: unknown key (the message names close ones) or a value of the wrong kind.
    """
    return load_configuration(Recipe, path, overrides)


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """Check a recipe's content.

    Raises:
        RecipeError: unknown key or a value of the wrong kind.
    """
    return parse_configuration(Recipe, content)


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML; it can be run again."""
    return dump_configuration(recipe)
