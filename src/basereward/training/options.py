"""Sections of a recipe that say how weights are moved: the optimiser, its rates and its schedule."""

from importlib.util import find_spec
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from basereward.configuration import Section
from basereward.errors import MissingExtraError
from basereward.models.components import Component

Algorithm = Literal["adamw", "adamw_8bit", "paged_adamw_8bit"]
# As transformers calls them.
_OPTIMIZERS: dict[str, str] = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
_WITH_FLOOR = ("cosine_with_min_lr", "warmup_stable_decay")


def check_algorithm(algorithm: Algorithm) -> None:
    """Check that what an algorithm needs is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if algorithm != "adamw" and find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            f"optimizer.algorithm: {algorithm} needs bitsandbytes; install it with: pip install 'basereward[bnb]', or "
            "set adamw."
        )


class PartRates(Section):
    """Peak learning rates of parts of the model; a part that is not named has ``optimizer.learning_rate``."""

    head: float | None = Field(default=None, gt=0)
    """Of the reward head."""
    language: float | None = Field(default=None, gt=0)
    """Of the text model, of adapters on it, and of a vocabulary head."""
    vision: float | None = Field(default=None, gt=0)
    """Of the vision tower, and of its map to tokens where that is part of it (Qwen)."""
    projector: float | None = Field(default=None, gt=0)
    """Of the map from features to tokens where it stands outside the tower (InternVL)."""

    @property
    def named(self) -> list[Component]:
        """The parts that have a rate of their own."""
        return [part for part in get_args(Component) if getattr(self, part) is not None]


class OptimizerRecipe(Section):
    """AdamW and its schedule."""

    learning_rate: float = Field(default=3e-6, gt=0)
    """Peak learning rate (paper section 4.1)."""
    learning_rates: PartRates = PartRates()
    """Peak learning rates of single parts of the model."""
    pairs_per_step: int = Field(default=128, ge=1)
    """Pairs of one optimiser step over all ranks (paper section 4.1)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the data."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many steps, whatever the epochs."""
    schedule: Literal[
        "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr", "warmup_stable_decay"
    ] = "cosine"
    """Decay of the learning rate."""
    warmup_share: float = Field(default=0.03, ge=0.0, lt=1.0)
    """Share of the steps with a rising learning rate."""
    decay_share: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of the steps, the last ones, in which ``warmup_stable_decay`` decays; a tenth if not given."""
    decay_shape: Literal["linear", "cosine", "1-sqrt"] | None = None
    """How ``warmup_stable_decay`` decays; 1-sqrt if not given."""
    min_rate_share: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Share of the peak that ``cosine_with_min_lr`` (a tenth if not given) or ``warmup_stable_decay`` (0) ends at."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Decoupled weight decay on matrices."""
    algorithm: Algorithm = "adamw"
    """AdamW in fp32, or with 8-bit moments of bitsandbytes, paged to the host's memory if asked for."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Decay of the mean of gradients."""
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of the mean of their squares."""
    epsilon: float = Field(default=1e-8, gt=0.0)
    """Added to the root of the latter."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient norm limit."""
    length_window: int = Field(default=1, ge=1)
    """Steps drawn from one length-sorted window; more balance ranks with few pairs each, but steps mix less."""
    tokens_per_microbatch: int | None = Field(default=None, ge=1)
    """Memory cap of one micro-batch in packed tokens; it sets how many micro-batches a step is cut into."""

    @model_validator(mode="after")
    def _schedule_reads_its_options(self) -> "OptimizerRecipe":
        if self.min_rate_share is not None and self.schedule not in _WITH_FLOOR:
            raise ValueError(
                f"min_rate_share is for {' and '.join(_WITH_FLOOR)}; schedule {self.schedule} ends by itself"
            )
        if self.schedule != "warmup_stable_decay":
            if self.decay_share is not None or self.decay_shape is not None:
                raise ValueError(f"decay_share and decay_shape are for warmup_stable_decay, not for {self.schedule}")
        elif self.warmup_share + (self.decay_share or 0.1) > 1:
            raise ValueError("warmup_share and decay_share are more than all steps; lower one of them")
        return self

    @property
    def library_name(self) -> str:
        """The algorithm as transformers calls it."""
        return _OPTIMIZERS[self.algorithm]

    def schedule_options(self, steps: int) -> dict[str, Any]:
        """Return what transformers' schedule takes besides the warmup, for a run of so many steps."""
        if self.schedule == "cosine_with_min_lr":
            return {"min_lr_rate": 0.1 if self.min_rate_share is None else self.min_rate_share}
        if self.schedule == "warmup_stable_decay":
            return {
                "num_decay_steps": max(1, round((self.decay_share or 0.1) * steps)),
                "decay_type": self.decay_shape or "1-sqrt",
                "min_lr_ratio": self.min_rate_share or 0.0,
            }
        return {}
