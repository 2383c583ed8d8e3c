"""Times backends on the same workload: interleaved rounds in one process, medians with their spread."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from basereward.encoding.collate import PairBatch
from basereward.encoding.groups import EncodedGroup, GroupLength
from basereward.errors import RecipeError
from basereward.models.device_rates import data_sheet_rate
from basereward.models.flops import BackboneSize, measure_backbone
from basereward.models.reward_model import RewardModel
from basereward.speed.memory import peak_bytes
from basereward.speed.report import Mode, SpeedReport, Spread, Timing
from basereward.speed.workloads import Workload, build_model, encode_lengths, pack, separate

UNPADDED = "plain_unpadded"
BACKENDS = ("plain", UNPADDED, "split", "varlen", "expand", "auto")
# Pairs that are computed together where nothing is shared.
PAIRS_AT_ONCE = 2
PEAK_SIZE = 1024
PEAK_SECONDS = 0.5


class RoundSeconds(NamedTuple):
    """Seconds that one round of a piece of work took; on CUDA both are those of the device."""

    wall: float
    cpu: float


class _Task(NamedTuple):
    backend: str
    run: Callable[[], torch.Tensor]


class _Run(NamedTuple):
    """What the figures of all backends are taken from."""

    mode: Mode
    workload: Workload
    lengths: list[GroupLength]
    rounds: dict[str, list[RoundSeconds]]
    rewards: dict[str, torch.Tensor]
    memory: dict[str, int | None]
    size: BackboneSize
    peak: float
    sheet: float | None


def measure_speed(
    mode: Mode,
    preset: str,
    workload: Workload,
    backends: list[str],
    repeats: int = 5,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    checkpointing: bool = False,
    on_round: Callable[[int], None] = lambda done: None,
) -> SpeedReport:
    """Time a training step's forward and backward pass, or scoring, with each backend on the same batch.

    Args:
        mode: ``train`` (forward, loss, backward) or ``score`` (forward).
        backends: ``plain`` (padded), ``plain_unpadded`` (separate sequences in one row) and backends that share.

    Raises:
        RecipeError: an unknown backend, or one without gradients to train with.
        UnknownNameError: an unknown preset.
    """
    _check_backends(mode, backends)
    model = build_model(preset, dtype, device)
    if checkpointing:
        model.enable_checkpointing()
    model.train(mode == "train")
    lengths = workload.lengths()
    groups = encode_lengths(lengths, model.config, prompts_per_image=workload.prompts_per_image)
    tasks = [_Task(name, _runner(mode, model, name, groups, workload, device)) for name in backends]
    rewards = {task.backend: task.run() for task in tasks}
    memory = {task.backend: peak_bytes(task.run, device) for task in tasks}
    rounds: dict[str, list[RoundSeconds]] = {name: [] for name in backends}
    for turn in range(repeats):
        for task in tasks:
            rounds[task.backend].append(time_round(task.run, device))
        on_round(turn + 1)
    size, peak, sheet = measure_backbone(model.config), matmul_rate(dtype, device), data_sheet_rate(device, dtype)
    run = _Run(mode, workload, lengths, rounds, rewards, memory, size, peak, sheet)
    results = [_timing(run, name) for name in backends]
    threads = torch.get_num_threads()
    kind = str(dtype).removeprefix("torch.")
    return SpeedReport(mode, preset, workload, device, kind, threads, repeats, peak, torch.__version__, results)


def layout_flops(size: BackboneSize, workload: Workload, lengths: list[GroupLength], backend: str, mode: Mode) -> float:
    """Return the forward work of a backend's layout, padding included."""
    if backend == "plain":
        longest = max(length.longest for length in lengths)
        padded = [
            GroupLength(length.prefix, (longest - length.prefix,) * len(length.suffixes), length.image_tokens)
            for length in lengths
        ]
        return sum(size.forward_flops(length, shared=False) for length in padded)
    if backend == UNPADDED:
        whole = [length._replace(suffixes=(own,)) for length in lengths for own in length.suffixes]
        return sum(size.forward_flops(whole[response]) for response in separate_responses(workload, mode))
    return size.tree_flops(workload.tree(lengths))


def separate_responses(workload: Workload, mode: Mode) -> list[int]:
    """Return the responses that are computed without sharing: both of every pair, to score each once."""
    if mode == "train":
        return [response for pair in workload.compared for response in pair]
    return list(range(workload.groups * workload.prompts_per_image * workload.group))


def matmul_rate(dtype: torch.dtype, device: str) -> float:
    """Return the floating-point operations per second of a large matrix product here (per CPU second on a CPU)."""
    size = PEAK_SIZE if device == "cpu" else 8192
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    left @ right
    best = 0.0
    start = time.perf_counter()
    while time.perf_counter() - start < PEAK_SECONDS:
        spent = time_round(lambda: left @ right, device)
        best = max(best, 2 * size**3 / max(spent.cpu, 1e-9))
    return best


