"""Text from a backbone with its vocabulary head: prompts in batches, each answered as if it were alone."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from basereward.data.progress import Progress, no_progress
from basereward.encoding.groups import EncodedPrompt
from basereward.encoding.openings import Openings, open_prompt
from basereward.encoding.template import Template
from basereward.models.decoding import Decoder, Row, Written
from basereward.models.families import family_of
from basereward.models.hub import ModelFolder, load_complete, open_folder
from basereward.models.inputs import TemplateSettings, load_template
from basereward.models.sampling import GREEDY, Sampling


class Generated(NamedTuple):
    """What a model wrote, and whether it reached the limit of tokens before it ended.

    ``written`` are its tokens, and the probabilities of those that were watched.
    """

    text: str
    is_cut_off: bool
    written: Written | None = None

    @property
    def is_finite(self) -> bool:
        """Whether the model's logits were numbers throughout."""
        return self.written is None or self.written.is_finite


class TreeShape(NamedTuple):
    """What a tree takes of a batch: tokens of its prefix and of its longest suffix, and the number of its answers."""

    prefix: int
    suffix: int
    rows: int


class TreeGenerator:
    """Continues openings; a prompt and its images are computed once for all that go on from it.

    In fp32 an answer does not depend on what else is in its batch, but for ties within rounding. In bfloat16 rounding
    is coarser: ``batch_tokens=1`` writes each answer alone.

    Args:
        backbone: an ``AutoModel`` backbone.
        lm_head: its vocabulary head.
        template: turns conversations into its tokens.
        max_tokens: the longest answer.
        batch_tokens: memory cap: prompt, padding and answer of every row of a batch; a batch has at least one row.
        ends: the tokens of which any ends an answer, as a generation configuration names them; by default those of
            configuration and tokenizer.
    """

    def __init__(
        self,
        backbone: Any,
        lm_head: Any,
        template: Template,
        max_tokens: int,
        batch_tokens: int,
        ends: int | Sequence[int] | None = None,
    ) -> None:
        self.template = template
        self.max_tokens = max_tokens
        self.batch_tokens = batch_tokens
        text = backbone.config.get_text_config()
        known = _listed(ends) or {*_listed(text.eos_token_id), *_listed(template.tokenizer.eos_token_id)}
        pad = template.tokenizer.pad_token_id
        # What a pad is never matters, as long as the model has an embedding for it.
        self._pad: int = 0 if pad is None else pad
        self.decoder = Decoder(backbone, lm_head, family_of(backbone.config).axes, sorted(known), self._pad)

    @property
    def context(self) -> int:
        """The most tokens that the model reads, prompt and answer together."""
        return self.decoder.backbone.config.get_text_config().max_position_embeddings

    def generate(self, prompts: Sequence[EncodedPrompt], on_progress: Progress = no_progress) -> list[Generated]:
        """Return the greedy answer to each prompt, in order.

        Args:
            on_progress: called with the number of prompts answered and their total.

        Raises:
            TemplateError: a prompt has fewer than two tokens.
        """
        trees = [open_prompt(self.template, prompt) for prompt in prompts]
        return [answer for [[answer]] in self.write(trees, on_progress=on_progress)]

    def write(
        self,
        trees: Sequence[Openings],
        sampling: Sampling = GREEDY,
        watched: Sequence[int] = (),
        on_progress: Progress = no_progress,
    ) -> list[list[list[Generated]]]:
        """Return the answers to the openings of each tree, in order: for each opening its samples.

        A draw depends on the seed, the opening's tokens and pixels, and the number of the sample alone.

        Args:
            watched: tokens whose probabilities are wanted.
            on_progress: called with the number of openings answered and their total.
        """
        answers: dict[Row, Generated] = {}
        total = sum(len(tree.suffixes) for tree in trees)
        shapes = [_shape(tree, sampling.samples) for tree in trees]
        # Of models that take no padding, each tree alone.
        batches = (
            fill_batches(shapes, self.max_tokens, self.batch_tokens)
            if self.decoder.takes_padding
            else ([place] for place in range(len(trees)))
        )
        for places in batches:
            room = rows_at_once([shapes[place] for place in places], self.max_tokens, self.batch_tokens)
            own = [trees[place] for place in places]
            found = self.decoder.decode(own, self.max_tokens, sampling, watched, room)
            answers |= {row._replace(tree=places[row.tree]): self._read(one) for row, one in found.items()}
            on_progress(len(answers) // sampling.samples, total)
        return [
            [
                [answers[Row(number, opening, sample)] for sample in range(sampling.samples)]
                for opening in range(len(tree.suffixes))
            ]
            for number, tree in enumerate(trees)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer."""
        return self.template.tokenizer.decode(ids, skip_special_tokens=True)

    def _read(self, written: Written) -> Generated:
        return Generated(self.decode(written.ids), written.is_cut_off, written)


class Generator(TreeGenerator):
    """A ``TreeGenerator`` from a folder.

    Args:
        place: folder or hub id, or a folder that is open already.
        max_tokens: the longest answer.
        batch_tokens: as for ``TreeGenerator``.
        dtype: by default the stored one.
        device: by default CUDA if there is one.
        limits: of the inputs; what they leave open is as stored.

    Raises:
        CheckpointError: weights are missing, the vocabulary head of a reward model for one, or the family is unknown.
        MissingFileError: neither a folder nor a hub id that can be downloaded.
    """

    def __init__(
        self,
        place: str | Path | ModelFolder,
        max_tokens: int,
        batch_tokens: int,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        limits: TemplateSettings | None = None,
    ) -> None:
        self.folder = open_folder(place)
        template = load_template(self.folder, limits)
        auto = AutoModelForImageTextToText if template.vision else AutoModelForCausalLM
        model = load_complete(auto, self.folder, dtype)
        self.model: Any = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self._accepted = inspect.signature(model.forward).parameters.keys()
        # What else a generation configuration says, such as repetition penalties, would change what greedy means.
        ends = model.generation_config.eos_token_id
        super().__init__(model.model, model.get_output_embeddings(), template, max_tokens, batch_tokens, ends)

    def inputs(self, prompts: Sequence[EncodedPrompt]) -> dict[str, Tensor]:
        """Return what the model's own processor would give a batch, its answers starting in one column.

        ``input_ids`` and ``attention_mask`` are Int[prompt, token], padded on the left: a pad between a prompt and its
        answer would be read as part of the text. Images of all prompts follow each other in the order of the rows, in
        which the model takes them.
        """
        ids = self._left_padded([torch.from_numpy(prompt.ids) for prompt in prompts], self._pad)
        mask = self._left_padded([torch.ones(len(prompt.ids), dtype=torch.long) for prompt in prompts], 0)
        batch = {"input_ids": ids, "attention_mask": mask}
        shown = [prompt.images for prompt in prompts if prompt.images is not None]
        if not shown:
            return batch
        # Without the kinds of tokens M-RoPE would silently see text alone; without the rates, frames without time.
        kinds = self.template.processor.create_mm_token_type_ids([prompt.ids.tolist() for prompt in prompts])
        rope = {"mm_token_type_ids": self._left_padded([torch.tensor(own) for own in kinds], 0)}
        rope |= _joined([images.rope for images in shown])
        # Families with plain positions take none of these; pixels, however, are never left out.
        wanted = {key: value for key, value in rope.items() if key in self._accepted}
        return batch | _joined([images.tensors for images in shown]) | wanted

    def _left_padded(self, rows: Sequence[Int[Tensor, " token"]], filling: int) -> Int[Tensor, "row token"]:
        return torch.nn.utils.rnn.pad_sequence(list(rows), True, filling, padding_side="left")


def fill_batches(shapes: Sequence[TreeShape], answer: int, cap: int) -> Iterator[list[int]]:
    """Yield places of trees of similar length, the longest first, so that memory runs out at once or never.

    A batch costs its number of rows times the longest prefix, the longest suffix and the longest answer; a tree that
    costs more alone is a batch of its own.
    """
    batch: list[int] = []
    for place in sorted(range(len(shapes)), key=lambda place: -shapes[place].prefix - shapes[place].suffix):
        own = [shapes[each] for each in (*batch, place)]
        if batch and sum(shape.rows for shape in own) * _width(own, answer) > cap:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def rows_at_once(shapes: Sequence[TreeShape], answer: int, cap: int) -> int:
    """Return how many rows of a batch of trees are under the cap, at least one."""
    return max(1, cap // _width(shapes, answer))


def _width(shapes: Sequence[TreeShape], answer: int) -> int:
    return max(shape.prefix for shape in shapes) + max(shape.suffix for shape in shapes) + answer


def _shape(tree: Openings, samples: int) -> TreeShape:
    return TreeShape(len(tree.prefix), max(map(len, tree.suffixes)), len(tree.suffixes) * samples)


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.cat([part[key] for part in parts if key in part]) for part in parts for key in part}


def _listed(ends: int | Sequence[int] | None) -> list[int]:
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
