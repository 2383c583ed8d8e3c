"""Runs basereward on one job: ``shared`` (what sequences begin with once), ``padded`` or ``unpadded`` (each alone)."""

import sys
from collections.abc import Sequence

from clock import StepClock
from job import Job
from transformers import AutoConfig

from basereward.data.schema import PreferencePair
from basereward.encoding.collate import PairBatch, PairIndex, collate, compare
from basereward.encoding.groups import EncodedGroup
from basereward.models.flops import measure_backbone
from basereward.speed.workloads import separate
from basereward.training import trainer
from basereward.training.collator import PreferenceCollator
from basereward.training.plan import run_sampler
from basereward.training.prepare import prepare_data, prepare_template
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

BACKENDS = {"shared": "split", "padded": "plain", "unpadded": "split"}


class AloneCollator(PreferenceCollator):
    """Packs every sequence alone into the row, with its own copy of prompt and image: padding-free, nothing shared."""

    def __call__(self, pairs: Sequence[PreferencePair]) -> PairBatch:
        """Return the batch of ``PreferenceCollator``, two sequences for every pair."""
        encoded: list[EncodedGroup] = []
        index = []
        for number, pair in enumerate(pairs):
            groups, chosen, rejected = self.objective.compare(pair)
            encoded += map(self.template.encode, groups)
            index.append(PairIndex(2 * number + chosen, 2 * number + rejected))
        return compare(collate(separate(encoded, range(2 * len(pairs))), self.template.vision), index)


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
            "data": {"train": [str(job.pairs.rows(job.data, "canonical"))], "strict": True, "group": job.group},
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


def draw_steps(job: Job) -> list[list[int]]:
    """Return the pairs of each step of the first epoch, as the run will draw them."""
    recipe = make_recipe(job)
    pairs = prepare_data(recipe, prepare_template(recipe)).train
    costs = measure_backbone(AutoConfig.from_pretrained(job.pairs.backbone(job.data))).cost_model()
    return [list(map(int, step)) for step in run_sampler(recipe, pairs.lengths, costs, 1).steps(0)]


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
