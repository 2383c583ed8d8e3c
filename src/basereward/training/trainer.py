"""``transformers.Trainer`` for preference pairs: exact loss normalisation, atomic checkpoints, honest metrics."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from basereward.data.schema import PartType, PreferencePair
from basereward.errors import TrainingError
from basereward.models.checkpoint import load_weights, save_reward_model, save_shards
from basereward.models.reward_model import RewardModel
from basereward.training.best import BestCheckpoint, EvaluateAtEnd, is_patience_over, judge_evaluation
from basereward.training.bootstrap import Bootstrap
from basereward.training.checkpoints import AtomicCheckpoints, barrier, check_one_device
from basereward.training.collator import PreferenceCollator
from basereward.training.evaluation import ValidationPairs
from basereward.training.heads import HEAD_WEIGHTS, clip_apart, draw_weights, sum_over_heads
from basereward.training.language import Critic
from basereward.training.objectives import METRIC_NAMES, PAIR_KEYS, PairLoss, metric_means, metric_sums
from basereward.training.options import PartRates
from basereward.training.own_critiques import own_accuracy
from basereward.training.parallel import OPTIMIZER_FILE, OPTIMIZER_FOLDER, load_optimizer, save_sharded_optimizer
from basereward.training.rates import part_rates, split_by_rate
from basereward.training.recipe import AnyObjective
from basereward.training.sampler import PairSampler
from basereward.training.stop import StopOnSignal, start_loader
from basereward.training.utilisation import MODEL_FLOPS, Utilisation


class RewardTrainer(AtomicCheckpoints):
    """Trains a reward model on pairs.

    The loss of a step is the sum over its pairs divided by their number over all micro-batches and ranks, so it
    does not depend on packing. A loss or gradient that is not finite stops the run.

    Args:
        model: a reward model, already adapted, frozen or sharded as wanted.
        args: arguments with ``gradient_accumulation_steps`` of the sampler.
        train_pairs: map-style pairs.
        sampler: the order of the same pairs on this rank.
        objective: what turns rewards into the loss.
        validation: pairs for evaluation during training, by the name of their set; that of one set may be empty.
        kinds: what every row must show, as ``PreferenceCollator`` takes it.
        bootstrap: what a pair counts for each head, as ``PreferenceCollator`` takes it.
        rates: learning rates of parts of the model.
        best: by what evaluations are compared, if the best checkpoint is kept.
        utilisation: what ``mfu`` is counted by, if the rate of the device is known.
    """

    model: Any
    objective: AnyObjective
    eval_dataset: Any
    data_collator: Any
    lr_scheduler: Any
    optimizer: Any

    def __init__(
        self,
        model: RewardModel,
        args: TrainingArguments,
        train_pairs: Sequence[PreferencePair],
        sampler: PairSampler,
        objective: AnyObjective,
        validation: Mapping[str, ValidationPairs] | None = None,
        kinds: Sequence[PartType] = ("image",),
        callbacks: list[TrainerCallback] | None = None,
        bootstrap: Bootstrap | None = None,
        rates: PartRates | None = None,
        best: BestCheckpoint | None = None,
        utilisation: Utilisation | None = None,
    ) -> None:
        check_one_device(args, "train")
        self.sampler = sampler
        self.objective = objective
        self.validation = validation or {}
        self.stop = StopOnSignal()
        self.rates = rates or PartRates()
        self.best = best
        self.utilisation = utilisation
        collator = PreferenceCollator(
            model.template, objective, kinds, bootstrap, utilisation.size if utilisation else None
        )
        super().__init__(
            model,  # type: ignore[arg-type]
            args,
            collator,  # type: ignore[arg-type]
            train_pairs,  # type: ignore[arg-type]
            next(iter(self.validation.values())).pairs if self.validation else None,  # type: ignore[arg-type]
            # In front of those that look at what the step asks for.
            callbacks=[self.stop, EvaluateAtEnd(bool(validation), best is not None), *(callbacks or ())],
        )
        for printer in (PrinterCallback, ProgressCallback):
            self.remove_callback(printer)
        # Micro-batches are unequal: a mean of their means would weigh the pairs of small ones more. ``compute_loss``
        # divides by the pairs of the whole step instead, and Trainer must not divide again.
        self.loss_is_scaled_for_ga = True
        # Which pairs share a batch of validation is chance: of a head that compares, each pair is measured by itself.
        self._by_pair = copy(collator)
        self._by_pair.compares_rankings = False
        self.heads = model.heads
        # Trainer then leaves wrapping, placement and gradient reduction to the sharded model.
        self.is_distributed_loading_by_transformers = isinstance(model, FSDPModule)
        # On the device, so that no micro-batch waits for a copy; they are read when a line is logged.
        self._sums = torch.zeros(len(METRIC_NAMES), dtype=torch.float64, device=args.device)
        self._counts = torch.zeros(5, dtype=torch.float64, device=args.device)
        self._waited = 0.0
        self._since = time.perf_counter()
        # In fp32 the proof on the twin is enough; in bf16 one pair of each rank shows what rounding does.
        self._compare_backends = args.bf16 and model.backend != "plain"
        self._difference: dict[str, float] = {}
        self._part_rates: dict[str, float] = {}

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are spread over the ranks."""
        return self.is_distributed_loading_by_transformers

    def _get_train_sampler(self, train_dataset: Any = None) -> PairSampler:
        return self.sampler

    def get_train_dataloader(self) -> Any:
        """Return the loader of the training pairs, whose processes outlive the signals that end a run."""
        loader = super().get_train_dataloader()
        # Accelerate's wrapper passes reading on to the loader within, and writing not.
        within = getattr(loader, "base_dataloader", loader)
        within.worker_init_fn = partial(start_loader, seed=within.worker_init_fn)
        return loader

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return the weights that decay: matrices, not norms or biases, whatever a tower calls them (``ln_q``)."""
        return [name for name, weight in model.named_parameters() if weight.ndim > 1]

    def create_optimizer(self, model: Any = None) -> Any:
        """Return the optimiser, with a group of weights for each part that has a learning rate of its own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new:
            split_by_rate(optimizer, self.model, self.rates)
        return optimizer

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: Any) -> tuple[list, int]:
        """Return the micro-batches of a step and its pairs over all ranks; the wait for data is measured."""
        # A log line comes behind the step of the schedule, with the rates of the next step.
        self._part_rates = part_rates(self.optimizer)
        start = time.perf_counter()
        # In this order zip takes no batch beyond the last: range ends first.
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        self._waited += time.perf_counter() - start
        return batches, self.sampler.effective_batch_size

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Return the micro-batch's share of the step's mean loss, times ranks (their gradients are averaged)."""
        if self._compare_backends and self.state.global_step == 0:
            # Of one pair: alone, the sequences of a whole batch that shares much are many times its tokens.
            pairs: Any = self.train_dataset
            row = self.data_collator([pairs[self.args.process_index]])
            self._difference = self._backend_difference(self._prepare_inputs(row))
            self._compare_backends = False
        loss = self._loss(model, inputs)
        self._sums += metric_sums(loss.rewards)
        self._counts[0] += inputs["input_ids"].numel()
        if "image_nodes" in inputs:
            # A node that nothing continues and no response ends with holds the tiny image that nobody asked for.
            read = torch.cat([inputs["nodes"][:, 0], inputs["leaves"]])
            self._counts[1] += torch.isin(inputs["image_nodes"], read).sum()
        if "rankings" in inputs:
            self._counts[2] += inputs["pair_rankings"].max() + 1
            self._counts[3] += inputs["unranked"].sum()
        if MODEL_FLOPS in inputs:
            self._counts[4] += inputs[MODEL_FLOPS]
        # DDP and FSDP2 divide by the ranks when they reduce gradients, and the pairs of all ranks are divided by here.
        return loss.total / num_items_in_batch * self.accelerator.num_processes

    def _loss(self, model: Any, batch: dict[str, Tensor]) -> PairLoss:
        read = {key: value for key, value in batch.items() if key not in PAIR_KEYS}
        compared = {key: batch[key] for key in self.objective.keys}
        drawn = batch.get(HEAD_WEIGHTS)
        if self.heads > 1:
            return sum_over_heads(self.objective.loss, model(**read, each_head=True), compared, drawn)
        if drawn is not None:
            compared = draw_weights(compared, drawn[:, 0])
        return self.objective.loss(model(**read), **compared)

    @torch.no_grad()
    def _backend_difference(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Compare a pair with its sequences alone, in the precision of the run."""
        backend = self.model.backend
        shared = torch.stack(self._loss(self.model, batch).rewards)
        self.model.use_backend("plain")
        plain = torch.stack(self._loss(self.model, batch).rewards)
        self.model.use_backend(backend, dtype=torch.bfloat16)
        margins = [chosen - rejected for chosen, rejected in (shared, plain)]
        return {
            "backend_difference": float((shared - plain).abs().max() / plain.abs().max()),
            "backend_rank_flips": float((margins[0].sign() != margins[1].sign()).sum()),
        }

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Clip, and stop before a broken gradient reaches the weights; all ranks see the same norm."""
        if self.heads > 1:
            norm = clip_apart(model, self.heads, self.args.max_grad_norm)
        else:
            norm = super()._clip_grad_norm(model)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(norm):
            raise TrainingError(
                f"The gradient norm of step {self.state.global_step + 1} is {norm.item()}; the weights are those of "
                "the step before. Lower the learning rate, or resume and look at this step's data."
            )
        return norm

    @contextlib.contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        self.model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.model.set_requires_gradient_sync(True)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add accuracy, margins, rewards and throughput since the last log line, over all ranks."""
        if "loss" in logs and "grad_norm" in logs:
            logs |= self._window_metrics() | self._difference
            # A run of several heads is to be compared with one of a single head.
            logs["loss"] /= max(self.heads, 1)
            logs |= self._part_rates
            self._difference = {}
        if "train_loss" in logs:
            logs["train_loss"] = self._mean_loss()
        super().log(logs, start_time)

    def _mean_loss(self) -> float:
        """Return the mean loss of all steps; Trainer's own forgets those before a resume."""
        windows = [(entry["step"], entry["loss"]) for entry in self.state.log_history if "loss" in entry]
        starts = [0, *(step for step, _ in windows)]
        total = sum(loss * (step - start) for (step, loss), start in zip(windows, starts, strict=False))
        return total / max(starts[-1], 1)

    def _window_metrics(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._since
        sums, counts = self._all_reduce(self._sums), self._all_reduce(self._counts)
        metrics = metric_means(sums) | {
            "pairs_per_second": float(sums[0]) / seconds,
            "tokens_per_second": float(counts[0]) / seconds,
            "images_per_second": float(counts[1]) / seconds,
            "data_wait_share": self._waited / seconds,
        }
        if self.utilisation:
            metrics["mfu"] = self.utilisation.share(float(counts[4]), seconds, self.args.world_size)
        if counts[2]:
            metrics |= {"pairs_per_ranking": float(sums[0] / counts[2]), "unranked": float(counts[3] / sums[0])}
        if self.args.device.type == "cuda":
            metrics["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self._sums.zero_()
        self._counts.zero_()
        self._waited = 0.0
        self._since = time.perf_counter()
        return metrics

    def _all_reduce(self, values: Tensor) -> Tensor:
        values = values.clone()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(values)
        return values.cpu()

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return accuracy, margin and rewards on the validation pairs, each counted once over all ranks.

        Of a critic they stand behind given critiques, and ``own_accuracy`` behind its own.
        Nothing is returned or logged if a signal ends the run meanwhile.
        """
        if not self.validation:
            raise TrainingError("There are no validation pairs; name them under data.validation.")
        metrics: dict[str, float] = {}
        self.model.eval()
        for name, pairs in self.validation.items():
            measured = self._measure(pairs)
            if measured is None:
                self.control.should_save = self.control.should_training_stop = True
                return {}
            prefix = f"{metric_key_prefix}_{name}" if name else metric_key_prefix
            metrics |= {f"{prefix}_{key}": value for key, value in measured.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _measure(self, pairs: ValidationPairs) -> dict[str, float] | None:
        """Return the metrics of a set of validation pairs; None if a signal ends the run meanwhile."""
        batches = pairs.batches(self.args.world_size, self.args.process_index)
        loaded = pairs.load(batches, self._by_pair, self.args.dataloader_num_workers)
        sums = torch.zeros_like(self._sums)
        for own, collated in zip(batches, loaded, strict=True):
            if self.stop.agreed():
                return None
            batch = self._prepare_inputs(collated)
            loss = self._loss(self.model, batch)
            if own:
                sums += metric_sums(loss.rewards)
        metrics = metric_means(self._all_reduce(sums))
        if isinstance(self.objective, Critic) and not self.is_sharded:
            # Of few pairs, on every rank the same ones.
            metrics["own_accuracy"] = own_accuracy(self.model, self.objective.role, pairs.pairs)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Ask for a checkpoint of the best evaluation, and for the end of a run that gets no better."""
        # An evaluation that a signal ended has no metrics.
        if self.best is None or not metrics:
            return False
        judged = judge_evaluation(self.best, self.state, metrics)
        self.control.should_save |= judged.is_best
        self.control.should_training_stop |= judged.ends
        return judged.is_best

    def has_ended(self) -> bool:
        """Whether patience had run out where a resumed run was saved."""
        return self.best is not None and is_patience_over(self.best, self.state)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        # Adapters are small: their checkpoint is a model that scores, sharded or not.
        if self.is_sharded and not self.model.is_adapted:
            save_shards(self.model, folder, self.args.should_save)
        else:
            self.save_reward_model(folder)

    def save_reward_model(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write the model as a checkpoint that scores (collective when sharded)."""
        if self.is_sharded or self.args.should_save:
            save_reward_model(self.model, folder, dtype=dtype, is_writer=self.args.should_save)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.is_sharded:
            # Of this rank's shards alone.
            Path(output_dir, OPTIMIZER_FILE).unlink(missing_ok=True)
            barrier()
            save_sharded_optimizer(self.model, self.optimizer, Path(output_dir, OPTIMIZER_FOLDER))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        if self.is_sharded or (folder / OPTIMIZER_FOLDER).exists():
            load_optimizer(self.model, self.optimizer, folder)
            self.lr_scheduler.load_state_dict(torch.load(folder / "scheduler.pt", weights_only=True))
        else:
            super()._load_optimizer_and_scheduler(checkpoint)
        # The learning rate that was stored is that of a run of the former length.
        rates = [base * factor(self.lr_scheduler.last_epoch) for base, factor in self._schedule()]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.lr_scheduler._last_lr = rates

    def _schedule(self) -> Iterator[tuple[float, Any]]:
        """Return peak and factor by step of each group's learning rate."""
        return zip(self.lr_scheduler.base_lrs, self.lr_scheduler.lr_lambdas, strict=True)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint))
