"""Scores with any one-label text ``*ForSequenceClassification`` model, every sequence alone."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from basereward.data.outcomes import About, Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.encoding.template import Template
from basereward.errors import CheckpointError, RowError, TemplateError
from basereward.models.hub import ModelFolder, load_complete, open_folder
from basereward.scoring.interface import failure_of, finite
from basereward.scoring.weights import Weights, run_facts


class ClassifierScorer:
    """The logit of a one-label sequence classifier on the templated conversation.

    Args:
        place: folder or hub id, or a folder that is open already.
        dtype: by default the stored one.
        device: by default CUDA if there is one.
        name: what result files call it; the path by default.

    Raises:
        CheckpointError: weights are missing, or the model has several labels.
        TemplateError: the tokenizer has no chat template.
    """

    def __init__(
        self,
        place: str | Path | ModelFolder,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        name: str | None = None,
    ) -> None:
        folder = open_folder(place)
        self._weights = Weights([folder.path])
        model = load_complete(AutoModelForSequenceClassification, folder, dtype)
        if model.config.num_labels != 1:
            raise CheckpointError(f"{folder.path} has {model.config.num_labels} labels, a reward model has one.")
        # Alone and unpadded, the last token is the last one; a pad id equal to the end of turn would hide it.
        model.config.get_text_config().pad_token_id = None
        self.model: Any = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self.template = Template(AutoTokenizer.from_pretrained(folder.path))
        self.name = name or folder.name

    @cached_property
    def about(self) -> About:
        """The classifier, with everything that decides a score: weights, template, precision and libraries.

        Raises:
            ScoringError: a file of the model has changed since it was loaded.
        """
        facts = {"weights": self._weights.digest(), "template": self.template.hash, **run_facts(self.model)}
        return About(self.name, sees_images=False, identity=facts)

    @torch.inference_mode()
    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a reward or a failure for each response of each group, in order."""
        return [[self._score(group, place) for place in range(len(group.responses))] for group in groups]

    def _score(self, group: ResponseGroup, place: int) -> Scored:
        if group.images:
            return Failure("text_only", f"{self.name} reads text only; group {group.id!r} has images.")
        try:
            ids = self.template.conversation_ids(group.prompt + group.responses[place].messages)
        except (RowError, TemplateError) as error:
            return failure_of(error)
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit and len(ids) > limit:
            return Failure("too_long", f"{len(ids)} tokens, more than the model's {limit}.")
        tokens = torch.from_numpy(ids)[None].to(self.model.device)
        return finite(Score(self.model(input_ids=tokens).logits.float()[0, 0].item()))
