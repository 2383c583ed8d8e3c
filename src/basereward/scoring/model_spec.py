"""One model and how it runs: what a spec names, alone or as a member of others."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from basereward.configuration import Section
from basereward.scoring.interface import Scorer
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.tournament import TournamentOptions


class CriticOptions(Section):
    """How a critic writes the critiques that it scores by."""

    critiques: PositiveInt = 1
    """To each response; its reward is the mean over them."""
    temperature: NonNegativeFloat | None = None
    """0, greedy, for one critique and 1 for several, by default."""
    seed: int = 0
    """Of the draws."""
    request: str | None = None
    """One of ``data.judging.critiques.REQUESTS``; by default that of its training."""
    max_tokens: PositiveInt | None = None
    """The longest critique; by default that of its training."""
    batch_tokens: PositiveInt = 32768
    """Tokens, critiques included, that are held at once while it writes."""


class Spec(Section):
    """A scorer under a name, alone or as a member of others."""

    name: str | None = None
    """What result files call it; what it is by default."""
    only: Literal["images", "text"] | None = None
    """Of a member: it scores prompts with images or videos alone, or those without; elsewhere it is left out."""
    calibrated: str | None = None
    """File that ``basereward calibrate`` wrote, by which its scores are changed."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What result files call it."""


class ModelSpec(Spec):
    """A model under a name; each member of a composition has a device and a precision of its own."""

    tag: ClassVar[str | None] = "(model)"

    model: str
    """A checkpoint folder, a hub id (owner/name), http://host:port, baseline:longer|shorter|first|random,
    tournament:JUDGE, or another YAML file."""
    dtype: str | None = None
    """float32 or bfloat16; by default as stored."""
    device: str | None = None
    """By default CUDA if there is one."""
    backend: str = "auto"
    """One of ``models.backends.Backend``; ``auto`` computes each prompt once wherever that is exact."""
    critic: CriticOptions | None = None
    """Of a critic: how it writes."""
    prompt: str | None = None
    """Of a judge: its prompt, as ``--judge-prompt`` takes it."""
    max_tokens: PositiveInt | None = None
    """Of a judge: its longest answer, thoughts included."""
    judge: JudgeOptions | None = None
    """Of a judge: how it runs."""
    tournament: TournamentOptions | None = None
    """Of a judge: it scores, by a tournament between the responses of each prompt."""

    @property
    def asks_a_judge(self) -> bool:
        """Whether anything is said that only a judge takes."""
        return (self.prompt, self.max_tokens, self.judge) != (None, None, None)

    @property
    def label(self) -> str:
        """What result files call it."""
        return self.name or self.model


# How an opener opens the members of its own, without knowing the registry that it stands in.
OpenSpec = Callable[[Any], Scorer]
Opener = Callable[[Any, OpenSpec], Scorer]
