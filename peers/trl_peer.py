"""Runs TRL's RewardTrainer on one job: ``rewardtrainer`` on text as its users do, ``driven`` on images by own parts.

TRL reads no images. ``driven`` is what a user would write around it: a classifier on the vision-language backbone and
a collator that pads chosen and rejected into one batch, each with its own copy of the image.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from clock import StepClock
from datasets import Dataset
from job import Job
from PIL import Image
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput
from trl import RewardConfig, RewardTrainer


class VisionClassifier(torch.nn.Module):
    """A vision-language backbone with one linear on the last token of right-padded rows."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.backbone = AutoModel.from_pretrained(folder, dtype=torch.float32)
        self.config = self.backbone.config
        self.config.num_labels = 1
        self.score = torch.nn.Linear(self.config.get_text_config().hidden_size, 1, bias=False)

    def forward(self, attention_mask: torch.Tensor, **inputs: torch.Tensor) -> SequenceClassifierOutput:
        """Return one logit a row."""
        hidden = self.backbone(attention_mask=attention_mask, **inputs).last_hidden_state
        last = attention_mask.sum(-1) - 1
        return SequenceClassifierOutput(logits=self.score(hidden[torch.arange(len(last)), last]))

    def add_model_tags(self, tags: list[str]) -> None:
        """Do nothing: TRL calls this for the model card."""

    def activation_checkpointing_enable(self, *arguments: Any, **options: Any) -> None:
        """Pass it on: Trainer calls this."""
        self.backbone.activation_checkpointing_enable(*arguments, **options)


class RowCollator:
    """All chosen conversations, then all rejected ones, as padded rows with their images."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the model's inputs."""
        talks = [pair["prompt"] + pair[side] for side in ("chosen", "rejected") for pair in pairs]
        texts = [self.processor.apply_chat_template(talk, tokenize=False) for talk in talks]
        images = [[Image.open(path).convert("RGB") for path in pair["images"]] for pair in pairs] * 2
        return dict(self.processor(text=texts, images=images, padding=True, padding_side="right", return_tensors="pt"))


def _rows(job: Job) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in job.pairs.rows(job.data, "ordered").read_text().splitlines()]
    for row in rows:
        row["images"] = [str(job.workload / image) for image in row["images"]]
    return rows


def _flat(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"][0]["text"]} for message in messages]


def make_arguments(job: Job) -> RewardConfig:
    """Return the arguments: fp32, AdamW with the settings of the other sides, nothing dropped for its length."""
    return RewardConfig(
        output_dir=str(job.folder / "run"),
        per_device_train_batch_size=job.pairs_at_once,
        gradient_accumulation_steps=job.pairs_per_step // job.pairs_at_once,
        max_steps=job.steps + 1,
        learning_rate=job.learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=False,
        # On by default.
        gradient_checkpointing=job.checkpointing,
        # 1024 by default; longer pairs are dropped.
        max_length=None,
        train_sampling_strategy="sequential",
        dataloader_num_workers=0,
        remove_unused_columns=job.variant != "driven",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )


def make_trainer(job: Job, clock: StepClock) -> RewardTrainer:
    """Return the trainer of a variant."""
    folder, arguments, rows = job.pairs.backbone(job.data), make_arguments(job), _rows(job)
    if job.variant == "driven":
        # Columns with these names tell TRL that the rows need no tokenising.
        ready = [{**row, "chosen_ids": [0], "rejected_ids": [0]} for row in rows]
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, data = VisionClassifier(folder), Dataset.from_list(ready)
        return RewardTrainer(model, arguments, RowCollator(folder), data, None, tokenizer, callbacks=[clock])
    data = Dataset.from_list([{side: _flat(row[side]) for side in ("prompt", "chosen", "rejected")} for row in rows])
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    return RewardTrainer(model, arguments, train_dataset=data, callbacks=[clock])


def main(file: str) -> None:
    """Train and write the result."""
    job = Job.load(file)
    clock = StepClock(job, lambda model: model.score, ("trl",))
    make_trainer(job, clock).train()
    clock.save()


if __name__ == "__main__":
    main(sys.argv[1])
