"""Sections of a checkpoint's ``config.json``: what a reward model or a trained judge is beside its backbone."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from basereward.configuration import Section
from basereward.data.judging.critiques import CRITIQUE_TOKENS, DEFAULT_REQUEST
from basereward.encoding.facts import InputFacts
from basereward.errors import CheckpointError
from basereward.models.head import HeadSettings
from basereward.models.hub import CONFIG, ModelFolder, open_folder
from basereward.models.quantization import QuantizationSettings

SECTION, JUDGE_SECTION = "reward", "judge"


class CriticRole(Section):
    """How a critic is asked for its critiques: the name of the request, and the longest answer in tokens.

    ``words`` is the SHA-256 of what the name stood for in training, None where nobody says.
    """

    request: str = DEFAULT_REQUEST
    max_tokens: int = Field(default=CRITIQUE_TOKENS, ge=1)
    words: str | None = None


class JudgeRole(Section):
    """How a judge is asked: the name of its prompt, and the longest answer in tokens; ``words`` as for a critic."""

    prompt: str
    max_tokens: int = Field(ge=1)
    words: str | None = None


WritingRole = CriticRole | JudgeRole
Facts = TypeVar("Facts", bound="TrainedFacts")


class TrainedFacts(BaseModel):
    """What the section of any trained model holds.

    ``inputs`` is the fingerprint of tokenizer, chat template and image processor.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    inputs: InputFacts | None = None
    max_length: int | None = None
    image_backend: str | None = None
    pixels: dict[str, int] | None = None
    data_hash: str | None = None
    basereward_version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the section as it is written: what is unset is left out."""
        return self.model_dump(mode="json", exclude_none=True)


class RewardFacts(TrainedFacts):
    """What the section ``reward`` holds.

    ``base_weights`` is the fingerprint of the base that a LoRA checkpoint changes, ``quantization`` how that was held
    in 4 bits, if it was; ``critic`` how a critic is asked.
    """

    head: HeadSettings
    pooling: Literal["last_token"] = "last_token"
    base_weights: str | None = None
    quantization: QuantizationSettings | None = None
    critic: CriticRole | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the section as it is written: what is unset is left out."""
        content = super().to_dict()
        # A single head without a bias is what any version reads.
        shape = {key: value for key, value in content["head"].items() if value is not False}
        return {**content, "head": {key: value for key, value in shape.items() if (key, value) != ("heads", 1)}}


class JudgeFacts(TrainedFacts):
    """What the section ``judge`` holds: how it is asked, if the one who uses it says nothing else."""

    role: JudgeRole


def read_facts(folder: ModelFolder) -> RewardFacts | None:
    """Return what a folder says of its reward model, None if it holds none.

    Raises:
        CheckpointError: it says something else than this version writes.
    """
    return _read(folder, SECTION, RewardFacts)


def read_judge_facts(folder: ModelFolder) -> JudgeFacts | None:
    """Return what a folder says of its trained judge, None if it holds none.

    Raises:
        CheckpointError: it says something else than this version writes.
    """
    return _read(folder, JUDGE_SECTION, JudgeFacts)


def _read(folder: ModelFolder, section: str, kind: type[Facts]) -> Facts | None:
    if section not in folder.content:
        return None
    try:
        return kind.model_validate(folder.content[section])
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise CheckpointError(f"Section {section!r} of {folder.path / CONFIG} cannot be read: {reasons}.") from error


def stored_head(place: str | Path) -> HeadSettings:
    """Return the shape of a reward model's head without loading it; a head of another library is one layer."""
    facts = read_facts(open_folder(place))
    return facts.head if facts else HeadSettings(layers=1, activation="none")
