"""Runs basereward on one job: ``shared`` (each prompt once), ``padded`` or ``unpadded`` (every sequence alone)."""

import sys
from dataclasses import replace
from typing import Any

from clock import StepClock
from job import Job
from torch import Tensor

from basereward.data.schema import ResponseGroup
from basereward.encoding.collate import PairIndex, collate, pair_tensors
from basereward.training import trainer
from basereward.training.collator import PreferenceCollator
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

BACKENDS = {"shared": "split", "padded": "plain", "unpadded": "split"}


class AloneCollator(PreferenceCollator):
    """Packs every sequence alone into the row, with its own copy of prompt and image: padding-free, nothing shared."""

    def __call__(self, pairs: Any) -> dict[str, Tensor]:
        """Return the batch of ``PreferenceCollator``, each response in a group of its own."""
        encoded, index = [], []
        for pair in pairs:
            groups, chosen, rejected = pair.comparison()
            alone = [_alone(group, number) for group in groups for number in range(len(group.responses))]
            index.append(PairIndex(len(encoded) + chosen, len(encoded) + rejected))
            encoded += [self._encode(group) for group in alone]
        return {**collate(encoded, self.template.vision), **pair_tensors(index)}

    def _encode(self, group: ResponseGroup) -> Any:
        return self.template.encode(group)


def _alone(group: ResponseGroup, number: int) -> ResponseGroup:
    return replace(group, id=f"{group.id}/{number}", responses=(group.responses[number],))


def make_recipe(job: Job) -> Recipe:
    """Return the recipe of a job: one linear layer as head, fp32, AdamW, everything trained."""
    return parse_recipe(
        {
            "name": job.name,
            "model": {
                "backbone": str(job.pairs.backbone(job.data)),
                "head": {"layers": 1, "activation": "none"},
                "backend": BACKENDS[job.variant],
                "checkpointing": job.checkpointing,
            },
            "data": {"train": [str(job.pairs.rows(job.data, "canonical"))], "strict": True},
            "optimizer": {
                "learning_rate": job.learning_rate,
                "pairs_per_step": job.pairs_per_step,
                "max_steps": job.steps + 1,
                "schedule": "constant",
                "warmup_share": 0.0,
            },
            "hardware": {"precision": "fp32", "workers": 0, "use_cpu": True},
            "run": {"log_every": 1},
        }
    )


def main(file: str) -> None:
    """Train and write the result."""
    job = Job.load(file)
    if job.variant == "unpadded":
        trainer.PreferenceCollator = AloneCollator  # type: ignore[misc]
    clock = StepClock(job, lambda model: model.head.layers[-1], ("basereward",))
    train(make_recipe(job), job.folder / "run", callbacks=[clock])
    clock.save()


if __name__ == "__main__":
    main(sys.argv[1])
