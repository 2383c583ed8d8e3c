"""The reward model: a backbone without vocabulary, a reward head, and one reward for every response of a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.trainer_utils import unwrap_peft_model

from basereward.data.schema import Response, ResponseGroup, messages_from_text, parse_messages, response_id
from basereward.encoding.collate import GroupBatch, collate
from basereward.encoding.layout import TreeLayout, unpack
from basereward.encoding.template import Template
from basereward.errors import TemplateError
from basereward.models.attention import SPLIT, Backend, choose_backend
from basereward.models.families import Family, family_of
from basereward.models.head import RewardHead

IMAGE_KEYS = ("pixel_values", "image_grid_thw")


class RewardModel(nn.Module):
    """Naive-RM: the reward of a response is a head's value at the last token of prompt and response.

    ``r(y | x) = head(h_last)``, unbounded, fp32. Vocabulary logits are never computed.

    Args:
        backbone: an ``AutoModel`` backbone (hidden states only), possibly wrapped by PEFT.
        head: the reward head.
        template: turns groups into tokens for this backbone; None for a model that only sees tensors.
        backend: ``auto`` computes each prompt once wherever that is exact.

    Source: paper section 2.
    """

    def __init__(self, backbone: Any, head: RewardHead, template: Template | None, backend: Backend = "auto") -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self._template = template
        self.use_backend(backend)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        backend: Backend = "auto",
    ) -> "RewardModel":
        """Load a reward model from a folder or a hub id, ready to score.

        Args:
            dtype: of the backbone; by default the stored one. The head is fp32.
            device: by default CUDA if there is one.

        Raises:
            CheckpointError: backbone weights or the head are missing.
        """
        from basereward.models.checkpoint import load_reward_model

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return load_reward_model(path, dtype=dtype, backend=backend).to(device).eval()

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
    def is_adapted(self) -> bool:
        """Whether the backbone carries PEFT adapters."""
        return unwrap_peft_model(self.backbone) is not self.backbone

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def use_backend(self, backend: Backend) -> None:
        """Choose how a batch is computed.

        Raises:
            BackendError: the backend is not exact for this backbone.
        """
        self.backend = choose_backend(self.config, backend)
        text = SPLIT if self.backend == "split" else "sdpa"
        nested = {"text_config": text, "vision_config": "sdpa"}
        unwrap_peft_model(self.backbone).set_attn_implementation(nested if self.family.vision_module else text)

    def enable_checkpointing(self) -> None:
        """Recompute activations in the backward pass instead of keeping them.

        Non-reentrant, so that adapters train although no input of theirs needs a gradient: asking the embeddings for
        one, as transformers does, would send a backward pass through a frozen vision tower.
        """
        backbone = unwrap_peft_model(self.backbone)
        backbone.activation_checkpointing_enable({"use_reentrant": False})
        backbone.disable_input_require_grads()

    def forward(self, **batch: Any) -> Float[Tensor, " response"]:
        """Return the fp32 rewards of all responses of a ``GroupBatch``, in its order."""
        hidden = self._split(batch) if self.backend == "split" else self._plain(batch)
        return self.head(hidden)

    @torch.inference_mode()
    def score(
        self, prompt: str | Sequence[dict[str, Any]], images: Sequence[Any] = (), responses: Sequence[str] = ()
    ) -> list[float]:
        """Return the reward of each response to one prompt; the prompt and its images are computed once.

        Args:
            prompt: the user's text (images come before it), or messages whose image parts ``images`` fill.
            images: paths, bytes, base64 strings or PIL images.
            responses: the texts to score.

        Raises:
            RowError: an image cannot be read.
        """
        messages = (
            messages_from_text(prompt, images=len(images))
            if isinstance(prompt, str)
            else parse_messages(prompt, "user")
        )
        answers = [messages_from_text(text, "assistant") for text in responses]
        named = tuple(Response(response_id("score", answer), answer) for answer in answers)
        group = ResponseGroup("score", messages, named, tuple(images))
        batch = collate([self.template.encode(group)])
        return self(**{key: value.to(self.device) for key, value in batch.items()}).tolist()

    def _split(self, batch: GroupBatch) -> Float[Tensor, "response hidden"]:
        positions = batch["position_ids"]
        output = self.backbone(
            input_ids=batch["input_ids"],
            position_ids=positions if self.family.axes == 3 else positions[0],
            tree_layout=TreeLayout.of(batch),
            use_cache=False,
            **{key: batch[key] for key in IMAGE_KEYS if key in batch},
        )
        return output.last_hidden_state[0, batch["responses"][:, 2] - 1]

    def _plain(self, batch: GroupBatch) -> Float[Tensor, "response hidden"]:
        alone = unpack(batch, TreeLayout.of(batch))
        output = self.backbone(
            input_ids=alone.input_ids,
            position_ids=alone.position_ids if self.family.axes == 3 else alone.position_ids[0],
            attention_mask=alone.attention_mask,
            use_cache=False,
            **_repeat_images(batch, alone.images),
        )
        return output.last_hidden_state[torch.arange(len(alone.last), device=alone.last.device), alone.last]


def _repeat_images(batch: GroupBatch, images: Tensor) -> dict[str, Tensor]:
    if "pixel_values" not in batch:
        return {}
    sizes = batch["image_grid_thw"].prod(-1).tolist()
    pixels = torch.split(batch["pixel_values"], sizes)
    return {
        "pixel_values": torch.cat([pixels[image] for image in images.tolist()]),
        "image_grid_thw": batch["image_grid_thw"][images],
    }
