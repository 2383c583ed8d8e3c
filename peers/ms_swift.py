"""Runs ms-swift's ``--rlhf_type rm`` on one job, as its command line would, with a clock among the callbacks."""

import json
import sys
from typing import Any

from clock import StepClock
from job import Job
from swift import rlhf_main
from swift.rlhf_trainers import reward_trainer
from swift.template.templates.qwen import Qwen2VLTemplate


def arguments(job: Job) -> list[str]:
    """Return the command line: everything trained, fp32, AdamW with the settings of the other sides."""
    options = {
        "rlhf_type": "rm",
        "model": job.pairs.backbone(job.data),
        "model_type": "qwen2_5_vl",
        "template": "qwen2_5_vl",
        "dataset": job.pairs.rows(job.data, "ms-swift"),
        "tuner_type": "full",
        # By default ms-swift freezes the vision tower and its merger.
        "freeze_vit": "false",
        "freeze_aligner": "false",
        "torch_dtype": "float32",
        "fp16": "false",
        "bf16": "false",
        "attn_impl": "sdpa",
        # On by default.
        "gradient_checkpointing": str(job.checkpointing).lower(),
        "per_device_train_batch_size": job.pairs_at_once,
        "gradient_accumulation_steps": job.pairs_per_step // job.pairs_at_once,
        "max_steps": job.steps + 1,
        "optim": "adamw_torch_fused",
        "adam_beta2": 0.999,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "dataset_shuffle": "false",
        "train_dataloader_shuffle": "false",
        "train_sampling_strategy": "sequential",
        "dataloader_num_workers": 0,
        "split_dataset_ratio": 0,
        "truncation_strategy": "delete",
        "logging_steps": 1,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "output_dir": job.folder / "run",
        "add_version": "false",
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def main(file: str) -> None:
    """Train and write the result."""
    job = Job.load(file)
    clock = StepClock(job, lambda model: model.score, ("ms-swift", "trl", "peft"))
    # It holds the real tokenizer's id. With another tokenizer, images would not be expanded and nobody would notice.
    config = json.loads((job.pairs.backbone(job.data) / "config.json").read_text())
    Qwen2VLTemplate.image_token_id = config["image_token_id"]
    construct = reward_trainer.RewardTrainer.__init__

    def construct_with_clock(self: Any, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        self.add_callback(clock)

    reward_trainer.RewardTrainer.__init__ = construct_with_clock
    rlhf_main(arguments(job))
    clock.save()


if __name__ == "__main__":
    main(sys.argv[1])
