"""The reward model: a backbone without vocabulary, a reward head, and one reward for every response of a batch."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import GenerationConfig
from transformers.trainer_utils import unwrap_peft_model

from basereward.data.groups import make_group, read_group
from basereward.data.record import DataRecord
from basereward.data.schema import ResponseGroup
from basereward.encoding.collate import GroupBatch, collate, move_batch
from basereward.encoding.packing import fill_rows
from basereward.encoding.template import Template
from basereward.errors import BackendError, ScoringError, TemplateError
from basereward.models.backends import IMPLEMENTATIONS, Backend, Choice, HiddenStates, choose_backend, read_hidden
from basereward.models.facts import WritingRole
from basereward.models.families import Family, family_of
from basereward.models.head import RewardHead, RewardHeads
from basereward.models.hub import ModelFolder
from basereward.models.language import LanguageOutput, read_targets
from basereward.models.parts import Parts, new_parts, stored_parts
from basereward.models.quantization import QuantizationSettings
from basereward.models.saving import push_reward_model, save_reward_model

logger = logging.getLogger(__name__)
# Tokens of one packed row when scoring.
ROW_TOKENS = 16384


class RewardModel(nn.Module):
    """A backbone under a reward head (Naive-RM), a vocabulary head (GRM), or both (Critic-RM).

    ``r(y | x) = head(h_last)`` at the last token of prompt and response, unbounded, fp32. Vocabulary logits are
    computed for tokens that the model learns to write, and for no others.

    Args:
        backbone: an ``AutoModel`` backbone (hidden states only), possibly wrapped by PEFT.
        head: the reward head, or several whose mean is the reward; None for a model that answers with words.
        template: turns groups into tokens for this backbone; None for a model that only sees tensors.
        backend: ``auto`` computes each prompt once wherever that is exact.
        lm_head: the vocabulary head of a model that writes.

    ``data_record`` says what it was trained on, None if nothing says so; ``base_weights`` is the fingerprint of the
    base below adapters, ``quantization`` how its linear layers are held if they are not whole; ``role`` says how a
    model that writes is asked, ``generation`` what ends its answers.

    Source: paper sections 2 and 3.1.
    """

    data_record: DataRecord | None = None
    base_weights: str | None = None
    quantization: QuantizationSettings | None = None
    role: WritingRole | None = None
    generation: GenerationConfig | None = None

    def __init__(
        self,
        backbone: Any,
        head: RewardHead | RewardHeads | None,
        template: Template | None,
        backend: Backend = "auto",
        lm_head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: Any = head
        self.lm_head: Any = lm_head
        self._template = template
        self.use_backend(backend)

    @classmethod
    def from_parts(cls, parts: Parts, backend: Backend = "auto") -> "RewardModel":
        """Put a model together."""
        model = cls(parts.backbone, parts.head, parts.template, backend, parts.lm_head)
        model.data_record, model.base_weights = parts.data_record, parts.base_weights
        model.role, model.generation, model.quantization = parts.role, parts.generation, parts.quantization
        return model

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | ModelFolder,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        backend: Backend = "auto",
        new_head: bool = False,
    ) -> "RewardModel":
        """Load a reward model from a folder or a hub id, ready to score.

        Args:
            dtype: of the backbone; by default the stored one. The head is fp32.
            device: by default CUDA if there is one.
            new_head: ``path`` is a bare backbone, which gets a random head; only its hidden states mean something.

        Raises:
            CheckpointError: backbone weights or the head are missing.
            BackendError: no such device on this machine, or the backend is not exact for this backbone.
        """
        place = usable_device(device)
        load = new_parts if new_head else stored_parts
        model = cls.from_parts(load(path, dtype=dtype)).to(place).eval()
        choice = model.use_backend(backend, scoring=True)
        logger.info("backend %s: %s", *choice)
        return model

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> Path:
        """Write the model into a folder that ``from_pretrained`` reads; returns the folder.

        Args:
            dtype: of the stored backbone, as it is by default; the head stays fp32.

        Raises:
            TemplateError: the model was built without a template.
        """
        return save_reward_model(self, folder, dtype=dtype)

    def push_to_hub(
        self, repo: str, *, private: bool | None = None, message: str | None = None, revision: str | None = None
    ) -> str:
        """Write the model into a repository of the hub, which is made if it is not there; returns the commit's address.

        Args:
            repo: ``owner/name``.
            private: whether a new repository is private; the owner's default if not given.
            message: of the commit.
            revision: branch to write to.

        Raises:
            TemplateError: the model was built without a template.
        """
        return push_reward_model(self, repo, private=private, message=message, revision=revision)

    @property
    def config(self) -> Any:
        """The backbone's configuration."""
        return self.backbone.config

    @property
    def family(self) -> Family:
        """The backbone's row in the family table."""
        return family_of(self.config)

    @property
    def template(self) -> Template:
        """Turns groups into tokens.

        Raises:
            TemplateError: the model was built without one.
        """
        if self._template is None:
            raise TemplateError("This reward model was built without a template; load it with from_pretrained.")
        return self._template

    @property
    def heads(self) -> int:
        """How many reward heads it has, 0 if it answers with words."""
        return 0 if self.head is None else self.head.settings.heads

    @property
    def is_adapted(self) -> bool:
        """Whether the backbone carries PEFT adapters."""
        return unwrap_peft_model(self.backbone) is not self.backbone

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def use_backend(self, backend: Backend, scoring: bool = False, dtype: torch.dtype | None = None) -> Choice:
        """Choose how a batch is computed; returns the choice and its reason.

        Args:
            scoring: no gradients will be asked for.
            dtype: in which attention is computed, if not that of the weights.

        Raises:
            BackendError: the backend is not exact for this backbone.
        """
        weight = next(self.backbone.parameters())
        choice = choose_backend(self.config, backend, scoring, weight.device.type, dtype or weight.dtype)
        self.backend = choice.backend
        text = IMPLEMENTATIONS[choice.backend]
        # The reference keeps the library's own attention throughout, so that comparing with it covers the tower.
        vision = "sdpa" if choice.backend == "plain" else self.family.vision_attention
        nested = {"text_config": text, "vision_config": vision}
        unwrap_peft_model(self.backbone).set_attn_implementation(nested if self.family.vision_module else text)
        return choice

    def enable_checkpointing(self) -> None:
        """Recompute activations in the backward pass instead of keeping them.

        Non-reentrant, so that adapters train although no input of theirs needs a gradient: asking the embeddings for
        one, as transformers does, would send a backward pass through a frozen vision tower.
        """
        backbone = unwrap_peft_model(self.backbone)
        backbone.activation_checkpointing_enable({"use_reentrant": False})
        backbone.disable_input_require_grads()

    def compile_text_model(self) -> None:
        """Compile the text model with ``torch.compile`` for rows of any lengths; parameter names stay."""
        unwrap_peft_model(self.backbone).get_submodule(self.family.text_module).compile(dynamic=True)

    def forward(self, *, each_head: bool = False, **batch: Any) -> Float[Tensor, " response *head"] | LanguageOutput:
        """Return the fp32 rewards of all responses of a ``GroupBatch``, in its order; with targets more than these.

        Args:
            each_head: of a model with several heads the rewards of each, [response, head], instead of their mean.
        """
        hidden = self._read(**batch)
        rewards = None if self.head is None else self.head(hidden.responses)
        if rewards is not None and rewards.ndim > 1 and not each_head:
            rewards = rewards.mean(-1)
        if "target_places" not in batch:
            assert rewards is not None
            return rewards
        return read_targets(self.lm_head, hidden.targets, batch, rewards)

    def hidden_states(self, **batch: Any) -> Float[Tensor, "response hidden"]:
        """Return what the head reads: the last hidden state at the last token of every response of a batch."""
        return self._read(**batch).responses

    def _read(self, **batch: Any) -> HiddenStates:
        return read_hidden(self.backbone, cast(GroupBatch, batch), self.backend, self.family.axes)

    def score(
        self, prompt: str | Sequence[dict[str, Any]], images: Sequence[Any] = (), responses: Sequence[str] = ()
    ) -> list[float]:
        """Return the reward of each response to one prompt; the prompt and its images are computed once.

        Args:
            prompt: the user's text (images come before it), or messages whose image parts ``images`` fill.
            images: paths, bytes, base64 strings or PIL images.
            responses: the texts to score.

        Raises:
            ScoringError: the model is a critic, which writes before it scores.
            DataError: a value of the wrong kind; the message shows the right one.
            RowError: an image cannot be read, or a sequence is longer than ``max_length`` or the model's positions.
            TemplateError: no responses, or the backbone cannot read the prompt.
        """
        return self.score_groups([make_group(prompt, responses, images)])[0]

    @torch.inference_mode()
    def score_groups(
        self,
        groups: Sequence[ResponseGroup | Mapping[str, Any]],
        row_tokens: int = ROW_TOKENS,
        has_critiques: bool = False,
    ) -> list[list[float]]:
        """Return the rewards of the responses of many prompts, each prompt computed once, in order.

        Args:
            groups: ``{"prompt", "responses", "images"}`` as ``score`` takes them, or response groups.
            row_tokens: tokens that are computed together; a larger group is computed alone.
            has_critiques: the responses end with critiques, which the head of a critic reads.

        Raises:
            ScoringError: as ``score``, unless there are critiques.
            DataError: as ``score``; the message names the group.
            RowError: as ``score``. One bad group fails the call; ``basereward score`` reports row by row.
            TemplateError: as ``score``.
        """
        if self.role is not None and not has_critiques:
            raise ScoringError(
                "This model is a critic, whose reward stands behind a critique that it writes first: score with "
                "basereward.scoring.spec.open_scorer(FOLDER), basereward score or basereward serve."
            )
        asked = [read_group(group, f"group {number}") for number, group in enumerate(groups)]
        encoded = [self.template.encode(group) for group in asked]
        if removed := sum(group.removed.total for group in encoded):
            logger.warning(
                "The chat template leaves out %d characters of thoughts; the model does not see them.", removed
            )
        rewards: list[list[float]] = [[]] * len(encoded)
        for row in fill_rows(encoded, row_tokens, self.backend != "plain"):
            batch = move_batch(collate([encoded[place] for place in row]), self.device)
            found = iter(self(**batch).tolist())
            for place in row:
                rewards[place] = [next(found) for _ in encoded[place].suffixes]
        return rewards


def usable_device(name: str | torch.device | None) -> torch.device:
    """Return a device of this machine; of None, CUDA if there is one.

    Raises:
        BackendError: there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(f"Device {str(name)!r} cannot be used here ({reason}); expected cpu, or cuda:N.") from error
    return device
