"""Policies that reinforcement learning can begin with: tiny backbones that see, and answer carelessly.

A backbone with random weights, or one that is half trained, does not learn from rewards on a CPU: no sampled answer is
right often enough. So a policy first learns to answer, then to be careless. What rewards then bring out is what it
already sees; they do not teach it seeing.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from basereward.data.schema import PreferencePair, ResponseGroup
from basereward.encoding.groups import EncodedPrompt
from basereward.lab.backbone import write_backbone
from basereward.lab.descriptions import ATTRIBUTES, Facts, describe, read_facts
from basereward.lab.questions import KINDS
from basereward.lab.world import FILLER, WorldConfig, draw_pair
from basereward.lab.written import writing
from basereward.models.generation import Generator
from basereward.models.hub import quiet_loading

_IGNORED = -100
_BATCH = 48


class StartSettings(NamedTuple):
    """How a policy learns before reinforcement learning.

    Args:
        see_steps: steps of 48 right answers.
        careless_steps: steps of 48 careless answers after them.
        right_share: probability that a careless answer, or each attribute of a description, is right.
        filler_share: share of careless answers in front of which filler words stand, up to five times.
    """

    see_steps: int = 450
    careless_steps: int = 60
    right_share: float = 0.4
    filler_share: float = 0.0


class _Example(NamedTuple):
    prompt: EncodedPrompt
    answer: list[int]


def write_start(folder: Path, seed: int, config: WorldConfig, settings: StartSettings | None = None) -> Path:
    """Train a policy on answers and write it as a Hugging Face folder; return that.

    Args:
        folder: gets the model, its processor, and under ``seeing`` the model before it was made careless.
        seed: of the weights and of the questions.
        config: the world whose questions it answers.
    """
    settings = settings or StartSettings()
    seeing = write_seeing(folder, seed, config, settings.see_steps)
    generator = Generator(seeing, max_tokens=1, batch_tokens=1, dtype=torch.float32, device="cpu")

    def careless(pair: PreferencePair, rng: Random) -> str:
        text = _careless(pair, rng, settings.right_share)
        return FILLER * rng.randint(1, 5) + text if rng.random() < settings.filler_share else text

    # Other questions than those of the first stage.
    _teach(generator, _Answers(generator, seed + 7919, config, careless), settings.careless_steps, 3e-4, folder)
    return _save(generator, seeing, folder / "policy")


def write_seeing(
    folder: Path,
    seed: int,
    config: WorldConfig,
    steps: int,
    texts: Iterable[str] | None = None,
    filler_share: float = 0.0,
) -> Path:
    """Train a backbone to answer the world's questions, as a pretrained model can; return its folder.

    Args:
        folder: gets ``seeing``, and the backbone with random weights.
        steps: of 48 right answers.
        texts: the training texts of the tokenizer, as ``write_backbone`` takes them.
        filler_share: share of answers in front of which filler words stand.
    """
    backbone = write_backbone(folder / "backbone", size="demo", seed=seed, texts=texts)
    generator = Generator(backbone, max_tokens=1, batch_tokens=1, dtype=torch.float32, device="cpu")

    def right(pair: PreferencePair, rng: Random) -> str:
        return FILLER * (rng.random() < filler_share) + pair.extra["truth"]

    _teach(generator, _Answers(generator, seed, config, right), steps, 5e-4, folder)
    return _save(generator, backbone, folder / "seeing")


class _Answers(Dataset):
    """Questions of the world with an answer each, drawn when they are asked for."""

    def __init__(
        self, generator: Generator, seed: int, config: WorldConfig, answer: Callable[[PreferencePair, Random], str]
    ) -> None:
        self._generator, self._seed, self._config, self._answer = generator, seed, config, answer
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> _Example:
        pair = draw_pair(index, self._seed, self._config)
        text = self._answer(pair, Random(f"{self._seed}/{index}/answer"))
        template = self._generator.template
        group = ResponseGroup(pair.id, pair.prompt, (), images=pair.images)
        ids = template.tokenizer.encode(text, add_special_tokens=False)
        return _Example(template.encode_prompt(group), [*ids, template.tokenizer.eos_token_id])

    def batch(self, examples: Sequence[_Example]) -> dict[str, Tensor]:
        """Return prompts that end in one column with their answers behind it, and labels on the answers alone."""
        inputs = self._generator.inputs([example.prompt for example in examples])
        answers = [torch.tensor(example.answer) for example in examples]

        def behind(rows: list[Tensor], filling: int) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(rows, True, filling)

        pad = self._generator.template.tokenizer.pad_token_id
        gained = {
            "input_ids": behind(answers, pad),
            "attention_mask": behind([torch.ones_like(row) for row in answers], 0),
        }
        if "mm_token_type_ids" in inputs:
            gained["mm_token_type_ids"] = torch.zeros_like(gained["input_ids"])
        labels = [torch.full_like(inputs["input_ids"], _IGNORED), behind(answers, _IGNORED)]
        joined = {key: torch.cat([inputs[key], value], dim=1) for key, value in gained.items()}
        return {**inputs, **joined, "labels": torch.cat(labels, dim=1)}


def _teach(generator: Generator, data: _Answers, steps: int, rate: float, folder: Path) -> None:
    data.count = steps * _BATCH
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=_BATCH,
        max_steps=steps,
        learning_rate=rate,
        lr_scheduler_type="linear",
        warmup_steps=min(30, steps // 10),
        weight_decay=0.01,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        seed=0,
    )
    collate: Any = data.batch
    Trainer(generator.model, arguments, collate, data).train()
    generator.model.eval()
    shutil.rmtree(folder / "trainer", ignore_errors=True)


def _careless(pair: PreferencePair, rng: Random, right_share: float) -> str:
    if KINDS.get(pair.extra["kind"]).answers:
        return pair.extra["truth"] if rng.random() < right_share else pair.rejected[0].text
    facts = read_facts(pair.extra["truth"])
    drawn = {
        name: getattr(facts, name)
        if rng.random() < right_share
        else rng.choice([word for word in words if word != getattr(facts, name)])
        for name, words in ATTRIBUTES.items()
    }
    return describe(Facts(**drawn), rng)


def _save(generator: Generator, backbone: Path, folder: Path) -> Path:
    with writing(folder) as written:
        for path in backbone.iterdir():
            if path.suffix != ".safetensors":
                shutil.copy2(path, written / path.name)
        with quiet_loading():
            generator.model.save_pretrained(written)
    return folder
