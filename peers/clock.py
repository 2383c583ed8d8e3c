"""Measures the optimiser steps of any ``transformers.Trainer``, from inside its process."""

import json
import resource
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from job import Job
from transformers import TrainerCallback

TEXT_MODELS = ("Qwen2_5_VLTextModel", "Qwen3Model")
VISION_MODELS = ("Qwen2_5_VisionTransformerPretrainedModel",)
PACKAGES = ("torch", "torchvision", "transformers", "accelerate")


class StepClock(TrainerCallback):
    """Notes CPU time at the end of every optimiser step, the losses, and what went through the model.

    CPU time is ``time.process_time()``: user and system time of all threads of this process. A step lasts from the
    end of the step before to its own end, so it includes its data (decoding, image processing, tokenising),
    forward, backward, clipping and the optimiser. The first step is not measured.

    Args:
        job: the run.
        head_of: returns the linear head of the side's model; it gets the workload's weights.
        packages: whose versions to report besides those that every side has.
    """

    def __init__(self, job: Job, head_of: Callable[[Any], torch.nn.Linear], packages: Sequence[str]) -> None:
        self.job = job
        self.head_of = head_of
        self.packages = (*packages, *PACKAGES)
        self.marks: list[float] = []
        self.losses: list[float] = []
        self.tokens = 0
        self.patches = 0
        self.trained = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Give the head its first weights, and count from now on what the text and vision models compute."""
        head = self.head_of(model)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.load(self.job.pairs.head)))
        for module in model.modules():
            if type(module).__name__ in TEXT_MODELS:
                module.register_forward_pre_hook(self._count_tokens, with_kwargs=True)
            if type(module).__name__ in VISION_MODELS:
                module.register_forward_pre_hook(self._count_patches, with_kwargs=True)
        self.trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.marks.append(time.process_time())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Note the loss of the step."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))

    def _count_tokens(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        given = kwargs.get("inputs_embeds")
        given = kwargs.get("input_ids", args[0] if args else None) if given is None else given
        self.tokens += given.shape[0] * given.shape[1]

    def _count_patches(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        given = args[0] if args else kwargs["hidden_states"]
        self.patches += given.shape[0]

    def save(self) -> None:
        """Write the result of the run."""
        steps = [after - before for before, after in zip(self.marks[:-1], self.marks[1:], strict=True)]
        pairs = self.job.pairs_per_step
        result = {
            "cpu_seconds_per_pair": sum(steps) / len(steps) / pairs,
            "cpu_seconds_per_step": steps,
            "losses": self.losses,
            "tokens_per_pair": self.tokens / len(self.marks) / pairs,
            "patches_per_pair": self.patches / len(self.marks) / pairs,
            "trained_parameters": self.trained,
            "threads": torch.get_num_threads(),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "versions": {package: version(package) for package in self.packages},
        }
        self.job.result.write_text(json.dumps(result, indent=2))
