"""Checkpoints of any ``transformers.Trainer`` that are complete or absent, and runs that go on from them."""

from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import Trainer, TrainingArguments

from basereward.errors import TrainingError
from basereward.training.resume import STAGING, publish


class AtomicCheckpoints(Trainer):
    """Writes each checkpoint under a temporary name, lists its files, and renames it; ends where the run is to end."""

    _staging: str | None = None

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Train an epoch, unless a resumed run is at its end already; Trainer would take one more step."""
        if self.state.global_step < self.state.max_steps and not self.has_ended():
            super()._run_epoch(*args, **kwargs)

    def has_ended(self) -> bool:
        """Whether a run that is taken up again had ended before its last step; an ordinary one never does."""
        return False

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or super()._get_output_dir(trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # Trainer has just taken the temporary name for that of the best checkpoint, which ``publish`` keeps by its
        # step; in the state it would be a path that is gone, and with ``keep: 1`` the end of a run looks it up.
        self.state.best_model_checkpoint = None
        super()._save_optimizer_and_scheduler(output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir))
        self._staging = str(folder / STAGING)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._staging = None
        barrier()
        if self.args.should_save:
            staged = folder / STAGING / f"checkpoint-{self.state.global_step}"
            publish(staged, folder, self.args.save_total_limit or 1, self.state.best_global_step)
        barrier()


def barrier() -> None:
    """Wait for all ranks, if there are several."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def check_one_device(args: TrainingArguments, command: str) -> None:
    """Refuse several GPUs in one process, over which Trainer would spread a batch by itself.

    Raises:
        TrainingError: there are several.
    """
    if args.n_gpu > 1:
        raise TrainingError(
            f"Found {args.n_gpu} GPUs in one process; start one process for each: "
            f"torchrun --nproc-per-node N -m basereward {command} RECIPE (or set CUDA_VISIBLE_DEVICES)."
        )