def _check_backends(mode: Mode, backends: list[str]) -> None:
    """Find a wrong name before a large model is built."""
    known = [name for name in BACKENDS if mode == "score" or name != "expand"]
    for name in backends:
        if name not in known:
            raise RecipeError(f"Found backend {name!r}, expected for {mode}: {', '.join(known)}.")


def _runner(
    mode: Mode, model: RewardModel, backend: str, groups: list[EncodedGroup], workload: Workload, device: str
) -> Callable[[], torch.Tensor]:
    pairs = workload.compared if mode == "train" else []
    batches = [pack(groups, pairs, device)]
    if backend == UNPADDED:
        # Nothing is shared, so a batch in parts takes the same work, and never more memory than its largest part.
        responses, part = separate_responses(workload, mode), 2 * PAIRS_AT_ONCE
        parts = [responses[at : at + part] for at in range(0, len(responses), part)]
        counted = [[(at, at + 1) for at in range(0, len(own), 2)] if pairs else [] for own in parts]
        batches = [pack(separate(groups, own), alone, device) for own, alone in zip(parts, counted, strict=True)]

    def run() -> torch.Tensor:
        # Without padding, too, the baseline gets the fastest attention of the device.
        model.use_backend("auto" if backend == UNPADDED else backend, mode == "score")  # type: ignore[arg-type]
        if mode == "score":
            with torch.inference_mode():
                return torch.cat([_forward(model, batch) for batch in batches])
        compared = []
        for batch in batches:
            sides = _forward(model, batch)[batch["pairs"]]
            (-torch.nn.functional.logsigmoid(sides[:, 0] - sides[:, 1])).sum().div(len(pairs)).backward()
            compared.append(sides.detach().flatten())
        # Gradients stay allocated, so that peak memory is counted above model and gradients.
        model.zero_grad(set_to_none=False)
        return torch.cat(compared)

    return run


def _forward(model: RewardModel, batch: PairBatch) -> torch.Tensor:
    return model(**{key: value for key, value in batch.items() if key not in ("pairs", "margins", "weights")})


def time_round(run: Callable[[], Any], device: str) -> RoundSeconds:
    """Return wall and CPU seconds; on CUDA both are device seconds between two events."""
    if device.startswith("cuda"):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        seconds = start.elapsed_time(end) / 1000
        return RoundSeconds(seconds, seconds)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return RoundSeconds(time.perf_counter() - wall, time.process_time() - cpu)


def _timing(run: _Run, name: str) -> Timing:
    own, lengths = run.rounds[name], run.lengths
    seconds, cpu = spread_of([turn.wall for turn in own]), spread_of([turn.cpu for turn in own])
    factor = 3 if run.mode == "train" else 1
    work, reference = (
        factor * layout_flops(run.size, run.workload, lengths, layout, run.mode) for layout in (name, UNPADDED)
    )
    responses, pairs = sum(len(length.suffixes) for length in lengths), len(run.workload.compared)
    items = responses if run.mode == "score" else pairs
    whole = [length.prefix + own for length in lengths for own in length.suffixes]
    separate_tokens = sum(whole[response] for response in separate_responses(run.workload, run.mode))
    return Timing(
        backend=name,
        seconds=seconds,
        cpu_seconds=cpu,
        pairs_per_second=pairs / seconds.median,
        responses_per_second=responses / seconds.median,
        rate_wall=spread_of([items / turn.wall for turn in own]),
        rate_cpu=spread_of([items / turn.cpu for turn in own]),
        tokens_per_second=separate_tokens / seconds.median,
        unique_token_ratio=run.workload.tree(lengths).total / separate_tokens,
        flops=work,
        cpu_ratio_to_plain=_ratio(run.rounds, "plain", name),
        cpu_ratio_to_plain_unpadded=_ratio(run.rounds, UNPADDED, name),
        flop_ratio_to_plain_unpadded=reference / work,
        peak_memory_bytes=run.memory[name],
        peak_fraction=work / cpu.median / run.peak,
        mfu=None if run.sheet is None else work / seconds.median / run.sheet,
        reward_difference=_difference(run.rewards, name),
    )


def _ratio(rounds: dict[str, list[RoundSeconds]], base: str, name: str) -> float | None:
    if base not in rounds:
        return None
    return statistics.median(a.cpu / b.cpu for a, b in zip(rounds[base], rounds[name], strict=True))


def _difference(rewards: dict[str, torch.Tensor], name: str) -> float:
    """Return the largest reward difference to the first backend, relative to its largest reward."""
    first = next(iter(rewards.values())).float()
    return float((rewards[name].float() - first).abs().max() / first.abs().max())


def spread_of(values: list[float]) -> Spread:
    """Return median, smallest and largest."""
    return Spread(statistics.median(values), min(values), max(values))
